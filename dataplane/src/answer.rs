//! Answer: what neighbours and pings want of the forwarder itself, done in the frame they sent.
//!
//! ```text
//! ARP ───────────────── request ──────── reply, and learn who asked
//!                     └ reply ────────── learn
//! ICMP, ICMPv6 ───────┬ echo request ─── reply
//!                     ├ solicitation ─── advertise, and learn who asked
//!                     └ advertisement ── learn
//! ```
//!
//! Whoever is asked for, asks or claims is checked against [`Station`]; what is learned is only
//! offered. Tags stay as they came.

mod arp;
#[cfg(test)]
mod cases;
mod echo;
mod neighbour;
mod too_big;

use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) use arp::answer_arp;
pub(crate) use too_big::{may_be_told, too_big};

use crate::fate::Fate;
use crate::parse::Message;
use crate::port::Frame;
use crate::wire::ethernet::{Ethernet, Mac};
use crate::wire::icmp;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::ndp;

/// Who the forwarder is on a port.
pub(crate) trait Station {
    /// The port's MAC address.
    fn mac(&self) -> Mac;
    /// Whether one of the forwarder's ports has this MAC address.
    fn is_own_mac(&self, mac: Mac) -> bool;
    /// Whether the forwarder answers for this address on the port.
    fn is_ours(&self, address: IpAddr) -> bool;
    /// Whether another host may send from this address.
    fn may_send(&self, address: IpAddr) -> bool;
}

/// What became of a frame that was for the forwarder itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The frame now is the reply, to send out of the port it came from; with what the question
    /// told of who asked.
    Reply(Option<Learned>),
    /// The frame is done with. It told this, also where nobody had asked: only what an existing
    /// entry waits for or holds is to be taken from it (RFC 826; RFC 4861, section 7.2.5).
    Learned(Learned),
}

/// Where a neighbour says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// A unicast address that is not the forwarder's.
    pub(crate) address: IpAddr,
    /// The MAC address of one station.
    pub(crate) mac: Mac,
    /// Whether it answers a question, which makes the neighbour reachable (RFC 4861, section 7.2.5).
    pub(crate) is_answer: bool,
    /// Whether it may replace another MAC address (RFC 4861, section 7.2.5, the Override flag).
    pub(crate) replaces: bool,
}

/// Answers an ICMP message.
pub(crate) fn answer_icmp4<F: Frame>(
    frame: &mut F,
    message: Message,
    station: &impl Station,
) -> Result<Answer, Fate> {
    let layers = Layers::<Ipv4>::of(frame.bytes_mut(), message)?;
    match layers.kind()? {
        icmp::ECHO_REQUEST4 => echo::reply4(layers, station),
        _ => Err(Fate::IcmpUnhandled),
    }
}

/// Answers an `ICMPv6` message.
pub(crate) fn answer_icmp6<F: Frame>(
    frame: &mut F,
    message: Message,
    station: &impl Station,
) -> Result<Answer, Fate> {
    let layers = Layers::<Ipv6>::of(frame.bytes_mut(), message)?;
    match layers.kind()? {
        icmp::ECHO_REQUEST6 => echo::reply6(layers, station),
        ndp::SOLICITATION => {
            let question = neighbour::solicited(layers, station)?;
            neighbour::advertise(frame, message.l3, &question)?;
            Ok(Answer::Reply(question.learned))
        }
        ndp::ADVERTISEMENT => neighbour::advertised(layers, station),
        _ => Err(Fate::IcmpUnhandled),
    }
}

/// The parts of a frame with an ICMP message.
struct Layers<'a, L3> {
    link: &'a mut Ethernet,
    network: &'a mut L3,
    message: &'a mut [u8],
}

impl<'a, L3: FromBytes + IntoBytes + Immutable + KnownLayout> Layers<'a, L3> {
    /// An IP header with options or extension headers is not for turning round: a source route would
    /// have to be reversed (RFC 1122, section 3.2.2.6), and NDP never has a fragment header (RFC 6980).
    fn of(frame: &'a mut [u8], at: Message) -> Result<Self, Fate> {
        let split = |bytes: &'a mut [u8], at: u16| bytes.split_at_mut_checked(usize::from(at));
        let (packet, _) = split(frame, at.end).ok_or(Fate::IcmpMalformed)?;
        let (head, message) = split(packet, at.l4).ok_or(Fate::IcmpMalformed)?;
        let (head, network) = split(head, at.l3).ok_or(Fate::IcmpMalformed)?;
        let (link, _) = Ethernet::mut_from_prefix(head).map_err(|_| Fate::FrameTruncated)?;
        let network = L3::mut_from_bytes(network).map_err(|_| Fate::IcmpUnhandled)?;
        Ok(Self {
            link,
            network,
            message,
        })
    }

    /// The type of the message.
    fn kind(&self) -> Result<u8, Fate> {
        self.message.first().copied().ok_or(Fate::IcmpMalformed)
    }
}

/// A frame must come from one station that is not this one.
fn check_sender(link: &Ethernet, station: &impl Station) -> Result<(), Fate> {
    if link.source.is_unicast() && !station.is_own_mac(link.source) {
        Ok(())
    } else {
        Err(Fate::BadSource)
    }
}
