//! What a device finds about IPv4 headers, on a port that looks at them: DPDK's tap does it in software.
//! Its frames come from the kernel, by a raw socket. Needs root and /dev/net/tun; shows nothing without.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

#[path = "support/rig.rs"]
mod rig;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use dpdk::Ipv4Checksum::{self, Bad, Good, Unknown};
use dpdk::{Eal, Mbuf, Port, PortConfig, Queue};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};
use rig::Burst;

/// An `EtherType` that nobody else sends (IEEE 802, local experiments).
const OURS: [u8; 2] = [0x88, 0xb5];
const IPV4: [u8; 2] = [0x08, 0x00];

#[test]
fn a_tap_tells_of_ipv4_headers_where_it_was_asked_to() {
    if File::options().write(true).open("/dev/net/tun").is_err()
        || !rustix::process::geteuid().is_root()
    {
        return;
    }
    let eal = rig::start(&[]);
    let asked = found_by_a_tap(&eal, "net_tap_asked", true);
    assert_eq!(asked, [Good, Bad, Good, Bad, Unknown]);
    let unasked = found_by_a_tap(&eal, "net_tap_unasked", false);
    assert_eq!(unasked, [Unknown; 5]);
}

/// The kernel's end of the tap, in this run of the test.
fn interface() -> String {
    format!("tap{}", std::process::id())
}

/// What a tap finds about a right header and a wrong one, the same with options, and a frame that has none.
fn found_by_a_tap(eal: &Eal, name: &str, asked: bool) -> Vec<Ipv4Checksum> {
    let pools = [rig::pool(eal, name)];
    let config = PortConfig {
        ipv4_checksums: asked,
        ..PortConfig::new(&pools)
    };
    let port = Port::create(eal, name, &format!("iface={}", interface())).unwrap();
    let (port, mut queues) = port.configure(&config).unwrap();
    assert_eq!(port.offloads().contains(&"rx_ipv4_cksum"), asked);
    assert_eq!(queues[0].tells_of_ipv4(), asked);
    let frames = [
        ipv4(0, 0),
        ipv4(0, 1),
        ipv4(8, 0),
        ipv4(8, 1),
        frame(OURS, &[0; 46]),
    ];
    for frame in &frames {
        send(frame);
    }
    let mut received = receive(&mut queues[0], &frames);
    let found = received.iter_mut().map(Mbuf::take_ipv4_checksum);
    found.collect()
}

/// A datagram to nobody with so many bytes of options, whose checksum is off by so much.
fn ipv4(options: u8, off_by: u16) -> Vec<u8> {
    let words = 5 + options / 4;
    let mut packet = vec![0x40 | words, 0, 0, 46, 0, 1, 0, 0, 64, 253, 0, 0];
    packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    // No operation, as often as it takes (RFC 791, section 3.1).
    packet.resize(usize::from(words) * 4, 1);
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&(!folded).wrapping_add(off_by).to_be_bytes());
    packet.resize(46, 0);
    frame(IPV4, &packet)
}

fn frame(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [
        &[0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2][..],
        &ethertype,
        packet,
    ]
    .concat()
}

/// Has the kernel send a frame by its interface, as it is.
fn send(frame: &[u8]) {
    let (family, kind) = (AddressFamily::Packet, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let mut interfaces = getifaddrs()
        .unwrap()
        .filter(|it| it.interface_name == interface());
    let link = interfaces
        .find_map(|it| it.address?.as_link_addr().copied())
        .unwrap();
    let sent = sendto(socket.as_raw_fd(), frame, &link, MsgFlags::empty());
    assert_eq!(sent, Ok(frame.len()));
}

/// Waits for these frames; the kernel's own, about its IPv6 address, are left aside.
fn receive(queue: &mut Queue, frames: &[Vec<u8>]) -> Burst {
    let (mut ours, begun) = (Burst::new(), Instant::now());
    while ours.len() < frames.len() && begun.elapsed() < Duration::from_secs(10) {
        let mut burst = Burst::new();
        queue.receive(&mut burst);
        let is_ours = |it: &Mbuf| frames.iter().any(|frame| frame == it.data());
        ours.extend(burst.into_iter().filter(is_ours));
    }
    assert!(ours.iter().map(Mbuf::data).eq(frames));
    ours
}
