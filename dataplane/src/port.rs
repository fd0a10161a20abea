//! Where frames come from and go to: the one thing that the packet path knows of a NIC.
//!
//! A [`Port`] is one worker's pair of queues on a port. Implementations: `port/memory.rs`,
//! `port/pcap.rs`, and `port/dpdk.rs` with the feature `dpdk`.

#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod memory;
pub mod pcap;

use arrayvec::ArrayVec;

/// Frames taken from a port at once. 64 measured 6 % faster than 32 with a million flows.
pub const BURST: usize = 64;

/// A burst of frames.
pub type Burst<F> = ArrayVec<F, BURST>;

/// A frame that can be read and rewritten in place, owned, and given back when dropped.
pub trait Frame {
    /// The bytes from the Ethernet header on: the whole frame when [`Frame::is_contiguous`].
    fn bytes(&self) -> &[u8];
    /// The same, writable.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Whether [`Frame::bytes`] is the whole frame.
    fn is_contiguous(&self) -> bool;
    /// Whether the device has found the checksum of the outermost IPv4 header, as it was received, right;
    /// `None`: look yourself. It is told once, so that nobody reads it of a frame that was changed or passed
    /// on. Only frames of a port that [checks](Port::checks_ipv4) are asked.
    #[inline]
    fn take_ipv4_checksum(&mut self) -> Option<bool> {
        None
    }
    /// Cuts or grows the frame at its end; grown bytes are zero. False, and nothing changed, where
    /// there is no room.
    fn resize(&mut self, len: usize) -> bool;
    /// Grows the frame by so many bytes at its front; what they hold is to be written over. False,
    /// and nothing changed, where there is no room.
    fn prepend(&mut self, count: usize) -> bool;
    /// Takes so many bytes off the front. False, and nothing changed, where it has not as many. Where a
    /// frame cannot begin later, the rest is moved.
    fn trim(&mut self, count: usize) -> bool {
        let len = self.bytes().len();
        if count > len {
            return false;
        }
        self.bytes_mut().copy_within(count.., 0);
        self.resize(len - count)
    }
}

/// One worker's receive and transmit queue on a port.
pub trait Port {
    /// The frames of this port.
    type Frame: Frame;

    /// Whether its device looks at IPv4 header checksums; the same for as long as it is there.
    #[inline]
    fn checks_ipv4(&self) -> bool {
        false
    }

    /// Receives what is there, up to the burst's free room.
    fn receive(&mut self, burst: &mut Burst<Self::Frame>);

    /// Sends from the front of the burst what the queue takes; what it does not take stays in the
    /// burst, in order.
    fn transmit(&mut self, burst: &mut Burst<Self::Frame>);

    /// An empty frame to build a message in, if the pool has one.
    fn allocate(&mut self) -> Option<Self::Frame>;
}
