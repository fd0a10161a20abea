//! What workers hand over to each other: replies of full NAT that came to another queue than that of
//! the worker whose local port they are to, and packets of clients, with errors about theirs, that
//! came to another one than has their flow.
//!
//! A bounded queue for each worker and port, made at the start. Several workers may put frames into
//! one; it costs an atomic operation for each frame that goes by it, and a look at an empty queue for
//! each turn. Where NICs spread by a hash that is known, few frames do.

use crate::{
    limits::HANDED_OVER,
    port::{BURST, Burst},
    tables::id::PortId,
};
use arrayvec::ArrayVec;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// A frame that another worker has received.
#[derive(Debug)]
struct Handed<F> {
    frame: F,
    /// How often it was handed over so far.
    times: u8,
}

/// The queues between the workers.
#[derive(Debug)]
pub struct Exchange<F> {
    /// By worker, then by the port that frames came by.
    queues: Box<[ArrayQueue<Handed<F>>]>,
    ports: usize,
}

/// How often each of the first frames of a burst was handed over; the others came by the port.
pub(crate) type Times = ArrayVec<u8, BURST>;

impl<F> Exchange<F> {
    /// Queues for so many workers with so many ports each.
    #[must_use]
    pub fn new(workers: usize, ports: usize) -> Arc<Self> {
        let queues = (0..workers * ports).map(|_| ArrayQueue::new(HANDED_OVER));
        Arc::new(Self {
            queues: queues.collect(),
            ports,
        })
    }

    /// Hands a frame over to a worker; gives it back where too many wait for that one.
    pub(crate) fn give(&self, to: u8, came_by: PortId, frame: F, times: u8) -> Result<(), F> {
        match self.queue(to, came_by) {
            Some(queue) => queue.push(Handed { frame, times }).map_err(|it| it.frame),
            None => Err(frame),
        }
    }

    /// Takes what was handed over to a worker, up to half a burst: the rest is the port's.
    #[inline]
    pub(crate) fn take(
        &self,
        worker: u8,
        came_by: PortId,
        burst: &mut Burst<F>,
        times: &mut Times,
    ) {
        let Some(queue) = self.queue(worker, came_by) else {
            return;
        };
        // Cheaper than to find that there is nothing to pop.
        if queue.is_empty() {
            return;
        }
        while burst.len() < BURST / 2
            && let Some(handed) = queue.pop()
        {
            burst.push(handed.frame);
            times.push(handed.times);
        }
    }

    #[inline]
    fn queue(&self, worker: u8, port: PortId) -> Option<&ArrayQueue<Handed<F>>> {
        self.queues
            .get(usize::from(worker) * self.ports + port.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_to_their_worker_and_port_in_order() {
        let exchange = Exchange::new(2, 2);
        for frame in 0..3 {
            exchange.give(1, PortId(0), frame, 1).unwrap();
        }
        exchange.give(1, PortId(1), 9, 2).unwrap();
        let (mut burst, mut times) = (Burst::new(), Times::new());
        exchange.take(0, PortId(0), &mut burst, &mut times);
        assert!(burst.is_empty());
        exchange.take(1, PortId(0), &mut burst, &mut times);
        exchange.take(1, PortId(1), &mut burst, &mut times);
        assert_eq!(
            (&burst[..], &times[..]),
            (&[0, 1, 2, 9][..], &[1, 1, 1, 2][..])
        );
    }

    #[test]
    fn a_queue_takes_so_many_and_a_burst_half_of_itself() {
        let exchange = Exchange::new(1, 1);
        for frame in 0..HANDED_OVER {
            exchange.give(0, PortId(0), frame, 1).unwrap();
        }
        assert_eq!(exchange.give(0, PortId(0), 7777, 1), Err(7777));
        assert_eq!(exchange.give(3, PortId(0), 7777, 1), Err(7777));
        let (mut burst, mut times) = (Burst::new(), Times::new());
        exchange.take(0, PortId(0), &mut burst, &mut times);
        assert_eq!(burst.len(), BURST / 2);
    }
}
