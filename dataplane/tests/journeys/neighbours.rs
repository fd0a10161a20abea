//! Neighbours: frames wait for a MAC address, answers are renewed, and a neighbour may move.

use crate::{
    frames::{Conversation, INSIDE, arp, from_to, padded, rewritten},
    world::{
        B1, Counts, INSIDE_PORT, INSIDE4, Left, OUTSIDE_PORT, USUAL, WEB, WEB4, WEB6, World,
        answer_from, answer_to, mac_at, usual,
    },
};
use etherparse::ArpOperation;
use std::net::Ipv4Addr;
use tether_dataplane::{
    Mac,
    limits::{HELD, HELD_PER_NEIGHBOUR, HOLD_MS},
    tables::{TablesSpec, id::BackendId},
};

const BACKEND4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn flow(port: u16) -> Conversation {
    from_to(&format!("198.51.100.7:{port}"), WEB4)
}

/// One backend, one service.
fn lone() -> TablesSpec {
    let mut spec = usual();
    spec.services.truncate(1);
    spec.backends.truncate(1);
    spec
}

/// One backend that is not known, after everything was announced.
fn unresolved() -> World {
    let mut world = World::unsettled(lone(), USUAL);
    for _ in 0..50 {
        world.pass(1);
        world.step_all();
    }
    world.pass(1000);
    world
}

fn request(to: Mac) -> Left {
    Left {
        port: INSIDE_PORT,
        frame: padded(arp(
            (INSIDE, to),
            ArpOperation::REQUEST,
            (INSIDE, INSIDE4),
            (Mac([0; 6]), BACKEND4),
        )),
    }
}

fn claim(operation: ArpOperation, mac: Mac) -> Vec<u8> {
    let to = if operation == ArpOperation::REPLY {
        INSIDE
    } else {
        Mac::BROADCAST
    };
    let sender = (mac, BACKEND4);
    arp((mac, to), operation, sender, (Mac([0; 6]), BACKEND4))
}

fn at(mac: Mac, frame: &[u8]) -> Left {
    Left {
        port: INSIDE_PORT,
        frame: rewritten(frame, INSIDE, mac),
    }
}

fn usual_mac() -> Mac {
    mac_at(BACKEND4.into())
}

#[test]
fn the_first_syn_waits_for_the_answer() {
    let mut world = unresolved();
    let syn = flow(4000).syn();
    let (left, moved) = world.observed(std::slice::from_ref(&syn));
    assert_eq!(left, [request(Mac::BROADCAST)]);
    let expected = [
        ("held", 1),
        ("originated", 1),
        ("flows", 1),
        ("flows_by_scheduler", 1),
    ];
    assert_eq!(moved, Counts::from(expected));

    let before = world.counts(0);
    world.put(0, INSIDE_PORT, &claim(ArpOperation::REPLY, usual_mac()));
    world.pass(1);
    assert_eq!(world.step(0), [at(usual_mac(), &syn)]);
    let moved = crate::world::moved(&before, &world.counts(0));
    assert_eq!((moved["held"], moved["forwarded"]), (-1, 1));
    assert_eq!(moved["forwarded_bytes"], i64::try_from(syn.len()).unwrap());
}

#[test]
fn over_ipv6_a_solicitation_asks() {
    let mut spec = usual();
    spec.services.remove(0);
    spec.backends.retain(|backend| backend.id == BackendId(4));
    let mut world = World::unsettled(spec, USUAL);
    let syn = from_to("[2001:db8:7::7]:4000", WEB6).syn();
    let left = world.send(&syn);
    let asked = left.iter().find_map(|it| answer_to(&it.frame));
    world.put(0, INSIDE_PORT, &asked.unwrap());
    world.pass(1);
    let mac = mac_at("fd00::4".parse().unwrap());
    assert!(world.step(0).contains(&at(mac, &syn)));
}

#[test]
fn those_that_waited_leave_first_and_in_order() {
    let mut world = unresolved();
    let frames: Vec<_> = (0..5).map(|port| flow(4000 + port).syn()).collect();
    world.send_all(&frames[..2]);
    world.send_all(&frames[2..4]);
    // The answer comes in the same step as another packet.
    world.put(0, INSIDE_PORT, &claim(ArpOperation::REPLY, usual_mac()));
    world.put(
        0,
        INSIDE_PORT,
        &crate::frames::patched(frames[4].clone(), 0, &INSIDE.0),
    );
    world.pass(1);
    let left: Vec<_> = frames.iter().map(|it| at(usual_mac(), it)).collect();
    assert_eq!(world.step(0), left);
}

#[test]
fn so_many_wait_for_one_neighbour_and_no_more() {
    let mut world = unresolved();
    let frames: Vec<_> = (0..12).map(|port| flow(4000 + port).syn()).collect();
    let (_, moved) = world.observed(&frames);
    let held = i64::try_from(HELD_PER_NEIGHBOUR).unwrap();
    assert_eq!((moved["held"], moved["hold_full"]), (held, 12 - held));
}

#[test]
fn so_many_wait_in_all_and_no_more() {
    let mut spec = lone();
    for id in 2..20 {
        let address = format!("10.0.0.{id}");
        spec.backends.push(crate::world::backend(id, WEB, &address));
    }
    let mut world = World::unsettled(spec, USUAL);
    for burst in 0..4 {
        let flows = (0..40).map(|port| flow(4000 + burst * 40 + port).syn());
        world.send_all(&flows.collect::<Vec<_>>());
    }
    let held = i64::try_from(HELD).unwrap();
    let counts = world.counts(0);
    assert_eq!((counts["held"], counts["hold_full"]), (held, 160 - held));
}

#[test]
fn they_wait_so_long_and_no_longer() {
    let mut world = unresolved();
    world.send(&flow(4000).syn());
    world.pass(HOLD_MS - 1);
    world.step(0);
    assert_eq!(world.counts(0)["held"], 1);
    world.pass(1);
    world.step(0);
    let counts = world.counts(0);
    assert_eq!((counts["held"], counts["neighbour_unresolved"]), (0, 1));
    assert_eq!(world.peers[0][OUTSIDE_PORT].free_frames(), 1024);
}

#[test]
fn what_waits_for_a_backend_that_is_removed_is_dropped() {
    let mut world = unresolved();
    world.send(&flow(4000).syn());
    world.remove(B1);
    world.pass(1);
    world.step(0);
    let counts = world.counts(0);
    assert_eq!((counts["held"], counts["backend_down"]), (0, 1));
}

#[test]
fn t2_a_packet_that_waited_in_vain_does_not_extend() {
    let mut world = unresolved();
    let affinity = world.start(WEB, "198.51.100.7", B1, 60_000);
    let deadline = world.view(affinity).deadline;
    world.send(&flow(4000).syn());
    assert_eq!(world.counts(0)["held"], 1);
    world.pass(HOLD_MS);
    world.step(0);
    assert_eq!(world.counts(0)["neighbour_unresolved"], 1);
    assert_eq!(world.view(affinity).deadline, deadline);
}

#[test]
fn t2_a_packet_that_waited_and_left_extends() {
    let mut world = unresolved();
    let affinity = world.start(WEB, "198.51.100.7", B1, 60_000);
    world.send(&flow(4000).syn());
    world.pass(1000);
    world.put(0, INSIDE_PORT, &claim(ArpOperation::REPLY, usual_mac()));
    assert_eq!(world.step(0).len(), 1);
    assert_eq!(world.view(affinity).deadline, world.now + 60_000);
}

#[test]
fn an_answer_is_renewed_where_it_was_after_30_seconds() {
    let mut world = World::settled(lone(), USUAL);
    let confirmed = world.writer.tables().neighbours()[0].confirmed.unwrap();
    world.now = confirmed + 29_999;
    assert_eq!(world.step(0), []);
    world.pass(1);
    let asked = world.step(0);
    assert_eq!(asked, [request(usual_mac())]);
    world.put(0, INSIDE_PORT, &answer_to(&asked[0].frame).unwrap());
    world.pass(1);
    world.step(0);
    let renewed = world.writer.tables().neighbours()[0].confirmed;
    assert_eq!(renewed, Some(world.now));
}

#[test]
fn an_answer_that_is_not_renewed_is_given_up() {
    let mut world = World::settled(lone(), USUAL);
    let confirmed = world.writer.tables().neighbours()[0].confirmed.unwrap();
    let syn = flow(4000).syn();
    world.now = confirmed + 34_998;
    assert!(world.send(&syn).contains(&at(usual_mac(), &syn)));
    world.pass(1);
    world.step(0);
    assert!(!world.send(&syn).contains(&at(usual_mac(), &syn)));
    assert_eq!(world.counts(0)["held"], 1);
}

#[test]
fn a_backend_that_moves_is_followed_at_once() {
    let mut world = World::settled(lone(), USUAL);
    let (syn, other) = (flow(4000).syn(), Mac([2, 0, 0, 0, 9, 9]));
    assert_eq!(world.send(&syn), [at(usual_mac(), &syn)]);
    world.put(0, INSIDE_PORT, &claim(ArpOperation::REQUEST, other));
    world.pass(1000);
    assert_eq!(world.step(0), [request(other)], "asked whether it is so");
    assert_eq!(world.send(&syn), [at(other, &syn)]);
    let reply = answer_from(&request(other).frame, |_| other).unwrap();
    world.put(0, INSIDE_PORT, &reply);
    world.pass(1);
    world.step(0);
    let view = world.writer.tables().neighbours()[0];
    assert_eq!((view.mac, view.confirmed), (Some(other), Some(world.now)));
}

#[test]
fn new_tables_keep_what_is_known() {
    let mut world = World::settled(lone(), USUAL);
    world.publish_tables();
    let syn = flow(4000).syn();
    assert_eq!(world.send(&syn), [at(usual_mac(), &syn)]);
}

#[test]
fn a_given_address_that_is_given_no_longer_is_asked_for() {
    let given = Mac([2, 0, 0, 0, 7, 7]);
    let mut spec = lone();
    spec.ports[1].neighbours.push((BACKEND4.into(), given));
    let mut world = World::settled(spec, USUAL);
    let syn = flow(4000).syn();
    assert_eq!(world.send(&syn), [at(given, &syn)]);
    world.spec.ports[1].neighbours.clear();
    world.publish_tables();
    world.settle();
    assert_eq!(world.send(&syn), [at(usual_mac(), &syn)]);
}
