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
/// `EtherType` IPv4, then version 4 with five words of header.
const PLAIN: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0x00]);
/// All of that, and not the type of service that follows.
const PLAIN_MASK: u32 = u32::from_le_bytes([0xff, 0xff, 0xff, 0x00]);
/// Of the eight bytes from the total length on, those bits that only fragments have.
const FRAGMENTED: u64 = (ipv4::FRAGMENTED.to_be() as u64) << 32;
/// Bytes of an IP header without options.
const IP_LEN: u32 = 20;

/// The packet, if it is a usual one for the station with this MAC address. The checksum of its header is
/// looked at unless it `is_checked`.
///
/// Words of several fields are loaded at once, and what must hold is gathered in one that is 0 then: a
/// load and a branch for each field would cost more.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "measured: a call for each packet costs more"
)]
pub(crate) fn usual4(frame: &[u8], mac: Mac, is_checked: bool) -> Option<Packet<Key4>> {
    let headers: &[u8; HEADERS] = frame.first_chunk()?;
    let other_mac = (u64::from_le_bytes(chunk(headers, 0)) ^ mac.word()) << 16;
    let other_header = (u32::from_le_bytes(chunk(headers, 12)) ^ PLAIN) & PLAIN_MASK;
    // Total length, identification, fragment offset, time to live, protocol.
    let word = u64::from_le_bytes(chunk(headers, 16));
    let is_other = other_mac | u64::from(other_header) | word & FRAGMENTED != 0;
    if is_other || !(is_checked || is_summed(headers)) {
        return None;
    }
    let [high, low, .., protocol] = word.to_le_bytes();
    let total_len = u32::from(u16::from_be_bytes([high, low]));
    if total_len as usize + usize::from(L3) > frame.len() {
        return None;
    }
    let (protocol, tcp_flags) = match protocol {
        ipv4::TCP => (Protocol::Tcp, tcp_flags(headers, total_len)?),
        ipv4::UDP if is_udp(headers, total_len) => (Protocol::Udp, 0),
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

/// The flags of a TCP header that fits the packet and that some stack sends.
#[inline]
fn tcp_flags(headers: &[u8; HEADERS], total_len: u32) -> Option<u8> {
    let header_len = u32::from(headers[46] & 0xf0) / 4;
    let flags = headers[47];
    let fits = header_len >= 20 && header_len + IP_LEN <= total_len;
    (fits && !are_refused(flags)).then_some(flags)
}

#[inline]
fn is_udp(headers: &[u8; HEADERS], total_len: u32) -> bool {
    let length = u32::from(u16::from_be_bytes(chunk(headers, 38)));
    length >= 8 && length + IP_LEN <= total_len
}

/// Whether the sum of the IP header is right. The sum in ones' complement of 16 bits (RFC 1071) is the
/// remainder by 2^16 - 1, in whichever words it is added up, with the carries added too; of what is not
/// all zeros it is right where that is 0. Both addresses are one word, as the key has them.
#[inline]
fn is_summed(headers: &[u8; HEADERS]) -> bool {
    let (a, b) = (
        u64::from_ne_bytes(chunk(headers, 14)),
        u64::from_ne_bytes(chunk(headers, 26)),
    );
    let c = u64::from(u32::from_ne_bytes(chunk(headers, 22)));
    let (sum, carry) = a.overflowing_add(b);
    let (sum, again) = sum.overflowing_add(c + u64::from(carry));
    let (sum, _) = sum.overflowing_add(u64::from(again));
    sum.is_multiple_of(0xffff)
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
    use crate::parse::{Parsed, parse, parse_checked};
    use crate::samples::*;
    use proptest::prelude::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

    /// Asserts that both say the same, where this one says anything.
    fn agree(frame: &[u8]) -> Result<bool, TestCaseError> {
        let usual = usual4(frame, OURS, false);
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
        assert_eq!(usual4(&tcp4(), Mac([2, 0, 0, 0, 0, 1]), false), None);
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

        /// A checked header is taken like one whose sum is right, and nothing else is.
        #[test]
        fn a_check_saves_the_sum_and_nothing_else(
            at in 14_usize..54,
            bytes in prop::collection::vec(any::<u8>(), 1..4),
            is_tcp: bool,
        ) {
            let mut frame = if is_tcp { tcp4() } else { udp4() };
            frame.resize(80, 0);
            for (place, byte) in frame.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            if frame[14] & 0xf >= 5 {
                let summed = summed4(frame.clone());
                prop_assert_eq!(usual4(&frame, OURS, true), usual4(&summed, OURS, false));
                prop_assert_eq!(parse_checked(&frame, None, true), parse(&summed, None));
            }
        }

        #[test]
        fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            agree(&bytes)?;
            let _: Result<Parsed, Fate> = parse(&bytes, None);
        }
    }
}
