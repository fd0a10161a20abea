//! The transport header: ports, lengths and flags.

use zerocopy::FromBytes;

use crate::fate::Fate;
use crate::key::{Ports, Protocol};
use crate::wire::ipv4;
use crate::wire::tcp::{ACK, FIN, RST, SYN, Tcp};
use crate::wire::udp::Udp;

/// What the path needs of a TCP or UDP header.
pub(super) struct Transport {
    pub(super) protocol: Protocol,
    pub(super) ports: Ports,
    /// 0 for UDP.
    pub(super) flags: u8,
}

/// Checks the header that an IP packet with this `payload` starts with.
#[inline]
pub(super) fn transport(protocol: u8, payload: &[u8]) -> Result<Transport, Fate> {
    match protocol {
        ipv4::TCP => tcp(payload),
        ipv4::UDP => udp(payload),
        _ => Err(Fate::UnknownProtocol),
    }
}

/// The same of a first fragment, which has the whole header but not all that follows.
#[cold]
pub(super) fn first_transport(protocol: u8, payload: &[u8]) -> Result<Transport, Fate> {
    if protocol != ipv4::UDP {
        return transport(protocol, payload);
    }
    let (header, _) = Udp::ref_from_prefix(payload).map_err(|_| Fate::UdpMalformed)?;
    // Of the whole packet, and longer than this part of it.
    if usize::from(header.len.get()) <= payload.len() {
        return Err(Fate::UdpMalformed);
    }
    Ok(udp_ports(*header))
}

#[inline]
fn tcp(payload: &[u8]) -> Result<Transport, Fate> {
    let (header, _) = Tcp::ref_from_prefix(payload).map_err(|_| Fate::TcpMalformed)?;
    if !(Tcp::LEN..=payload.len()).contains(&header.header_len()) {
        return Err(Fate::TcpMalformed);
    }
    if are_refused(header.flags) {
        return Err(Fate::TcpFlags);
    }
    let ports = Ports(u32::from_ne_bytes(header.ports));
    Ok(Transport {
        protocol: Protocol::Tcp,
        ports,
        flags: header.flags,
    })
}

/// A length of 0 is refused too: it is for jumbograms only (RFC 2675, section 4).
#[inline]
fn udp(payload: &[u8]) -> Result<Transport, Fate> {
    let (header, _) = Udp::ref_from_prefix(payload).map_err(|_| Fate::UdpMalformed)?;
    if !(Udp::LEN..=payload.len()).contains(&usize::from(header.len.get())) {
        return Err(Fate::UdpMalformed);
    }
    Ok(udp_ports(*header))
}

#[inline]
fn udp_ports(header: Udp) -> Transport {
    Transport {
        protocol: Protocol::Udp,
        ports: Ports(u32::from_ne_bytes(header.ports)),
        flags: 0,
    }
}

/// Whether no stack sends these flags of TCP together.
#[inline]
pub(super) fn are_refused(flags: u8) -> bool {
    REFUSED_FLAGS[usize::from(flags)]
}

/// Of all flags together. A table: the shift that bits of a word need takes the path a register.
static REFUSED_FLAGS: [bool; 256] = {
    let mut refused = [false; 256];
    let mut flags = 0_u8;
    loop {
        refused[flags as usize] = is_refused(flags);
        if flags == u8::MAX {
            break refused;
        }
        flags += 1;
    }
};

/// A start that ends, an end that acknowledges nothing, or none of SYN, RST and ACK, which a
/// receiver in any state drops (RFC 9293, section 3.10.7).
const fn is_refused(flags: u8) -> bool {
    flags & SYN != 0 && flags & (FIN | RST) != 0
        || flags & FIN != 0 && flags & ACK == 0
        || flags & (SYN | RST | ACK) == 0
}
