//! Contract section 8: `explain`. No worker answers here; what a flow says is tested with workers.

use super::*;
use tether_api::operator::{AdminState, ExplainPacket, Explanation, PlacedBy, Protocol};

fn packet(without: Option<&str>) -> ExplainPacket {
    ExplainPacket {
        protocol: Protocol::Tcp,
        source: CLIENT.parse().unwrap(),
        source_port: None,
        destination: "10.9.0.100:80".parse().unwrap(),
        without: without.map(str::to_owned),
    }
}

fn explain(bench: &mut Bench, packet: ExplainPacket) -> Explanation {
    match bench.payload(Request::Explain(packet)) {
        Payload::Explanation(explanation) => explanation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_affinity_is_named_with_its_row() {
    let mut bench = Bench::new();
    bench.start(TWO, "192.0.2.0/24");
    let told = explain(&mut bench, packet(None));
    assert_eq!(
        (told.by, told.backend.as_deref()),
        (PlacedBy::Affinity, Some("shop-2"))
    );
    assert_eq!(told.service.as_deref(), Some("shop"));
    assert_eq!(told.forward.as_deref(), Some("dsr"));
    assert_eq!(told.affinity.unwrap().source, "192.0.2.0/24");
    assert!(told.reason.contains("192.0.2.0/24"), "{}", told.reason);
}

#[test]
fn without_its_owner_the_scheduler_decides_and_the_affinity_is_still_shown() {
    let mut bench = Bench::new();
    bench.start(TWO, CLIENT);
    let told = explain(&mut bench, packet(Some("shop-2")));
    assert_eq!(
        (told.by, told.backend.as_deref()),
        (PlacedBy::Scheduler, Some("shop-1"))
    );
    assert!(told.reason.contains("shop-2"), "{}", told.reason);
    assert!(told.reason.contains("taken to be down"), "{}", told.reason);
    assert_eq!(told.affinity.unwrap().owner, "shop-2");
    let failure = bench.failure(Request::Explain(packet(Some("shop-9"))));
    assert!(failure.hint.unwrap().contains("shop-1, shop-2"));
}

#[test]
fn the_scheduler_the_switch_and_nobody_have_their_reasons() {
    let mut bench = Bench::new();
    let told = explain(&mut bench, packet(None));
    assert_eq!(told.by, PlacedBy::Scheduler);
    assert!(
        told.reason.starts_with("no affinity matches"),
        "{}",
        told.reason
    );
    bench.start(TWO, CLIENT);
    let service = None;
    bench.payload(Request::AffinitySwitch { on: false, service });
    let told = explain(&mut bench, packet(None));
    assert_eq!(told.by, PlacedBy::Scheduler);
    assert!(told.reason.contains("switched off"), "{}", told.reason);
    for backend in ["shop-1", "shop-2"] {
        bench.payload(Request::BackendSet {
            service: "shop".to_owned(),
            backend: backend.to_owned(),
            state: AdminState::Disable,
        });
    }
    let told = explain(&mut bench, packet(None));
    assert_eq!((told.by, told.backend), (PlacedBy::None, None));
    let nowhere = ExplainPacket {
        destination: "10.9.0.200:80".parse().unwrap(),
        ..packet(None)
    };
    let told = explain(&mut bench, nowhere);
    assert_eq!((told.by, told.service), (PlacedBy::None, None));
}

#[test]
fn a_worker_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut bench = Bench::new();
    let with_port = ExplainPacket {
        source_port: Some(40_000),
        ..packet(None)
    };
    for _ in 0..6 {
        let begun = bench.now;
        let told = explain(&mut bench, with_port.clone());
        assert!(told.reason.contains("did not answer"), "{}", told.reason);
        assert!(bench.now.since(begun) < 300);
    }
}

#[test]
fn the_scheduler_says_by_what_it_decides() {
    for (scheduler, rule) in [
        ("maglev", "by the hash of the flow"),
        ("source-hash", "by the hash of the client's address"),
        (
            "round-robin",
            "slot 0 of the scheduler, the first turn of a worker",
        ),
        ("weighted-round-robin", "the first turn of a worker"),
        (
            "least-connections",
            "slot 0 of the scheduler, the fewest flows for its weight: 0 flows of weight 1",
        ),
        (
            "power-of-two",
            "the fewer flows of two taken at random: 0 flows of weight 1",
        ),
    ] {
        let scheduler = format!("port = 80\nscheduler = \"{scheduler}\"\n");
        let mut bench = Bench::of(&CONFIG.replacen("port = 80\n", &scheduler, 1));
        let told = explain(&mut bench, packet(None));
        assert_eq!(told.by, PlacedBy::Scheduler);
        assert!(told.backend.is_some());
        assert!(told.reason.contains(rule), "{}", told.reason);
    }
}

#[test]
fn a_client_that_the_lists_refuse_is_told_so() {
    let denying = "port = 80\ndeny = [\"192.0.2.0/24\"]\n";
    let mut bench = Bench::of(&CONFIG.replacen("port = 80\n", denying, 1));
    bench.start(TWO, CLIENT);
    let told = explain(&mut bench, packet(None));
    assert_eq!((told.by, told.backend), (PlacedBy::None, None));
    assert!(told.reason.contains("deny lists"), "{}", told.reason);
    assert_eq!(told.affinity.unwrap().owner, "shop-2");
}

#[test]
fn the_frame_that_would_leave_is_told_with_names() {
    let mut bench = Bench::new();
    let with_port = ExplainPacket {
        source_port: Some(40_000),
        ..packet(None)
    };
    let told = explain(&mut bench, with_port);
    let frame = told.frame.unwrap();
    assert_eq!(
        (frame.port.as_str(), frame.comes_by.as_str()),
        ("net_null0", "net_null0")
    );
    assert_eq!(frame.source_mac, "02:00:00:00:00:01");
    assert_eq!(frame.destination_mac, None, "nobody has answered");
    assert!(frame.next_hop.to_string().starts_with("10.9.0.1"));
    assert_eq!(frame.source.to_string(), format!("{CLIENT}:40000"));
    assert_eq!(frame.bytes.0[6..12], [2, 0, 0, 0, 0, 1]);
    assert_eq!(frame.bytes.0[12..], frame.came.0[12..]);
    let nowhere = ExplainPacket {
        destination: "10.9.0.200:80".parse().unwrap(),
        ..packet(None)
    };
    assert_eq!(explain(&mut bench, nowhere).frame, None);
}
