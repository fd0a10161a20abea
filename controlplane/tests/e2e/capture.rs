//! `tetherctl capture`: what real kernels send and what leaves, read back by scapy and by our own eyes;
//! and that `explain` tells the frame that leaves.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::SystemTime,
};

use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tether_api::operator::{
    CaptureDirection, CaptureEnd, CapturedFrame, Explanation, HexBytes, PlacedBy,
};
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    hostile::Attacker,
    testbed::{
        self, Testbed,
        frames::Sniffer,
        programs::tetherctl,
        setup::Setup,
        vip::{Family, SHOP},
        wait::{SOON, wait_for},
    },
};

const CLIENT: &str = "10.9.0.1";
/// An address that no kernel has.
const NOBODY: [u8; 4] = [10, 9, 0, 77];
const VIP: &str = "10.9.0.100";
const CONNECTIONS: usize = 20;
/// Debian's, to which python3-scapy belongs.
const PYTHON: &str = "/usr/bin/python3";

/// A running `tetherctl capture`.
struct Capture {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Capture {
    /// Starts it, and waits until every worker is seen.
    fn start(bed: &Testbed<'_>, arguments: &str) -> Self {
        let mut child = Command::new(tetherctl())
            .arg("--socket")
            .arg(bed.daemon.socket())
            .arg("capture")
            .args(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("capturing"), "{line}");
        Self { child, stderr }
    }

    /// What it writes, once it has ended by itself or by ^C.
    fn ended(mut self, interrupt: bool) -> (String, String) {
        if interrupt {
            kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        }
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut out = self.child.stdout.take().unwrap();
        out.read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {stderr}");
        (stdout, stderr)
    }
}

/// A frame of a file.
#[derive(Clone, Debug, PartialEq)]
struct Packet {
    bytes: Vec<u8>,
    comment: String,
    is_out: bool,
}

fn read(file: &Path) -> Vec<Packet> {
    let bytes = std::fs::read(file).unwrap();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.unwrap() else {
            continue;
        };
        let [
            EnhancedPacketOption::Comment(comment),
            EnhancedPacketOption::Flags(way),
        ] = &packet.options[..]
        else {
            panic!("{packet:?}")
        };
        packets.push(Packet {
            bytes: packet.data.to_vec(),
            comment: comment.to_string(),
            is_out: *way == 2,
        });
    }
    packets
}

/// What another implementation reads.
fn read_by_scapy(file: &Path) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/read_pcapng.py");
    let output = Command::new(PYTHON).arg(script).arg(file).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{stderr}; install python3-scapy (scripts/setup test)"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn since_1970() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

#[test]
fn a_file_has_what_came_and_left_with_fates_and_who_decided() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let file = bed.daemon.directory().join("shop.pcapng");
        let before = since_1970();
        let capture = Capture::start(
            bed,
            &format!("--write {} tcp net 10.9.0.0/24", file.display()),
        );
        let attacker = Attacker::new(bed);
        let [good, bad] =
            [80, 81].map(|port| attacker.tcp(NOBODY, (4000, port), |tcp| tcp.syn = true));
        let sniffer = Sniffer::new(&bed.network.switch);
        attacker.card.send(&good);
        attacker.card.send(&bad);
        let left = sniffer.wait_for("the frame to leave", |it| {
            it[12..] == good[12..] && it[..12] != good[..12]
        });
        for _ in 0..CONNECTIONS {
            drop(bed.client(CLIENT).connect(SHOP));
        }
        let _bound = bed
            .server("server-2")
            .bind_source(SHOP, CLIENT, Options::new());
        assert_sticks(bed.client(CLIENT), SHOP, "server-2");
        let (_, told) = capture.ended(true);
        let packets = read(&file);
        assert_eq!(
            told.trim_end(),
            format!("tetherctl: {} frames captured, 0 missed", packets.len())
        );

        let of = |bytes: &[u8], is_out| {
            let mut all = packets.iter();
            let found = all.find(|it| it.is_out == is_out && it.bytes == bytes);
            found.unwrap_or_else(|| panic!("no such frame among {}", packets.len()))
        };
        assert_eq!(of(&bad, false).comment, "no_service");
        let came = &of(&good, false).comment;
        assert!(
            came.starts_with("forwarded, by the scheduler, backend shop/server-"),
            "{came}"
        );
        assert_eq!(of(&left, true).comment, *came);
        let by_affinity = format!("forwarded, by the affinity of {CLIENT}, backend shop/server-2");
        let comments = |comment: &str| packets.iter().filter(|it| it.comment == comment).count();
        assert!(comments(&by_affinity) >= 2, "in and out");
        assert!(comments("forwarded, by its flow, backend shop/server-2") > 0);
        let dropped = packets.iter().filter(|it| it.comment == "no_service");
        assert_eq!(dropped.count(), 1, "and it did not leave");
        both_ways(&packets);

        let other = read_by_scapy(&file);
        assert_eq!(other.len(), packets.len());
        for (theirs, ours) in other.iter().zip(&packets) {
            assert_eq!(theirs["bytes"], HexBytes(ours.bytes.clone()).to_string());
            assert_eq!(theirs["comment"], ours.comment);
            assert_eq!(theirs["direction"], if ours.is_out { "out" } else { "in" });
            assert_eq!(theirs["port"], "net_af_packet0");
            assert_eq!(theirs["length"], ours.bytes.len(), "none was longer");
            let seconds = theirs["seconds"].as_f64().unwrap();
            assert!(
                (before - 1.0..since_1970() + 1.0).contains(&seconds),
                "{theirs}"
            );
        }
    });
}

/// What was forwarded is there as it came and, but for its MAC addresses, as it left.
fn both_ways(packets: &[Packet]) {
    let forwarded = |is_out| {
        let packets = packets.iter();
        let of =
            packets.filter(move |it| it.is_out == is_out && it.comment.starts_with("forwarded"));
        let mut all: Vec<_> = of.map(|it| (&it.bytes[12..], &it.comment)).collect();
        all.sort_unstable();
        all
    };
    assert!(forwarded(true).len() > 2 * CONNECTIONS);
    assert_eq!(forwarded(true), forwarded(false));
}

#[test]
fn only_what_a_filter_says_is_told_and_a_count_ends_it() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let capture = Capture::start(bed, "--json --count 6 in service shop not host 10.9.0.3");
        let refused = bed.daemon.run_ctl(&["capture"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("captures already"), "{said}");
        drop(bed.client("10.9.0.3").connect(SHOP));
        bed.client(CLIENT).ping("10.9.0.2");
        drop(bed.client(CLIENT).connect(SHOP));
        drop(bed.client(CLIENT).connect(SHOP));
        let (stdout, _) = capture.ended(false);
        let lines: Vec<_> = stdout.lines().collect();
        let frames: Vec<CapturedFrame> = lines[..6]
            .iter()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        for frame in &frames {
            assert_eq!(frame.direction, CaptureDirection::In);
            assert_eq!(frame.service.as_deref(), Some("shop"));
            assert_eq!(frame.bytes.0[26..30], [10, 9, 0, 1]);
        }
        let end: CaptureEnd = serde_json::from_str(lines[6]).unwrap();
        assert_eq!((end.captured, end.missed), (6, 0));
        // It is over: the next one may begin, and with it the workers' memory came back.
        Capture::start(bed, "dropped").ended(true);
    });
}

/// The frame that `explain` tells of leaves when the packet comes.
fn foretold(bed: &Testbed<'_>, source: &str) -> Explanation {
    let explained: Explanation = bed
        .daemon
        .ctl(&["explain", "tcp", source, &format!("{VIP}:80")]);
    let frame = explained.frame.clone().unwrap();
    assert_eq!(explained.by, PlacedBy::Scheduler);
    assert!(frame.destination_mac.is_some(), "{frame:?}");
    let sniffer = Sniffer::new(&bed.network.switch);
    let attacker = Attacker::new(bed);
    let mut came = frame.came.0.clone();
    came[6..12].copy_from_slice(&attacker.card.mac());
    attacker.card.send(&came);
    let left = sniffer.wait_for("the frame that was foretold", |it| it[..] == frame.bytes.0);
    assert_eq!(left, frame.bytes.0);
    explained
}

fn resolved(bed: &Testbed<'_>) {
    wait_for("every server to have answered", SOON, || {
        let status = bed.daemon.json(&["status"]);
        let mut neighbours = status["neighbours"].as_array().unwrap().iter();
        neighbours.all(|it| !it["mac"].is_null()).then_some(())
    });
}

#[test]
fn explain_tells_the_frame_that_leaves() {
    for setup in [
        Setup::new(),
        Setup::new().forward("gue").backends_of(Family::V4),
        Setup::new().forward("ipip").backends_of(Family::V6),
        Setup::new().forward("nat"),
    ] {
        testbed::run(setup, |bed| {
            resolved(bed);
            for port in 4000..4005 {
                let explained = foretold(bed, &format!("10.9.0.77:{port}"));
                let text = bed.daemon.run_ctl(&[
                    "explain",
                    "tcp",
                    &format!("10.9.0.77:{port}"),
                    &format!("{VIP}:80"),
                ]);
                let text = String::from_utf8(text.stdout).unwrap();
                let mac = explained.frame.unwrap().destination_mac.unwrap();
                assert!(text.contains(&format!("to {mac}")), "{text}");
            }
        });
    }
}

/// While nothing matches, a capture does not keep packets from going on.
#[test]
fn a_capture_that_matches_nothing_is_in_nobodys_way() {
    testbed::run(Setup::new(), |bed| {
        let capture = Capture::start(bed, "host 192.0.2.1 dropped");
        let mut connection = bed.client(CLIENT).connect(SHOP);
        let noise: Vec<u8> = (0..=250).cycle().take(10 << 20).collect();
        connection.echo(&noise);
        let (stdout, told) = capture.ended(true);
        assert_eq!(stdout, "");
        assert!(told.contains("0 frames captured, 0 missed"), "{told}");
    });
}
