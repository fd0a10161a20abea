//! Packet buffers: a frame and the room around it.
//!
//! ```text
//! | headroom | frame ......... | tailroom |     prepend and trim_front move its start,
//! 0          data_off                buf_len    append and truncate its end
//! ```
//!
//! What it costs: a pointer, moved; no count, no lock. Dropping one is a C call; a burst has
//! [`free_burst`].

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use arrayvec::ArrayVec;
use dpdk_sys::{rte_mbuf, rte_mempool};

/// A frame in a packet buffer, owned; goes back to its pool on drop.
///
/// A frame may span several buffers (jumbo frames in small ones). [`data`](Self::data) is the first
/// one's part; see [`is_contiguous`](Self::is_contiguous).
#[repr(transparent)]
pub struct Mbuf {
    // Invariant: a chain of `nb_segs` buffers that nobody else reads, writes or frees; in each
    // `data_off + data_len <= buf_len`; `pkt_len` is the sum of all `data_len`.
    raw: NonNull<rte_mbuf>,
}

// SAFETY: the buffers are ours alone, and any thread may give them back to their pool.
unsafe impl Send for Mbuf {}
// SAFETY: what takes `&self` only reads.
unsafe impl Sync for Mbuf {}

/// What a device has found about the checksum of the outermost IPv4 header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Checksum {
    /// Nothing: look yourself.
    Unknown,
    /// It is right.
    Good,
    /// It is wrong.
    Bad,
}

/// The flags that tell of IPv4 headers.
const IPV4_FLAGS: u64 =
    dpdk_sys::TETHER_MBUF_F_RX_IP_CKSUM_MASK | dpdk_sys::TETHER_MBUF_F_RX_OUTER_IP_CKSUM_BAD;

/// The flags of buffers whose data is elsewhere.
const ELSEWHERE: u64 = dpdk_sys::TETHER_MBUF_F_INDIRECT | dpdk_sys::TETHER_MBUF_F_EXTERNAL;

const _: () = assert!(size_of::<Mbuf>() == size_of::<*mut rte_mbuf>());
const _: () = assert!(size_of::<Option<Mbuf>>() == size_of::<Mbuf>());

impl Mbuf {
    /// Bytes before the frame in a fresh buffer (`RTE_PKTMBUF_HEADROOM`).
    pub const HEADROOM: usize = dpdk_sys::RTE_PKTMBUF_HEADROOM as usize;

    /// # Safety
    /// `raw` fulfils the invariant of the field.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Self {
        Self { raw }
    }

    #[inline]
    fn header(&self) -> &rte_mbuf {
        // SAFETY: the buffer is ours, by the invariant.
        unsafe { self.raw.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: the buffer is ours alone, by the invariant, and `&mut self` is the only way to it.
        unsafe { self.raw.as_mut() }
    }

    /// `length` bytes at `offset` of the first buffer.
    ///
    /// # Safety
    /// `offset + length <= buf_len`.
    #[inline]
    unsafe fn bytes_mut(&mut self, offset: u16, length: u16) -> &mut [u8] {
        let start = self
            .header()
            .buf_addr
            .cast::<u8>()
            .wrapping_add(usize::from(offset));
        // SAFETY: the caller keeps within the buffer, which is ours alone; its pool came zeroed from the
        // kernel, so every byte has a value.
        unsafe { slice::from_raw_parts_mut(start, usize::from(length)) }
    }

    /// The frame, or its first part; see [`is_contiguous`](Self::is_contiguous).
    #[inline]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let header = self.header();
        let start = header
            .buf_addr
            .cast::<u8>()
            .wrapping_add(usize::from(header.data_off));
        // SAFETY: `data_off + data_len <= buf_len`, by the invariant, and nobody writes meanwhile.
        unsafe { slice::from_raw_parts(start, usize::from(header.data_len)) }
    }

    /// The frame, or its first part, to be changed in place.
    #[inline]
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let (offset, length) = (self.header().data_off, self.header().data_len);
        // SAFETY: `data_off + data_len <= buf_len`, by the invariant.
        unsafe { self.bytes_mut(offset, length) }
    }

    /// Bytes in the frame, in all its buffers.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.header().pkt_len as usize
    }

    /// Is it a frame of no bytes?
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is the whole frame in one buffer, so that [`data`](Self::data) is all of it?
    #[inline]
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.header().nb_segs == 1
    }

    /// Bytes free before the frame.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.header().data_off)
    }

    /// Bytes free after the frame, or after its first part.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        let header = self.header();
        usize::from(header.buf_len - header.data_off - header.data_len)
    }

    /// Grows the frame by `count` bytes at its front and returns them, to be written: they hold what
    /// was there before. `None` and no change if the headroom is smaller.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let header = self.header_mut();
        let grown = u16::try_from(count)
            .ok()
            .filter(|count| *count <= header.data_off)?;
        header.data_off -= grown;
        header.data_len += grown;
        header.pkt_len += u32::from(grown);
        let offset = header.data_off;
        // SAFETY: `offset + grown` is the old `data_off`.
        Some(unsafe { self.bytes_mut(offset, grown) })
    }

    /// Grows the frame by `count` bytes at its end and returns them, to be written: they hold what was
    /// there before. `None` and no change if the tailroom is smaller or the frame not contiguous.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        if count > self.tailroom() || !self.is_contiguous() {
            return None;
        }
        let grown = u16::try_from(count).ok()?;
        let header = self.header_mut();
        let offset = header.data_off + header.data_len;
        header.data_len += grown;
        header.pkt_len += u32::from(grown);
        // SAFETY: `grown` is at most the tailroom, which ends at `buf_len`.
        Some(unsafe { self.bytes_mut(offset, grown) })
    }

    /// Takes `count` bytes off the front. `false` and no change if [`data`](Self::data) is shorter.
    #[inline]
    #[must_use]
    pub fn trim_front(&mut self, count: usize) -> bool {
        let header = self.header_mut();
        let Some(cut) = u16::try_from(count)
            .ok()
            .filter(|count| *count <= header.data_len)
        else {
            return false;
        };
        header.data_off += cut;
        header.data_len -= cut;
        header.pkt_len -= u32::from(cut);
        true
    }

    /// Cuts the frame to `length` bytes. `false` and no change if it is shorter or not contiguous.
    #[inline]
    #[must_use]
    pub fn truncate(&mut self, length: usize) -> bool {
        let contiguous = self.is_contiguous();
        let header = self.header_mut();
        match u16::try_from(length) {
            Ok(length) if contiguous && length <= header.data_len => {
                header.data_len = length;
                header.pkt_len = u32::from(length);
                true
            }
            _ => false,
        }
    }

    /// The hash that the device spread the frame by, if it gave one (`RTE_MBUF_F_RX_RSS_HASH`).
    #[inline]
    #[must_use]
    pub fn rss_hash(&self) -> Option<u32> {
        let header = self.header();
        (header.ol_flags & dpdk_sys::TETHER_MBUF_F_RX_RSS_HASH != 0).then_some(header.hash_rss)
    }

    /// What the device has found about the frame's IPv4 header as it was received, the first time that it is
    /// asked: who changes the frame or passes it on leaves nothing that another reader could take for its own.
    ///
    /// Of a tunnel that the device knows, its flags (`RTE_MBUF_F_RX_IP_CKSUM_MASK`) tell of the inner header;
    /// of the outer one only where that is wrong (`RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD`). `.._NONE` says nothing
    /// of the bytes that the frame has.
    #[inline]
    #[must_use]
    pub fn take_ipv4_checksum(&mut self) -> Ipv4Checksum {
        let header = self.header_mut();
        let found = header.ol_flags & IPV4_FLAGS;
        header.ol_flags &= !IPV4_FLAGS;
        let is_tunnel = header.packet_type & dpdk_sys::TETHER_PTYPE_TUNNEL_MASK != 0;
        if found == dpdk_sys::TETHER_MBUF_F_RX_IP_CKSUM_GOOD && !is_tunnel {
            Ipv4Checksum::Good
        } else if is_outermost_bad(found, is_tunnel) {
            Ipv4Checksum::Bad
        } else {
            Ipv4Checksum::Unknown
        }
    }

    /// Whether a device may put the buffer back into this pool without a look at it: it is from there with
    /// its data, has no other owner and no next one (`RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE`).
    #[inline]
    pub(crate) fn is_single_of(&self, pool: *mut rte_mempool) -> bool {
        let header = self.header();
        let is_direct = header.ol_flags & ELSEWHERE == 0;
        header.pool == pool && header.nb_segs == 1 && header.refcnt == 1 && is_direct
    }

    /// Asks the CPU to load the start of the frame into its caches; never waits for it.
    #[inline]
    pub fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let header = self.header();
            let start = header
                .buf_addr
                .cast::<i8>()
                .wrapping_add(usize::from(header.data_off));
            // SAFETY: a prefetch has no effect that the program could see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start) };
        }
    }
}

fn is_outermost_bad(found: u64, is_tunnel: bool) -> bool {
    let bad = dpdk_sys::TETHER_MBUF_F_RX_IP_CKSUM_BAD;
    let is_bad = found & dpdk_sys::TETHER_MBUF_F_RX_IP_CKSUM_MASK == bad && !is_tunnel;
    is_bad || found & dpdk_sys::TETHER_MBUF_F_RX_OUTER_IP_CKSUM_BAD != 0
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the chain is ours and, being dropped, used no more.
        unsafe { dpdk_sys::tether_pktmbuf_free(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mbuf")
            .field("len", &self.len())
            .field("segments", &self.header().nb_segs)
            .field("rss_hash", &self.rss_hash())
            .finish_non_exhaustive()
    }
}

/// Gives all frames of `burst` back to their pools with one C call (DPDK `rte_pktmbuf_free_bulk`).
#[inline]
pub fn free_burst<const N: usize>(burst: &mut ArrayVec<Mbuf, N>) {
    const { assert!(N <= u16::MAX as usize, "a burst has at most 65535 frames") };
    #[expect(clippy::cast_possible_truncation, reason = "len <= N <= 65535")]
    let count = burst.len() as u32;
    // SAFETY: fewer elements; those beyond are still there and owned by nobody but us.
    unsafe { burst.set_len(0) };
    let first = burst.as_mut_ptr().cast::<*mut rte_mbuf>();
    // SAFETY: `first` points to `count` frames, each a pointer to a chain of ours; none is used again.
    unsafe { dpdk_sys::rte_pktmbuf_free_bulk(first, count) };
}

#[cfg(test)]
mod tests {
    use std::mem::{self, ManuallyDrop};

    use proptest::prelude::*;

    use super::*;

    const ROOM: u16 = 256;
    const HEADROOM: u16 = 64;

    /// A buffer without a pool: everything but freeing works.
    struct Fake {
        memory: Vec<u8>,
        header: Box<rte_mbuf>,
    }

    impl Fake {
        fn new() -> Self {
            // SAFETY: the structure is integers and pointers, for which zero is a value.
            let mut header: Box<rte_mbuf> = Box::new(unsafe { mem::zeroed() });
            let mut memory = vec![0; usize::from(ROOM)];
            header.buf_addr = memory.as_mut_ptr().cast();
            (header.buf_len, header.data_off, header.nb_segs) = (ROOM, HEADROOM, 1);
            Self { memory, header }
        }

        fn frame(&mut self) -> ManuallyDrop<Mbuf> {
            assert_eq!(self.memory.len(), usize::from(ROOM));
            ManuallyDrop::new(Mbuf {
                raw: NonNull::from(&mut *self.header),
            })
        }
    }

    #[test]
    fn the_hash_is_read_only_where_the_device_gave_one() {
        let mut fake = Fake::new();
        fake.header.hash_rss = 0xfeed;
        assert_eq!(fake.frame().rss_hash(), None);
        fake.header.ol_flags = dpdk_sys::TETHER_MBUF_F_RX_RSS_HASH;
        assert_eq!(fake.frame().rss_hash(), Some(0xfeed));
    }

    #[test]
    fn a_device_is_believed_about_the_outermost_header_only() {
        use Ipv4Checksum::{Bad, Good, Unknown};
        use dpdk_sys::{
            TETHER_MBUF_F_RX_IP_CKSUM_BAD as BAD, TETHER_MBUF_F_RX_IP_CKSUM_GOOD as GOOD,
            TETHER_MBUF_F_RX_IP_CKSUM_NONE as NONE,
            TETHER_MBUF_F_RX_OUTER_IP_CKSUM_BAD as OUTER_BAD,
        };
        for (flags, plain, of_tunnel) in [
            (0, Unknown, Unknown),
            (GOOD, Good, Unknown),
            (BAD, Bad, Unknown),
            (NONE, Unknown, Unknown),
            (OUTER_BAD, Bad, Bad),
            (GOOD | OUTER_BAD, Bad, Bad),
            (NONE | OUTER_BAD, Bad, Bad),
        ] {
            for (tunnel, expected) in [(0, plain), (dpdk_sys::TETHER_PTYPE_TUNNEL_MASK, of_tunnel)]
            {
                let mut fake = Fake::new();
                (fake.header.ol_flags, fake.header.packet_type) = (flags, tunnel);
                assert_eq!(fake.frame().take_ipv4_checksum(), expected, "{flags:#x}");
            }
        }
    }

    #[test]
    fn what_a_device_has_found_is_told_once_and_no_other_flag_is_touched() {
        let mut fake = Fake::new();
        fake.header.ol_flags = u64::MAX ^ IPV4_FLAGS | dpdk_sys::TETHER_MBUF_F_RX_IP_CKSUM_GOOD;
        assert_eq!(fake.frame().take_ipv4_checksum(), Ipv4Checksum::Good);
        assert_eq!(fake.frame().take_ipv4_checksum(), Ipv4Checksum::Unknown);
        assert_eq!(fake.header.ol_flags, u64::MAX ^ IPV4_FLAGS);
    }

    #[test]
    fn a_buffer_that_is_put_back_unseen_is_the_pools_alone_and_the_only_one() {
        // Compared, never followed.
        let [pool, other] = [64, 128].map(std::ptr::without_provenance_mut::<rte_mempool>);
        let mut fake = Fake::new();
        for (of, segments, owners, flags, expected) in [
            (pool, 1, 1, !ELSEWHERE, true),
            (other, 1, 1, 0, false),
            (pool, 2, 1, 0, false),
            (pool, 1, 2, 0, false),
            (pool, 1, 1, dpdk_sys::TETHER_MBUF_F_INDIRECT, false),
            (pool, 1, 1, dpdk_sys::TETHER_MBUF_F_EXTERNAL, false),
        ] {
            let header = &mut fake.header;
            (header.pool, header.nb_segs, header.refcnt) = (of, segments, owners);
            header.ol_flags = flags;
            assert_eq!(fake.frame().is_single_of(pool), expected);
        }
    }

    #[test]
    fn a_frame_of_several_buffers_is_neither_appended_to_nor_truncated() {
        let mut fake = Fake::new();
        assert!(fake.frame().append(10).is_some());
        (fake.header.nb_segs, fake.header.pkt_len) = (2, 30);
        let mut frame = fake.frame();
        assert!(!frame.is_contiguous());
        assert!(frame.append(1).is_none());
        assert!(!frame.truncate(5));
        assert!(frame.trim_front(4));
        assert_eq!((frame.len(), frame.data().len()), (26, 6));
    }

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Prepend(usize),
        Append(usize),
        TrimFront(usize),
        Truncate(usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        let count = prop_oneof![0..80_usize, 0..70_000_usize];
        (0..4, count).prop_map(|(kind, count)| match kind {
            0 => Change::Prepend(count),
            1 => Change::Append(count),
            2 => Change::TrimFront(count),
            _ => Change::Truncate(count),
        })
    }

    /// The same on a `Vec`: bytes before the frame are a number.
    fn oracle(frame: &mut Vec<u8>, headroom: &mut usize, change: Change, fill: u8) -> bool {
        let tailroom = usize::from(ROOM) - *headroom - frame.len();
        match change {
            Change::Prepend(count) if count <= *headroom => {
                *headroom -= count;
                frame.splice(0..0, vec![fill; count]);
            }
            Change::Append(count) if count <= tailroom => {
                frame.resize(frame.len() + count, fill);
            }
            Change::TrimFront(count) if count <= frame.len() => {
                *headroom += count;
                frame.drain(..count);
            }
            Change::Truncate(length) if length <= frame.len() => frame.truncate(length),
            _ => return false,
        }
        true
    }

    fn apply(frame: &mut Mbuf, change: Change, fill: u8) -> bool {
        match change {
            Change::Prepend(count) => frame.prepend(count).map(|bytes| bytes.fill(fill)).is_some(),
            Change::Append(count) => frame.append(count).map(|bytes| bytes.fill(fill)).is_some(),
            Change::TrimFront(count) => frame.trim_front(count),
            Change::Truncate(length) => frame.truncate(length),
        }
    }

    proptest! {
        #[test]
        fn a_frame_changes_as_a_vec_does(changes in prop::collection::vec((change(), any::<u8>()), 0..40)) {
            let mut fake = Fake::new();
            let mut frame = fake.frame();
            let (mut expected, mut headroom) = (Vec::new(), usize::from(HEADROOM));
            for (change, fill) in changes {
                let done = apply(&mut frame, change, fill);
                prop_assert_eq!(done, oracle(&mut expected, &mut headroom, change, fill));
                prop_assert_eq!(frame.data(), &expected[..]);
                prop_assert_eq!(frame.data_mut(), &expected[..]);
                prop_assert_eq!(frame.len(), expected.len());
                prop_assert_eq!(frame.headroom(), headroom);
                prop_assert_eq!(frame.tailroom(), usize::from(ROOM) - headroom - expected.len());
            }
        }
    }
}
