//! One receive and one transmit queue of a port, for one thread.
//!
//! A burst is an `ArrayVec<Mbuf, N>`. An `Mbuf` is a pointer, so the driver reads and writes the
//! array itself: one C call per burst and nothing per frame.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys::rte_mbuf;

use crate::mbuf::Mbuf;
use crate::mempool::Mempool;
use crate::port::{Offloads, OpenPort};

/// The receive and the transmit queue of one index of a port. It keeps the port started.
///
/// It may be moved to the thread that polls it and is used by one thread at a time:
///
/// ```compile_fail
/// fn assert_sync<T: Sync>() {}
/// assert_sync::<dpdk::Queue>();
/// ```
/// ```
/// fn assert_send<T: Send>() {}
/// assert_send::<dpdk::Queue>();
/// ```
#[derive(Debug)]
pub struct Queue {
    // Invariant: the port is started and both queues are set up; no other `Queue` has this index.
    port_id: u16,
    index: u16,
    port: Arc<OpenPort>,
    tells_of_ipv4: bool,
    // Invariant: the one pool of the port, where the device puts back what it has sent without a look at it.
    only: Option<Mempool>,
    not_sync: PhantomData<Cell<()>>,
}

impl Queue {
    /// `index` fulfils the invariant.
    pub(crate) fn new(port: Arc<OpenPort>, index: u16, offloads: Offloads) -> Self {
        let pool = port.pools().first().filter(|_| offloads.free_unseen());
        Self {
            port_id: port.id(),
            index,
            tells_of_ipv4: offloads.tell_of_ipv4(),
            only: pool.cloned(),
            port,
            not_sync: PhantomData,
        }
    }

    /// The index of both queues in their port.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The device name of the port.
    #[must_use]
    pub fn port_name(&self) -> &str {
        self.port.name()
    }

    /// Whether received frames say what the device has found about their IPv4 headers, as
    /// [`Mbuf::take_ipv4_checksum`] has it. What frames of other queues seem to say is nobody's word.
    #[inline]
    #[must_use]
    pub fn tells_of_ipv4(&self) -> bool {
        self.tells_of_ipv4
    }

    /// Fills the free room of `burst` with received frames and returns how many; never waits
    /// (DPDK `rte_eth_rx_burst`). Some drivers take frames by fours or eights: have room for 32.
    #[inline]
    pub fn receive<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        const { assert!(N <= u16::MAX as usize, "a burst has at most 65535 frames") };
        let length = burst.len();
        #[expect(clippy::cast_possible_truncation, reason = "room <= N <= 65535")]
        let room = (N - length) as u16;
        let spare = burst
            .as_mut_ptr()
            .wrapping_add(length)
            .cast::<*mut rte_mbuf>();
        // SAFETY: there is room for `room` pointers behind the last element, and an `Mbuf` is one; the
        // queue is set up and, by `&mut self`, polled by nobody else.
        let received =
            unsafe { dpdk_sys::tether_eth_rx_burst(self.port_id, self.index, spare, room) };
        let received = usize::from(received);
        // SAFETY: the driver has written that many pointers to frames, which are ours now.
        unsafe { burst.set_len(length + received) };
        received
    }

    /// Hands frames of `burst` to the device and returns how many (DPDK `rte_eth_tx_burst`). Those are
    /// removed from its front; the rest stays, in order, for another try or to be dropped.
    ///
    /// A frame that is not contiguous needs a port whose MTU exceeds its buffers; on one that was configured
    /// for frames of one pool, neither that nor a frame of another pool is ever taken, nor what is behind it.
    /// An empty burst does not call the driver.
    #[inline]
    pub fn transmit<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        const { assert!(N <= u16::MAX as usize, "a burst has at most 65535 frames") };
        let length = burst.len();
        let offered = match &self.only {
            None => length,
            Some(pool) => singles_of(pool, burst),
        };
        if offered == 0 {
            return 0;
        }
        let first = burst.as_mut_ptr().cast::<*mut rte_mbuf>();
        #[expect(clippy::cast_possible_truncation, reason = "offered <= N <= 65535")]
        // SAFETY: `first` points to at least `offered` frames, each a pointer to a chain of ours; those are
        // what the device was told to expect, by the invariant of `only`; the queue is set up and, by
        // `&mut self`, used by nobody else.
        let sent = unsafe {
            dpdk_sys::tether_eth_tx_burst(self.port_id, self.index, first, offered as u16)
        };
        let sent = usize::from(sent);
        let kept = length - sent;
        if kept > 0 {
            // SAFETY: both ranges are within the `length` elements.
            unsafe { ptr::copy(first.wrapping_add(sent), first, kept) };
        }
        // SAFETY: the first `kept` elements are those the device did not take, each once; the sent ones
        // are the device's and must not be dropped.
        unsafe { burst.set_len(kept) };
        sent
    }
}

/// How many frames from the first on may be put back into the pool without a look at them.
#[inline]
fn singles_of(pool: &Mempool, frames: &[Mbuf]) -> usize {
    let pool = pool.as_ptr();
    let others = frames.iter().position(|frame| !frame.is_single_of(pool));
    others.unwrap_or(frames.len())
}
