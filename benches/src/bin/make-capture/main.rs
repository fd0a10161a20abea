//! Writes a capture of small TCP or UDP packets to a service, for `net_pcap` ports: the same file
//! serves `dpdk-testpmd` and `tether-bench`.
//!
//! Each flow is a client of its own; packets come in random order, so that with many flows no cache
//! helps. The frames are addressed to the MAC address that `net_pcap` gives its first port.

use clap::Parser;
use etherparse::PacketBuilder;
use pcap_file::pcap::{PcapPacket, PcapWriter};
use std::{
    borrow::Cow, error::Error, fs::File, io::BufWriter, net::Ipv4Addr, path::PathBuf,
    time::Duration,
};

/// The MAC address of the first `net_pcap` port (DPDK, `eth_pcap.c`).
const PORT_MAC: [u8; 6] = [0x02, 0x70, 0x63, 0x61, 0x70, 0x00];
const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// Makes a capture for benchmarks.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write it.
    file: PathBuf,
    /// Flows, each from a client address of its own in 10.64.0.0/10.
    #[arg(long, default_value_t = 1000)]
    flows: u32,
    /// Packets in the file; each flow has about as many as any other.
    #[arg(long, default_value_t = 200_000)]
    packets: u32,
    /// Services: 10.9.0.100, .101 and on, all on port 80.
    #[arg(long, default_value_t = 1)]
    services: u32,
    /// Only SYNs, so that every packet of a new client opens a flow.
    #[arg(long)]
    syn: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let file = BufWriter::new(File::create(&arguments.file)?);
    let mut writer = PcapWriter::new(file)?;
    for number in 0..arguments.packets {
        // A permutation of 32 bits: every flow in turn, in an order that looks random.
        let mixed = number
            .wrapping_mul(0x9e37_79b1)
            .rotate_left(15)
            .wrapping_mul(0x85eb_ca6b);
        let flow = if arguments.packets == arguments.flows {
            number.wrapping_mul(0x9e37_79b1) % arguments.flows
        } else {
            mixed % arguments.flows
        };
        let frame = frame(flow, &arguments)?;
        let len = u32::try_from(frame.len())?;
        writer.write_packet(&PcapPacket {
            timestamp: Duration::ZERO,
            orig_len: len,
            data: Cow::Owned(frame),
        })?;
    }
    Ok(())
}

/// A packet of 60 bytes of one flow.
fn frame(flow: u32, arguments: &Arguments) -> Result<Vec<u8>, Box<dyn Error>> {
    let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 64, 0, 0)) + flow);
    let service = u32::from(Ipv4Addr::new(10, 9, 0, 100)) + flow % arguments.services;
    let port = u16::try_from(1024 + flow % 60_000)?;
    let ip = PacketBuilder::ethernet2(CLIENT_MAC, PORT_MAC).ipv4(
        client.octets(),
        Ipv4Addr::from(service).octets(),
        64,
    );
    let tcp = ip.tcp(port, 80, flow, 65_535);
    let tcp = if arguments.syn { tcp.syn() } else { tcp.ack(1) };
    let mut frame = Vec::with_capacity(60);
    tcp.write(&mut frame, &[])?;
    frame.resize(60, 0);
    Ok(frame)
}
