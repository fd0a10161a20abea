//! What the targets in `dataplane/fuzz` run on hostile bytes, and what must hold whatever they are.
//!
//! An input is a byte that says whether the port has a VLAN and whether checksums are made right,
//! which an attacker can do and a fuzzer cannot, then a frame. The inputs in `dataplane/fuzz/seeds`
//! are run by a test too: seeds, and whatever once crashed.

use std::net::IpAddr;
use std::sync::Arc;

use zerocopy::FromBytes;

use crate::answer::{Answer, Station, answer_arp, answer_icmp4, answer_icmp6};
use crate::fate::Fate;
use crate::parse::{Message, Parsed, oracle, parse, usual4};
use crate::port::Frame;
use crate::port::memory::{MemoryFrame, Pool};
use crate::wire::checksum::{Checksum, Sum};
use crate::wire::ethernet::Mac;
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

/// Bit of the first byte: the port has a VLAN.
const HAS_VLAN: u8 = 1;
/// Bit of the first byte: checksums are made right.
const IS_SUMMED: u8 = 2;
/// The VLAN of a port that has one.
const PORT_VLAN: u16 = 100;

/// A forwarder with an address or more for every test frame.
struct Forwarder;

impl Station for Forwarder {
    fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, 0x99])
    }

    fn is_own_mac(&self, mac: Mac) -> bool {
        mac == self.mac()
    }

    fn may_send(&self, address: IpAddr) -> bool {
        let is_of_one = match address {
            IpAddr::V4(v4) => crate::wire::ipv4::can_send(v4),
            IpAddr::V6(v6) => crate::wire::ipv6::can_send(v6),
        };
        is_of_one && !self.is_ours(address)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => matches!(address.octets(), [203, .., 80]),
            IpAddr::V6(address) => matches!(address.octets(), [0x20, .., 0x80]),
        }
    }
}

/// Parses the input and answers it.
///
/// # Panics
///
/// Where `parse` takes a packet that `etherparse` refuses or reads otherwise, and where a reply is
/// malformed, or would be answered in turn.
pub fn parse_and_answer(input: &[u8]) {
    let Some((selector, frame)) = input.split_first() else {
        return;
    };
    let vlan = (selector & HAS_VLAN != 0).then_some(PORT_VLAN);
    let mut bytes = frame.to_vec();
    if selector & IS_SUMMED != 0 {
        sum(&mut bytes, vlan);
    }
    check_shortcut(&bytes);
    let Ok(parsed) = parse(&bytes, vlan) else {
        return;
    };
    if let Some(ours) = oracle::ours(&bytes, vlan) {
        assert_eq!(Some(ours), oracle::told(&bytes));
    }
    if let Some(mut frame) = MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes) {
        let answer = answer(&mut frame, &parsed);
        check(answer, &bytes, &mut frame, vlan);
    }
}

/// What the shortcut takes, the long way takes alike.
fn check_shortcut(frame: &[u8]) {
    let destination = frame.first_chunk().map(|mac| Mac(*mac));
    if let Some(packet) = destination.and_then(|mac| usual4(frame, mac, false)) {
        assert_eq!(parse(frame, None), Ok(Parsed::V4(packet)));
    }
}

fn check(
    answered: Option<Result<Answer, Fate>>,
    before: &[u8],
    frame: &mut MemoryFrame,
    vlan: Option<u16>,
) {
    match answered {
        Some(Ok(Answer::Reply(learned))) => {
            let reply = parse(frame.bytes(), vlan).map(|reply| answer(frame, &reply));
            assert!(matches!(reply, Ok(Some(Err(_)))), "{reply:?}: {frame:?}");
            assert!(learned.is_none_or(|learned| learned.mac.is_unicast()));
        }
        Some(Ok(Answer::Learned(learned))) => {
            assert!(learned.mac.is_unicast() && !Forwarder.is_ours(learned.address));
            assert_eq!(frame.bytes(), before);
        }
        Some(Err(_)) | None => assert_eq!(frame.bytes(), before),
    }
}

/// Makes the checksums of an IPv4 header and of an ICMP message right.
fn sum(frame: &mut [u8], vlan: Option<u16>) {
    let l3 = if vlan.is_some() { 18 } else { 14 };
    if let Some(packet) = frame.get_mut(l3..) {
        sum_header(packet);
    }
    let (message, pseudo) = match parse(frame, vlan) {
        Ok(Parsed::Icmp4(message)) => (message, Sum::default()),
        Ok(Parsed::Icmp6(message)) => (message, pseudo6(frame, message)),
        _ => return,
    };
    let message = frame.get_mut(usize::from(message.l4)..usize::from(message.end));
    let message = message.unwrap_or_default();
    if let Ok((head, _)) = Icmp::mut_from_prefix(message) {
        head.checksum = Checksum::NONE;
        let Checksum([high, low]) = pseudo.bytes(message).checksum();
        message[2..4].copy_from_slice(&[high, low]);
    }
}

/// Of an IPv4 header, where the packet has one.
fn sum_header(packet: &mut [u8]) {
    let Ok((header, _)) = Ipv4::mut_from_prefix(packet) else {
        return;
    };
    if header.version() == 4 {
        let len = usize::from(header.header_len());
        header.checksum = Checksum::NONE;
        let sum = packet.get(..len).map(|header| Sum::default().bytes(header));
        let Checksum(field) = sum.unwrap_or_default().checksum();
        packet[10..12].copy_from_slice(&field);
    }
}

fn pseudo6(frame: &[u8], message: Message) -> Sum {
    let packet = frame.get(usize::from(message.l3)..).unwrap_or_default();
    Ipv6::ref_from_prefix(packet).map_or(Sum::default(), |(header, _)| {
        let len = message.end - message.l4;
        Sum::pseudo6(header.source, header.destination, ipv6::ICMP, len)
    })
}

/// None for what is not for the forwarder itself.
fn answer(frame: &mut MemoryFrame, parsed: &Parsed) -> Option<Result<Answer, Fate>> {
    match *parsed {
        Parsed::Arp { offset } => Some(answer_arp(frame, offset, &Forwarder)),
        Parsed::Icmp4(message) => Some(answer_icmp4(frame, message, &Forwarder)),
        Parsed::Icmp6(message) => Some(answer_icmp6(frame, message, &Forwarder)),
        Parsed::V4(_)
        | Parsed::V6(_)
        | Parsed::First4(_)
        | Parsed::First6(_)
        | Parsed::Later(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::samples::*;
    use crate::solicit::{arp_request, neighbour_announcement, neighbour_solicitation};

    const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/parse");

    /// What a neighbour fills an empty frame with.
    fn filled(fill: impl FnOnce(&mut MemoryFrame) -> bool) -> Vec<u8> {
        let mut frame = MemoryFrame::new(&Arc::new(Pool::new(1))).unwrap();
        assert!(fill(&mut frame));
        frame.bytes().to_vec()
    }

    fn seeds() -> Vec<(&'static str, Option<u16>, Vec<u8>)> {
        let from4 = (NEIGHBOUR_MAC, CLIENT4.into());
        let from6 = (NEIGHBOUR_MAC, CLIENT6.into());
        let arp = |known| filled(|frame| arp_request(frame, None, from4, OURS4.into(), known));
        let solicitation =
            filled(|frame| neighbour_solicitation(frame, None, from6, OURS6.into(), None));
        let announcement = filled(|frame| neighbour_announcement(frame, None, from6));
        vec![
            ("tcp4", None, tcp4()),
            ("tcp4_tagged", Some(VLAN), tagged(tcp4(), VLAN)),
            ("tcp4_options", None, options4()),
            ("tcp6", None, tcp6()),
            ("udp4", None, udp4()),
            ("udp6", None, udp6()),
            ("udp6_extensions", None, extensions6()),
            ("ping4", None, ping4()),
            ("ping6", None, ping6()),
            ("ping6_tagged", Some(VLAN), tagged(ping6(), VLAN)),
            ("arp_request", None, arp(None)),
            ("arp_reply", None, patched(arp(Some(OUR_MAC)), 20, &[0, 2])),
            ("ndp_solicitation", None, solicitation),
            ("ndp_advertisement", None, announcement),
        ]
    }

    fn input(vlan: Option<u16>, frame: Vec<u8>) -> Vec<u8> {
        let mut input = vec![IS_SUMMED | if vlan.is_some() { HAS_VLAN } else { 0 }];
        input.extend(frame);
        input
    }

    /// `TETHER_WRITE_SEEDS=1` writes them anew, after a change of the frames.
    #[test]
    fn the_seeds_are_the_frames_of_the_tests() {
        for (name, vlan, frame) in seeds() {
            assert!(parse(&frame, vlan).is_ok(), "{name}");
            let (path, input) = (Path::new(SEEDS).join(name), input(vlan, frame));
            if env::var_os("TETHER_WRITE_SEEDS").is_some() {
                fs::write(&path, &input).unwrap();
            }
            let seed = fs::read(&path).unwrap_or_default();
            assert_eq!(
                seed, input,
                "{name}: run with TETHER_WRITE_SEEDS=1 to write it anew"
            );
        }
    }

    #[test]
    fn every_seed_and_past_crash_passes() {
        let files: Vec<_> = fs::read_dir(SEEDS).unwrap().collect();
        assert!(files.len() >= seeds().len());
        for file in files {
            parse_and_answer(&fs::read(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn the_forwarder_answers_the_seeds() {
        for name in [
            "arp_request",
            "ping4",
            "ping6",
            "ping6_tagged",
            "ndp_solicitation",
        ] {
            let (_, vlan, bytes) = seeds().into_iter().find(|seed| seed.0 == name).unwrap();
            let mut frame = MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes).unwrap();
            let answer = answer(&mut frame, &parse(&bytes, vlan).unwrap());
            assert!(
                matches!(answer, Some(Ok(Answer::Reply(_)))),
                "{name}: {answer:?}"
            );
        }
    }
}
