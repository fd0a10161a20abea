//! Captured frames as a pcapng file: an interface for each port, and what became of each frame as its
//! comment.

use std::{borrow::Cow, io::Write, time::Duration};

use pcap_file::{
    DataLink, Endianness, PcapResult,
    pcapng::{
        PcapNgBlock as _, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};
use tether_api::operator::{CaptureDirection, CapturedFrame, Capturing};

/// Times are nanoseconds: 10 to the power of minus this.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: the frame came, or left.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A file that grows by frames.
pub(crate) struct PcapngFile<W: Write> {
    blocks: PcapNgWriter<W>,
    ports: Vec<String>,
}

impl<W: Write> PcapngFile<W> {
    /// Begins it: the section and its interfaces, the ports.
    pub(crate) fn begin(out: W, begun: &Capturing, filter: &str) -> PcapResult<Self> {
        let application = concat!("tetherctl ", env!("CARGO_PKG_VERSION"));
        let mut options = vec![SectionHeaderOption::UserApplication(Cow::Borrowed(
            application,
        ))];
        if !filter.is_empty() {
            let comment = format!("filter: {filter}");
            options.push(SectionHeaderOption::Comment(Cow::Owned(comment)));
        }
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options,
            ..SectionHeaderBlock::default()
        };
        let mut blocks = PcapNgWriter::with_section_header(out, section)?;
        for port in &begun.ports {
            let interface = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: begun.snap_length,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(port)),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            blocks.write_block(&interface.into_block())?;
        }
        Ok(Self {
            blocks,
            ports: begun.ports.clone(),
        })
    }

    /// One frame more.
    pub(crate) fn write(&mut self, frame: &CapturedFrame) -> PcapResult<()> {
        let port = self.ports.iter().position(|port| *port == frame.port);
        let flags = match frame.direction {
            CaptureDirection::In => INBOUND,
            CaptureDirection::Out => OUTBOUND,
        };
        let block = EnhancedPacketBlock {
            interface_id: u32::try_from(port.unwrap_or_default()).unwrap_or_default(),
            timestamp: Duration::from_nanos(frame.time_ns),
            original_len: frame.length,
            data: Cow::Borrowed(&frame.bytes.0),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(frame.comment())),
                EnhancedPacketOption::Flags(flags),
            ],
        };
        self.blocks.write_block(&block.into_block())?;
        Ok(())
    }

    /// Where it is written to.
    pub(crate) fn out(&mut self) -> &mut W {
        self.blocks.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use tether_api::operator::{DecidedBy, HexBytes};

    #[test]
    fn what_is_written_is_read() {
        let begun = Capturing {
            ports: vec!["outside".into(), "inside".into()],
            snap_length: 64,
            workers: 2,
        };
        let frame = CapturedFrame {
            time_ns: 1_700_000_000_123_456_789,
            port: "inside".into(),
            direction: CaptureDirection::Out,
            fate: "forwarded".into(),
            by: DecidedBy::Scheduler,
            length: 1500,
            bytes: HexBytes(vec![7; 61]),
            ..CapturedFrame::default()
        };
        let mut file = PcapngFile::begin(Vec::new(), &begun, "tcp and port 80").unwrap();
        file.write(&frame).unwrap();
        file.write(&frame).unwrap();
        let bytes = std::mem::take(file.out());
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut packets = 0;
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                assert_eq!(packet.interface_id, 1);
                assert_eq!(packet.timestamp, Duration::from_nanos(frame.time_ns));
                assert_eq!((packet.original_len, packet.data.len()), (1500, 61));
                let comment = Cow::Borrowed("forwarded, by the scheduler");
                let expected = [
                    EnhancedPacketOption::Comment(comment),
                    EnhancedPacketOption::Flags(OUTBOUND),
                ];
                assert_eq!(packet.options, expected);
                packets += 1;
            }
        }
        assert_eq!(packets, 2);
        let names: Vec<_> = reader
            .interfaces()
            .iter()
            .map(|it| &it.options[0])
            .collect();
        let name = |it| InterfaceDescriptionOption::IfName(Cow::Borrowed(it));
        assert_eq!(names, [&name("outside"), &name("inside")]);
    }
}
