//! A port that takes no more: what is dropped is counted, and extends no affinity.

use crate::{
    frames::{OUTSIDE, ROUTER, from_to, written},
    world::{B1, Counts, OUTSIDE_PORT, OUTSIDE4, Size, USUAL, WEB, WEB4, World, usual},
};
use etherparse::PacketBuilder;

const ROOM: usize = 16;

/// Its transmit queues take 16 frames.
fn narrow() -> World {
    let size = Size {
        transmit_frames: ROOM,
        ..USUAL
    };
    World::of(usual(), size)
}

#[test]
fn the_last_of_a_burst_are_dropped() {
    let mut world = narrow();
    let flow = from_to("198.51.100.7:4000", WEB4);
    let frames = vec![flow.syn(); ROOM + 3];
    let (left, moved) = world.observed(&frames);
    assert_eq!(left.len(), ROOM);
    assert_eq!((moved["forwarded"], moved["transmit_full"]), (16, 3));
}

#[test]
fn answers_that_cannot_leave_are_not_counted_as_made() {
    let mut world = narrow();
    let network = || {
        PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0).ipv4([192, 0, 2, 1], OUTSIDE4.octets(), 64)
    };
    let ping = written(|out| network().icmpv4_echo_request(7, 1).write(out, b"abcd"));
    let (left, moved) = world.observed(&vec![ping; ROOM + 3]);
    assert_eq!(left.len(), ROOM);
    let expected = [("answered", 16), ("originated", 16), ("transmit_full", 3)];
    assert_eq!(moved, Counts::from(expected));
}

/// Fills the transmit queue, so that the next step's frames are dropped.
fn fill(world: &mut World) {
    let other = from_to("198.51.100.99:4000", WEB4);
    (0..ROOM).for_each(|_| world.put(0, OUTSIDE_PORT, &other.syn()));
    world.pass(1);
    world.workers[0].step(world.now);
}

#[test]
fn t2_a_packet_that_was_dropped_does_not_extend() {
    let mut world = narrow();
    let affinity = world.start(WEB, "198.51.100.7", B1, 60_000);
    let flow = from_to("198.51.100.7:4000", WEB4);
    world.send(&flow.syn());
    let extended = world.now + 60_000;
    assert_eq!(world.view(affinity).deadline, extended);
    world.pass(5000);
    fill(&mut world);
    let before = world.counts(0);
    world.send(&flow.ack());
    assert_eq!(
        world.counts(0)["transmit_full"],
        before["transmit_full"] + 1
    );
    assert_eq!(world.view(affinity).deadline, extended);
    world.send(&flow.ack());
    assert_eq!(world.view(affinity).deadline, world.now + 60_000);
}
