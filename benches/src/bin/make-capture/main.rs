//! Writes a capture of small TCP packets to services, for `net_pcap` ports: the same file serves
//! `dpdk-testpmd`, `tether-bench` and `tetherd`.
//!
//! Each flow is a client of its own, on one of the services; packets come in random order, so that
//! with many flows no cache helps. The frames are addressed to the MAC address that `net_pcap` gives
//! its first port.

use clap::Parser;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use pcap_file::pcap::{PcapPacket, PcapWriter};
use std::{
    borrow::Cow,
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    net::Ipv4Addr,
    path::PathBuf,
    time::Duration,
};

/// The MAC address of the first `net_pcap` port (DPDK, `eth_pcap.c`).
const PORT_MAC: [u8; 6] = [0x02, 0x70, 0x63, 0x61, 0x70, 0x00];
const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const BACKEND_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 2];
/// Ethernet's shortest frame, without its checksum.
const FRAME: usize = 60;

/// Makes a capture for benchmarks.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write it.
    file: PathBuf,
    /// Flows, each from a client address of its own in 10.64.0.0/10.
    #[arg(long, default_value_t = 1000)]
    flows: u32,
    /// Packets in the file; each flow has about as many as any other. By default as many as flows, at
    /// least 200,000: with fewer the ports are faster than they ever are.
    #[arg(long)]
    packets: Option<u32>,
    /// The first flow: files of workers side by side have flows of their own.
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// Services: 10.9.0.100 and on, all on port 80.
    #[arg(long, default_value_t = 1)]
    services: u32,
    /// Only SYNs, which open a flow each.
    #[arg(long)]
    syn: bool,
    /// The file begins with ARP replies of so many backends, 10.9.1.1 and on, to 10.9.0.2: a
    /// forwarder that has nobody but this file finds them.
    #[arg(long, default_value_t = 0)]
    backends: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let file = BufWriter::new(File::create(&arguments.file)?);
    let mut writer = PcapWriter::new(file)?;
    for backend in 0..arguments.backends {
        write(&mut writer, arp_reply(backend)?)?;
    }
    let packets = arguments.packets.unwrap_or(arguments.flows.max(200_000));
    let mut order: Vec<u32> = (0..packets).map(|it| it % arguments.flows).collect();
    // The same order in every run.
    fastrand::Rng::with_seed(1).shuffle(&mut order);
    for flow in order {
        write(&mut writer, packet(flow, &arguments)?)?;
    }
    writer.into_writer().flush()?;
    Ok(())
}

fn write(writer: &mut PcapWriter<impl Write>, frame: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let len = u32::try_from(frame.len())?;
    writer.write_packet(&PcapPacket {
        timestamp: Duration::ZERO,
        orig_len: len,
        data: Cow::Owned(frame),
    })?;
    Ok(())
}

/// A packet of one flow.
fn packet(flow: u32, arguments: &Arguments) -> Result<Vec<u8>, Box<dyn Error>> {
    let service = Ipv4Addr::new(10, 9, 0, 100).to_bits() + flow % arguments.services;
    let flow = flow + arguments.first;
    let client = Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() + flow);
    let port = u16::try_from(1024 + flow % 60_000)?;
    let ip = PacketBuilder::ethernet2(CLIENT_MAC, PORT_MAC).ipv4(
        client.octets(),
        Ipv4Addr::from_bits(service).octets(),
        64,
    );
    let tcp = ip.tcp(port, 80, flow, 65_535);
    let tcp = if arguments.syn { tcp.syn() } else { tcp.ack(1) };
    let mut frame = Vec::with_capacity(FRAME);
    tcp.write(&mut frame, &[])?;
    frame.resize(FRAME, 0);
    Ok(frame)
}

/// What a backend answers to the forwarder's question.
fn arp_reply(backend: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 9, 1, 1).to_bits() + backend);
    let reply = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REPLY,
        &BACKEND_MAC,
        &address.octets(),
        &PORT_MAC,
        &[10, 9, 0, 2],
    )?;
    let mut frame = Vec::with_capacity(FRAME);
    PacketBuilder::ethernet2(BACKEND_MAC, PORT_MAC)
        .arp(reply)
        .write(&mut frame)?;
    frame.resize(FRAME, 0);
    Ok(frame)
}
