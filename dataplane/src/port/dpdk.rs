//! A worker's queues on a DPDK port.

use super::{Burst, Frame, Port};
use dpdk::{Mbuf, Mempool, Queue};

/// One queue pair, with the pool that its own messages are built in.
#[derive(Debug)]
pub struct DpdkPort {
    queue: Queue,
    pool: Mempool,
}

impl DpdkPort {
    /// The worker's queue pair and its pool.
    #[must_use]
    pub fn new(queue: Queue, pool: Mempool) -> Self {
        Self { queue, pool }
    }
}

impl Port for DpdkPort {
    type Frame = Mbuf;

    #[inline]
    fn receive(&mut self, burst: &mut Burst<Mbuf>) {
        self.queue.receive(burst);
    }

    #[inline]
    fn transmit(&mut self, burst: &mut Burst<Mbuf>) {
        self.queue.transmit(burst);
    }

    fn allocate(&mut self) -> Option<Mbuf> {
        self.pool.allocate()
    }
}

impl Frame for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.data()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        Mbuf::is_contiguous(self)
    }

    fn resize(&mut self, len: usize) -> bool {
        match len.checked_sub(self.len()) {
            Some(more) => self.append(more).is_some_and(|new| {
                new.fill(0);
                true
            }),
            None => self.truncate(len),
        }
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> bool {
        Mbuf::prepend(self, count).is_some()
    }

    #[inline]
    fn trim(&mut self, count: usize) -> bool {
        self.trim_front(count)
    }
}
