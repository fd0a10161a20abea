//! ARP: who asks, who tells and who must not.

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};

use super::{answered, learned, refused};
use crate::answer::Answer;
use crate::fate::Fate;
use crate::samples::*;
use crate::wire::ethernet::Mac;

struct Arp {
    link: (Mac, Mac),
    operation: ArpOperation,
    sender: (Mac, [u8; 4]),
    target: (Mac, [u8; 4]),
}

const NOBODY: Mac = Mac([0; 6]);

/// The neighbour's broadcast question for an address of ours.
const REQUEST: Arp = Arp {
    link: (NEIGHBOUR_MAC, Mac::BROADCAST),
    operation: ArpOperation::REQUEST,
    sender: (NEIGHBOUR_MAC, CLIENT4),
    target: (NOBODY, OURS4),
};

/// The neighbour's answer to a question of ours.
const REPLY: Arp = Arp {
    link: (NEIGHBOUR_MAC, OUR_MAC),
    operation: ArpOperation::REPLY,
    sender: (NEIGHBOUR_MAC, CLIENT4),
    target: (OUR_MAC, OURS4),
};

impl Arp {
    fn frame(self) -> Vec<u8> {
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            self.operation,
            &self.sender.0.0,
            &self.sender.1,
            &self.target.0.0,
            &self.target.1,
        );
        let link = PacketBuilder::ethernet2(self.link.0.0, self.link.1.0);
        written(|out| link.arp(packet.unwrap()).write(out))
    }
}

/// What we reply to [`REQUEST`].
fn arp_reply() -> Vec<u8> {
    let (ours, theirs) = ((OUR_MAC, OURS4), (NEIGHBOUR_MAC, CLIENT4));
    let link = (OUR_MAC, NEIGHBOUR_MAC);
    Arp {
        link,
        operation: ArpOperation::REPLY,
        sender: ours,
        target: theirs,
    }
    .frame()
}

#[test]
fn an_arp_request_is_answered_and_teaches() {
    let reply = Answer::Reply(Some(learned(CLIENT4, false)));
    assert_eq!(answered(&REQUEST.frame(), None), (Ok(reply), arp_reply()));
    let tagged_request = tagged(REQUEST.frame(), VLAN);
    assert_eq!(
        answered(&tagged_request, Some(VLAN)),
        (Ok(reply), tagged(arp_reply(), VLAN))
    );
    let unicast = Arp {
        link: (NEIGHBOUR_MAC, OUR_MAC),
        target: (OUR_MAC, OURS4),
        ..REQUEST
    };
    assert_eq!(answered(&unicast.frame(), None), (Ok(reply), arp_reply()));
}

#[test]
fn an_arp_probe_for_our_address_is_answered_and_teaches_nothing() {
    let probe = Arp {
        sender: (NEIGHBOUR_MAC, [0; 4]),
        ..REQUEST
    };
    let (answer, after) = answered(&probe.frame(), None);
    assert_eq!(answer, Ok(Answer::Reply(None)));
    assert_eq!(after, patched(arp_reply(), 38, &[0; 4]));
}

#[test]
fn arp_replies_and_announcements_teach() {
    let other = [192, 0, 2, 200];
    let announced = Arp {
        target: (NOBODY, CLIENT4),
        ..REQUEST
    };
    let announced_by_reply = Arp {
        target: (Mac::BROADCAST, CLIENT4),
        ..REPLY
    };
    let cases = [
        (REPLY, true),
        (announced, false),
        (announced_by_reply, true),
        (
            Arp {
                target: (NOBODY, other),
                ..REQUEST
            },
            false,
        ),
    ];
    for (case, is_answer) in cases {
        let frame = case.frame();
        let expected = Ok(Answer::Learned(learned(CLIENT4, is_answer)));
        assert_eq!(answered(&frame, None), (expected, frame));
    }
}

#[test]
fn arp_that_is_refused() {
    let from = |mac, address: [u8; 4]| {
        Arp {
            sender: (mac, address),
            ..REQUEST
        }
        .frame()
    };
    let probe = Arp {
        sender: (NEIGHBOUR_MAC, [0; 4]),
        target: (NOBODY, CLIENT4),
        ..REQUEST
    };
    refused(
        Fate::ArpNotOurs,
        [("a probe for another's address", probe.frame())],
    );
    refused(
        Fate::ArpMalformed,
        [
            ("from everyone", from(Mac::BROADCAST, CLIENT4)),
            ("from a group", from(Mac([1, 0, 0x5e, 0, 0, 1]), CLIENT4)),
            ("from no station", from(NOBODY, CLIENT4)),
            ("from our MAC", from(OUR_MAC, CLIENT4)),
            (
                "reverse",
                Arp {
                    operation: ArpOperation(3),
                    ..REQUEST
                }
                .frame(),
            ),
        ],
    );
    refused(
        Fate::BadSource,
        [
            ("of everyone", from(NEIGHBOUR_MAC, [255; 4])),
            ("of a group", from(NEIGHBOUR_MAC, [224, 0, 0, 1])),
            ("of a loopback", from(NEIGHBOUR_MAC, [127, 0, 0, 1])),
            (
                "sent to itself",
                Arp {
                    link: (OUR_MAC, OUR_MAC),
                    ..REQUEST
                }
                .frame(),
            ),
            (
                "sent by a group",
                Arp {
                    link: (Mac::BROADCAST, OUR_MAC),
                    ..REQUEST
                }
                .frame(),
            ),
        ],
    );
    refused(
        Fate::AddressConflict,
        [
            ("a request from our address", from(NEIGHBOUR_MAC, OURS4)),
            (
                "a reply from our address",
                Arp {
                    sender: (NEIGHBOUR_MAC, OURS4),
                    ..REPLY
                }
                .frame(),
            ),
        ],
    );
}
