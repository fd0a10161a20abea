//! A port whose other end is a test or a benchmark in this process.
//!
//! All buffers are made at the start and come back when their frames are dropped: no burst
//! allocates. The peer may be in another thread.

mod frame;

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

pub(crate) use frame::Pool;
pub use frame::{FRAME_LEN_MAX, MemoryFrame};

use super::{Burst, Port};

/// The port, which a worker owns.
#[derive(Debug)]
pub struct MemoryPort {
    pool: Arc<Pool>,
    received: Arc<ArrayQueue<MemoryFrame>>,
    sent: Arc<ArrayQueue<MemoryFrame>>,
    checks_ipv4: bool,
}

/// The station at the other end.
#[derive(Debug)]
pub struct MemoryPeer {
    pool: Arc<Pool>,
    /// What this peer sent and the port will receive.
    outgoing: Arc<ArrayQueue<MemoryFrame>>,
    /// What the port sent.
    incoming: Arc<ArrayQueue<MemoryFrame>>,
}

impl MemoryPort {
    /// A port with a pool of `frames` buffers, at least 1, and its peer. The port's transmit queue
    /// takes `transmit_frames`, at least 1, until the peer receives some.
    #[must_use]
    pub fn new(frames: usize, transmit_frames: usize) -> (Self, MemoryPeer) {
        let pool = Arc::new(Pool::new(frames));
        let received = Arc::new(ArrayQueue::new(frames.max(1)));
        let sent = Arc::new(ArrayQueue::new(transmit_frames.max(1)));
        let (outgoing, incoming) = (Arc::clone(&received), Arc::clone(&sent));
        let peer = MemoryPeer {
            pool: Arc::clone(&pool),
            outgoing,
            incoming,
        };
        (
            Self {
                pool,
                received,
                sent,
                checks_ipv4: false,
            },
            peer,
        )
    }

    /// The same port as one whose device looks at IPv4 header checksums: what it has found is what the
    /// peer says by [`MemoryPeer::send_checked`].
    #[must_use]
    pub fn checking_ipv4(mut self) -> Self {
        self.checks_ipv4 = true;
        self
    }
}

impl Port for MemoryPort {
    type Frame = MemoryFrame;

    fn checks_ipv4(&self) -> bool {
        self.checks_ipv4
    }

    fn receive(&mut self, burst: &mut Burst<MemoryFrame>) {
        while !burst.is_full() {
            let Some(frame) = self.received.pop() else {
                return;
            };
            burst.push(frame);
        }
    }

    /// Nobody else sends on this queue, so the room that it has it keeps.
    fn transmit(&mut self, burst: &mut Burst<MemoryFrame>) {
        let room = self.sent.capacity() - self.sent.len();
        for frame in burst.drain(..room.min(burst.len())) {
            let sent = self.sent.push(frame);
            debug_assert!(sent.is_ok(), "another sender took the room");
        }
    }

    fn allocate(&mut self) -> Option<MemoryFrame> {
        MemoryFrame::new(&self.pool)
    }
}

impl MemoryPeer {
    /// Sends the port a copy of a frame. False where the pool has no buffer, or the frame is longer
    /// than [`FRAME_LEN_MAX`].
    #[must_use]
    pub fn send(&self, frame: &[u8]) -> bool {
        let copy = MemoryFrame::copied(&self.pool, frame);
        copy.is_some_and(|copy| self.outgoing.push(copy).is_ok())
    }

    /// Sends the port a frame of which only the first `len` bytes are in its first segment.
    #[must_use]
    pub fn send_segmented(&self, frame: &[u8], len: usize) -> bool {
        let first = frame
            .get(..len)
            .and_then(|first| MemoryFrame::copied(&self.pool, first));
        first.is_some_and(|first| self.outgoing.push(first.segmented()).is_ok())
    }

    /// Sends the port a frame of whose IPv4 header checksum its device says that it is right, or wrong.
    #[must_use]
    pub fn send_checked(&self, frame: &[u8], is_right: bool) -> bool {
        let copy = MemoryFrame::copied(&self.pool, frame);
        copy.is_some_and(|copy| self.outgoing.push(copy.checked(is_right)).is_ok())
    }

    /// Sends the port a frame at the very front of its buffer: nothing can be prepended to it.
    #[must_use]
    pub fn send_without_headroom(&self, frame: &[u8]) -> bool {
        let copy = MemoryFrame::copied(&self.pool, frame);
        copy.is_some_and(|copy| self.outgoing.push(copy.at_the_front()).is_ok())
    }

    /// The next frame that the port sent.
    #[must_use]
    pub fn receive(&self) -> Option<MemoryFrame> {
        self.incoming.pop()
    }

    /// How many buffers are in the pool: all, when no frame is held anywhere.
    #[must_use]
    pub fn free_frames(&self) -> usize {
        self.pool.free_frames()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::port::{BURST, Frame};

    #[test]
    fn frames_pass_in_order_and_come_back() {
        let (mut port, peer) = MemoryPort::new(4, 4);
        assert!(peer.send(b"one") && peer.send(b"two"));
        let mut burst = Burst::new();
        port.receive(&mut burst);
        assert_eq!(burst.len(), 2);
        assert_eq!(
            (burst[0].bytes(), burst[1].bytes()),
            (&b"one"[..], &b"two"[..])
        );
        port.transmit(&mut burst);
        assert!(burst.is_empty());
        assert_eq!(peer.receive().unwrap().bytes(), b"one");
        assert_eq!(peer.receive().unwrap().bytes(), b"two");
        assert!(peer.receive().is_none());
        assert_eq!(peer.free_frames(), 4);
    }

    #[test]
    fn a_full_transmit_queue_leaves_the_rest_in_order() {
        let (mut port, peer) = MemoryPort::new(4, 2);
        let mut burst: Burst<_> = (0..4).filter_map(|_| port.allocate()).collect();
        for (number, frame) in (b'a'..).zip(&mut burst) {
            assert!(frame.resize(1));
            frame.bytes_mut()[0] = number;
        }
        port.transmit(&mut burst);
        let left: Vec<_> = burst.iter().map(|frame| frame.bytes()[0]).collect();
        assert_eq!(left, b"cd");
        port.transmit(&mut burst);
        assert_eq!(burst.len(), 2);
        assert_eq!(peer.receive().unwrap().bytes(), b"a");
        port.transmit(&mut burst);
        assert_eq!(burst.len(), 1);
    }

    #[test]
    fn a_burst_takes_no_more_than_it_has_room_for() {
        let (mut port, peer) = MemoryPort::new(BURST + 1, 1);
        assert!((0..=BURST).all(|_| peer.send(b"frame")));
        let mut burst = Burst::new();
        port.receive(&mut burst);
        assert_eq!(burst.len(), BURST);
        port.receive(&mut burst);
        assert_eq!(burst.len(), BURST);
    }

    #[test]
    fn an_empty_pool_refuses() {
        let (mut port, peer) = MemoryPort::new(1, 1);
        let held = port.allocate();
        assert!(held.is_some() && port.allocate().is_none() && !peer.send(b"frame"));
        drop(held);
        assert!(!peer.send(&[0; FRAME_LEN_MAX + 1]));
        assert!(peer.send(&[0; FRAME_LEN_MAX]));
    }

    #[test]
    fn ten_thousand_bursts_live_on_the_first_buffers() {
        let (mut port, peer) = MemoryPort::new(8, 8);
        let mut burst = Burst::new();
        let mut buffers = HashSet::new();
        for _ in 0..10_000 {
            assert!(peer.send(b"there") && peer.send(b"and"));
            port.receive(&mut burst);
            port.transmit(&mut burst);
            let back = [peer.receive().unwrap(), peer.receive().unwrap()];
            buffers.extend(back.map(|frame| frame.bytes().as_ptr()));
        }
        assert_eq!((buffers.len(), peer.free_frames()), (8, 8));
    }

    #[test]
    fn a_segmented_frame_shows_its_first_segment() {
        let (mut port, peer) = MemoryPort::new(1, 1);
        assert!(peer.send_segmented(b"head and tail", 4));
        let mut burst = Burst::new();
        port.receive(&mut burst);
        let frame = &mut burst[0];
        assert_eq!(
            (frame.bytes(), frame.is_contiguous()),
            (&b"head"[..], false)
        );
        assert!(!frame.resize(2));
    }
}
