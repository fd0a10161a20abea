//! What a port's device finds about IPv4 headers: it is believed where it found one right, by the worker
//! that received the frame, and by nobody else.

use crate::{
    frames::{Conversation, OUTSIDE, ROUTER, from_to, patched, tagged, written},
    fullnat::fullnat,
    hostile::with_options,
    kernel::{AMPLE, tap},
    nat::{inside, read},
    related::parts,
    world::{
        Counts, DNS4, INSIDE_PORT, Left, OUTSIDE_PORT, OUTSIDE4, Size, USUAL, WEB4, World,
        answer_to, moved, usual,
    },
};
use etherparse::PacketBuilder;
use tether_dataplane::{port::Frame, tables::TablesSpec};

const CHECKING: Size = Size {
    checks_ipv4: true,
    ..USUAL
};
const VLAN: u16 = 7;
/// Where the checksum stands in a frame without a tag.
const CHECKSUM: usize = 24;

/// What a device says of a frame: that its header is right, or wrong; nothing.
type Found = Option<bool>;

fn flow() -> Conversation {
    from_to("198.51.100.7:4000", WEB4)
}

fn ping() -> Vec<u8> {
    let network = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0);
    let network = network.ipv4([192, 0, 2, 1], OUTSIDE4.octets(), 64);
    written(|out| network.icmpv4_echo_request(7, 1).write(out, b"abcd"))
}

/// The usual way, the way of what is rare, and what the forwarder answers.
fn frames() -> Vec<Vec<u8>> {
    let first = parts(from_to("198.51.100.7:4000", DNS4), 9, 32).remove(0);
    vec![flow().syn(), with_options(&[1, 1, 1, 0]), first, ping()]
}

fn wrong(frame: &[u8]) -> Vec<u8> {
    let other = [frame[CHECKSUM] ^ 0x40, frame[CHECKSUM + 1]];
    patched(frame.to_vec(), CHECKSUM, &other)
}

/// What a frame alone does in a world: what leaves, and how every counter moves.
fn done(spec: &TablesSpec, size: Size, frame: &[u8], found: Found) -> (Vec<Left>, Counts) {
    let mut world = World::of(spec.clone(), size);
    let before = world.counts(0);
    match found {
        Some(is_right) => world.put_checked(0, OUTSIDE_PORT, frame, is_right),
        None => world.put(0, OUTSIDE_PORT, frame),
    }
    world.pass(1);
    let left = world.step(0);
    (left, moved(&before, &world.counts(0)))
}

/// Asserts that a frame is dropped for its checksum, and counted as that and nothing else.
fn assert_dropped(size: Size, frame: &[u8], found: Found) {
    let (left, counts) = done(&usual(), size, frame, found);
    let bytes = i64::try_from(frame.len()).unwrap();
    let expected = [
        ("steps", 1),
        ("busy_steps", 1),
        ("received", 1),
        ("received_bytes", bytes),
        ("ipv4_checksum", 1),
    ];
    assert_eq!(
        (left, counts),
        (vec![], Counts::from(expected)),
        "{found:?}"
    );
}

/// Both frames leave, and count, alike: but for the checksum, which is still the one that came.
fn assert_alike(spec: &TablesSpec, (right, wrong): (&[u8], &[u8])) {
    let (expected, counts) = done(spec, USUAL, right, None);
    assert_eq!(expected.len(), 1, "{counts:?}");
    let (left, moved) = done(spec, CHECKING, wrong, Some(true));
    assert_eq!((left.len(), left[0].port), (1, expected[0].port));
    assert_eq!(moved, counts);
    let sum = |left: &Left| left.frame[CHECKSUM..CHECKSUM + 2].to_vec();
    assert_ne!(sum(&left[0]), sum(&expected[0]));
    let back = patched(left[0].frame.clone(), CHECKSUM, &sum(&expected[0]));
    assert_eq!(back, expected[0].frame);
}

#[test]
fn a_header_that_the_device_found_right_is_not_summed_again() {
    let mut on_vlan = usual();
    on_vlan.ports[OUTSIDE_PORT].vlan = Some(VLAN);
    for frame in frames() {
        let wrong = wrong(&frame);
        assert_alike(&usual(), (&frame, &wrong));
        if frame != ping() {
            let [right, wrong] = [&frame, &wrong].map(|it| tagged(it.clone(), VLAN));
            assert_alike(&on_vlan, (&right, &wrong));
        }
    }
}

#[test]
fn a_device_is_not_believed_that_a_header_is_wrong() {
    for frame in frames() {
        let expected = done(&usual(), USUAL, &frame, None);
        assert_eq!(done(&usual(), CHECKING, &frame, Some(false)), expected);
        assert_dropped(CHECKING, &wrong(&frame), Some(false));
    }
}

#[test]
fn a_header_that_no_device_looked_at_is_summed() {
    for frame in frames() {
        assert_dropped(CHECKING, &wrong(&frame), None);
        assert_dropped(USUAL, &wrong(&frame), None);
    }
}

#[test]
fn what_frames_seem_to_say_by_a_port_that_does_not_check_is_nothing() {
    for frame in frames() {
        assert_dropped(USUAL, &wrong(&frame), Some(true));
    }
}

#[test]
fn without_a_word_of_the_device_both_kinds_of_ports_do_the_same() {
    let mut worlds = [USUAL, CHECKING].map(|size| World::of(usual(), size));
    for bit in 0..20 * 8 {
        let (at, bit) = (14 + bit / 8, 1 << (bit % 8));
        let syn = flow().syn();
        let frame = patched(syn.clone(), at, &[syn[at] ^ bit]);
        let [usual, checking] = &mut worlds;
        let frame = std::slice::from_ref(&frame);
        assert_eq!(checking.observed(frame), usual.observed(frame));
    }
}

/// Two workers, and what a backend answers to a client whose flow worker 0 has.
fn with_answer() -> (World, Vec<u8>) {
    let size = Size {
        workers: 2,
        ..CHECKING
    };
    let mut world = World::of(fullnat(), size);
    let mut clients = (1..100).map(|port| from_to(&format!("198.51.100.7:{port}"), WEB4));
    let sent = clients.find_map(|client| world.send(&client.syn()).pop());
    let (client, service) = read(&sent.unwrap().frame);
    // Worker 1 has got those before it.
    world.step(1);
    let answer = Conversation { client, service }.reversed().ack();
    (world, inside(&answer, service.ip()))
}

#[test]
fn another_worker_sums_what_is_handed_over_to_it() {
    for (is_wrong, fate) in [(false, "returned"), (true, "ipv4_checksum")] {
        let (mut world, answer) = with_answer();
        let answer = if is_wrong { wrong(&answer) } else { answer };
        let before = world.counts(0);
        world.put_checked(1, INSIDE_PORT, &answer, true);
        world.pass(1);
        assert!(world.step(1).is_empty());
        assert_eq!(world.step(0).is_empty(), is_wrong);
        let moved = moved(&before, &world.counts(0));
        assert_eq!((moved["taken_over"], moved[fate]), (1, 1));
    }
}

#[test]
fn the_kernel_is_told_nothing() {
    let mut world = World::of(usual(), CHECKING);
    let kernel = tap(&mut world, OUTSIDE_PORT, AMPLE, 16);
    let frame = from_to("192.0.2.1:40000", "192.0.2.2:179").syn();
    world.put_checked(0, OUTSIDE_PORT, &frame, true);
    world.step(0);
    let mut taken = kernel.receive().unwrap();
    assert_eq!(taken.bytes(), frame);
    assert_eq!(taken.take_ipv4_checksum(), None);
}

/// That it leaves without a word is what [`World::left`] looks at, of every frame.
#[test]
fn a_frame_that_has_waited_leaves_without_a_word_of_the_device() {
    let mut world = World::unsettled(usual(), CHECKING);
    world.put_checked(0, OUTSIDE_PORT, &wrong(&flow().syn()), true);
    let asked = world.step(0);
    assert_eq!(world.counts(0)["held"], 1);
    for reply in asked.iter().filter_map(|it| answer_to(&it.frame)) {
        world.put(0, INSIDE_PORT, &reply);
    }
    world.pass(1);
    world.step(0);
    assert_eq!(world.counts(0)["forwarded"], 1);
}
