//! Neighbour discovery: valid, as RFC 4861, sections 7.1.1 and 7.1.2, has it, and not.

use std::net::Ipv6Addr;
use std::sync::Arc;

use etherparse::PacketBuilder;

use super::{Us, answered, learned, refused};
use crate::answer::{Answer, Learned, answer_icmp6};
use crate::fate::Fate;
use crate::parse::{Parsed, parse};
use crate::port::Frame;
use crate::port::memory::{MemoryFrame, Pool};
use crate::samples::*;
use crate::wire::ethernet::Mac;
use crate::wire::ipv6::{ALL_NODES, solicited_node};

/// A neighbour discovery message.
#[derive(Clone)]
struct Ndp {
    link: (Mac, Mac),
    source: [u8; 16],
    destination: Ipv6Addr,
    hop_limit: u8,
    kind: u8,
    code: u8,
    flags: u8,
    target: [u8; 16],
    options: Vec<u8>,
}

const NEIGHBOUR_OPTION: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 0x11];
const TARGET_OPTION: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 0x11];
const NONCE_OPTION: [u8; 8] = [14, 1, 1, 2, 3, 4, 5, 6];

impl Ndp {
    /// The neighbour's question to the group of our address.
    fn solicitation() -> Self {
        let group = solicited_node(OURS6.into());
        Self {
            link: (NEIGHBOUR_MAC, Mac::of_group(group)),
            source: CLIENT6,
            destination: group,
            hop_limit: 255,
            kind: 135,
            code: 0,
            flags: 0,
            target: OURS6,
            options: NEIGHBOUR_OPTION.to_vec(),
        }
    }

    /// The same from who does not have an address yet.
    fn probe() -> Self {
        Self {
            source: [0; 16],
            options: vec![],
            ..Self::solicitation()
        }
    }

    /// The neighbour's answer to our question.
    fn advertisement() -> Self {
        Self {
            link: (NEIGHBOUR_MAC, OUR_MAC),
            source: CLIENT6,
            destination: OURS6.into(),
            kind: 136,
            flags: 0x60,
            target: CLIENT6,
            options: TARGET_OPTION.to_vec(),
            ..Self::solicitation()
        }
    }

    fn frame(self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2(self.link.0.0, self.link.1.0);
        let network = link.ipv6(self.source, self.destination.octets(), self.hop_limit);
        let body = [&self.target[..], &self.options].concat();
        let rest = [self.flags, 0, 0, 0];
        written(|out| {
            network
                .icmpv6_raw(self.kind, self.code, rest)
                .write(out, &body)
        })
    }
}

/// What we tell a neighbour or everyone of our address.
fn our_advertisement(to: ([u8; 16], Mac), flags: u8) -> Vec<u8> {
    let option = [&[2, 1][..], &OUR_MAC.0].concat();
    Ndp {
        link: (OUR_MAC, to.1),
        source: OURS6,
        destination: to.0.into(),
        flags,
        target: OURS6,
        options: option,
        ..Ndp::advertisement()
    }
    .frame()
}

#[test]
fn a_solicitation_is_answered_and_teaches() {
    let advertisement = our_advertisement((CLIENT6, NEIGHBOUR_MAC), 0x60);
    let reply = (
        Ok(Answer::Reply(Some(learned(CLIENT6, false)))),
        advertisement.clone(),
    );
    let to_us = (NEIGHBOUR_MAC, OUR_MAC);
    let unicast = Ndp {
        link: to_us,
        destination: OURS6.into(),
        ..Ndp::solicitation()
    };
    let options = [NONCE_OPTION, NEIGHBOUR_OPTION].concat();
    assert_eq!(answered(&Ndp::solicitation().frame(), None), reply);
    assert_eq!(answered(&unicast.clone().frame(), None), reply);
    assert_eq!(
        answered(
            &Ndp {
                options,
                ..Ndp::solicitation()
            }
            .frame(),
            None
        ),
        reply
    );
    let mut padded = Ndp::solicitation().frame();
    padded.resize(120, 0xee);
    assert_eq!(answered(&padded, None), reply);
    let after = answered(&tagged(Ndp::solicitation().frame(), VLAN), Some(VLAN)).1;
    assert_eq!(after, tagged(advertisement.clone(), VLAN));

    let silent = Ndp {
        options: vec![],
        ..unicast
    };
    assert_eq!(
        answered(&silent.frame(), None),
        (Ok(Answer::Reply(None)), advertisement)
    );
}

#[test]
fn a_probe_for_our_address_is_answered_to_all_nodes() {
    let everyone = (ALL_NODES.octets(), Mac([0x33, 0x33, 0, 0, 0, 1]));
    let expected = (Ok(Answer::Reply(None)), our_advertisement(everyone, 0x20));
    assert_eq!(answered(&Ndp::probe().frame(), None), expected);
    let nonce = Ndp {
        options: NONCE_OPTION.to_vec(),
        ..Ndp::probe()
    };
    assert_eq!(answered(&nonce.frame(), None), expected);
}

#[test]
fn advertisements_teach() {
    let answer = learned(CLIENT6, true);
    let told = |learned| Ok(Answer::Learned(learned));
    let to_all = Ndp {
        destination: ALL_NODES,
        flags: 0x20,
        ..Ndp::advertisement()
    };
    let silent = Ndp {
        options: vec![],
        ..Ndp::advertisement()
    };
    let humble = Ndp {
        flags: 0x40,
        ..Ndp::advertisement()
    };
    let cases = [
        (Ndp::advertisement(), answer),
        (
            to_all,
            Learned {
                is_answer: false,
                ..answer
            },
        ),
        (
            silent,
            Learned {
                replaces: false,
                ..answer
            },
        ),
        (
            humble,
            Learned {
                replaces: false,
                ..answer
            },
        ),
    ];
    for (case, expected) in cases {
        let frame = case.frame();
        assert_eq!(answered(&frame, None), (told(expected), frame));
    }
}

#[test]
fn malformed_questions() {
    let ask = Ndp::solicitation;
    let probe = Ndp::probe();
    refused(
        Fate::NdpMalformed,
        [
            (
                "from beyond a router",
                Ndp {
                    hop_limit: 254,
                    ..ask()
                }
                .frame(),
            ),
            ("a code", Ndp { code: 1, ..ask() }.frame()),
            (
                "for a group",
                Ndp {
                    target: ALL_NODES.octets(),
                    ..ask()
                }
                .frame(),
            ),
            (
                "a probe that tells its MAC",
                Ndp {
                    source: [0; 16],
                    ..ask()
                }
                .frame(),
            ),
            (
                "a probe to one station",
                Ndp {
                    destination: OURS6.into(),
                    ..probe
                }
                .frame(),
            ),
        ],
    );
    refused(
        Fate::IcmpMalformed,
        [("a wrong checksum", patched(ask().frame(), 56, &[0, 0]))],
    );
}

#[test]
fn malformed_claims() {
    let tell = Ndp::advertisement;
    refused(
        Fate::NdpMalformed,
        [
            (
                "from beyond a router",
                Ndp {
                    hop_limit: 254,
                    ..tell()
                }
                .frame(),
            ),
            ("a code", Ndp { code: 1, ..tell() }.frame()),
            (
                "of a group",
                Ndp {
                    target: ALL_NODES.octets(),
                    ..tell()
                }
                .frame(),
            ),
            (
                "of no address",
                Ndp {
                    target: [0; 16],
                    ..tell()
                }
                .frame(),
            ),
            (
                "an answer to all",
                Ndp {
                    destination: ALL_NODES,
                    ..tell()
                }
                .frame(),
            ),
        ],
    );
    refused(
        Fate::IcmpMalformed,
        [("a wrong checksum", patched(tell().frame(), 56, &[0, 0]))],
    );
}

#[test]
fn malformed_options() {
    let ours = [&[1, 1][..], &OUR_MAC.0].concat();
    let cases: [(_, &[u8]); 9] = [
        ("of length 0", &[1, 0, 2, 0, 0, 0, 0, 1]),
        ("of length 0, not looked for", &[14, 0, 2, 0, 0, 0, 0, 1]),
        ("cut short", &[1, 1, 2, 0, 0, 0, 0]),
        ("of one byte", &[1]),
        ("beyond the end", &[14, 2, 0, 0, 0, 0, 0, 0]),
        (
            "a MAC of 14 bytes",
            &[1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
        ),
        ("a group's MAC", &[1, 1, 1, 0, 0, 0, 0, 1]),
        ("no station's MAC", &[1, 1, 0, 0, 0, 0, 0, 0]),
        ("our own MAC", &ours),
    ];
    let frame = |options: &[u8]| {
        Ndp {
            options: options.to_vec(),
            ..Ndp::solicitation()
        }
        .frame()
    };
    refused(
        Fate::NdpMalformed,
        cases.map(|(what, options)| (what, frame(options))),
    );
}

#[test]
fn a_target_cut_short_is_malformed() {
    let network = || PacketBuilder::ethernet2(NEIGHBOUR_MAC.0, OUR_MAC.0).ipv6(CLIENT6, OURS6, 255);
    let short = |kind| {
        written(|out| {
            network()
                .icmpv6_raw(kind, 0, [0; 4])
                .write(out, &[0x20; 15])
        })
    };
    refused(
        Fate::NdpMalformed,
        [("asked", short(135)), ("told", short(136))],
    );
}

#[test]
fn neighbour_discovery_that_is_not_answered() {
    let ask = Ndp::solicitation;
    let tell = Ndp::advertisement;
    let mut behind_options = ask().frame();
    behind_options.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
    let behind_options = patched(behind_options, 18, &[0, 40, 60]);
    refused(
        Fate::NdpNotOurs,
        [(
            "for another",
            Ndp {
                target: CLIENT6,
                ..ask()
            }
            .frame(),
        )],
    );
    refused(
        Fate::AddressConflict,
        [
            (
                "asked from our address",
                Ndp {
                    source: OURS6,
                    ..ask()
                }
                .frame(),
            ),
            (
                "told of our address",
                Ndp {
                    target: OURS6,
                    ..tell()
                }
                .frame(),
            ),
        ],
    );
    refused(
        Fate::BadSource,
        [
            (
                "from a group",
                Ndp {
                    source: ALL_NODES.octets(),
                    ..ask()
                }
                .frame(),
            ),
            (
                "from our MAC",
                Ndp {
                    link: (OUR_MAC, OUR_MAC),
                    ..ask()
                }
                .frame(),
            ),
            (
                "told from our MAC",
                Ndp {
                    link: (OUR_MAC, OUR_MAC),
                    ..tell()
                }
                .frame(),
            ),
        ],
    );
    refused(
        Fate::IcmpUnhandled,
        [
            ("behind options", behind_options),
            ("a router's", Ndp { kind: 134, ..ask() }.frame()),
            ("a redirect", Ndp { kind: 137, ..ask() }.frame()),
        ],
    );
}

#[test]
fn a_frame_without_room_is_refused() {
    let pool = Arc::new(Pool::new(1));
    let mut frame = MemoryFrame::copied(&pool, &Ndp::probe().frame())
        .unwrap()
        .segmented();
    let Ok(Parsed::Icmp6(message)) = parse(frame.bytes(), None) else {
        panic!("not a message")
    };
    assert_eq!(answer_icmp6(&mut frame, message, &Us), Err(Fate::NoRoom));
}
