//! ARP (RFC 826), with the probes and conflicts of RFC 5227.

use std::net::Ipv4Addr;

use zerocopy::FromBytes;

use super::{Answer, Learned, Station, check_sender};
use crate::fate::Fate;
use crate::port::Frame;
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::Ethernet;
use crate::wire::ipv4;

/// Answers ARP at this offset.
pub(crate) fn answer_arp<F: Frame>(
    frame: &mut F,
    offset: u16,
    station: &impl Station,
) -> Result<Answer, Fate> {
    let split = frame.bytes_mut().split_at_mut_checked(usize::from(offset));
    let (head, packet) = split.ok_or(Fate::ArpMalformed)?;
    let (link, _) = Ethernet::mut_from_prefix(head).map_err(|_| Fate::FrameTruncated)?;
    let (packet, _) = Arp::mut_from_prefix(packet).map_err(|_| Fate::ArpMalformed)?;
    check_sender(link, station)?;
    let learned = sender(packet, link, station)?;
    let is_for_us = station.is_ours(Ipv4Addr::from(packet.target).into());
    match packet.operation.get() {
        arp::REQUEST if is_for_us => {
            *packet = packet.reply(station.mac());
            *link = Ethernet {
                destination: packet.target_mac,
                source: station.mac(),
                ethertype: link.ethertype,
            };
            Ok(Answer::Reply(learned))
        }
        arp::REQUEST | arp::REPLY => learned.map(Answer::Learned).ok_or(Fate::ArpNotOurs),
        _ => Err(Fate::ArpMalformed),
    }
}

/// What the packet tells of its sender: nothing if it is a probe, which has no address yet (RFC
/// 5227, section 2.1.1).
fn sender(packet: &Arp, link: &Ethernet, station: &impl Station) -> Result<Option<Learned>, Fate> {
    let address = Ipv4Addr::from(packet.sender);
    let mac = packet.sender_mac;
    if !mac.is_unicast() || station.is_own_mac(mac) {
        return Err(Fate::ArpMalformed);
    }
    if address.is_unspecified() {
        return Ok(None);
    }
    if !ipv4::can_send(address) {
        return Err(Fate::BadSource);
    }
    if station.is_ours(address.into()) {
        return Err(Fate::AddressConflict);
    }
    if !station.may_send(address.into()) {
        return Err(Fate::BadSource);
    }
    // Nobody is answered by way of everyone: that is an announcement.
    let is_answer = packet.operation.get() == arp::REPLY && link.destination.is_unicast();
    Ok(Some(Learned {
        address: address.into(),
        mac,
        is_answer,
        replaces: true,
    }))
}
