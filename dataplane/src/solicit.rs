//! Solicit: the forwarder's own questions to its neighbours, and what it announces.
//!
//! Each fills an empty frame, and returns false where that has no room. All frames are at least as
//! long as Ethernet asks for, whether or not a NIC pads them.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::U16;
use zerocopy::{Immutable, IntoBytes};

use crate::port::Frame;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet, Mac};
use crate::wire::ipv6::{ALL_NODES, solicited_node};
use crate::wire::ndp::{self, Packet};
use crate::wire::vlan::{self, Tag};

/// Asks who has an IPv4 address: everyone, or where the MAC address is `known` only its station,
/// whether it still has it (RFC 1122, section 2.3.2.1).
pub(crate) fn arp_request<F: Frame>(
    frame: &mut F,
    vlan: Option<u16>,
    from: (Mac, Ipv4Addr),
    to: Ipv4Addr,
    known: Option<Mac>,
) -> bool {
    let (mac, address) = from;
    let request = Arp::request(mac, address.octets(), to.octets());
    let link = link(known.unwrap_or(Mac::BROADCAST), mac, ethernet::ARP);
    fill(frame, link, vlan, &request).is_some()
}

/// Tells everyone that an IPv4 address is here (RFC 5227, section 3).
pub(crate) fn arp_announcement<F: Frame>(
    frame: &mut F,
    vlan: Option<u16>,
    from: (Mac, Ipv4Addr),
) -> bool {
    let (_, address) = from;
    arp_request(frame, vlan, from, address, None)
}

/// Asks who has an IPv6 address: the group of its node, or where the MAC address is `known` only its
/// station, whether it still has it (RFC 4861, section 7.2.2 and 7.3.3).
pub(crate) fn neighbour_solicitation<F: Frame>(
    frame: &mut F,
    vlan: Option<u16>,
    from: (Mac, Ipv6Addr),
    to: Ipv6Addr,
    known: Option<Mac>,
) -> bool {
    let (mac, address) = from;
    let group = solicited_node(to);
    let (ip, station) = known.map_or((group, Mac::of_group(group)), |known| (to, known));
    let packet = Packet::solicitation(address, mac, ip, to);
    fill(frame, link(station, mac, ethernet::IPV6), vlan, &packet).is_some()
}

/// Tells all nodes that an IPv6 address is here (RFC 4861, section 7.2.6).
pub(crate) fn neighbour_announcement<F: Frame>(
    frame: &mut F,
    vlan: Option<u16>,
    from: (Mac, Ipv6Addr),
) -> bool {
    let (mac, address) = from;
    let packet = Packet::advertisement(address, mac, ALL_NODES, ndp::OVERRIDE);
    let link = link(Mac::of_group(ALL_NODES), mac, ethernet::IPV6);
    fill(frame, link, vlan, &packet).is_some()
}

fn link(destination: Mac, source: Mac, ethertype: u16) -> Ethernet {
    Ethernet {
        destination,
        source,
        ethertype: U16::new(ethertype),
    }
}

/// Writes the frame; None where it has no room.
fn fill<F: Frame>(
    frame: &mut F,
    link: Ethernet,
    vlan: Option<u16>,
    packet: &(impl IntoBytes + Immutable),
) -> Option<()> {
    let tag_len = vlan.map_or(0, |_| size_of::<Tag>());
    let len = size_of::<Ethernet>() + tag_len + size_of_val(packet);
    if !frame.resize(len.max(ethernet::FRAME_LEN_MIN)) {
        return None;
    }
    let rest = match vlan {
        None => put(frame.bytes_mut(), &link)?,
        Some(vid) => {
            let tag = Tag {
                control: U16::new(vid),
                ethertype: link.ethertype,
            };
            let ethertype = U16::new(vlan::CUSTOMER);
            put(
                put(frame.bytes_mut(), &Ethernet { ethertype, ..link })?,
                &tag,
            )?
        }
    };
    put(rest, packet).map(drop)
}

/// Writes a part and returns what comes after it.
fn put<'a>(bytes: &'a mut [u8], part: &(impl IntoBytes + Immutable)) -> Option<&'a mut [u8]> {
    let (place, rest) = bytes.split_at_mut_checked(size_of_val(part))?;
    part.write_to(place).ok()?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};

    use super::*;
    use crate::port::memory::{MemoryFrame, Pool};
    use crate::samples::*;

    const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
    const NODE_GROUP_MAC: Mac = Mac([0x33, 0x33, 0xff, 0, 0, 0x11]);
    const NODE_GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0x11];

    /// What a function fills an empty frame with.
    fn filled(fill: impl Fn(&mut MemoryFrame) -> bool) -> Vec<u8> {
        let mut frame = MemoryFrame::new(&Arc::new(Pool::new(1))).unwrap();
        assert!(fill(&mut frame));
        frame.bytes().to_vec()
    }

    /// An ARP request of ours, padded to the least frame.
    fn arp(destination: Mac, target: [u8; 4]) -> Vec<u8> {
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REQUEST,
            &OUR_MAC.0,
            &OURS4,
            &[0; 6],
            &target,
        );
        let link = PacketBuilder::ethernet2(OUR_MAC.0, destination.0);
        written(|out| link.arp(packet.unwrap()).write(out))
    }

    fn padded(mut frame: Vec<u8>) -> Vec<u8> {
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// A message of ours, with our MAC address in an option of this kind.
    fn ndp(to: (Mac, [u8; 16]), kind: u8, flags: u8, target: [u8; 16], option: u8) -> Vec<u8> {
        let body = [&target[..], &[option, 1], &OUR_MAC.0].concat();
        let network = PacketBuilder::ethernet2(OUR_MAC.0, to.0.0).ipv6(OURS6, to.1, 255);
        written(|out| {
            network
                .icmpv6_raw(kind, 0, [flags, 0, 0, 0])
                .write(out, &body)
        })
    }

    #[test]
    fn arp_asks_everyone_or_one_station() {
        let from = (OUR_MAC, OURS4.into());
        let ask =
            |vlan, known| filled(|frame| arp_request(frame, vlan, from, CLIENT4.into(), known));
        assert_eq!(ask(None, None), padded(arp(Mac::BROADCAST, CLIENT4)));
        assert_eq!(
            ask(None, Some(NEIGHBOUR_MAC)),
            padded(arp(NEIGHBOUR_MAC, CLIENT4))
        );
        let expected = padded(tagged(arp(Mac::BROADCAST, CLIENT4), VLAN));
        assert_eq!(ask(Some(VLAN), None), expected);
    }

    #[test]
    fn arp_announces_to_everyone() {
        let frame = filled(|frame| arp_announcement(frame, None, (OUR_MAC, OURS4.into())));
        assert_eq!(frame, padded(arp(Mac::BROADCAST, OURS4)));
    }

    #[test]
    fn a_solicitation_asks_the_group_or_one_station() {
        let from = (OUR_MAC, OURS6.into());
        let ask = |vlan, known| {
            filled(|frame| neighbour_solicitation(frame, vlan, from, CLIENT6.into(), known))
        };
        let to_group = ndp((NODE_GROUP_MAC, NODE_GROUP), 135, 0, CLIENT6, 1);
        assert_eq!(ask(None, None), to_group);
        assert_eq!(ask(Some(VLAN), None), tagged(to_group, VLAN));
        let to_one = ndp((NEIGHBOUR_MAC, CLIENT6), 135, 0, CLIENT6, 1);
        assert_eq!(ask(None, Some(NEIGHBOUR_MAC)), to_one);
    }

    #[test]
    fn an_announcement_goes_to_all_nodes() {
        let frame = filled(|frame| neighbour_announcement(frame, None, (OUR_MAC, OURS6.into())));
        let expected = ndp((ALL_NODES_MAC, ALL_NODES.octets()), 136, 0x20, OURS6, 2);
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_frame_without_room_is_left() {
        let mut frame = MemoryFrame::new(&Arc::new(Pool::new(1)))
            .unwrap()
            .segmented();
        assert!(!arp_announcement(&mut frame, None, (OUR_MAC, OURS4.into())));
        assert!(!neighbour_announcement(
            &mut frame,
            None,
            (OUR_MAC, OURS6.into())
        ));
        assert!(frame.bytes().is_empty());
    }
}
