//! A frame in a buffer that goes back to its pool.

use std::fmt;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::port::Frame;

/// The longest frame in bytes: what an mbuf of DPDK's default size holds
/// (`RTE_MBUF_DEFAULT_DATAROOM`).
pub const FRAME_LEN_MAX: usize = 2048;

/// Bytes free before a fresh frame, as DPDK has them (`RTE_PKTMBUF_HEADROOM`).
const HEADROOM: usize = 128;

/// Buffers that are not in use.
pub(crate) struct Pool {
    free: ArrayQueue<Box<[u8]>>,
}

/// A frame in memory.
pub struct MemoryFrame {
    /// Empty only while it is dropped.
    buffer: Box<[u8]>,
    /// Where the frame begins in its buffer.
    start: usize,
    len: usize,
    is_contiguous: bool,
    /// What the port's device would have found.
    ipv4_checksum: Option<bool>,
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool of so many buffers, at least 1.
    pub(crate) fn new(frames: usize) -> Self {
        let free = ArrayQueue::new(frames.max(1));
        while free
            .push(vec![0; HEADROOM + FRAME_LEN_MAX].into_boxed_slice())
            .is_ok()
        {}
        Self { free }
    }

    pub(crate) fn free_frames(&self) -> usize {
        self.free.len()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {} buffers free",
            self.free.len(),
            self.free.capacity()
        )
    }
}

impl MemoryFrame {
    /// An empty frame, if the pool has a buffer.
    pub(crate) fn new(pool: &Arc<Pool>) -> Option<Self> {
        let buffer = pool.free.pop()?;
        Some(Self {
            buffer,
            start: HEADROOM,
            len: 0,
            is_contiguous: true,
            ipv4_checksum: None,
            pool: Arc::clone(pool),
        })
    }

    /// A frame with these bytes, if the pool has a buffer and they have room in it.
    pub(crate) fn copied(pool: &Arc<Pool>, bytes: &[u8]) -> Option<Self> {
        let mut frame = Self::new(pool)?;
        let room = frame.buffer.get_mut(HEADROOM..HEADROOM + bytes.len())?;
        room.copy_from_slice(bytes);
        frame.len = bytes.len();
        Some(frame)
    }

    /// The same at the very front of its buffer: nothing can be prepended.
    pub(crate) fn at_the_front(mut self) -> Self {
        let end = self.start + self.len;
        self.buffer.copy_within(self.start..end, 0);
        self.start = 0;
        self
    }

    /// The same as the first segment of a longer frame.
    pub(crate) fn segmented(mut self) -> Self {
        self.is_contiguous = false;
        self
    }

    /// The same as a device passes it on that has found its IPv4 header checksum right or wrong.
    pub(crate) fn checked(mut self, is_right: bool) -> Self {
        self.ipv4_checksum = Some(is_right);
        self
    }
}

impl Frame for MemoryFrame {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }

    fn is_contiguous(&self) -> bool {
        self.is_contiguous
    }

    fn take_ipv4_checksum(&mut self) -> Option<bool> {
        self.ipv4_checksum.take()
    }

    fn resize(&mut self, len: usize) -> bool {
        if !self.is_contiguous || self.start + len > self.buffer.len() {
            return false;
        }
        if let Some(grown) = self.buffer.get_mut(self.start + self.len..self.start + len) {
            grown.fill(0);
        }
        self.len = len;
        true
    }

    fn prepend(&mut self, count: usize) -> bool {
        let Some(start) = self.start.checked_sub(count) else {
            return false;
        };
        self.start = start;
        self.len += count;
        true
    }

    fn trim(&mut self, count: usize) -> bool {
        let Some(len) = self.len.checked_sub(count) else {
            return false;
        };
        self.start += count;
        self.len = len;
        true
    }
}

impl Drop for MemoryFrame {
    fn drop(&mut self) {
        let returned = self.pool.free.push(std::mem::take(&mut self.buffer));
        debug_assert!(returned.is_ok(), "more buffers came back than went out");
    }
}

impl fmt::Debug for MemoryFrame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x?}", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> MemoryFrame {
        MemoryFrame::copied(&Arc::new(Pool::new(1)), bytes).unwrap()
    }

    #[test]
    fn grown_bytes_are_zero() {
        let mut frame = frame(b"abcd");
        assert!(frame.resize(2) && frame.resize(6));
        assert_eq!(frame.bytes(), b"ab\0\0\0\0");
    }

    #[test]
    fn a_frame_grows_to_its_buffer() {
        let mut frame = frame(b"abcd");
        assert!(frame.resize(FRAME_LEN_MAX) && !frame.resize(FRAME_LEN_MAX + 1));
        assert_eq!(frame.bytes().len(), FRAME_LEN_MAX);
    }

    #[test]
    fn a_frame_grows_at_its_front_as_far_as_there_is_room() {
        let mut frame = frame(b"abcd");
        assert!(frame.prepend(2) && !frame.prepend(HEADROOM - 1));
        assert_eq!(&frame.bytes()[2..], b"abcd");
        assert!(!frame.trim(HEADROOM + 7) && frame.trim(3) && frame.bytes() == b"bcd");
        assert!(frame.prepend(3));
        assert!(frame.prepend(HEADROOM - 2) && !frame.prepend(1));
        assert_eq!(&frame.bytes()[HEADROOM..], b"abcd");
        assert_eq!(frame.at_the_front().bytes().len(), HEADROOM + 4);
    }
}
