//! Which frames are captured: all terms must hold.
//!
//! Terms about the frame that came are asked before it is copied, first of its packet's key if there is one;
//! those about what became of its packet once that is known, and then hold for the frame that came and the
//! one that left.

use super::{Direction, Outcome, Screen};
use crate::{
    dissect::{self, Ends},
    fate::Fate,
    tables::{
        id::{BackendId, ServiceId},
        same_subnet,
    },
    wire::{ethernet, ipv4, ipv6},
};
use std::net::IpAddr;

/// A condition, or that it does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Whether the condition must not hold.
    pub negated: bool,
    /// The condition.
    pub test: Test,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is TCP.
    Tcp,
    /// It is UDP.
    Udp,
    /// It is ICMP or `ICMPv6`.
    Icmp,
    /// It is ARP.
    Arp,
    /// It comes from or goes to this address.
    Host(IpAddr),
    /// It comes from this address.
    Source(IpAddr),
    /// It goes to this address.
    Destination(IpAddr),
    /// It comes from or goes to an address under this prefix.
    Net(IpAddr, u8),
    /// It comes from or goes to this port.
    Port(u16),
    /// It is of this service: of a backend of it, or addressed to it.
    Service(ServiceId),
    /// It goes to, or through NAT comes from, one of these backends.
    Backend(Box<[BackendId]>),
    /// This became of it.
    Outcome(Outcome),
    /// It was dropped.
    Dropped,
    /// This is the way that the frame went.
    Direction(Direction),
}

/// What became of a packet, as far as terms ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) outcome: Outcome,
    pub(super) backend: Option<BackendId>,
    pub(super) service: Option<ServiceId>,
}

/// Terms that must all hold; without any, every frame matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// About the headers of a frame.
    headers: Box<[Term]>,
    /// The same, about the key of its packet.
    screen: Screen,
    /// About what became of its packet.
    known: Box<[Term]>,
    /// Whether these take a packet that was sent on.
    sent: bool,
    /// About the way that it went.
    ways: Box<[Term]>,
}

impl Filter {
    /// A filter of these terms.
    #[must_use]
    pub fn new(terms: Vec<Term>) -> Self {
        let (ways, terms): (Vec<_>, Vec<_>) =
            terms.into_iter().partition(|it| it.test.is_of_the_way());
        let (known, headers): (Vec<_>, Vec<_>) = terms
            .into_iter()
            .partition(|it| it.test.is_of_the_outcome());
        Self {
            screen: Screen::new(&headers),
            headers: headers.into(),
            sent: take_sent(&known),
            known: known.into(),
            ways: ways.into(),
        }
    }

    /// Whether the headers of a frame match.
    #[inline]
    pub(super) fn takes_frame(&self, frame: &[u8]) -> bool {
        if self.headers.is_empty() {
            return true;
        }
        let link = dissect::link(frame);
        let ethertype = link.map(|it| it.ethertype);
        let ends = link.and_then(|it| dissect::ends(it.ethertype, frame.get(it.payload..)?));
        let mut terms = self.headers.iter();
        terms.all(|term| term.test.is_of_frame(ethertype, ends.as_ref()) != term.negated)
    }

    /// The screen before it.
    #[inline]
    pub(super) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Whether terms ask for the service.
    pub(super) fn asks_for_service(&self) -> bool {
        let mut terms = self.known.iter();
        terms.any(|term| matches!(term.test, Test::Service(_)))
    }

    /// Whether a packet may match that was sent on, as nearly all are.
    #[inline]
    pub(super) fn takes_sent(&self) -> bool {
        self.sent
    }

    /// Whether what became of a packet matches.
    #[inline]
    pub(super) fn takes_outcome(&self, known: &Known) -> bool {
        let mut terms = self.known.iter();
        terms.all(|term| term.test.is_of(known) != term.negated)
    }

    /// Whether the way that a frame went matches.
    #[inline]
    pub(super) fn takes_way(&self, way: Direction) -> bool {
        let mut terms = self.ways.iter();
        terms.all(|term| (term.test == Test::Direction(way)) != term.negated)
    }
}

/// Whether terms about what became of a packet take one that was sent on, whoever to.
fn take_sent(known: &[Term]) -> bool {
    [Fate::Forwarded, Fate::Returned].into_iter().any(|fate| {
        let sent = Outcome::Fate(fate);
        let mut terms = known.iter();
        terms.all(|term| match term.test {
            Test::Outcome(outcome) => (outcome == sent) != term.negated,
            Test::Dropped => term.negated,
            _ => true,
        })
    })
}

impl Test {
    fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Direction(_))
    }

    fn is_of_the_outcome(&self) -> bool {
        matches!(
            self,
            Self::Service(_) | Self::Backend(_) | Self::Outcome(_) | Self::Dropped
        )
    }

    #[inline]
    fn is_of_frame(&self, ethertype: Option<u16>, ends: Option<&Ends>) -> bool {
        // ARP has none.
        let protocol = |number| ends.is_some_and(|it| it.protocol == number);
        match self {
            Self::Tcp => protocol(ipv4::TCP),
            Self::Udp => protocol(ipv4::UDP),
            Self::Icmp => match ethertype {
                Some(ethernet::IPV4) => protocol(ipv4::ICMP),
                Some(ethernet::IPV6) => protocol(ipv6::ICMP),
                _ => false,
            },
            Self::Arp => ethertype == Some(ethernet::ARP),
            Self::Host(address) => {
                ends.is_some_and(|it| it.source == *address || it.destination == *address)
            }
            Self::Source(address) => ends.is_some_and(|it| it.source == *address),
            Self::Destination(address) => ends.is_some_and(|it| it.destination == *address),
            Self::Net(address, length) => ends.is_some_and(|it| {
                let within = |end| same_subnet(end, *address, *length);
                within(it.source) || within(it.destination)
            }),
            Self::Port(port) => ends
                .and_then(|it| it.ports)
                .is_some_and(|(source, destination)| source == *port || destination == *port),
            Self::Service(_)
            | Self::Backend(_)
            | Self::Outcome(_)
            | Self::Dropped
            | Self::Direction(_) => true,
        }
    }

    #[inline]
    fn is_of(&self, known: &Known) -> bool {
        match self {
            Self::Service(service) => known.service == Some(*service),
            Self::Backend(backends) => known.backend.is_some_and(|it| backends.contains(&it)),
            Self::Outcome(outcome) => known.outcome == *outcome,
            Self::Dropped => matches!(known.outcome, Outcome::Fate(fate) if fate.is_drop()),
            _ => true,
        }
    }
}

impl Outcome {
    /// Its name, as that of a fate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fate(fate) => fate.name(),
            Self::Held => "held",
            Self::Originated => "originated",
        }
    }

    /// Every outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        let fates = Fate::ALL.iter().map(|fate| Self::Fate(*fate));
        fates.chain([Self::Held, Self::Originated])
    }
}
