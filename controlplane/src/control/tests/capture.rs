//! Captures: names, one at a time, and how they end; with a worker on a memory port.

use super::*;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tether_api::operator::{
    CaptureDirection, CaptureEnd, CaptureRequest, CapturedFrame, Capturing, DecidedBy, Entry,
    KEPT_FATES,
};
use tether_dataplane::{
    fate::Fate,
    port::memory::{MemoryPeer, MemoryPort},
    worker::Worker,
};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A control thread with its worker.
struct Running {
    bench: Bench,
    worker: Worker<MemoryPort>,
    peer: MemoryPeer,
}

/// An operator who captures.
struct Operator {
    lines: mpsc::Receiver<Response>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Both backends of `shop` have answered ARP.
    fn new() -> Self {
        let made = Control::new(parse(CONFIG), Clock::start(), Box::new(OnePort), None);
        let (control, mut seats) = made.unwrap_or_else(|error| panic!("{error}"));
        let (port, peer) = MemoryPort::new(512, 512);
        let mut running = Self {
            bench: Bench {
                control,
                now: Millis(10_000),
            },
            worker: Worker::new(seats.remove(0), vec![port], 1024),
            peer,
        };
        for backend in [11, 12] {
            running.put(&arp_reply([10, 9, 0, backend]));
        }
        running.turn();
        running
    }

    fn put(&self, frame: &[u8]) {
        assert!(self.peer.send(frame));
    }

    fn turn(&mut self) {
        self.turn_with(vec![]);
    }

    fn turn_with(&mut self, commands: Vec<Command>) {
        self.bench.after(1).turn(commands);
        self.worker.step(self.bench.now);
        while self.peer.receive().is_some() {}
    }

    fn capture(&mut self, request: CaptureRequest) -> Operator {
        let (lines, received) = mpsc::channel(64);
        let stop = Arc::new(AtomicBool::new(false));
        let command = Command::Capture {
            uid: 7,
            request,
            lines,
            stop: Arc::clone(&stop),
        };
        self.turn_with(vec![command]);
        Operator {
            lines: received,
            stop,
        }
    }

    /// A capture that has begun.
    fn begun(&mut self, request: CaptureRequest) -> Operator {
        let mut operator = self.capture(request);
        for _ in 0..10 {
            match operator.lines.try_recv() {
                Ok(Response::Ok(Payload::Capturing(begun))) => {
                    let ports = vec!["net_null0".to_owned()];
                    assert_eq!(
                        begun,
                        Capturing {
                            ports,
                            ..begun.clone()
                        }
                    );
                    return operator;
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => self.turn(),
            }
        }
        panic!("no capture has begun")
    }

    fn failed(&mut self, request: CaptureRequest) -> Failure {
        let mut operator = self.capture(request);
        self.turn();
        match operator.lines.try_recv() {
            Ok(Response::Error(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// What is told in as many turns as it takes, to the end if there is one.
    fn told(&mut self, operator: &mut Operator) -> (Vec<CapturedFrame>, Option<CaptureEnd>) {
        let (mut frames, mut ended) = (Vec::new(), None);
        for _ in 0..20 {
            self.turn();
            while let Ok(line) = operator.lines.try_recv() {
                match line {
                    Response::Entry(Entry::Captured(frame)) => frames.push(frame),
                    Response::Entry(Entry::CaptureEnd(end)) => ended = Some(end),
                    Response::End(end) => {
                        assert_eq!(Some(end.entries), ended.map(|it| it.captured));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        (frames, ended)
    }
}

fn of(filter: &str) -> CaptureRequest {
    CaptureRequest {
        filter: filter.to_owned(),
        ..CaptureRequest::default()
    }
}

fn arp_reply(address: [u8; 4]) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REPLY,
        &OTHER,
        &address,
        &OWN,
        &[10, 9, 0, 2],
    );
    let mut frame = Vec::new();
    let link = PacketBuilder::ethernet2(OTHER, OWN);
    link.arp(packet.unwrap()).write(&mut frame).unwrap();
    frame
}

fn syn(client: u8, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let link = PacketBuilder::ethernet2(OTHER, OWN);
    let ip = link.ipv4([192, 0, 2, client], [10, 9, 0, 100], 64);
    let tcp = ip.tcp(4000, port, 1, 512).syn();
    tcp.write(&mut frame, &[]).unwrap();
    frame
}

#[test]
fn frames_are_told_by_the_names_of_the_configuration() {
    let mut running = Running::new();
    running.bench.start(TWO, CLIENT);
    let mut operator = running.begun(of("service shop tcp"));
    let frame = syn(7, 80);
    running.put(&frame);
    running.put(&syn(7, 81));
    let (frames, ended) = running.told(&mut operator);
    assert_eq!((frames.len(), ended), (2, None));
    let came = &frames[0];
    assert_eq!(came.bytes.0, frame);
    let expected = CapturedFrame {
        time_ns: came.time_ns,
        port: "net_null0".into(),
        direction: CaptureDirection::In,
        fate: "forwarded".into(),
        by: DecidedBy::Affinity,
        affinity: Some(CLIENT.into()),
        service: Some("shop".into()),
        backend: Some("shop-2".into()),
        core: 1,
        length: 54,
        bytes: came.bytes.clone(),
    };
    assert_eq!(*came, expected);
    assert_eq!(frames[1].direction, CaptureDirection::Out);
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    assert!(u128::from(came.time_ns).abs_diff(now) < 60_000_000_000);
}

#[test]
fn an_affinity_that_has_ended_since_has_no_name() {
    let mut running = Running::new();
    running.bench.start(TWO, CLIENT);
    let mut operator = running.begun(of("tcp in"));
    running.put(&syn(7, 80));
    running.worker.step(running.bench.now);
    running.bench.end(TWO, CLIENT);
    running.bench.start(TWO, "192.0.2.99");
    let (frames, _) = running.told(&mut operator);
    assert_eq!(
        (frames[0].by, &frames[0].affinity),
        (DecidedBy::Affinity, &None)
    );
}

#[test]
fn a_capture_ends_with_its_count() {
    let mut running = Running::new();
    let request = CaptureRequest {
        count: Some(3),
        ..of("tcp in")
    };
    let mut operator = running.begun(request);
    (1..=5).for_each(|client| running.put(&syn(client, 80)));
    let (frames, ended) = running.told(&mut operator);
    assert_eq!(frames.len(), 3);
    let expected = CaptureEnd {
        captured: 3,
        missed: 0,
    };
    assert_eq!(ended, Some(expected));
    assert!(running.bench.control.answers.is_empty());
}

#[test]
fn a_capture_ends_when_the_operator_has_enough_with_all_that_had_come() {
    let mut running = Running::new();
    let mut operator = running.begun(of("tcp in"));
    (1..=200).for_each(|client| running.put(&syn(client, 80)));
    for _ in 0..4 {
        running.worker.step(running.bench.now);
    }
    operator.stop.store(true, Ordering::Relaxed);
    let (frames, ended) = running.told(&mut operator);
    assert_eq!(ended.map(|it| (it.captured, it.missed)), Some((200, 0)));
    assert_eq!(frames.len(), 200);
    assert!(frames.is_sorted_by_key(|it| it.time_ns));
}

#[test]
fn there_is_one_capture_at_a_time() {
    let mut running = Running::new();
    let mut first = running.begun(of(""));
    let refused = running.failed(of(""));
    assert!(
        refused.message.contains("user 7 captures already"),
        "{refused:?}"
    );
    first.stop.store(true, Ordering::Relaxed);
    running.told(&mut first);
    let second = running.begun(of(""));
    // One who is gone is noticed.
    drop(second);
    (0..5).for_each(|_| running.turn());
    running.begun(of(""));
}

#[test]
fn a_worker_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        let (lines, mut received) = mpsc::channel(4);
        bench.turn(vec![Command::Capture {
            uid: 0,
            request: of(""),
            lines,
            stop: Arc::default(),
        }]);
        bench.after(1000).turn(vec![]);
        bench.after(1).turn(vec![]);
        match received.try_recv() {
            Ok(Response::Error(failure)) => {
                assert!(failure.message.contains("does not answer"), "{failure:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_that_are_none_are_refused_with_advice() {
    let mut running = Running::new();
    for (filter, message, hint) in [
        ("service shoe", "no service \"shoe\"", "shop"),
        ("backend shop-9", "no backend \"shop-9\"", "backend list"),
        ("fate no_servise", "no fate \"no_servise\"", "no_service"),
        ("tcp or udp", "there is no \"or\"", ""),
    ] {
        let failure = running.failed(of(filter));
        assert!(failure.message.contains(message), "{failure:?}");
        assert!(failure.hint.unwrap_or_default().contains(hint));
    }
    // None of them was begun.
    running.begun(of("fate held"));
}

#[test]
fn operators_know_which_fates_are_no_drops() {
    let kept = Fate::ALL.iter().filter(|it| !it.is_drop());
    let kept: Vec<_> = kept.map(|it| it.name()).collect();
    assert_eq!(kept, KEPT_FATES);
}
