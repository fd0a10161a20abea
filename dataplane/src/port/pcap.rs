//! A port that receives the frames of one capture and writes what it sends into another: a bug
//! report becomes a test.
//!
//! It reads and writes whatever it is given, and is for tests and replay only: reading a capture
//! allocates and blocks, which no other port may.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError};

use super::memory::{FRAME_LEN_MAX, MemoryFrame, Pool};
use super::{Burst, Frame, Port};

/// What keeps a capture from being a port.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The capture cannot be read or written: see the source.
    #[error("cannot read or write the capture")]
    Pcap(#[from] PcapError),
    /// The capture is of another link type: capture on an Ethernet interface.
    #[error("the capture's link type is {0:?}, not Ethernet: capture on an Ethernet interface")]
    NotEthernet(DataLink),
}

/// The port.
#[derive(Debug)]
pub struct PcapPort<R: Read, W: Write> {
    /// None when the capture has ended.
    reader: Option<PcapReader<R>>,
    writer: PcapWriter<W>,
    pool: Arc<Pool>,
    /// Of the last frame received; frames sent get it too.
    timestamp: Duration,
    error: Option<PcapError>,
}

impl<R: Read, W: Write> PcapPort<R, W> {
    /// A port with a pool of `frames` buffers, at least 1. Writes the header of the other capture.
    pub fn new(reader: R, writer: W, frames: usize) -> Result<Self, CaptureError> {
        let reader = PcapReader::new(reader)?;
        let header = reader.header();
        if header.datalink != DataLink::ETHERNET {
            return Err(CaptureError::NotEthernet(header.datalink));
        }
        let snaplen = 0xffff;
        let writer = PcapWriter::with_header(writer, PcapHeader { snaplen, ..header })?;
        let pool = Arc::new(Pool::new(frames));
        Ok(Self {
            reader: Some(reader),
            writer,
            pool,
            timestamp: Duration::ZERO,
            error: None,
        })
    }

    /// Whether all frames of the capture were received.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.reader.is_none()
    }

    /// Gives back where the frames were written to, or what went wrong on the way.
    pub fn finish(self) -> Result<W, CaptureError> {
        match self.error {
            Some(error) => Err(error.into()),
            None => Ok(self.writer.into_writer()),
        }
    }

    /// The next frame, as far as it was captured and has room. A longer one is the first segment.
    fn next(&mut self) -> Option<MemoryFrame> {
        if self.pool.free_frames() == 0 {
            return None;
        }
        match self.reader.as_mut()?.next_packet() {
            Some(Ok(packet)) => {
                self.timestamp = packet.timestamp;
                let len = packet.data.len().min(FRAME_LEN_MAX);
                let frame = MemoryFrame::copied(&self.pool, packet.data.get(..len)?)?;
                Some(if len < packet.data.len() {
                    frame.segmented()
                } else {
                    frame
                })
            }
            Some(Err(error)) => self.end(Some(error)),
            None => self.end(None),
        }
    }

    fn end(&mut self, error: Option<PcapError>) -> Option<MemoryFrame> {
        self.reader = None;
        self.error = self.error.take().or(error);
        None
    }

    fn write(&mut self, frame: &MemoryFrame) {
        let bytes = frame.bytes();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(self.timestamp, len, bytes);
        if let Err(error) = self.writer.write_packet(&packet) {
            self.error.get_or_insert(error);
        }
    }
}

impl<R: Read, W: Write> Port for PcapPort<R, W> {
    type Frame = MemoryFrame;

    /// What cannot be read ends the capture; [`PcapPort::finish`] tells why.
    fn receive(&mut self, burst: &mut Burst<MemoryFrame>) {
        while !burst.is_full() {
            let Some(frame) = self.next() else { return };
            burst.push(frame);
        }
    }

    fn transmit(&mut self, burst: &mut Burst<MemoryFrame>) {
        for frame in burst.drain(..) {
            self.write(&frame);
        }
    }

    fn allocate(&mut self) -> Option<MemoryFrame> {
        MemoryFrame::new(&self.pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{tcp4, udp6};

    fn capture(frames: &[Vec<u8>], datalink: DataLink) -> Vec<u8> {
        let header = PcapHeader {
            datalink,
            ..Default::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        for (second, frame) in (1..).zip(frames) {
            let len = u32::try_from(frame.len()).unwrap();
            let packet = PcapPacket::new(Duration::from_secs(second), len, frame);
            writer.write_packet(&packet).unwrap();
        }
        writer.into_writer()
    }

    fn received(port: &mut PcapPort<&[u8], Vec<u8>>) -> Burst<MemoryFrame> {
        let mut burst = Burst::new();
        port.receive(&mut burst);
        burst
    }

    #[test]
    fn what_is_sent_back_is_the_same_capture() {
        let original = capture(&[tcp4(), udp6()], DataLink::ETHERNET);
        let mut port = PcapPort::new(&original[..], Vec::new(), 1).unwrap();
        while !port.is_finished() {
            let mut burst = received(&mut port);
            port.transmit(&mut burst);
        }
        assert_eq!(port.finish().unwrap(), original);
    }

    #[test]
    fn a_held_buffer_is_waited_for() {
        let original = capture(&[tcp4(), udp6()], DataLink::ETHERNET);
        let mut port = PcapPort::new(&original[..], Vec::new(), 1).unwrap();
        let held = received(&mut port);
        assert_eq!((held.len(), held[0].bytes()), (1, &tcp4()[..]));
        assert!(received(&mut port).is_empty() && !port.is_finished());
        drop(held);
        assert_eq!(received(&mut port)[0].bytes(), udp6());
    }

    #[test]
    fn a_capture_cut_short_says_so_at_the_end() {
        let mut original = capture(&[tcp4(), udp6()], DataLink::ETHERNET);
        original.pop();
        let mut port = PcapPort::new(&original[..], Vec::new(), 8).unwrap();
        assert_eq!(received(&mut port).len(), 1);
        assert!(port.is_finished());
        assert!(matches!(port.finish(), Err(CaptureError::Pcap(_))));
    }

    #[test]
    fn a_giant_frame_is_segmented() {
        let original = capture(&[vec![7; FRAME_LEN_MAX + 1]], DataLink::ETHERNET);
        let mut port = PcapPort::new(&original[..], Vec::new(), 1).unwrap();
        let burst = received(&mut port);
        assert_eq!(
            (burst[0].bytes().len(), burst[0].is_contiguous()),
            (FRAME_LEN_MAX, false)
        );
    }

    #[test]
    fn other_links_are_refused() {
        let original = capture(&[], DataLink::LINUX_SLL);
        let refused = PcapPort::new(&original[..], Vec::new(), 1);
        assert!(matches!(
            refused,
            Err(CaptureError::NotEthernet(DataLink::LINUX_SLL))
        ));
    }
}
