//! The TCP segment in a packet: where its parts are, and changes that its checksum follows.

use super::place::Stream;
use crate::{
    parse::{Above, above6},
    rewrite::clamp::lower_segment_size,
    wire::{
        checksum::Sum,
        ipv4::{self, Ipv4},
        ipv6::Ipv6,
        tcp::{self, Tcp},
    },
};
use std::ops::Range;
use zerocopy::{FromBytes, network_endian::U16};

/// Option: the list ends.
const END: u8 = 0;
/// Option: nothing, one byte.
const NOTHING: u8 = 1;
/// Option: selective acknowledgment (RFC 2018), up to four blocks of two numbers.
const SACK: u8 = 5;
/// Option: a cookie for data in a SYN, or the wish for one (RFC 7413).
const FAST_OPEN: u8 = 34;

/// Where the parts of a segment are in a packet, in bytes from its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its header.
    start: usize,
    /// Its payload.
    pub(super) payload: usize,
    /// Where the packet ends.
    pub(super) end: usize,
    /// Nothing of it is in other fragments, and nothing stands between its header and that of IP.
    pub(super) is_whole: bool,
}

impl Segment {
    /// The segment of a packet that was parsed; `None` where it is of a later fragment or no TCP.
    pub(super) fn find(packet: &[u8]) -> Option<Self> {
        let (start, end, is_whole) = if packet.first()? >> 4 == 4 {
            let (ip, _) = Ipv4::ref_from_prefix(packet).ok()?;
            let is_tcp = ip.protocol == ipv4::TCP && ip.fragment_offset() == 0;
            let end = usize::from(ip.total_len.get());
            is_tcp.then_some((usize::from(ip.header_len()), end, !ip.is_fragment()))?
        } else {
            let (ip, _) = Ipv6::ref_from_prefix(packet).ok()?;
            let Above {
                protocol,
                from,
                is_later,
                ..
            } = above6(packet)?;
            let end = usize::from(Ipv6::LEN) + usize::from(ip.payload_len.get());
            let is_plain = from == usize::from(Ipv6::LEN);
            (protocol == ipv4::TCP && !is_later).then_some((from, end, is_plain))?
        };
        let (tcp, _) = Tcp::ref_from_prefix(packet.get(start..)?).ok()?;
        let payload = start + tcp.header_len();
        let fits = tcp.header_len() >= Tcp::LEN && payload <= end && end <= packet.len();
        fits.then_some(Self {
            start,
            payload,
            end,
            is_whole,
        })
    }

    /// The header without its options, and these.
    pub(super) fn header<'a>(&self, packet: &'a [u8]) -> Option<(&'a Tcp, &'a [u8])> {
        Tcp::ref_from_prefix(packet.get(self.start..self.payload)?).ok()
    }

    fn header_mut<'a>(&self, packet: &'a mut [u8]) -> Option<(&'a mut Tcp, &'a mut [u8])> {
        Tcp::mut_from_prefix(packet.get_mut(self.start..self.payload)?).ok()
    }

    /// How many bytes follow its header; `None` where they may be in other fragments.
    pub(super) fn payload_len(&self) -> Option<u16> {
        let len = u16::try_from(self.end - self.payload).ok();
        len.filter(|_| self.is_whole)
    }

    /// Takes from a SYN what would be the first bytes, and the option that goes with them: the client
    /// sends them again once it is answered (RFC 7413, section 4.2.2).
    pub(super) fn strip_syn(&self, packet: &mut [u8]) -> Option<()> {
        let len = self.payload_len()?;
        let (_, options) = self.header(packet)?;
        if find(options, FAST_OPEN).is_some() {
            self.change_all(packet, |_, options| {
                if let Some(option) = find(options, FAST_OPEN) {
                    options[option].fill(NOTHING);
                }
            })?;
        }
        match len {
            0 => Some(()),
            len => self.cut(packet, len),
        }
    }

    /// Cuts its payload off.
    fn cut(&self, packet: &mut [u8], len: u16) -> Option<()> {
        let (was, is) = (self.end - self.start, self.payload - self.start);
        let payload = Sum::default().bytes(packet.get(self.payload..self.end)?);
        let (tcp, _) = self.header_mut(packet)?;
        let was = payload.word(u16::try_from(was).ok()?);
        let is = Sum::default().word(u16::try_from(is).ok()?);
        tcp.checksum = tcp.checksum.replace(was, is);
        lengthen_ip(packet, -i32::from(len))
    }

    /// Changes the header without its options.
    pub(super) fn change(&self, packet: &mut [u8], change: impl FnOnce(&mut Tcp)) -> Option<()> {
        self.change_all(packet, |tcp, _| change(tcp))
    }

    /// Changes header and options, and the checksum with them, which both sums have in them.
    fn change_all(
        &self,
        packet: &mut [u8],
        change: impl FnOnce(&mut Tcp, &mut [u8]),
    ) -> Option<()> {
        let was = Sum::default().bytes(packet.get(self.start..self.payload)?);
        let (tcp, options) = self.header_mut(packet)?;
        change(tcp, options);
        let is = Sum::default().bytes(packet.get(self.start..self.payload)?);
        let (tcp, _) = self.header_mut(packet)?;
        tcp.checksum = tcp.checksum.replace(was, is);
        Some(())
    }

    /// Counts bytes of this sum that were put before the payload.
    pub(super) fn lengthen(&self, packet: &mut [u8], added: u16, sum: Sum) -> Option<()> {
        let was = u16::try_from(self.end - self.start).ok()?;
        let (tcp, _) = self.header_mut(packet)?;
        let mut is = sum.word(was + added);
        let mut before = Sum::default().word(was);
        if tcp.flags & tcp::URG != 0 {
            let urgent = tcp.urgent.get();
            before = before.word(urgent);
            tcp.urgent.set(urgent.saturating_add(added));
            is = is.word(tcp.urgent.get());
        }
        tcp.checksum = tcp.checksum.replace(before, is);
        lengthen_ip(packet, added.into())
    }

    /// Leaves room for so many bytes in what a SYN offers.
    pub(super) fn lower_mss(&self, packet: &mut [u8], by: u16) {
        if let Some(segment) = packet.get_mut(self.start..self.payload) {
            lower_segment_size(segment, by);
        }
    }

    /// Moves the edges of what has arrived out of order.
    pub(super) fn move_sacks(&self, packet: &mut [u8], stream: Stream) -> Option<()> {
        let (_, options) = self.header(packet)?;
        if find(options, SACK).is_none() {
            return Some(());
        }
        self.change_all(packet, |_, options| {
            let option = find(options, SACK).and_then(|at| options.get_mut(at));
            let edges = option.and_then(|it| it.get_mut(2..));
            for edge in edges.unwrap_or_default().as_chunks_mut::<4>().0 {
                *edge = stream.back(u32::from_be_bytes(*edge)).to_be_bytes();
            }
        })
    }
}

/// Where an option of this kind stands among the options.
fn find(options: &[u8], wanted: u8) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        match options.get(at..)? {
            [END, ..] | [] => return None,
            [NOTHING, ..] => at += 1,
            [kind, len, ..] if *len >= 2 => {
                let end = at + usize::from(*len);
                if *kind == wanted {
                    return (end <= options.len()).then_some(at..end);
                }
                at = end;
            }
            _ => return None,
        }
    }
}

/// Counts bytes that came into the packet, or went.
fn lengthen_ip(packet: &mut [u8], by: i32) -> Option<()> {
    let longer = |len: u16| u16::try_from(i32::from(len) + by).ok();
    if packet.first()? >> 4 == 4 {
        let (ip, _) = Ipv4::mut_from_prefix(packet).ok()?;
        let was = ip.total_len.get();
        let is = longer(was)?;
        let (before, after) = (Sum::default().word(was), Sum::default().word(is));
        ip.checksum = ip.checksum.replace(before, after);
        ip.total_len = U16::new(is);
    } else {
        let (ip, _) = Ipv6::mut_from_prefix(packet).ok()?;
        ip.payload_len = U16::new(longer(ip.payload_len.get())?);
    }
    Some(())
}
