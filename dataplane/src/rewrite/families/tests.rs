//! Translations between families against `etherparse`, which sums everything from scratch.

use super::*;
use crate::{
    port::memory::{MemoryFrame, Pool},
    samples::{extensions6, options4, patched, summed4, tagged, tcp4, tcp6, udp4, udp6},
};
use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use proptest::{collection::vec, prelude::*};
use std::sync::Arc;

const MTU: u16 = 1500;

fn ends4() -> Ends {
    ends("10.9.0.200:2000", "10.0.0.1:8080")
}

fn ends6() -> Ends {
    ends("[fd00:9::200]:2000", "[fd00::1]:8080")
}

fn ends(from: &str, to: &str) -> Ends {
    (from.parse().unwrap(), to.parse().unwrap())
}

fn translated(bytes: &[u8], ends: Ends) -> Result<Vec<u8>, Unfit> {
    let mut frame = MemoryFrame::copied(&Arc::new(Pool::new(1)), bytes).unwrap();
    let l3 = if bytes[12..14] == [0x81, 0] { 18 } else { 14 };
    assert!(differs(&frame.bytes()[l3..], ends));
    translate(&mut frame, l3, ends, MTU)?;
    Ok(frame.bytes().to_vec())
}

/// Ends and payload of a whole packet whose lengths and checksums are right.
fn read_whole(frame: &[u8]) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = packet.payload.slice().to_vec();
    let net = packet.net.unwrap();
    let (from, to): (IpAddr, IpAddr) = match &net {
        NetHeaders::Ipv4(header, _) => {
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            (header.source.into(), header.destination.into())
        }
        NetHeaders::Ipv6(header, _) => (header.source.into(), header.destination.into()),
        NetHeaders::Arp(_) => panic!("no packet"),
    };
    let (source, destination) = match packet.transport.unwrap() {
        TransportHeader::Tcp(header) => {
            let sum = match &net {
                NetHeaders::Ipv4(ip, _) => header.calc_checksum_ipv4(ip, &payload),
                NetHeaders::Ipv6(ip, _) => header.calc_checksum_ipv6(ip, &payload),
                NetHeaders::Arp(_) => panic!("no packet"),
            };
            assert_eq!(header.checksum, sum.unwrap());
            (header.source_port, header.destination_port)
        }
        TransportHeader::Udp(header) => {
            let sum = match &net {
                NetHeaders::Ipv4(ip, _) => header.calc_checksum_ipv4(ip, &payload),
                NetHeaders::Ipv6(ip, _) => header.calc_checksum_ipv6(ip, &payload),
                NetHeaders::Arp(_) => panic!("no packet"),
            };
            assert_eq!(header.checksum, sum.unwrap());
            (header.source_port, header.destination_port)
        }
        other => panic!("{other:?}"),
    };
    let socket = |ip, port| SocketAddr::new(ip, port);
    (socket(from, source), socket(to, destination), payload)
}

#[test]
fn whole_packets_go_over_with_their_ends_and_sums() {
    for (frame, ends) in [
        (tcp4(), ends6()),
        (udp4(), ends6()),
        (options4(), ends6()),
        (tcp6(), ends4()),
        (udp6(), ends4()),
        (extensions6(), ends4()),
    ] {
        let payload = PacketHeaders::from_ethernet_slice(&frame).unwrap();
        let payload = payload.payload.slice().to_vec();
        let new = translated(&frame, ends).unwrap();
        assert_eq!(read_whole(&new), (ends.0, ends.1, payload));
        assert_eq!(new[..12], frame[..12]);
    }
}

#[test]
fn class_and_hops_go_over() {
    let frame = summed4(patched(patched(tcp4(), 15, &[0xb9]), 22, &[9]));
    let new = translated(&frame, ends6()).unwrap();
    assert_eq!((new[14], new[15], new[21]), (0x6b, 0x90, 8));
    let frame = patched(patched(tcp6(), 14, &[0x6b, 0x91, 2, 3]), 21, &[9]);
    let new = translated(&frame, ends4()).unwrap();
    assert_eq!((new[15], new[22]), (0xb9, 8));
    for (frame, ends) in [
        (summed4(patched(tcp4(), 22, &[1])), ends6()),
        (patched(tcp6(), 21, &[0]), ends4()),
    ] {
        assert_eq!(translated(&frame, ends), Err(Unfit::OutOfHops));
    }
}

#[test]
fn tags_stay_and_padding_does_not() {
    let mut padded = tagged(tcp4(), 7);
    let len = padded.len();
    padded.extend([0xee; 9]);
    let new = translated(&padded, ends6()).unwrap();
    assert_eq!(
        (new.len(), &new[12..18]),
        (len + 20, &[0x81, 0, 0, 7, 0x86, 0xdd][..])
    );
    let new = translated(&tagged(udp6(), 7), ends4()).unwrap();
    assert_eq!(new[12..18], [0x81, 0, 0, 7, 8, 0]);
}

#[test]
fn a_datagram_without_a_checksum_gets_one_over_ipv6() {
    let bare = patched(udp4(), 40, &[0, 0]);
    let new = translated(&bare, ends6()).unwrap();
    assert_eq!(read_whole(&new).2, b"who is it?");
    let bare = patched(udp6(), 60, &[0, 0]);
    let new = translated(&bare, ends4()).unwrap();
    assert_eq!(new[40..42], [0, 0]);
}

/// RFC 7915, section 5.1: what is longer than 1260 bytes may not be cut, the others can be put together.
#[test]
fn short_packets_may_be_cut_and_long_ones_not() {
    let of = |len: usize| {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 9);
        let mut frame = Vec::new();
        let payload = vec![7; len];
        builder.udp(1, 2).write(&mut frame, &payload).unwrap();
        translated(&frame, ends4()).unwrap()
    };
    let short = of(1260 - 28);
    assert_eq!((short[20] & 0x40, &short[18..20]), (0, &short[40..42]));
    let long = of(1260 - 27);
    assert_eq!((long[20] & 0x40, &long[18..20]), (0x40, &[0, 0][..]));
}

#[test]
fn what_is_too_long_is_told_in_its_own_family() {
    let of4 = |len: usize| {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([1; 4], [2; 4], 9);
        let mut frame = Vec::new();
        let payload = vec![7; len - 28];
        builder.udp(1, 2).write(&mut frame, &payload).unwrap();
        translated(&frame, ends6()).map(|it| it.len())
    };
    assert_eq!(of4(1480), Ok(14 + 1500));
    assert_eq!(of4(1481), Err(Unfit::TooBig(1480)));
    let of6 = |len: usize, mtu| {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 9);
        let mut frame = Vec::new();
        let payload = vec![7; len - 48];
        builder.udp(1, 2).write(&mut frame, &payload).unwrap();
        let mut frame = MemoryFrame::copied(&Arc::new(Pool::new(1)), &frame).unwrap();
        translate(&mut frame, 14, ends4(), mtu)
    };
    assert_eq!(of6(1420, 1400), Ok(()));
    assert_eq!(of6(1421, 1400), Err(Unfit::TooBig(1420)));
}

#[test]
fn a_syn_offers_what_fits_over_ipv6() {
    let syn = |mss| {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([1; 4], [2; 4], 9);
        let tcp = builder.tcp(1, 2, 3, 4).syn();
        let options = [etherparse::TcpOptionElement::MaximumSegmentSize(mss)];
        let mut frame = Vec::new();
        let tcp = tcp.options(&options).unwrap();
        tcp.write(&mut frame, &[]).unwrap();
        let new = translated(&frame, ends6()).unwrap();
        read_whole(&new);
        u16::from_be_bytes([new[76], new[77]])
    };
    assert_eq!((syn(1460), syn(1440), syn(536)), (1440, 1440, 536));
}

#[test]
fn fragments_are_refused_by_name() {
    let cut = summed4(patched(udp4(), 20, &[0x20, 0]));
    let refused = Err(Unfit::Dropped(Fate::FamilyFragment));
    assert_eq!(translated(&cut, ends6()), refused);
    let later = summed4(patched(udp4(), 20, &[0, 4]));
    assert_eq!(translated(&later, ends6()), refused);
}

/// An error with this head about a packet, as the one side has sent it.
fn error4(head: [u8; 8], about: &[u8]) -> Vec<u8> {
    let [kind, code, _, _, rest @ ..] = head;
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([9, 9, 9, 9], [1; 4], 60);
    let mut frame = Vec::new();
    let builder = builder.icmpv4_raw(kind, code, rest);
    builder.write(&mut frame, about).unwrap();
    frame
}

fn error6(head: [u8; 8], about: &[u8]) -> Vec<u8> {
    let [kind, code, _, _, rest @ ..] = head;
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([9; 16], [1; 16], 60);
    let mut frame = Vec::new();
    let builder = builder.icmpv6_raw(kind, code, rest);
    builder.write(&mut frame, about).unwrap();
    frame
}

/// The eight bytes that an error over IPv6 begins with, whose sum is right, and its quote as a frame.
fn told6(frame: &[u8]) -> ([u8; 8], Vec<u8>) {
    let (header, payload) = etherparse::Icmpv6Header::from_slice(&frame[54..]).unwrap();
    let [from, to] = [22, 38].map(|at| frame[at..at + 16].try_into().unwrap());
    let sum = header.icmp_type.calc_checksum(from, to, payload).unwrap();
    assert_eq!(header.checksum, sum);
    let len = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    assert_eq!(frame.len(), 54 + len);
    let quote = [&frame[..14], &frame[62..]].concat();
    let mut head: [u8; 8] = frame[54..62].try_into().unwrap();
    head[2..4].fill(0);
    (head, quote)
}

fn told4(frame: &[u8]) -> ([u8; 8], Vec<u8>) {
    assert_eq!(crate::samples::rfc1071(&frame[34..]), 0);
    let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    assert_eq!(frame.len(), 14 + len);
    let quote = [&frame[..14], &frame[42..]].concat();
    let mut head: [u8; 8] = frame[34..42].try_into().unwrap();
    head[2..4].fill(0);
    (head, quote)
}

#[test]
fn errors_say_the_same_in_the_other_family() {
    let quoted = &tcp4()[14..];
    for (head, expected) in [
        ([3, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]),
        ([3, 1, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]),
        ([3, 2, 0, 0, 0, 0, 0, 0], [4, 1, 0, 0, 0, 0, 0, 6]),
        ([3, 3, 0, 0, 0, 0, 0, 0], [1, 4, 0, 0, 0, 0, 0, 0]),
        ([3, 4, 0, 0, 0, 0, 5, 120], [2, 0, 0, 0, 0, 0, 5, 140]),
        ([3, 4, 0, 0, 0, 0, 2, 64], [2, 0, 0, 0, 0, 0, 5, 0]),
        ([3, 13, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]),
        ([11, 1, 0, 0, 0, 0, 0, 0], [3, 1, 0, 0, 0, 0, 0, 0]),
    ] {
        let new = translated(&error4(head, quoted), ends6()).unwrap();
        let (told, quote) = told6(&new);
        assert_eq!(told, expected, "{head:?}");
        let quote = patched(quote, 12, &[0x86, 0xdd]);
        let (from, to, _) = read_whole(&quote);
        assert_eq!(
            (from, to),
            (ends6().1, ends6().0),
            "as its receiver sent it"
        );
        assert_eq!(quote[21], 63);
    }
    let quoted = &udp6()[14..];
    for (head, expected) in [
        ([1, 0, 0, 0, 0, 0, 0, 0], [3, 1, 0, 0, 0, 0, 0, 0]),
        ([1, 1, 0, 0, 0, 0, 0, 0], [3, 10, 0, 0, 0, 0, 0, 0]),
        ([1, 4, 0, 0, 0, 0, 0, 0], [3, 3, 0, 0, 0, 0, 0, 0]),
        ([2, 0, 0, 0, 0, 0, 5, 140], [3, 4, 0, 0, 0, 0, 5, 120]),
        ([3, 0, 0, 0, 0, 0, 0, 0], [11, 0, 0, 0, 0, 0, 0, 0]),
        ([4, 1, 0, 0, 0, 0, 0, 6], [3, 2, 0, 0, 0, 0, 0, 0]),
    ] {
        let new = translated(&error6(head, quoted), ends4()).unwrap();
        let (told, quote) = told4(&new);
        assert_eq!(told, expected, "{head:?}");
        let quote = patched(quote, 12, &[8, 0]);
        let (from, to, _) = read_whole(&quote);
        assert_eq!((from, to), (ends4().1, ends4().0));
        assert_eq!(quote[22], 63);
    }
}

#[test]
fn errors_without_a_meaning_there_are_dropped_by_name() {
    let dropped = Err(Unfit::Dropped(Fate::FamilyIcmp));
    for (kind, code) in [(4, 0), (12, 0), (3, 14), (3, 99)] {
        let error = error4([kind, code, 0, 0, 0, 0, 0, 0], &tcp4()[14..]);
        assert_eq!(translated(&error, ends6()), dropped, "{kind} {code}");
    }
    for (kind, code) in [(1, 99), (4, 0)] {
        let error = error6([kind, code, 0, 0, 0, 0, 0, 0], &tcp6()[14..]);
        assert_eq!(translated(&error, ends4()), dropped, "{kind} {code}");
    }
}

#[test]
fn long_quotes_are_cut_to_what_everybody_takes_and_short_ones_are_taken() {
    let long = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([1; 4], [9; 4], 60);
    let mut about = Vec::new();
    long.udp(1, 2).write(&mut about, &[7; 1400]).unwrap();
    let new = translated(&error4([3, 3, 0, 0, 0, 0, 0, 0], &about[14..]), ends6()).unwrap();
    assert_eq!(new.len(), 14 + 1280);
    told6(&new);
    let long = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [9; 16], 60);
    let mut about = Vec::new();
    long.udp(1, 2).write(&mut about, &[7; 1100]).unwrap();
    let new = translated(&error6([1, 4, 0, 0, 0, 0, 0, 0], &about[14..]), ends4()).unwrap();
    assert_eq!(new.len(), 14 + 576);
    told4(&new);
    let short = error4([3, 3, 0, 0, 0, 0, 0, 0], &tcp4()[14..42]);
    let (_, quote) = told6(&translated(&short, ends6()).unwrap());
    assert_eq!(
        (quote.len(), &quote[54..58]),
        (14 + 40 + 8, &[0x1f, 0x90, 7, 0xd0][..])
    );
}

proptest! {
    /// Whatever is carried, sums are right; there and back it is what it was.
    #[test]
    fn sums_are_those_from_scratch(
        addresses: ([u8; 16], [u8; 16]), ports: (u16, u16), payload in vec(any::<u8>(), 0..200), udp: bool,
    ) {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(addresses.0, addresses.1, 60);
        let mut frame = Vec::new();
        if udp {
            builder.udp(ports.0, ports.1).write(&mut frame, &payload).unwrap();
        } else {
            builder.tcp(ports.0, ports.1, 1, 2).write(&mut frame, &payload).unwrap();
        }
        let there = translated(&frame, ends4()).unwrap();
        prop_assert_eq!(read_whole(&there), (ends4().0, ends4().1, payload.clone()));
        let back = translated(&there, ends6()).unwrap();
        prop_assert_eq!(read_whole(&back), (ends6().0, ends6().1, payload));
    }

    /// Only what was parsed comes here; whatever comes, nothing panics.
    #[test]
    fn any_bytes_are_translated_or_refused(
        mut bytes in vec(any::<u8>(), 14..200),
        version in prop::sample::select(vec![0x45_u8, 0x4f, 0x60]),
        protocol in prop::sample::select(vec![1_u8, 6, 17, 44, 58]),
    ) {
        if let Some(packet) = bytes.get_mut(14..24) {
            packet[0] = version;
            packet[if version == 0x60 { 6 } else { 9 }] = protocol;
        }
        for (ends, mtu) in [(ends4(), 1500), (ends6(), 1280)] {
            let mut frame = MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes).unwrap();
            let _ = translate(&mut frame, 14, ends, mtu);
        }
    }
}
