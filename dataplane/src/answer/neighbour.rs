//! Neighbour discovery (RFC 4861, section 7), as a host that never routes.

use std::net::Ipv6Addr;

use zerocopy::{FromBytes, IntoBytes};

use super::{Answer, Layers, Learned, Station, check_sender};
use crate::fate::Fate;
use crate::port::Frame;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{Ethernet, Mac};
use crate::wire::ipv6::{self, ALL_NODES, Ipv6};
use crate::wire::ndp::{self, MacOption, Neighbour, OptionHead, Packet};

/// A valid solicitation for an address of the forwarder.
pub(super) struct Question {
    target: Ipv6Addr,
    /// The forwarder's.
    mac: Mac,
    reply_to: (Ipv6Addr, Mac),
    /// Of the advertisement that answers it.
    flags: u8,
    /// What it tells of who asks.
    pub(super) learned: Option<Learned>,
}

/// Checks a solicitation (section 7.1.1).
pub(super) fn solicited(layers: Layers<Ipv6>, station: &impl Station) -> Result<Question, Fate> {
    let Layers {
        link,
        network,
        message,
    } = layers;
    check_sender(link, station)?;
    let (solicitation, options) = check(network, message)?;
    let target = Ipv6Addr::from(solicitation.target);
    let source = Ipv6Addr::from(network.source);
    let told = mac_option(options, ndp::SOURCE_MAC, station)?;
    if source.is_unspecified() && (told.is_some() || !is_solicited_node(network.destination)) {
        return Err(Fate::NdpMalformed);
    }
    if !station.is_ours(target.into()) {
        return Err(Fate::NdpNotOurs);
    }
    if source.is_unspecified() {
        return Ok(Question::of_nobody(target, station.mac()));
    }
    check_claim(source, Fate::BadSource, station)?;
    let learn = |mac| Learned {
        address: source.into(),
        mac,
        is_answer: false,
        replaces: true,
    };
    Ok(Question {
        target,
        mac: station.mac(),
        reply_to: (source, told.unwrap_or(link.source)),
        flags: ndp::SOLICITED | ndp::OVERRIDE,
        learned: told.map(learn),
    })
}

impl Question {
    /// Asked by who wants the address for itself: everyone shall know whose it is (section 7.2.4;
    /// RFC 4862, section 5.4.3).
    fn of_nobody(target: Ipv6Addr, mac: Mac) -> Self {
        let reply_to = (ALL_NODES, Mac::of_group(ALL_NODES));
        Self {
            target,
            mac,
            reply_to,
            flags: ndp::OVERRIDE,
            learned: None,
        }
    }
}

/// Makes the frame, whose IP header is at `l3`, the answer (section 7.2.4).
pub(super) fn advertise<F: Frame>(frame: &mut F, l3: u16, question: &Question) -> Result<(), Fate> {
    let (address, mac) = question.reply_to;
    let packet = Packet::advertisement(question.target, question.mac, address, question.flags);
    if !frame.resize(usize::from(l3) + Packet::LEN) {
        return Err(Fate::NoRoom);
    }
    let (head, rest) = frame.bytes_mut().split_at_mut(usize::from(l3));
    let (link, _) = Ethernet::mut_from_prefix(head).map_err(|_| Fate::FrameTruncated)?;
    link.destination = mac;
    link.source = question.mac;
    packet.write_to(rest).map_err(|_| Fate::NoRoom)
}

/// Takes an advertisement (section 7.1.2). One without an option, which only an answer to a question
/// to one station may be, tells that the neighbour still is where it was.
pub(super) fn advertised(layers: Layers<Ipv6>, station: &impl Station) -> Result<Answer, Fate> {
    let Layers {
        link,
        network,
        message,
    } = layers;
    check_sender(link, station)?;
    let (advertisement, options) = check(network, message)?;
    let is_answer = advertisement.flags & ndp::SOLICITED != 0;
    if is_answer && Ipv6Addr::from(network.destination).is_multicast() {
        return Err(Fate::NdpMalformed);
    }
    let target = Ipv6Addr::from(advertisement.target);
    check_claim(target, Fate::NdpMalformed, station)?;
    let told = mac_option(options, ndp::TARGET_MAC, station)?;
    Ok(Answer::Learned(Learned {
        address: target.into(),
        mac: told.unwrap_or(link.source),
        is_answer,
        replaces: told.is_some() && advertisement.flags & ndp::OVERRIDE != 0,
    }))
}

/// What sections 7.1.1 and 7.1.2 have in common: off-link, broken and multicast targets are refused.
fn check<'a>(network: &Ipv6, message: &'a [u8]) -> Result<(&'a Neighbour, &'a [u8]), Fate> {
    let len = network.payload_len.get();
    let sum = Sum::pseudo6(network.source, network.destination, ipv6::ICMP, len);
    if !sum.bytes(message).is_whole() {
        return Err(Fate::IcmpMalformed);
    }
    let (neighbour, options) =
        Neighbour::ref_from_prefix(message).map_err(|_| Fate::NdpMalformed)?;
    let is_group = Ipv6Addr::from(neighbour.target).is_multicast();
    if network.hop_limit != ndp::HOP_LIMIT || neighbour.icmp.code != 0 || is_group {
        return Err(Fate::NdpMalformed);
    }
    Ok((neighbour, options))
}

/// An address that another station claims must be one that a host may have, and not the forwarder's.
fn check_claim(address: Ipv6Addr, otherwise: Fate, station: &impl Station) -> Result<(), Fate> {
    if !ipv6::can_send(address) {
        return Err(otherwise);
    }
    if station.is_ours(address.into()) {
        Err(Fate::AddressConflict)
    } else {
        Ok(())
    }
}

/// The MAC address in the last option of this `kind`. Every option must be whole (section 4.6).
fn mac_option(mut options: &[u8], kind: u8, station: &impl Station) -> Result<Option<Mac>, Fate> {
    let mut mac = None;
    while !options.is_empty() {
        let (head, _) = OptionHead::ref_from_prefix(options).map_err(|_| Fate::NdpMalformed)?;
        let len = usize::from(head.len) * 8;
        let (option, rest) = options.split_at_checked(len).ok_or(Fate::NdpMalformed)?;
        if head.len == 0 {
            return Err(Fate::NdpMalformed);
        }
        if head.kind == kind {
            mac = Some(read_mac(option, station)?);
        }
        options = rest;
    }
    Ok(mac)
}

fn read_mac(option: &[u8], station: &impl Station) -> Result<Mac, Fate> {
    let option = MacOption::ref_from_bytes(option).map_err(|_| Fate::NdpMalformed)?;
    if option.mac.is_unicast() && !station.is_own_mac(option.mac) {
        Ok(option.mac)
    } else {
        Err(Fate::NdpMalformed)
    }
}

/// Whether it is in the group of some node (RFC 4291, section 2.7.1).
fn is_solicited_node(destination: [u8; 16]) -> bool {
    destination.starts_with(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff])
}
