//! Frames as no kernel sends them: each has its named fate, and nobody else notices.

use std::collections::BTreeMap;

use etherparse::{PacketBuilder, TcpHeader};
use tether_api::operator::Status;
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self, Testbed,
        frames::Card,
        setup::{Driver, Setup},
        vip::SHOP,
        wait::{SOON, wait_until},
    },
};

/// How often each kind of frame is sent.
const TIMES: u64 = 5;
/// Frames that the port's ring takes at once.
const RING: usize = 256;
/// Who sends them: nobody that a kernel knows of.
const SOURCE: [u8; 4] = [10, 9, 0, 77];
const VIP: [u8; 4] = [10, 9, 0, 100];
/// Where in a frame the IP header begins, and the TCP, UDP or ICMP header of IPv4.
const IP: usize = 14;
const L4: usize = IP + 20;

/// Where IPv4 says that it is a fragment: those `af_packet` has its kernel put together, or keep.
const FRAGMENT: std::ops::Range<usize> = IP + 6..IP + 8;

/// Fates that kernels also bring about of themselves, with what they ask and announce.
const BACKGROUND: [&str; 3] = ["arp_not_ours", "ndp_not_ours", "icmp_unhandled"];

/// Sends to the forwarder's port.
pub struct Attacker {
    pub card: Card,
    pub target: [u8; 6],
}

/// How many packets had each fate, and under "received" how many there were.
type Counts = BTreeMap<String, u64>;

fn counts(bed: &Testbed<'_>) -> Counts {
    let stats = bed.daemon.check_accounts();
    let mut counts = Counts::new();
    for worker in &stats.workers {
        for (name, count) in &worker.fates {
            *counts.entry(name.clone()).or_default() += count;
        }
        *counts.entry("received".into()).or_default() += worker.received;
    }
    counts
}

impl Attacker {
    pub fn new(bed: &Testbed<'_>) -> Self {
        let status: Status = bed.daemon.ctl(&["status"]);
        let octets = status.ports[0].mac.split(':');
        let octets: Vec<_> = octets
            .map(|it| u8::from_str_radix(it, 16).unwrap())
            .collect();
        Self {
            // Past the bridge, which is choosy itself.
            card: Card::of(&bed.network.switch, "f-data"),
            target: octets.try_into().unwrap(),
        }
    }

    fn frame(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let ethertype = ethertype.to_be_bytes();
        [&self.target, &self.card.mac(), &ethertype[..], payload].concat()
    }

    /// TCP with these flags from and to these ports.
    pub fn tcp(
        &self,
        source: [u8; 4],
        ports: (u16, u16),
        set: impl FnOnce(&mut TcpHeader),
    ) -> Vec<u8> {
        let mut header = TcpHeader::new(ports.0, ports.1, 7, 1024);
        set(&mut header);
        let builder = PacketBuilder::ethernet2(self.card.mac(), self.target)
            .ipv4(source, VIP, 64)
            .tcp_header(header);
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        frame
    }

    pub fn syn(&self, source: [u8; 4], port: u16) -> Vec<u8> {
        self.tcp(source, (port, 80), |tcp| tcp.syn = true)
    }

    fn udp(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.card.mac(), self.target)
            .ipv4(SOURCE, VIP, 64)
            .udp(4000, 5000);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"payload").unwrap();
        frame
    }

    fn ping(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.card.mac(), self.target)
            .ipv4(SOURCE, VIP, 64)
            .icmpv4_echo_request(1, 1);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"payload").unwrap();
        frame
    }

    fn syn6(&self) -> Vec<u8> {
        let source = "fd00:9::77".parse::<std::net::Ipv6Addr>().unwrap();
        let vip = "fd00:9::100".parse::<std::net::Ipv6Addr>().unwrap();
        let builder = PacketBuilder::ethernet2(self.card.mac(), self.target)
            .ipv6(source.octets(), vip.octets(), 64)
            .tcp(4000, 80, 7, 1024)
            .syn();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        frame
    }

    /// Every kind, with the fate that it must have.
    fn kinds(&self) -> Vec<(&'static str, Vec<u8>)> {
        let syn = self.syn(SOURCE, 4000);
        let with = |frame: &[u8], place: usize, bytes: &[u8]| {
            let mut frame = frame.to_vec();
            frame[place..place + bytes.len()].copy_from_slice(bytes);
            frame
        };
        let ip_with = |frame: &[u8], place: usize, bytes: &[u8]| {
            let frame = with(frame, IP + place, bytes);
            with_ip_checksum(frame)
        };
        let cut = |frame: &[u8], length: usize| frame[..length].to_vec();
        let shorter = |frame: &[u8], length: u16| {
            let frame = ip_with(frame, 2, &length.to_be_bytes());
            cut(&frame, IP + usize::from(length))
        };
        let (syn6, udp, ping) = (self.syn6(), self.udp(), self.ping());
        vec![
            ("unknown_ethertype", self.frame(0x88b5, b"experimental")),
            ("unknown_ethertype", self.frame(0x0042, &[0xaa; 66])),
            (
                "bad_vlan",
                self.frame(0x8100, &with(&syn, 12, &[0, 42, 8, 0])[12..]),
            ),
            ("other_mac", with(&syn, 0, &[2, 0, 0, 0, 0, 0x99])),
            ("other_mac", with(&syn, 0, &[0xff; 6])),
            ("arp_malformed", self.frame(0x0806, &[0, 1, 8, 0, 6])),
            ("arp_malformed", self.frame(0x0806, &[0; 28])),
            ("ipv4_malformed", cut(&syn, IP)),
            ("ipv4_malformed", cut(&syn, IP + 19)),
            ("ipv4_malformed", cut(&syn, syn.len() - 1)),
            ("ipv4_malformed", ip_with(&syn, 0, &[0x55])),
            ("ipv4_malformed", ip_with(&syn, 0, &[0x44])),
            ("ipv4_malformed", ip_with(&syn, 0, &[0x4f])),
            ("ipv4_checksum", with(&syn, IP + 10, &[0xde, 0xad])),
            ("ipv4_options", by_route(&syn)),
            ("ipv6_malformed", cut(&syn6, IP + 39)),
            ("ipv6_malformed", cut(&syn6, syn6.len() - 1)),
            ("ipv6_malformed", with(&syn6, IP, &[0x40])),
            ("ipv6_extensions", with(&syn6, IP + 6, &[0, 6, 0])),
            ("fragment", with(&syn6, IP + 6, &[44])),
            ("unknown_protocol", ip_with(&syn, 9, &[132])),
            ("tcp_malformed", shorter(&syn, 30)),
            ("tcp_malformed", with(&syn, L4 + 12, &[0x40])),
            ("tcp_malformed", with(&syn, L4 + 12, &[0xf0])),
            (
                "tcp_flags",
                self.tcp(SOURCE, (4000, 80), |tcp| (tcp.syn, tcp.fin) = (true, true)),
            ),
            ("tcp_flags", self.tcp(SOURCE, (4000, 80), |_| {})),
            ("udp_malformed", shorter(&udp, 27)),
            ("udp_malformed", with(&udp, L4 + 4, &[0, 7])),
            ("udp_malformed", with(&udp, L4 + 4, &[1, 0])),
            ("icmp_malformed", with(&ping, L4 + 2, &[0xde, 0xad])),
            ("icmp_malformed", shorter(&ping, 23)),
            ("icmp_unhandled", ip_with(&ping, 16, &[10, 9, 0, 200])),
            (
                "no_service",
                self.tcp(SOURCE, (4000, 81), |tcp| tcp.syn = true),
            ),
            ("bad_source", self.syn([127, 0, 0, 1], 4000)),
            ("bad_source", self.syn([255; 4], 4000)),
            ("bad_source", self.syn(VIP, 4000)),
            ("bad_source", self.syn(SOURCE, 0)),
        ]
    }

    /// Sends frames no faster than the port takes them, and waits until all have been received.
    pub fn send_all(&self, bed: &Testbed<'_>, frames: &[Vec<u8>]) {
        for burst in frames.chunks(RING) {
            let expected = counts(bed)["received"] + burst.len() as u64;
            for frame in burst {
                self.card.send(frame);
            }
            wait_until("the frames to be received", SOON, || {
                counts(bed)["received"] >= expected
            });
        }
    }
}

/// With a loose source route of eight bytes.
fn by_route(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.splice(L4..L4, [131, 7, 4, 192, 0, 2, 7, 0]);
    frame[IP] = 0x47;
    let len = u16::try_from(frame.len() - IP).unwrap();
    frame[IP + 2..IP + 4].copy_from_slice(&len.to_be_bytes());
    with_ip_checksum(frame)
}

fn with_ip_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    frame[IP + 10..IP + 12].fill(0);
    let header_len = usize::from(frame[IP] & 15) * 4;
    let end = (IP + header_len).min(frame.len());
    let words = frame[IP..end].chunks(2);
    let sum: u32 = words
        .map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    frame[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Numbers that look random and are the same in every run.
fn noise() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(0x9e37_79b9_7f4a_7c15_u64), |last| {
        let mut next = last ^ (last << 13);
        next ^= next >> 7;
        Some(next ^ (next << 17))
    })
}

#[track_caller]
fn serves(bed: &Testbed<'_>) {
    assert_sticks(bed.client("10.9.0.1"), SHOP, "server-2");
    assert_spread(&bed.client("10.9.0.3").spread(SHOP, 40));
}

fn each_kind_has_its_fate(bed: &Testbed<'_>) {
    let attacker = Attacker::new(bed);
    for (fate, frame) in attacker.kinds() {
        let before = counts(bed)[fate];
        for _ in 0..TIMES {
            attacker.card.send(&frame);
        }
        wait_until(&format!("{fate} of {frame:02x?}"), SOON, || {
            let now = counts(bed)[fate] - before;
            assert!(now <= TIMES || BACKGROUND.contains(&fate), "{fate}: {now}");
            now >= TIMES
        });
    }
}

#[test]
fn every_malformed_frame_has_its_named_fate() {
    testbed::run(Setup::new(), |bed| {
        let _bound = bed
            .server("server-2")
            .bind_source(SHOP, "10.9.0.1", Options::new());
        each_kind_has_its_fate(bed);
        serves(bed);
    });
}

#[test]
fn every_malformed_frame_has_its_named_fate_on_af_xdp() {
    testbed::run(Setup::new().driver(Driver::AfXdp), |bed| {
        let _bound = bed
            .server("server-2")
            .bind_source(SHOP, "10.9.0.1", Options::new());
        each_kind_has_its_fate(bed);
        // af_packet has the kernel put fragments of IPv4 together first.
        let attacker = Attacker::new(bed);
        let mut fragment = attacker.syn(SOURCE, 4000);
        fragment[IP + 6..IP + 8].copy_from_slice(&[0x20, 0]);
        attacker.card.send(&with_ip_checksum(fragment));
        wait_until("the fragment's fate", SOON, || {
            counts(bed)["fragment_malformed"] > 0
        });
        serves(bed);
    });
}

#[test]
fn thousands_of_spoilt_frames_are_accounted_for_and_disturb_nobody() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let _bound = bed
            .server("server-2")
            .bind_source(SHOP, "10.9.0.1", Options::new());
        let mut live = bed.client("10.9.0.3").flow(SHOP);
        let attacker = Attacker::new(bed);
        let models = [
            attacker.syn(SOURCE, 4000),
            attacker.syn6(),
            attacker.udp(),
            attacker.ping(),
            attacker.frame(
                0x0806,
                &[0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ];
        let mut frames: Vec<_> = models
            .iter()
            .flat_map(|model| (IP..model.len()).map(|length| model[..length].to_vec()))
            .collect();
        let mut noise = noise();
        for _ in 0..500 {
            for model in &models {
                let mut frame = model.clone();
                for number in noise.by_ref().take(3) {
                    let [place, value, ..] = number.to_le_bytes();
                    // The address stays, that it is received; it grows by up to 1,400 bytes.
                    let place = IP - 2 + usize::from(place) % (frame.len() - IP + 2);
                    if !FRAGMENT.contains(&place) {
                        frame[place] = value;
                    }
                }
                let more = noise.next().unwrap() % 1400;
                frame.extend(
                    noise
                        .by_ref()
                        .take(usize::try_from(more).unwrap())
                        .map(|it| it.to_le_bytes()[0]),
                );
                frames.push(frame);
            }
        }
        attacker.send_all(bed, &frames);
        serves(bed);
        live.goes_on();
    });
}

#[test]
fn r7_a_flood_of_new_connections_evicts_no_affinity() {
    testbed::run(Setup::new().flows(1024), |bed| {
        let _bound = bed
            .server("server-2")
            .bind_source(SHOP, "10.9.0.1", Options::new());
        let attacker = Attacker::new(bed);
        let sources = noise().take(6000).map(|number| {
            let [a, b, port_a, port_b, ..] = number.to_le_bytes();
            let port = u16::from_le_bytes([port_a, port_b]).max(1);
            attacker.syn([10, 77, a, b], port)
        });
        attacker.send_all(bed, &sources.collect::<Vec<_>>());
        serves(bed);
        let status: Status = bed.daemon.ctl(&["status"]);
        assert_eq!(status.tables.affinities, 1);
        // Twice as many places as flows are asked for, and no more.
        assert!(status.tables.flows <= 2048, "{status:?}");
    });
}
