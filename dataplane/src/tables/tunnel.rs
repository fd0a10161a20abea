//! Tunnels: how a service's packets are wrapped for its backends, and for each backend the header
//! that goes before them. It is made once, when tables are built; a packet changes a few fields. What
//! routers say of the path is an atomic beside it.
//!
//! ```text
//! | Ethernet, tag | outer IPv4 or IPv6 | nothing, GRE, UDP, or UDP and GUE | the packet ...
//! 0               l3                                                      header().len()
//! ```

mod ends;
mod path;

use crate::{
    tables::{
        PortSpec,
        affinity::source::{mask4, mask6},
        id::PortId,
    },
    wire::{
        checksum::{Checksum, Sum},
        ethernet::{self, Ethernet, Mac},
        gre::Gre,
        gue::Gue,
        ipv4::{self, Ipv4},
        ipv6::Ipv6,
        udp::Udp,
        vlan::{self, Tag},
    },
};
use arrayvec::ArrayVec;
pub(crate) use ends::{Quote, Tunnels};
use path::Path;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{FromBytes, IntoBytes, network_endian::U16};

/// The longest header in bytes: Ethernet with a tag, IPv6, UDP, GUE.
const HEADER_LEN_MAX: usize = 18 + 40 + 8 + 4;

/// Hops that are left to a packet on its way to the backend: what stacks start with (RFC 1700).
pub(crate) const HOPS: u8 = 64;

/// Packets that every host takes (RFC 791, section 3.1) and that every IPv6 link takes (RFC 8200, section
/// 5): no error makes those of clients shorter.
const LEAST4: u16 = 576;
const LEAST6: u16 = 1280;

/// What stands between the outer IP header and the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// Nothing (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// GRE without options (RFC 2784).
    Gre,
    /// UDP to this port, by the variant of GUE.
    Gue {
        /// The destination port.
        port: u16,
        /// Whether there is a header after that of UDP.
        variant: GueVariant,
    },
}

/// The variants of generic UDP encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GueVariant {
    /// Variant 0: a header of four bytes.
    Header,
    /// Variant 1: the packet itself.
    Direct,
}

/// How a service's packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TunnelSpec {
    /// What stands between the outer IP header and the packet.
    pub encapsulation: Encapsulation,
    /// Outer IPv4 source addresses: this prefix, the rest from the hash of the flow. Else the port's.
    pub source_v4: Option<(Ipv4Addr, u8)>,
    /// The same for IPv6.
    pub source_v6: Option<(Ipv6Addr, u8)>,
    /// The largest segment that a client's SYN may offer, in bytes; lowered where it is larger.
    pub mss_clamp: Option<u16>,
}

/// What of the outer IP header depends on its family.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outer {
    V4 {
        /// Of the header as it stands, its checksum and source address left out.
        sum: Sum,
        /// The bits of the source address that the flow decides.
        free: u32,
    },
    V6 {
        /// The same.
        free: u128,
    },
}

/// The way to one backend through a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    // Invariant: an Ethernet header, a tag if the port has a VLAN, an IP header of `outer`'s family,
    // a UDP header if `has_udp`. Lengths and all that a packet decides are zero.
    header: ArrayVec<u8, HEADER_LEN_MAX>,
    /// Where the outer IP header starts.
    pub(crate) l3: usize,
    pub(crate) outer: Outer,
    pub(crate) has_udp: bool,
    /// How long a packet may be within, in bytes with its IP header.
    path: Path,
    pub(crate) mss_clamp: Option<u16>,
    backend: IpAddr,
    protocol: u8,
    /// The port that its packets leave by.
    port: PortId,
}

impl Tunnel {
    /// The way from `own`, an address of the port, to a backend of the same family, for packets of
    /// the VIP's family.
    pub(crate) fn new(
        spec: &TunnelSpec,
        (id, port): (PortId, &PortSpec),
        own: IpAddr,
        backend: IpAddr,
        vip: IpAddr,
    ) -> Option<Self> {
        let (protocol, shim) = shim(spec.encapsulation, vip);
        let (outer, ip) = match (own, backend) {
            (IpAddr::V4(own), IpAddr::V4(backend)) => {
                let source = spec.source_v4.unwrap_or((own, 32));
                outer_v4(protocol, source, backend)
            }
            (IpAddr::V6(own), IpAddr::V6(backend)) => {
                let source = spec.source_v6.unwrap_or((own, 128));
                outer_v6(protocol, source, backend)
            }
            _ => return None,
        };
        let link = link(port, backend);
        let added = u16::try_from(ip.len() + shim.len()).ok()?;
        Some(Self {
            header: link.iter().chain(&ip).chain(&shim).copied().collect(),
            l3: link.len(),
            outer,
            has_udp: protocol == ipv4::UDP,
            path: Path::new(port.mtu.saturating_sub(added), least(vip)),
            mss_clamp: spec.mss_clamp,
            backend,
            protocol,
            port: id,
        })
    }

    /// The longest packet that fits, in bytes with its IP header.
    #[inline]
    pub(crate) fn mtu(&self) -> u16 {
        self.path.mtu()
    }

    /// The same, where a router on the way has said so.
    pub(crate) fn path_mtu(&self) -> Option<u16> {
        self.path.said()
    }

    /// How many bytes go before a packet, from the outer IP header on.
    fn added(&self) -> u16 {
        u16::try_from(self.header.len() - self.l3).unwrap_or(u16::MAX)
    }

    /// Whether a packet was one of this tunnel's, as far as its headers and where the quote came from say.
    fn sent(&self, quote: &Quote) -> bool {
        let outer = self.header.get(self.l3..).unwrap_or_default();
        let (is_source, rest) = match (self.outer, quote.source) {
            (Outer::V4 { free, .. }, IpAddr::V4(source)) => {
                let Ok((header, rest)) = Ipv4::ref_from_prefix(outer) else {
                    return false;
                };
                let own = u32::from_be_bytes(header.source);
                ((own ^ source.to_bits()) & !free == 0, rest)
            }
            (Outer::V6 { free }, IpAddr::V6(source)) => {
                let Ok((header, rest)) = Ipv6::ref_from_prefix(outer) else {
                    return false;
                };
                let own = u128::from_be_bytes(header.source);
                ((own ^ source.to_bits()) & !free == 0, rest)
            }
            _ => return false,
        };
        let port = rest.get(2..4).filter(|_| self.has_udp);
        let is_port = |quoted: u16| port.is_some_and(|own| *own == quoted.to_be_bytes());
        is_source
            && quote.came_by == self.port
            && quote.destination == self.backend
            && quote.protocol == self.protocol
            && quote.port.is_none_or(is_port)
    }

    /// Takes over what was known of the path to the same backend.
    fn inherit(&self, other: &Self) {
        let more = i32::from(other.added()) - i32::from(self.added());
        self.path.inherit(&other.path, more);
    }

    /// The header as it stands.
    #[inline]
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }
}

/// How short the packets within may have to be.
fn least(vip: IpAddr) -> u16 {
    match vip {
        IpAddr::V4(_) => LEAST4,
        IpAddr::V6(_) => LEAST6,
    }
}

/// The outer IP header's protocol, and what follows it.
fn shim(encapsulation: Encapsulation, vip: IpAddr) -> (u8, Vec<u8>) {
    let (inner, ethertype) = match vip {
        IpAddr::V4(_) => (ipv4::IPV4, ethernet::IPV4),
        IpAddr::V6(_) => (ipv4::IPV6, ethernet::IPV6),
    };
    match encapsulation {
        Encapsulation::Ipip => (inner, Vec::new()),
        Encapsulation::Gre => (ipv4::GRE, Gre::before(ethertype).as_bytes().to_vec()),
        Encapsulation::Gue { port, variant } => {
            let [high, low] = port.to_be_bytes();
            let udp = Udp {
                ports: [0, 0, high, low],
                len: U16::ZERO,
                checksum: Checksum::NONE,
            };
            let mut shim = udp.as_bytes().to_vec();
            match variant {
                GueVariant::Header => shim.extend(Gue::before(inner).as_bytes()),
                GueVariant::Direct => {}
            }
            (ipv4::UDP, shim)
        }
    }
}

/// A packet that may not be cut needs no identification (RFC 6864, section 4.1).
fn outer_v4(protocol: u8, (source, prefix): (Ipv4Addr, u8), to: Ipv4Addr) -> (Outer, Vec<u8>) {
    let fixed = mask4(prefix);
    let source = Ipv4Addr::from_bits(source.to_bits() & fixed);
    let mut header = Ipv4 {
        version_length: Ipv4::PLAIN,
        traffic_class: 0,
        total_len: U16::ZERO,
        identification: U16::ZERO,
        fragment: U16::new(ipv4::DO_NOT_FRAGMENT),
        time_to_live: HOPS,
        protocol,
        checksum: Checksum::NONE,
        source: [0; 4],
        destination: to.octets(),
    };
    let sum = header.sum();
    header.source = source.octets();
    let free = !fixed;
    (Outer::V4 { sum, free }, header.as_bytes().to_vec())
}

fn outer_v6(protocol: u8, (source, prefix): (Ipv6Addr, u8), to: Ipv6Addr) -> (Outer, Vec<u8>) {
    let fixed = mask6(prefix);
    let header = Ipv6 {
        version_class_flow: Ipv6::first_word(0, 0),
        payload_len: U16::ZERO,
        next_header: protocol,
        hop_limit: HOPS,
        source: (source.to_bits() & fixed).to_be_bytes(),
        destination: to.octets(),
    };
    let outer = Outer::V6 { free: !fixed };
    (outer, header.as_bytes().to_vec())
}

fn link(port: &PortSpec, backend: IpAddr) -> Vec<u8> {
    let ethertype = match backend {
        IpAddr::V4(_) => ethernet::IPV4,
        IpAddr::V6(_) => ethernet::IPV6,
    };
    let ethernet = |ethertype| Ethernet {
        destination: Mac::default(),
        source: port.mac,
        ethertype: U16::new(ethertype),
    };
    match port.vlan {
        None => ethernet(ethertype).as_bytes().to_vec(),
        Some(vlan) => {
            let tag = Tag {
                control: U16::new(vlan),
                ethertype: U16::new(ethertype),
            };
            let mut link = ethernet(vlan::CUSTOMER).as_bytes().to_vec();
            link.extend(tag.as_bytes());
            link
        }
    }
}
