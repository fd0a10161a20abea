//! `tetherctl capture`: what it asks, prints and writes, and how it ends.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    thread,
};

use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tether_api::operator::{
    CaptureDirection, CaptureEnd, CaptureRequest, CapturedFrame, Capturing, DecidedBy, End, Entry,
    Failure, HexBytes, Payload, Request, Response,
};

use crate::daemon::{Daemon, finished, tetherctl};

/// ARP: who has 10.9.0.2, tell 10.9.0.1.
const ARP: [u8; 42] = [
    255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1,
    10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 10, 9, 0, 2,
];

fn frame(direction: CaptureDirection) -> CapturedFrame {
    CapturedFrame {
        time_ns: 1_800_000_000_123_456_789,
        port: "net_af_packet0".into(),
        direction,
        fate: "forwarded".into(),
        by: DecidedBy::Affinity,
        affinity: Some("10.9.0.1".into()),
        service: Some("shop".into()),
        backend: Some("shop-1".into()),
        core: 1,
        length: 42,
        bytes: HexBytes(ARP.into()),
    }
}

fn begun() -> Response {
    Response::Ok(Payload::Capturing(Capturing {
        ports: vec!["net_af_packet0".into()],
        snap_length: 256,
        workers: 1,
    }))
}

fn captured(direction: CaptureDirection) -> Response {
    Response::Entry(Entry::Captured(frame(direction)))
}

fn ended() -> [Response; 2] {
    [
        Response::Entry(Entry::CaptureEnd(CaptureEnd {
            captured: 2,
            missed: 1_234,
        })),
        Response::End(End { entries: 2 }),
    ]
}

fn two_frames() -> Daemon {
    let frames = [CaptureDirection::In, CaptureDirection::Out].map(captured);
    let lines = [begun()].into_iter().chain(frames).chain(ended());
    Daemon::answering(vec![lines.collect()])
}

#[test]
fn a_line_for_each_frame() {
    let run = two_frames().run("capture --count 2 tcp and not port 80");
    let request = CaptureRequest {
        filter: "tcp and not port 80".into(),
        snap_length: Some(256),
        count: Some(2),
    };
    assert_eq!(
        (run.exit, run.requests),
        (0, vec![Request::Capture(request)])
    );
    let expected = "\
2027-01-15T08:00:00.123456Z net_af_packet0 in  arp who has 10.9.0.2, tell 10.9.0.1, 42 bytes: \
forwarded, by the affinity of 10.9.0.1, backend shop/shop-1
2027-01-15T08:00:00.123456Z net_af_packet0 out arp who has 10.9.0.2, tell 10.9.0.1, 42 bytes: \
forwarded, by the affinity of 10.9.0.1, backend shop/shop-1
";
    assert_eq!(run.stdout, expected);
    let expected = "\
tetherctl: capturing what is tcp and not port 80 on net_af_packet0, 256 bytes of each frame; ^C ends it
tetherctl: 2 frames captured, 1,234 missed
";
    assert_eq!(run.stderr, expected);
}

#[test]
fn an_object_for_each_frame_in_json_and_one_at_the_end() {
    let run = two_frames().run("capture --json --snap-length 0");
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let expected = json!({"time": "2027-01-15T08:00:00.123456Z", "time_ns": 1_800_000_000_123_456_789_u64,
        "port": "net_af_packet0", "direction": "out", "fate": "forwarded", "by": "affinity",
        "affinity": "10.9.0.1", "service": "shop", "backend": "shop-1", "core": 1, "length": 42,
        "bytes": HexBytes(ARP.into())});
    assert_eq!(lines[1], expected);
    assert_eq!(lines[2], json!({"captured": 2, "missed": 1_234}));
    let request = CaptureRequest {
        filter: String::new(),
        snap_length: Some(0),
        count: None,
    };
    assert_eq!(run.requests, [Request::Capture(request)]);
}

fn check_file(bytes: &[u8]) {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let mut flags = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.unwrap() else {
            continue;
        };
        assert_eq!(*packet.data, ARP);
        let comment = frame(CaptureDirection::In).comment();
        let comment = EnhancedPacketOption::Comment(comment.into());
        assert_eq!(packet.options[0], comment);
        let EnhancedPacketOption::Flags(way) = packet.options[1] else {
            continue;
        };
        flags.push(way);
    }
    assert_eq!(flags, [1, 2]);
}

#[test]
fn a_file_or_standard_output_in_pcapng() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.pcapng");
    let run = two_frames().run(&format!("capture --write {}", file.display()));
    assert_eq!((run.exit, run.stdout.as_str()), (0, ""));
    assert!(
        run.stderr
            .ends_with("tetherctl: 2 frames captured, 1,234 missed\n")
    );
    check_file(&std::fs::read(&file).unwrap());

    let run = two_frames().run(&format!("capture --json -w {}", file.display()));
    assert_eq!(run.stdout, "{\"captured\":2,\"missed\":1234}\n");

    let run = two_frames().run_raw("capture -w -");
    check_file(&run);

    let run = two_frames().run("capture --write /nonexistent/shop.pcapng");
    assert_eq!(run.exit, 1);
    assert!(
        run.stderr
            .contains("/nonexistent/shop.pcapng cannot be written"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_wrong_filter_is_pointed_at_without_a_daemon() {
    let run = finished(&tetherctl("/nonexistent".as_ref(), "capture tcp prot 80"));
    assert_eq!((run.exit, run.stdout.as_str()), (2, ""));
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "tetherctl: \"prot\" is no word of a filter",
            "  tcp prot 80",
            "      ^^^^",
        ]
    );
    assert!(lines[3].contains("port NUMBER"), "{}", run.stderr);
    let run = finished(&tetherctl("/nonexistent".as_ref(), "capture --count 0"));
    assert_eq!(run.exit, 2);
    let run = finished(&tetherctl("/nonexistent".as_ref(), "capture tcp"));
    assert_eq!(run.exit, 3);
}

#[test]
fn a_capture_that_is_refused_exits_with_1_and_leaves_the_file_alone() {
    let failure = Failure {
        message: "user 0 captures already".into(),
        hint: Some("wait".into()),
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("old.pcapng");
    std::fs::write(&file, "what was before").unwrap();
    let daemon = Daemon::answering(vec![vec![Response::Error(failure)]]);
    let run = daemon.run(&format!("capture --write {}", file.display()));
    assert_eq!(run.exit, 1);
    assert_eq!(run.stderr, "tetherctl: user 0 captures already\n  wait\n");
    assert_eq!(std::fs::read(&file).unwrap(), b"what was before");
}

#[test]
fn a_daemon_that_goes_away_exits_with_3() {
    let daemon = Daemon::answering(vec![vec![begun(), captured(CaptureDirection::In)]]);
    let run = daemon.run("capture");
    assert_eq!((run.exit, run.stdout.lines().count()), (3, 1));
}

/// The daemon is told by the end of our half of the connection, and what it says then is still taken.
#[test]
fn an_interrupt_ends_a_capture_with_all_that_had_come() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("operator.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut requests = BufReader::new(stream.try_clone().unwrap());
        requests.read_line(&mut String::new()).unwrap();
        let say = |response: &Response| {
            let line = serde_json::to_string(response).unwrap() + "\n";
            (&stream).write_all(line.as_bytes()).unwrap();
        };
        say(&begun());
        say(&captured(CaptureDirection::In));
        let mut more = Vec::new();
        requests.read_to_end(&mut more).unwrap();
        assert!(more.is_empty());
        say(&captured(CaptureDirection::Out));
        ended().iter().for_each(say);
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_tetherctl"))
        .arg("--socket")
        .arg(&socket)
        .arg("capture")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert!(first.contains(" in  arp"), "{first}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(" out arp"), "{rest}");
    serving.join().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("2 frames captured, 1,234 missed"),
        "{stderr}"
    );
}
