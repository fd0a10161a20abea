//! What must hold of every frame that leaves, whatever came: whole headers, right checksums, the port's
//! address and VLAN, and a station that is configured or has asked.

use super::{
    network::GUE_PORT,
    sums::{Walked, carried, is_header_right, is_transport_right, walk},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tether_dataplane::{
    Mac,
    tables::{PortSpec, TablesSpec, neighbour::NeighbourView},
};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const UDP: u8 = 17;

/// A step, as far as what left by one port can be judged by it.
pub(crate) struct Step<'a> {
    pub(crate) spec: &'a TablesSpec,
    /// The port.
    pub(crate) place: usize,
    /// The neighbours before the step and after it.
    pub(crate) known: &'a [NeighbourView],
    /// What came by this port.
    pub(crate) sent: &'a [Vec<u8>],
    pub(crate) is_summed: bool,
}

/// Checks a frame that left.
pub(crate) fn check_left(step: &Step<'_>, frame: &[u8]) {
    let is_answer = check_frame(&step.spec.ports, step.place, frame, step.is_summed);
    check_station(step, frame, is_answer);
}

/// Checks all of a frame but where it goes; whether it may be one of the forwarder itself.
pub(crate) fn check_frame(ports: &[PortSpec], place: usize, frame: &[u8], is_summed: bool) -> bool {
    let port = &ports[place];
    check_link(port, frame);
    let to_itself = ports.iter().any(|it| frame[..6] == it.mac.0);
    assert!(!to_itself, "to itself: {frame:02x?}");
    let (ethertype, l3) = carried(frame).unwrap();
    let packet = &frame[l3..];
    match ethertype {
        ARP => true,
        IPV4 | IPV6 => {
            let it = walk(packet).unwrap_or_else(|| panic!("no packet: {frame:02x?}"));
            assert_eq!(it.version == 4, ethertype == IPV4, "{frame:02x?}");
            check_packet(port, packet, &it, is_summed);
            may_be_answer(packet, &it)
        }
        _ => panic!("ethertype {ethertype:04x}: {frame:02x?}"),
    }
}

/// From the port, in its VLAN.
fn check_link(port: &PortSpec, frame: &[u8]) {
    assert_eq!(frame[6..12], port.mac.0, "{frame:02x?}");
    let is_tagged = frame[12..14] == [0x81, 0];
    let vlan = is_tagged.then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
    assert_eq!(vlan.unwrap_or(0), port.vlan.unwrap_or(0), "{frame:02x?}");
}

fn check_packet(port: &PortSpec, packet: &[u8], it: &Walked, is_summed: bool) {
    assert!(is_header_right(packet, it), "{packet:02x?}");
    if let Some(inner) = inner(port, packet, it) {
        assert!(it.end <= usize::from(port.mtu), "{packet:02x?}");
        let within = walk(inner).unwrap_or_else(|| panic!("no packet within: {packet:02x?}"));
        assert_eq!(
            within.end,
            inner.len(),
            "nothing else within: {packet:02x?}"
        );
        return check_transport(inner, &within, is_summed);
    }
    check_transport(packet, it, is_summed);
}

/// ICMP is right even where checksums are not made so: what is wrong is not passed on.
fn check_transport(packet: &[u8], it: &Walked, is_summed: bool) {
    assert!(is_header_right(packet, it), "{packet:02x?}");
    if is_summed || matches!(it.protocol, ICMP | ICMP6) {
        assert!(is_transport_right(packet, it), "{packet:02x?}");
    }
}

/// What a packet carries, if it is one of a tunnel.
fn inner<'a>(port: &PortSpec, packet: &'a [u8], it: &Walked) -> Option<&'a [u8]> {
    let payload = &packet[it.from..it.end];
    match it.protocol {
        4 | 41 => Some(payload),
        47 => payload.get(4..),
        UDP if is_from_a_tunnel(port, packet, it) => {
            assert_eq!(payload[2..4], GUE_PORT.to_be_bytes());
            let shim = if payload.get(8)? >> 6 == 0 { 12 } else { 8 };
            payload.get(shim..)
        }
        _ => None,
    }
}

/// Whether the source is a port's own or of those that tunnels have.
fn is_from_a_tunnel(port: &PortSpec, packet: &[u8], it: &Walked) -> bool {
    let source: IpAddr = if it.version == 4 {
        Ipv4Addr::from(*packet[12..].first_chunk::<4>().unwrap()).into()
    } else {
        Ipv6Addr::from(*packet[8..].first_chunk::<16>().unwrap()).into()
    };
    let is_spread = match source {
        IpAddr::V4(v4) => v4.octets()[..2] == [172, 16],
        IpAddr::V6(v6) => v6.segments()[..4] == [0x2001, 0xdb8, 0xff, 0],
    };
    let is_own = port.addresses.iter().any(|(own, _)| *own == source);
    let port = &packet[it.from + 2..it.from + 4];
    (is_spread || is_own) && port == GUE_PORT.to_be_bytes()
}

/// Whether a packet may be of the forwarder itself: a reply to a ping, NDP, a packet that is too big.
fn may_be_answer(packet: &[u8], it: &Walked) -> bool {
    let kind = packet.get(it.from).copied();
    match it.protocol {
        ICMP => matches!(kind, Some(0 | 3)),
        ICMP6 => matches!(kind, Some(2 | 129 | 135 | 136)),
        _ => false,
    }
}

/// Packets go to stations that are configured and known; answers also to who asked; questions and
/// announcements to groups.
fn check_station(step: &Step<'_>, frame: &[u8], is_answer: bool) {
    let to = Mac(*frame.first_chunk().unwrap());
    let mut here = step
        .known
        .iter()
        .filter(|it| usize::from(it.port.0) == step.place);
    if here.any(|it| it.mac == Some(to)) {
        return;
    }
    assert!(is_answer, "to nobody that is known: {frame:02x?}");
    let asks = |question: &Vec<u8>| question.windows(6).any(|it| it == to.0);
    let is_group = to == Mac::BROADCAST || to.0[..2] == [0x33, 0x33];
    assert!(
        is_group || step.sent.iter().any(asks),
        "to nobody that asked: {frame:02x?}"
    );
}
