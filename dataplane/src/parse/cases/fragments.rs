//! Parts of packets: the first has the ports, later ones only say which packet they are of.

use super::*;

/// Bytes of a packet's payload, behind the ports of the usual flow.
fn datagram(len: usize) -> Vec<u8> {
    let total = u16::try_from(8 + len).unwrap().to_be_bytes();
    let mut bytes = vec![0x9c, 0x40, 0, 53];
    bytes.extend(total);
    bytes.resize(8 + len, 0);
    bytes
}

/// A frame with this part of an IPv4 packet.
fn part4(protocol: u8, offset: u16, has_more: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = cut(udp4(), 34);
    frame.extend(payload);
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let word = (offset / 8) | if has_more { 0x2000 } else { 0 };
    let frame = patched(frame, 16, &len);
    let frame = patched(frame, 20, &word.to_be_bytes());
    summed4(patched(frame, 23, &[protocol]))
}

/// A frame with this part of an IPv6 packet.
fn part6(protocol: u8, offset: u16, has_more: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = cut(udp6(), 54);
    let word = (offset | u16::from(has_more)).to_be_bytes();
    frame.extend([protocol, 0, word[0], word[1], 0, 0, 0, 9]);
    frame.extend(payload);
    let len = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    patched(patched(frame, 18, &len), 20, &[44])
}

const UDP: u8 = 17;
const TCP: u8 = 6;

#[test]
fn a_first_fragment_has_the_ports() {
    let payload = datagram(100);
    let first = &payload[..24];
    let Parsed::V4(packet4) = v4(Protocol::Udp, 53, 14, 34, 0) else {
        unreachable!()
    };
    let Parsed::V6(packet6) = v6(Protocol::Udp, 53, 14, 62, 0) else {
        unreachable!()
    };
    check([
        Case(
            "IPv4",
            None,
            part4(UDP, 0, true, first),
            Ok(Parsed::First4(packet4)),
        ),
        Case(
            "IPv6",
            None,
            part6(UDP, 0, true, first),
            Ok(Parsed::First6(packet6)),
        ),
    ]);
}

#[test]
fn a_later_fragment_is_only_located() {
    let later = Ok(Parsed::Later(Later { l3: 14 }));
    let bytes = [1; 24];
    check([
        Case("middle, IPv4", None, part4(UDP, 1480, true, &bytes), later),
        Case(
            "last, IPv4",
            None,
            part4(UDP, 1480, false, &bytes[..3]),
            later,
        ),
        Case("TCP, IPv4", None, part4(TCP, 24, false, &bytes), later),
        Case("middle, IPv6", None, part6(UDP, 1480, true, &bytes), later),
        Case(
            "last, IPv6",
            None,
            part6(UDP, 1480, false, &bytes[..3]),
            later,
        ),
        Case(
            "the farthest",
            None,
            part4(UDP, 65_528, false, &bytes[..7]),
            later,
        ),
    ]);
}

#[test]
fn what_no_stack_cuts_is_refused() {
    let bytes = [1; 24];
    refused(
        Fate::FragmentMalformed,
        [
            ("nothing", part4(UDP, 1480, false, &[])),
            ("a broken length", part4(UDP, 1480, true, &bytes[..23])),
            (
                "beyond 65,535 bytes",
                part4(UDP, 65_528, false, &bytes[..8]),
            ),
            ("over the flags of TCP", part4(TCP, 8, false, &bytes)),
            (
                "over the end of TCP's header",
                part6(TCP, 16, false, &bytes),
            ),
            ("nothing, IPv6", part6(UDP, 8, false, &[])),
        ],
    );
    refused(
        Fate::TcpMalformed,
        [("a part of a TCP header", part4(TCP, 0, true, &bytes[..16]))],
    );
    let whole = part4(UDP, 0, true, &datagram(8));
    refused(Fate::UdpMalformed, [("a whole datagram, with more", whole)]);
    refused(
        Fate::Fragment,
        [
            ("ICMP", part4(1, 0, true, &bytes)),
            ("ICMPv6", part6(58, 8, false, &bytes)),
        ],
    );
    let twice = part6(
        44,
        0,
        true,
        &[&[17, 0, 0, 1, 0, 0, 0, 9], &datagram(64)[..16]].concat(),
    );
    refused(Fate::Ipv6Extensions, [("cut twice", twice)]);
}

#[test]
fn the_parts_of_a_packet_have_one_identity_and_others_another() {
    let payload = datagram(100);
    let id = |frame: &[u8]| fragment_id(frame, 14);
    let first = part4(UDP, 0, true, &payload[..24]);
    let later = part4(UDP, 24, false, &payload[24..]);
    assert!(id(&first).is_some());
    assert_eq!(id(&first), id(&later));
    for (at, what) in [(18, "identification"), (26, "source"), (30, "destination")] {
        let other = patched(later.clone(), at, &[0xee]);
        assert_ne!(id(&first), id(&other), "{what}");
    }
    assert_ne!(id(&first), id(&part4(TCP, 24, false, &payload[24..])));

    let first = part6(UDP, 0, true, &payload[..24]);
    let later = part6(UDP, 24, false, &payload[24..]);
    assert!(id(&first).is_some());
    assert_eq!(id(&first), id(&later));
    assert_ne!(id(&first), id(&patched(later, 58, &[0xee])));
    assert_eq!(id(&udp4()), None);
    assert_eq!(id(&udp6()), None);
}
