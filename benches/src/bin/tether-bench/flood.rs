//! A port whose every frame opens a flow: the frames that come round again get other source ports.
//!
//! A capture of N frames that is repeated would open N flows once. With `--flood` the source port of
//! each frame counts on, so that the same address comes with another port in each round. The TCP
//! checksum is wrong from then on; a forwarder by direct server return does not look at it. The time
//! that this takes is in the figures.

use tether_dataplane::port::{Burst, Frame, Port};

/// Where the source port stands behind Ethernet and IPv4 without options, and IPv6.
const PORT_V4: usize = 14 + 20;
const PORT_V6: usize = 14 + 40;

/// Frames of another port, with source ports of its own if asked for.
#[derive(Debug)]
pub(crate) struct Flood<P> {
    port: P,
    /// `None`: frames stay as they are.
    next: Option<u16>,
}

impl<P> Flood<P> {
    pub(crate) fn new(port: P, flood: bool) -> Self {
        Self {
            port,
            next: flood.then_some(1),
        }
    }
}

impl<P: Port> Port for Flood<P> {
    type Frame = P::Frame;

    #[inline]
    fn receive(&mut self, burst: &mut Burst<P::Frame>) {
        self.port.receive(burst);
        if let Some(next) = &mut self.next {
            for frame in burst {
                set_source_port(frame.bytes_mut(), *next);
                *next = next.checked_add(1).unwrap_or(1);
            }
        }
    }

    #[inline]
    fn transmit(&mut self, burst: &mut Burst<P::Frame>) {
        self.port.transmit(burst);
    }

    fn allocate(&mut self) -> Option<P::Frame> {
        self.port.allocate()
    }
}

fn set_source_port(frame: &mut [u8], port: u16) {
    let at = match frame.get(14) {
        Some(version) if version >> 4 == 6 => PORT_V6,
        _ => PORT_V4,
    };
    if let Some(bytes) = frame.get_mut(at..at + 2) {
        bytes.copy_from_slice(&port.to_be_bytes());
    }
}
