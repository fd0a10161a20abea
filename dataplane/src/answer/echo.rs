//! Echo (RFC 792, RFC 4443 section 4): a ping comes back as it came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::{Answer, Layers, Station, check_sender};
use crate::fate::Fate;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::Ethernet;
use crate::wire::icmp::{self, Echo, Icmp};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

/// How far a reply goes: the default of RFC 1340.
const HOPS: u8 = 64;

pub(super) fn reply4(layers: Layers<Ipv4>, station: &impl Station) -> Result<Answer, Fate> {
    let Layers {
        link,
        network,
        message,
    } = layers;
    let source = Ipv4Addr::from(network.source);
    let destination = Ipv4Addr::from(network.destination);
    check_ends(link, source.into(), destination.into(), station)?;
    let request = request(message, Sum::default())?;

    turn_message(request, icmp::ECHO_REPLY4);
    (network.source, network.destination) = (network.destination, network.source);
    network.set_time_to_live(HOPS);
    turn_link(link, station);
    Ok(Answer::Reply(None))
}

pub(super) fn reply6(layers: Layers<Ipv6>, station: &impl Station) -> Result<Answer, Fate> {
    let Layers {
        link,
        network,
        message,
    } = layers;
    let source = Ipv6Addr::from(network.source);
    let destination = Ipv6Addr::from(network.destination);
    check_ends(link, source.into(), destination.into(), station)?;
    let len = network.payload_len.get();
    let pseudo = Sum::pseudo6(network.source, network.destination, ipv6::ICMP, len);
    let request = request(message, pseudo)?;

    turn_message(request, icmp::ECHO_REPLY6);
    (network.source, network.destination) = (network.destination, network.source);
    network.hop_limit = HOPS;
    turn_link(link, station);
    Ok(Answer::Reply(None))
}

/// Only one station may ask another: a reply to or for a group is an attack's amplifier (RFC 1122,
/// sections 3.2.2.6 and 3.3.6).
fn check_ends(
    link: &Ethernet,
    source: IpAddr,
    destination: IpAddr,
    station: &impl Station,
) -> Result<(), Fate> {
    check_sender(link, station)?;
    if !link.destination.is_unicast() || !station.is_ours(destination) {
        return Err(Fate::IcmpUnhandled);
    }
    if station.may_send(source) {
        Ok(())
    } else {
        Err(Fate::BadSource)
    }
}

/// The head of a whole echo request, given the sum of its pseudo header.
fn request(message: &mut [u8], pseudo: Sum) -> Result<&mut Icmp, Fate> {
    let is_whole = pseudo.bytes(message).is_whole();
    let (echo, _) = Echo::mut_from_prefix(message).map_err(|_| Fate::IcmpMalformed)?;
    match echo.icmp.code {
        0 if is_whole => Ok(&mut echo.icmp),
        0 => Err(Fate::IcmpMalformed),
        _ => Err(Fate::IcmpUnhandled),
    }
}

/// A reply with number 0, no data and type 0 is all zeros.
fn turn_message(head: &mut Icmp, kind: u8) {
    let old = Sum::default().bytes(&[head.kind, head.code]);
    let new = Sum::default().bytes(&[kind, head.code]);
    head.kind = kind;
    head.checksum = head.checksum.replace(old, new).nonzero();
}

fn turn_link(link: &mut Ethernet, station: &impl Station) {
    link.destination = link.source;
    link.source = station.mac();
}
