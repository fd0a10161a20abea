//! A worker's queues on a DPDK port.

use super::{Burst, Frame, Port};
use dpdk::{Ipv4Checksum, Mbuf, Mempool, Queue};

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
    fn checks_ipv4(&self) -> bool {
        self.queue.tells_of_ipv4()
    }

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

    #[inline]
    fn take_ipv4_checksum(&mut self) -> Option<bool> {
        match Mbuf::take_ipv4_checksum(self) {
            Ipv4Checksum::Unknown => None,
            Ipv4Checksum::Good => Some(true),
            Ipv4Checksum::Bad => Some(false),
        }
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
