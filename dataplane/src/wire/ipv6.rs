//! IPv6 and its extension headers (RFC 8200, RFC 4302).

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Next header: hop-by-hop options, only right after the header (RFC 8200, section 4.3).
pub(crate) const HOP_BY_HOP: u8 = 0;
/// Next header: routing (RFC 8200, section 4.4).
pub(crate) const ROUTING: u8 = 43;
/// Next header: fragment (RFC 8200, section 4.5).
pub(crate) const FRAGMENT: u8 = 44;
/// Next header: authentication (RFC 4302).
pub(crate) const AUTHENTICATION: u8 = 51;
/// Next header: `ICMPv6` (RFC 4443).
pub(crate) const ICMP: u8 = 58;
/// Next header: destination options (RFC 8200, section 4.6).
pub(crate) const DESTINATION: u8 = 60;

/// All nodes on the link (RFC 4291, section 2.7.1).
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The header, 40 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub(crate) version_class_flow: [u8; 4],
    /// Of all that follows this header, in bytes.
    pub(crate) payload_len: U16,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
}

const _: () = assert!(size_of::<Ipv6>() == Ipv6::LEN as usize);

impl Ipv6 {
    /// In bytes.
    pub(crate) const LEN: u16 = 40;

    pub(crate) fn version(&self) -> u8 {
        let [first, ..] = self.version_class_flow;
        first >> 4
    }

    pub(crate) fn traffic_class(&self) -> u8 {
        let [first, second, ..] = self.version_class_flow;
        first << 4 | second >> 4
    }

    /// Version 6 with this traffic class and the low 20 bits of a flow label.
    pub(crate) fn first_word(traffic_class: u8, flow_label: u32) -> [u8; 4] {
        (6 << 28 | u32::from(traffic_class) << 20 | flow_label & 0xf_ffff).to_be_bytes()
    }
}

/// How hop-by-hop, routing, destination and authentication headers start; the bytes of a routing
/// header (RFC 8200, section 4.4) have the names that they have there.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Extension {
    pub(crate) next_header: u8,
    /// In 8 bytes without the first 8; in an authentication header in 4 bytes without the first 8.
    pub(crate) len: u8,
    pub(crate) routing_type: u8,
    pub(crate) segments_left: u8,
}

impl Extension {
    /// Length in bytes of an extension header of this `kind`.
    pub(crate) fn header_len(self, kind: u8) -> u16 {
        let unit = if kind == AUTHENTICATION { 4 } else { 8 };
        8 + u16::from(self.len) * unit
    }
}

/// The fragment header, 8 bytes.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Fragment {
    pub(crate) next_header: u8,
    reserved: u8,
    /// Offset in 8 bytes (13 bits), reserved (2), more fragments (1).
    offset: U16,
    pub(crate) identification: U32,
}

const _: () = assert!(size_of::<Fragment>() == Fragment::LEN as usize);

impl Fragment {
    /// In bytes.
    pub(crate) const LEN: u16 = 8;

    /// Whether it holds the whole packet (RFC 6946).
    pub(crate) fn is_atomic(self) -> bool {
        self.offset.get() & 0xfff9 == 0
    }

    /// Where it begins in what was cut, in bytes.
    pub(crate) fn offset(self) -> u16 {
        self.offset.get() & 0xfff8
    }

    /// Whether more follows.
    pub(crate) fn has_more(self) -> bool {
        self.offset.get() & 1 != 0
    }
}

/// Whether a host may send from this address (RFC 4291, sections 2.5.2, 2.5.3 and 2.7): not the
/// unspecified one, the loopback or a group.
pub(crate) const fn can_send(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// The group in which a node is asked for its address (RFC 4291, section 2.7.1).
pub(crate) const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | a as u16,
        (b as u16) << 8 | c as u16,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solicited_node_group_ends_as_the_address() {
        let address = "4037::1:800:200e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(address).to_string(), "ff02::1:ff0e:8c6c");
    }

    #[test]
    fn only_hosts_can_send() {
        for address in ["::", "::1", "ff02::1"] {
            assert!(!can_send(address.parse().unwrap()), "{address}");
        }
        assert!(can_send("fe80::1".parse().unwrap()) && can_send("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn reserved_bits_do_not_make_a_fragment() {
        let read = |low| Fragment::read_from_bytes(&[6, 0, 0, low, 0, 0, 0, 9]).unwrap();
        assert!(read(0).is_atomic() && read(0b110).is_atomic());
        assert!(!read(1).is_atomic() && !read(8).is_atomic());
    }
}
