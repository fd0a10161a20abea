//! What the targets in `dataplane/fuzz` run on hostile bytes, and what must hold whatever they are.
//!
//! An input is a byte that says whether the port has a VLAN, then a frame. The inputs in
//! `dataplane/fuzz/seeds` are run by a test too: seeds, and whatever once crashed.

use std::net::IpAddr;
use std::sync::Arc;

use crate::answer::{Answer, Station, answer_arp, answer_icmp4, answer_icmp6};
use crate::fate::Fate;
use crate::parse::{Parsed, oracle, parse};
use crate::port::Frame;
use crate::port::memory::{MemoryFrame, Pool};
use crate::wire::ethernet::Mac;

/// The VLAN of a port that has one.
const PORT_VLAN: u16 = 100;

/// A forwarder with an address or more for every test frame.
struct Forwarder;

impl Station for Forwarder {
    fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, 0x99])
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
    let Some((selector, bytes)) = input.split_first() else {
        return;
    };
    let vlan = (selector % 2 == 1).then_some(PORT_VLAN);
    let Ok(parsed) = parse(bytes, vlan) else {
        return;
    };
    if let Some(ours) = oracle::ours(bytes, vlan) {
        assert_eq!(Some(ours), oracle::told(bytes));
    }
    let Some(mut frame) = MemoryFrame::copied(&Arc::new(Pool::new(1)), bytes) else {
        return;
    };
    match answer(&mut frame, &parsed) {
        Some(Ok(Answer::Reply(learned))) => {
            let reply = parse(frame.bytes(), vlan).map(|reply| answer(&mut frame, &reply));
            assert!(matches!(reply, Ok(Some(Err(_)))), "{reply:?}: {frame:?}");
            assert!(learned.is_none_or(|learned| learned.mac.is_unicast()));
        }
        Some(Ok(Answer::Learned(learned))) => {
            assert!(learned.mac.is_unicast() && !Forwarder.is_ours(learned.address));
            assert_eq!(frame.bytes(), bytes);
        }
        Some(Err(_)) | None => assert_eq!(frame.bytes(), bytes),
    }
}

/// None for what is not for the forwarder itself.
fn answer(frame: &mut MemoryFrame, parsed: &Parsed) -> Option<Result<Answer, Fate>> {
    match *parsed {
        Parsed::Arp { offset } => Some(answer_arp(frame, offset, &Forwarder)),
        Parsed::Icmp4(message) => Some(answer_icmp4(frame, message, &Forwarder)),
        Parsed::Icmp6(message) => Some(answer_icmp6(frame, message, &Forwarder)),
        Parsed::V4(_) | Parsed::V6(_) => None,
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
        let mut input = vec![u8::from(vlan.is_some())];
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
