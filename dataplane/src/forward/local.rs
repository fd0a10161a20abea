//! Frames for the forwarder itself: ARP, NDP and ping are answered, answers of neighbours noted; ICMP
//! errors are passed on.

use super::{Verdict, View, quoted::follow_error};
use crate::{
    answer::{Answer, Learned, Station, answer_arp, answer_icmp4, answer_icmp6},
    fate::Fate,
    parse::Parsed,
    port::{Burst, Frame},
    tables::{PortStation, id::PortId},
    worker::Own,
};
use std::net::IpAddr;

impl Station for PortStation<'_> {
    fn mac(&self) -> crate::wire::ethernet::Mac {
        self.spec.mac
    }

    fn is_own_mac(&self, mac: crate::wire::ethernet::Mac) -> bool {
        self.stations.is_own_mac(mac)
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.stations.is_ours(address)
    }

    fn may_send(&self, address: IpAddr) -> bool {
        self.stations.may_send(address)
    }
}

/// Answers in place; a reply leaves by the port that the question came by.
pub(crate) fn answer_all<F: Frame>(
    burst: &mut Burst<F>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
    local: &[(u8, Parsed)],
) {
    let station = view.tables.stations.on(port);
    for (index, parsed) in local {
        let frame = &mut burst[usize::from(*index)];
        if let Some(verdict) = follow_error(*index, frame.bytes(), *parsed, port, view, own) {
            own.findings.decide(*index, verdict);
            continue;
        }
        let verdict = match answer_one(frame, *parsed, &station) {
            Ok(Answer::Reply(learned)) => {
                if let Some(learned) = learned {
                    learn(learned, port, view, own);
                }
                Verdict::Answer
            }
            Ok(Answer::Learned(learned)) => {
                learn(learned, port, view, own);
                Verdict::Done(Fate::Learned)
            }
            Err(fate) => Verdict::Done(fate),
        };
        own.findings.decide(*index, verdict);
    }
}

fn answer_one<F: Frame>(
    frame: &mut F,
    parsed: Parsed,
    station: &PortStation<'_>,
) -> Result<Answer, Fate> {
    match parsed {
        Parsed::Arp { offset } => answer_arp(frame, offset, station),
        Parsed::Icmp4(message) => answer_icmp4(frame, message, station),
        Parsed::Icmp6(message) => answer_icmp6(frame, message, station),
        Parsed::V4(_)
        | Parsed::V6(_)
        | Parsed::First4(_)
        | Parsed::First6(_)
        | Parsed::Later(_) => Err(Fate::NoService),
    }
}

/// Takes what was learned where it is about a next hop; others are no business of ours.
fn learn<F>(learned: Learned, port: PortId, view: View<'_>, own: &mut Own<F>) {
    if let Some(neighbour) = view.tables.neighbours.find(learned.address, port) {
        neighbour.learn(&learned, view.now);
        own.counters.neighbours_learned.add(1);
    }
}
