//! The life of a backend, contract section 6: what it gets in each state.

use crate::{
    frames::{Conversation, from_to},
    world::{B1, B2, B3, Counts, WEB, WEB4, World, moved},
};
use tether_dataplane::tables::{backend::BackendState, id::BackendId, service::OnBackendDown};

const CLIENT: &str = "198.51.100.7";
const MINUTE: u32 = 60_000;

fn flow(port: u16) -> Conversation {
    from_to(&format!("{CLIENT}:{port}"), WEB4)
}

fn stranger(port: u16) -> Vec<u8> {
    from_to(&format!("198.51.100.8:{port}"), WEB4).syn()
}

/// What comes of B1's state: for new flows without an affinity, with one, and for its live flow.
#[derive(Debug, PartialEq, Eq)]
struct Gets {
    scheduled: bool,
    by_affinity: bool,
    live: bool,
    /// How the affinity's new flow and the live one's packet were counted.
    counted: Counts,
}

fn observe(rule: OnBackendDown, change: impl Fn(&mut World)) -> Gets {
    let mut world = World::new();
    world.spec.services[0].on_backend_down = rule;
    world.publish_tables();
    let affinity = world.start(WEB, CLIENT, B1, MINUTE);
    assert_eq!(world.receiver(&flow(1).syn()), Some(B1));
    change(&mut world);
    let scheduled: Vec<_> = (1..=9)
        .map(|port| world.receiver(&stranger(port)))
        .collect();
    let before = world.counts(0);
    let by_affinity = world.receiver(&flow(2).syn());
    let live = world.receiver(&flow(1).ack());
    let told = [
        "no_backend",
        "backend_down",
        "fallback_down",
        "fallback_disabled",
        "fallback_removed",
        "flows_moved",
    ];
    let mut counted = moved(&before, &world.counts(0));
    counted.retain(|name, _| told.contains(name));
    assert!(world.view(affinity).deadline > world.now, "kept");
    Gets {
        scheduled: scheduled.contains(&Some(B1)),
        by_affinity: by_affinity == Some(B1),
        live: live == Some(B1),
        counted,
    }
}

fn gets(scheduled: bool, by_affinity: bool, live: bool, counted: &[(&'static str, i64)]) -> Gets {
    Gets {
        scheduled,
        by_affinity,
        live,
        counted: counted.iter().copied().collect(),
    }
}

#[test]
fn section_6_each_state_gets_what_it_takes() {
    use OnBackendDown::{Balance, Drop};
    let to = |state| move |world: &mut World| world.set_state(B1, state);
    for rule in [Balance, Drop] {
        assert_eq!(
            observe(rule, to(BackendState::Up)),
            gets(true, true, true, &[])
        );
        let draining = observe(rule, to(BackendState::Draining));
        assert_eq!(draining, gets(false, true, true, &[]));
        let disabled = observe(rule, to(BackendState::Disabled));
        let counted = [("fallback_disabled", 1)];
        assert_eq!(disabled, gets(false, false, true, &counted));
    }
    // The live flow's packet from its middle is balanced too, and its affinity looked at again.
    let down = observe(Balance, to(BackendState::Down));
    let counted = [("fallback_down", 2), ("flows_moved", 1)];
    assert_eq!(down, gets(false, false, false, &counted));
    let down = observe(Drop, to(BackendState::Down));
    assert_eq!(down, gets(false, false, false, &[("backend_down", 2)]));
    let removed = observe(Balance, |world| world.remove(B1));
    let counted = [("fallback_removed", 2), ("flows_moved", 1)];
    assert_eq!(removed, gets(false, false, false, &counted));
}

#[test]
fn section_6_a_suspended_affinity_resumes() {
    for state in [BackendState::Down, BackendState::Disabled] {
        let mut world = World::new();
        world.start(WEB, CLIENT, B3, MINUTE);
        world.set_state(B3, state);
        let fallback = world.receiver(&flow(1).syn());
        assert!(matches!(fallback, Some(B1 | B2)), "{fallback:?}");
        world.set_state(B3, BackendState::Up);
        assert_eq!(world.receiver(&flow(2).syn()), Some(B3));
        assert_eq!(world.receiver(&flow(1).ack()), fallback, "R1");
    }
}

#[test]
fn section_6_packets_extend_nothing_while_it_drains() {
    for duration_ms in [MINUTE, 1_800_000] {
        let mut world = World::new();
        let affinity = world.start(WEB, CLIENT, B1, duration_ms);
        world.send(&flow(1).syn());
        let before = world.view(affinity).deadline;
        world.set_state(B1, BackendState::Draining);
        world.pass(5000);
        assert_eq!(world.receiver(&flow(1).ack()), Some(B1));
        assert_eq!(world.receiver(&flow(2).syn()), Some(B1));
        assert_eq!(world.view(affinity).deadline, before);
        let later = before + 5000;
        assert_eq!(
            world.writer.affinities_mut().extend(affinity.cell, later),
            later
        );
        world.set_state(B1, BackendState::Up);
        world.pass(5000);
        world.send(&flow(1).ack());
        assert_eq!(
            world.view(affinity).deadline,
            world.now + u64::from(duration_ms)
        );
    }
}

#[test]
fn b1_falling_back_pins_nothing() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B3, MINUTE);
    world.set_state(B3, BackendState::Down);
    let got: Vec<_> = (1..=4)
        .map(|port| world.receiver(&flow(port).syn()))
        .collect();
    assert_eq!(got, [Some(B1), Some(B2), Some(B1), Some(B2)]);
}

#[test]
fn b2_trouble_of_one_touches_nothing_of_another() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B2, MINUTE);
    assert_eq!(world.receiver(&flow(1).syn()), Some(B2));
    world.set_state(B1, BackendState::Down);
    world.remove(B3);
    assert_eq!(world.receiver(&flow(1).ack()), Some(B2));
    assert_eq!(world.receiver(&flow(2).syn()), Some(B2));
}

#[test]
fn b3_a_drain_counts_down_to_no_flows_and_no_affinities() {
    let mut world = World::new();
    let affinity = world.start(WEB, CLIENT, B1, MINUTE);
    for port in 1..=3 {
        world.send(&flow(port).syn());
        world.send(&flow(port).ack());
    }
    let counts = |world: &World| (world.writer.backend_flows(B1), world.view(affinity).flows);
    assert_eq!(counts(&world), (3, 3));
    world.set_state(B1, BackendState::Draining);
    world.send(&flow(1).fin());
    world.pass(62_000);
    world.step(0);
    assert_eq!(counts(&world), (2, 2));
    world.pass(300_000);
    world.step(0);
    assert_eq!(counts(&world), (0, 0));
    let expired = world
        .writer
        .affinities_mut()
        .expire(&affinity.key, affinity.cell, world.now);
    assert_eq!((expired, world.writer.affinities().len()), (Ok(()), 0));
}

#[test]
fn b4_a_change_of_the_list_keeps_flows_and_affinities() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B2, MINUTE);
    assert_eq!(world.receiver(&flow(1).syn()), Some(B2));
    world.spec.backends.reverse();
    world
        .spec
        .backends
        .push(crate::world::backend(60, WEB, "10.0.0.60"));
    world.publish_tables();
    assert_eq!(world.receiver(&flow(1).ack()), Some(B2));
    assert_eq!(world.receiver(&flow(2).syn()), Some(B2));
    assert_eq!(world.spec.backends[0].id, BackendId(8));
}
