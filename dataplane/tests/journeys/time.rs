//! The rules of time, contract section 3, as packets see them.

use crate::{
    frames::{Conversation, from_to},
    world::{Affinity, B1, B2, B3, Size, USUAL, WEB, WEB4, World, usual},
};
use tether_dataplane::{
    clock::Millis,
    tables::{affinity::Grant, service::Refresh},
};

const CLIENT: &str = "198.51.100.7";
const MINUTE: u32 = 60_000;
const HALF_HOUR: u32 = 1_800_000;

fn flow(port: u16) -> Conversation {
    from_to(&format!("{CLIENT}:{port}"), WEB4)
}

fn refreshing(refresh: Refresh) -> World {
    let mut spec = usual();
    spec.services[0].refresh = refresh;
    World::of(spec, USUAL)
}

fn deadline(world: &World, affinity: Affinity) -> Millis {
    world.view(affinity).deadline
}

/// A SYN and later an ACK, each with how far ahead of it the deadline then is.
fn ahead_after_syn_and_ack(refresh: Refresh, duration_ms: u32) -> [u64; 2] {
    let mut world = refreshing(refresh);
    let affinity = world.start(WEB, CLIENT, B2, duration_ms);
    [flow(1).syn(), flow(1).ack()].map(|frame| {
        world.pass(10_000);
        assert_eq!(world.receiver(&frame), Some(B2));
        deadline(&world, affinity).since(world.now)
    })
}

#[test]
fn t2_what_extends_is_as_the_service_says() {
    for duration_ms in [MINUTE, HALF_HOUR] {
        let full = u64::from(duration_ms);
        let cases = [
            (Refresh::Packet, [full, full]),
            (Refresh::Connection, [full, full - 10_001]),
            (Refresh::Never, [full - 10_001, full - 20_002]),
        ];
        for (refresh, expected) in cases {
            let ahead = ahead_after_syn_and_ack(refresh, duration_ms);
            assert_eq!(ahead, expected, "{refresh:?} {duration_ms}");
        }
    }
}

#[test]
fn t2_every_packet_of_a_short_affinity_extends_it() {
    let mut world = World::new();
    let affinity = world.start(WEB, CLIENT, B2, 500);
    world.send(&flow(1).syn());
    for _ in 0..100 {
        world.pass(400);
        world.send(&flow(1).ack());
        assert_eq!(deadline(&world, affinity), world.now + 500);
    }
}

#[test]
fn t2_a_long_affinity_is_extended_to_within_a_second() {
    let mut world = World::new();
    let affinity = world.start(WEB, CLIENT, B2, HALF_HOUR);
    world.send(&flow(1).syn());
    for step in 0..200 {
        world.pass(37 * (step % 40));
        world.send(&flow(1).ack());
        let ahead = deadline(&world, affinity).since(world.now);
        assert!(ahead > u64::from(HALF_HOUR) - 1000, "{ahead}");
    }
}

#[test]
fn t2_only_the_one_that_decided_is_extended() {
    let mut world = World::new();
    let broad = world.start(WEB, "198.51.100.0/24", B1, MINUTE);
    let host = world.start(WEB, CLIENT, B2, MINUTE);
    let exact = world.start(WEB, "198.51.100.7:1", B3, MINUTE);
    let before = [broad, host, exact].map(|it| deadline(&world, it));
    world.pass(5000);
    assert_eq!(world.receiver(&flow(1).syn()), Some(B3));
    assert_eq!(world.receiver(&flow(1).ack()), Some(B3));
    assert_eq!(deadline(&world, exact), world.now + 60_000);
    assert_eq!([broad, host].map(|it| deadline(&world, it)), before[..2]);
}

#[test]
fn t2_a_flow_that_the_scheduler_placed_extends_nothing() {
    let mut world = World::new();
    world.send(&flow(1).syn());
    let affinity = world.start(WEB, CLIENT, B2, MINUTE);
    let before = deadline(&world, affinity);
    world.pass(5000);
    world.send(&flow(1).ack());
    assert_eq!(deadline(&world, affinity), before);
}

#[test]
fn t2_a_flow_of_an_ended_affinity_does_not_extend_the_next_one() {
    let mut world = World::of(
        usual(),
        Size {
            affinities: 1,
            ..USUAL
        },
    );
    let first = world.start(WEB, CLIENT, B2, MINUTE);
    world.send(&flow(1).syn());
    world.end(first);
    world.step(0);
    world.writer.reclaim();
    let second = world.start(WEB, CLIENT, B3, MINUTE);
    let before = deadline(&world, second);
    world.pass(5000);
    assert_eq!(world.receiver(&flow(1).ack()), Some(B2));
    assert_eq!(deadline(&world, second), before);
}

#[test]
fn t3_packets_never_shorten_what_the_server_extended() {
    let mut world = World::new();
    let affinity = world.start(WEB, CLIENT, B2, MINUTE);
    let far = world.now + u64::from(HALF_HOUR);
    assert_eq!(
        world.writer.affinities_mut().extend(affinity.cell, far),
        far
    );
    world.send(&flow(1).syn());
    assert_eq!(deadline(&world, affinity), far);
}

#[test]
fn t4_packets_extend_up_to_the_limit_and_no_further() {
    for duration_ms in [MINUTE, HALF_HOUR] {
        let mut world = World::new();
        let limit = world.now + u64::from(duration_ms) + 30_000;
        let grant = Grant {
            deadline: world.now + u64::from(duration_ms),
            duration_ms,
            limit: Some(limit),
        };
        let affinity = world.start_with(WEB, CLIENT, B2, grant, None);
        let to_the_second = Millis(limit.0 / 1000 * 1000);
        world.send(&flow(1).syn());
        while world.now + 20_000 < limit {
            world.pass(20_000);
            world.send(&flow(1).ack());
            assert!(deadline(&world, affinity) <= to_the_second);
        }
        assert_eq!(deadline(&world, affinity), to_the_second);
        world.now = to_the_second - 2;
        assert_eq!(world.receiver(&flow(2).syn()), Some(B2));
        let fallback = world.receiver(&flow(3).syn());
        assert_eq!(world.counts(0)["flows_by_affinity"], 2, "{fallback:?}");
    }
}

#[test]
fn t5_the_interval_is_half_open() {
    for duration_ms in [1, 2, 1000, HALF_HOUR] {
        let mut spec = usual();
        spec.services[0].refresh = Refresh::Never;
        let mut world = World::of(spec, USUAL);
        let affinity = world.start(WEB, CLIENT, B3, duration_ms);
        let end = deadline(&world, affinity);
        world.put(0, 0, &flow(1).syn());
        assert_eq!(placed_by_affinity(&mut world), 1, "at its start");
        if duration_ms > 1 {
            world.now = end - 1;
            world.put(0, 0, &flow(2).syn());
            assert_eq!(placed_by_affinity(&mut world), 1, "deadline - 1");
        }
        for later in [end, end + 1] {
            world.now = later;
            world.put(
                0,
                0,
                &from_to(&format!("{CLIENT}:{}", 10 + later.since(end)), WEB4).syn(),
            );
            assert_eq!(
                placed_by_affinity(&mut world),
                0,
                "{later:?}, not collected"
            );
        }
    }
}

/// How many flows the next step places by an affinity.
fn placed_by_affinity(world: &mut World) -> i64 {
    let before = world.counts(0)["flows_by_affinity"];
    world.step(0);
    world.counts(0)["flows_by_affinity"] - before
}

#[test]
fn t5_a_packet_at_the_deadline_does_not_revive() {
    let mut world = World::new();
    let affinity = world.start(WEB, CLIENT, B2, 1000);
    world.send(&flow(1).syn());
    let end = deadline(&world, affinity);
    world.now = end - 1;
    assert_eq!(world.receiver(&flow(1).ack()), Some(B2));
    assert_eq!(deadline(&world, affinity), end, "at the deadline");
    let expired = world
        .writer
        .affinities_mut()
        .expire(&affinity.key, affinity.cell, end);
    assert_eq!(expired, Ok(()));
}

/// Long affinities with many flows: the packets of each second change the deadline once.
#[test]
fn t7_a_long_affinity_is_written_once_a_second() {
    let mut world = World::new();
    let affinity = world.start(WEB, "198.51.100.0/24", B2, HALF_HOUR);
    let flows: Vec<_> = (1..=50).map(flow).collect();
    for flow in &flows {
        world.send(&flow.syn());
    }
    world.now = Millis(world.now.0.next_multiple_of(1000) - 1);
    let mut seen = vec![world.view(affinity)];
    for _ in 0..10 {
        for flow in &flows {
            world.pass(19);
            world.send(&flow.ack());
            let view = world.view(affinity);
            if seen.last() != Some(&view) {
                seen.push(view);
            }
        }
    }
    assert_eq!(seen.len() - 1, 10, "writes in ten seconds");
}

#[test]
fn t7_a_flow_looks_once_a_second() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B2, HALF_HOUR);
    world.send(&flow(1).syn());
    world.now = Millis(world.now.0.next_multiple_of(1000) - 1);
    let before = world.counts(0)["refreshes"];
    for _ in 0..100 {
        world.pass(9);
        world.send(&flow(1).ack());
    }
    assert_eq!(world.counts(0)["refreshes"], before + 1);
}
