//! The kernel's part of a port: what would be dropped as not ours goes to its tap, what comes from
//! there leaves by the port.
//!
//! ARP, NDP and ping for the forwarder's addresses are Tether's to answer, so nothing is answered twice; what
//! is for a VIP and no service stays Tether's to drop. Frames have no tag on the tap.

use super::{Verdict, View, leave::transmit};
use crate::{
    fate::Fate,
    port::{Burst, Frame, Port},
    tables::id::PortId,
    wire::{ethernet, ethernet::Mac, vlan},
    worker::Own,
};
use std::net::IpAddr;

/// Where the ethertype stands, and a tag if there is one.
const TAG: usize = 12;
const TAG_LEN: usize = 4;

/// Whether the kernel may have a use for what has this fate: it is whole, and not for Tether. What is to
/// another station's MAC address it gets only where that is a group's.
fn is_not_ours(fate: Fate) -> bool {
    matches!(
        fate,
        Fate::NoService
            | Fate::Learned
            | Fate::ArpNotOurs
            | Fate::NdpNotOurs
            | Fate::IcmpUnhandled
            | Fate::UnknownEthertype
            | Fate::UnknownProtocol
            | Fate::Fragment
            | Fate::OtherMac
    )
}

/// Takes out of a burst, which came by `port`, what is for the kernel, and hands it over.
#[cold]
pub(super) fn divert<P: Port>(
    burst: &mut Burst<P::Frame>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    taps: &mut [P],
) {
    let Some(place) = own.taps.of(port).map(|tap| tap.place()) else {
        return;
    };
    if !own.findings.any_done(burst.len(), is_not_ours) {
        return;
    }
    let mut left = 0;
    for (index, frame) in (0_u8..).zip(std::mem::take(burst)) {
        if let Some(frame) = offer(frame, index, port, view, own) {
            own.findings.move_to(left, index);
            burst.push(frame);
            left += 1;
        }
    }
    hand_over(&mut taps[place], own);
}

/// Keeps a frame that is for the kernel; gives others back, and those that it cannot have with their fate.
fn offer<F: Frame>(
    mut frame: F,
    index: u8,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) -> Option<F> {
    let Verdict::Done(fate) = own.findings.verdict(index) else {
        return Some(frame);
    };
    let destination = frame.bytes().first_chunk().copied().map(Mac);
    let is_to_group = destination.is_some_and(|mac| !mac.is_unicast());
    let is_for_kernel = is_not_ours(fate)
        && (fate != Fate::OtherMac || is_to_group)
        && !is_for_vip(frame.bytes(), view);
    let tap = own.taps.of(port).filter(|_| is_for_kernel);
    let Some(tap) = tap else {
        return Some(frame);
    };
    let has_tag = view.tables.stations.get(port).spec.vlan.is_some();
    let fate = if !tap.may_take(is_to_group, view.now) {
        Fate::KernelRateLimited
    } else if (has_tag && !untag(&mut frame)) || !tap.has_room_for(frame.bytes().len()) {
        Fate::KernelRefused
    } else {
        own.taps.keep(frame);
        return None;
    };
    own.findings.decide(index, Verdict::Done(fate));
    Some(frame)
}

/// Whether its IP header names an address that is a VIP and no port's own.
fn is_for_vip(frame: &[u8], view: View<'_>) -> bool {
    let stations = &view.tables.stations;
    destination(frame).is_some_and(|to| stations.is_vip(to) && !stations.is_own(to))
}

fn destination(frame: &[u8]) -> Option<IpAddr> {
    let l3 = vlan::payload_offset(frame);
    let ethertype = frame.get(l3 - 2..l3)?.first_chunk().copied();
    let packet = frame.get(l3..)?;
    match ethertype.map(u16::from_be_bytes)? {
        ethernet::IPV4 => packet.get(16..)?.first_chunk::<4>().map(|it| (*it).into()),
        ethernet::IPV6 => packet.get(24..)?.first_chunk::<16>().map(|it| (*it).into()),
        _ => None,
    }
}

/// Hands over what was kept. What the kernel does not take at once it does not get: its interface is down.
fn hand_over<P: Port>(tap: &mut P, own: &mut Own<P::Frame>) {
    let frames = own.taps.kept();
    let count = frames.len();
    if count == 0 {
        return;
    }
    tap.transmit(frames);
    let refused = frames.len();
    frames.clear();
    own.counters.fate(Fate::ToKernel, (count - refused) as u64);
    own.counters.fate(Fate::KernelRefused, refused as u64);
}

/// Sends by the ports what the kernel sends by their taps; whether there was anything.
pub(crate) fn pass_on<P: Port>(
    incoming: &mut Burst<P::Frame>,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    ports: &mut [P],
) -> bool {
    let mut busy = false;
    let (ports, taps) = ports.split_at_mut(own.outgoing.len());
    for port in crate::tables::port_ids(ports.len()) {
        let out = &mut ports[port.index()];
        busy |= pass_on_from(incoming, (port, out), view, own, taps);
    }
    busy
}

fn pass_on_from<P: Port>(
    incoming: &mut Burst<P::Frame>,
    (port, out): (PortId, &mut P),
    view: View<'_>,
    own: &mut Own<P::Frame>,
    taps: &mut [P],
) -> bool {
    let Some(tap) = own.taps.of(port) else {
        return false;
    };
    if !tap.may_send(view.now) {
        return false;
    }
    taps[tap.place()].receive(incoming);
    tap.has_sent(incoming.len());
    if incoming.is_empty() {
        return false;
    }
    send_all(incoming, port, view, own, out);
    true
}

fn send_all<P: Port>(
    incoming: &mut Burst<P::Frame>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    out: &mut P,
) {
    let (counters, frames) = (&own.counters, &mut own.outgoing[port.index()]);
    let vlan = view.tables.stations.get(port).spec.vlan;
    let received = incoming.len() as u64;
    let mut bytes = 0;
    for mut frame in incoming.drain(..) {
        bytes += frame.bytes().len() as u64;
        if vlan.is_none_or(|vid| tag(&mut frame, vid)) {
            frames.push(frame);
        }
    }
    let tagged = frames.len() as u64;
    let unsent = transmit(out, frames) as u64;
    counters.received.add(received);
    counters.received_bytes.add(bytes);
    counters.fate(Fate::NoRoom, received - tagged);
    counters.fate(Fate::TransmitFull, unsent);
    counters.fate(Fate::FromKernel, tagged - unsent);
}

/// Puts the tag of a VLAN between the MAC addresses and the ethertype; false where there is no room.
fn tag<F: Frame>(frame: &mut F, vid: u16) -> bool {
    if !frame.prepend(TAG_LEN) {
        return false;
    }
    let bytes = frame.bytes_mut();
    if bytes.len() < TAG + TAG_LEN {
        return false;
    }
    bytes.copy_within(TAG_LEN..TAG + TAG_LEN, 0);
    bytes[TAG..TAG + 2].copy_from_slice(&vlan::CUSTOMER.to_be_bytes());
    bytes[TAG + 2..TAG + TAG_LEN].copy_from_slice(&vid.to_be_bytes());
    true
}

/// Takes the tag away; false where there is none, or the frame is in segments.
fn untag<F: Frame>(frame: &mut F) -> bool {
    let len = frame.bytes().len();
    if !frame.is_contiguous() || len < TAG + TAG_LEN {
        return false;
    }
    frame.bytes_mut().copy_within(TAG + TAG_LEN.., TAG);
    frame.resize(len - TAG_LEN)
}
