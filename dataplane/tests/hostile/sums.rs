//! Lengths and checksums of packets, read without the data plane's help: made right in what is sent,
//! and looked at in what leaves.

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Where a packet's payload is, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) version: u8,
    pub(crate) protocol: u8,
    /// Where it starts in the packet, behind options and extension headers.
    pub(crate) from: usize,
    /// Where the packet ends.
    pub(crate) end: usize,
    pub(crate) is_fragment: bool,
    /// Whether it has no header of the protocol, which stands in the first fragment.
    pub(crate) is_later: bool,
}

/// Where what a frame carries starts, and its ethertype.
pub(crate) fn carried(frame: &[u8]) -> Option<(u16, usize)> {
    let ethertype = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    match ethertype(12)? {
        0x8100 => Some((ethertype(16)?, 18)),
        other => Some((other, 14)),
    }
}

/// Walks to the payload of a packet that is as long as it says.
pub(crate) fn walk(packet: &[u8]) -> Option<Walked> {
    match packet.first()? >> 4 {
        4 => walk4(packet),
        6 => walk6(packet),
        _ => None,
    }
}

fn short(packet: &[u8], at: usize) -> Option<usize> {
    let bytes = packet.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes).into())
}

fn walk4(packet: &[u8]) -> Option<Walked> {
    let from = usize::from(packet[0] & 15) * 4;
    let end = short(packet, 2)?;
    let fragment = short(packet, 6)?;
    (from >= 20 && from <= end && end <= packet.len()).then_some(Walked {
        version: 4,
        protocol: *packet.get(9)?,
        from,
        end,
        is_fragment: fragment & 0x3fff != 0,
        is_later: fragment & 0x1fff != 0,
    })
}

fn walk6(packet: &[u8]) -> Option<Walked> {
    let end = 40 + short(packet, 4)?;
    let packet = packet.get(..end)?;
    let (mut protocol, mut from) = (packet[6], 40);
    let (mut is_fragment, mut is_later) = (false, false);
    while !is_later {
        let units = |at: usize| Some(usize::from(*packet.get(at + 1)?));
        let len = match protocol {
            0 | 43 | 60 => 8 + 8 * units(from)?,
            51 => 8 + 4 * units(from)?,
            44 => {
                let offset = short(packet, from + 2)?;
                is_fragment |= offset & 0xfff9 != 0;
                is_later = offset & 0xfff8 != 0;
                8
            }
            _ => break,
        };
        protocol = *packet.get(from)?;
        from += len;
    }
    (from <= end).then_some(Walked {
        version: 6,
        protocol,
        from,
        end,
        is_fragment,
        is_later,
    })
}

/// The sum of 16-bit words, the last of which may be half there.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    words
        .map(|it| u64::from(it[0]) << 8 | u64::from(it.get(1).copied().unwrap_or(0)))
        .sum()
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The sum of a pseudo header, and where in the packet the summed bytes are and their checksum;
/// `None` where there is none to look at.
fn transport(packet: &[u8], it: &Walked) -> Option<(u64, std::ops::Range<usize>, usize)> {
    if it.is_fragment {
        return None;
    }
    let payload = packet.get(it.from..it.end)?;
    let (len, field) = match (it.protocol, it.version) {
        (TCP, _) => (payload.len(), 16),
        (UDP, _) => (short(payload, 4)?, 6),
        (ICMP, 4) | (ICMP6, 6) => (payload.len(), 2),
        _ => return None,
    };
    if len > payload.len() || len < field + 2 {
        return None;
    }
    let addresses = match it.version {
        4 => packet.get(12..20)?,
        _ => packet.get(8..40)?,
    };
    let pseudo = match it.protocol {
        ICMP => 0,
        protocol => sum(addresses) + u64::from(protocol) + len as u64,
    };
    Some((pseudo, it.from..it.from + len, it.from + field))
}

/// Makes every checksum of a frame right, as far as its lengths are; a UDP sender of IPv4 that made
/// none makes none.
pub(crate) fn make_right(frame: &mut [u8]) {
    let l3 = carried(frame).map_or(frame.len(), |(_, l3)| l3);
    let Some(packet) = frame.get_mut(l3..) else {
        return;
    };
    let Some(it) = walk(packet) else { return };
    if it.version == 4 {
        put(packet, 10, 0);
        put(packet, 10, !folded(sum(&packet[..it.from.min(60)])));
    }
    if let Some((pseudo, bytes, field)) = transport(packet, &it) {
        if it.version == 4 && it.protocol == UDP && short(packet, field) == Some(0) {
            return;
        }
        put(packet, field, 0);
        let checksum = !folded(pseudo + sum(&packet[bytes]));
        let is_udp = it.protocol == UDP;
        put(
            packet,
            field,
            if is_udp && checksum == 0 {
                0xffff
            } else {
                checksum
            },
        );
    }
}

fn put(packet: &mut [u8], at: usize, word: u16) {
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&word.to_be_bytes());
    }
}

/// Whether an IPv4 header, if it is one, has the right checksum.
pub(crate) fn is_header_right(packet: &[u8], it: &Walked) -> bool {
    it.version != 4 || folded(sum(&packet[..it.from])) == 0xffff
}

/// Whether the checksum of what a packet carries is right, where it has one. Without one there is no
/// UDP over IPv6 but by those that were sent so.
pub(crate) fn is_transport_right(packet: &[u8], it: &Walked) -> bool {
    let Some((pseudo, bytes, field)) = transport(packet, it) else {
        return true;
    };
    let has_none = it.protocol == UDP && it.version == 4 && short(packet, field) == Some(0);
    has_none || folded(pseudo + sum(&packet[bytes])) == 0xffff
}
