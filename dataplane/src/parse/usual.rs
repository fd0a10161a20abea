//! The usual packet, straight through: TCP or UDP over IPv4, without tag, options or fragment, in a
//! frame that is not short. What it takes, [`parse`](super::parse) takes alike; what it leaves may
//! still be fine.

use super::Packet;
use super::transport::are_refused;
use crate::key::{Key4, Ports, Protocol};
use crate::wire::ethernet::Mac;
use crate::wire::ipv4;

/// What is looked at: Ethernet, IPv4 and TCP headers.
const HEADERS: usize = 54;
/// Where the IP header starts, in bytes.
const L3: u16 = 14;
/// Where the TCP or UDP header starts, in bytes.
const L4: u16 = 34;

/// The packet, if it is a usual one for the station with this MAC address.
#[inline]
pub(crate) fn usual4(frame: &[u8], mac: Mac) -> Option<Packet<Key4>> {
    let headers: &[u8; HEADERS] = frame.first_chunk()?;
    let is_for_us = chunk::<6>(headers, 0) == mac.0;
    // EtherType IPv4; version 4 with five words of header.
    let is_plain = chunk(headers, 12) == [0x08, 0x00, 0x45];
    let is_whole = u16::from_be_bytes(chunk(headers, 20)) & ipv4::FRAGMENTED == 0;
    if !(is_for_us & is_plain & is_whole & is_summed(headers)) {
        return None;
    }
    let total_len = usize::from(u16::from_be_bytes(chunk(headers, 16)));
    if total_len > frame.len() - usize::from(L3) {
        return None;
    }
    let payload_len = total_len.checked_sub(20)?;
    let (protocol, tcp_flags) = match headers[23] {
        ipv4::TCP => (Protocol::Tcp, tcp_flags(headers, payload_len)?),
        ipv4::UDP if is_udp(headers, payload_len) => (Protocol::Udp, 0),
        _ => return None,
    };
    let key = Key4 {
        source: u32::from_ne_bytes(chunk(headers, 26)),
        destination: u32::from_ne_bytes(chunk(headers, 30)),
        ports: Ports(u32::from_ne_bytes(chunk(headers, 34))),
        protocol,
    };
    Some(Packet {
        key,
        l3: L3,
        l4: L4,
        tcp_flags,
    })
}

/// The flags of a TCP header that fits the payload and that some stack sends.
#[inline]
fn tcp_flags(headers: &[u8; HEADERS], payload_len: usize) -> Option<u8> {
    let header_len = usize::from(headers[46] >> 4) * 4;
    let flags = headers[47];
    let fits = (20..=payload_len).contains(&header_len);
    (fits & !are_refused(flags)).then_some(flags)
}

#[inline]
fn is_udp(headers: &[u8; HEADERS], payload_len: usize) -> bool {
    (8..=payload_len).contains(&usize::from(u16::from_be_bytes(chunk(headers, 38))))
}

/// Whether the sum of the IP header is right: words as loaded, added in 64 bits and folded.
#[inline]
fn is_summed(headers: &[u8; HEADERS]) -> bool {
    let word = |at| u64::from(u32::from_ne_bytes(chunk(headers, at)));
    let sum = word(14) + word(18) + word(22) + word(26) + word(30);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

#[inline]
fn chunk<const N: usize>(headers: &[u8; HEADERS], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&headers[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::parse::{Parsed, parse};
    use crate::samples::*;
    use proptest::prelude::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

    /// Asserts that both say the same, where this one says anything.
    fn agree(frame: &[u8]) -> Result<bool, TestCaseError> {
        let usual = usual4(frame, OURS);
        if let Some(packet) = usual {
            prop_assert_eq!(parse(frame, None), Ok(Parsed::V4(packet)));
        }
        Ok(usual.is_some())
    }

    #[test]
    fn it_takes_the_usual_and_leaves_the_rest() {
        let padded = |mut frame: Vec<u8>| {
            frame.resize(60, 0);
            frame
        };
        for (frame, expected) in [
            (tcp4(), true),
            (padded(udp4()), true),
            (padded(ping4()), false),
            (options4(), false),
            (tcp6(), false),
            (tagged(tcp4(), 0), false),
        ] {
            assert_eq!(agree(&frame).unwrap(), expected, "{frame:02x?}");
        }
        assert_eq!(usual4(&tcp4(), Mac([2, 0, 0, 0, 0, 1])), None);
    }

    proptest! {
        #[test]
        fn whatever_it_takes_parse_takes_alike(
            at in 12_usize..54,
            bytes in prop::collection::vec(any::<u8>(), 1..4),
            len in 50_usize..80,
            is_tcp: bool,
            sums: bool,
        ) {
            let mut frame = if is_tcp { tcp4() } else { udp4() };
            frame.resize(len, 0);
            for (place, byte) in frame.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            // A header that says it is longer than the frame has no sum to make right.
            if sums && at > 14 {
                frame = summed4(frame);
            }
            let taken = agree(&frame)?;
            // And it leaves no whole packet that is long enough.
            let is_usual = matches!(parse(&frame, None), Ok(Parsed::V4(packet)) if packet.l4 == L4);
            prop_assert_eq!(taken, is_usual && frame.len() >= HEADERS);
        }

        #[test]
        fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            agree(&bytes)?;
            let _: Result<Parsed, Fate> = parse(&bytes, None);
        }
    }
}
