//! What an input does to a world: a byte says what, those after it say how.

use super::{
    frames::{self, Sent},
    input::Input,
    mutate::mutate,
    network::Layout,
    sums::make_right,
    world::World,
};

/// Operations of one input at most.
const MOST: usize = 200;
/// Frames that come between two steps at most: a burst and more.
const AT_ONCE: usize = 70;

/// A frame as it stands, by the outside port.
pub(crate) const RAW: u8 = 0;
/// A step.
pub(crate) const STEP: u8 = 30;
/// The first byte of an input whose checksums are made right.
pub(crate) const SUMMED: u8 = 8;

/// Does all that an input says, and checks everything after each step.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let shape = input.byte();
    let mut world = World::new(Layout::of(shape), shape & SUMMED != 0);
    let mut waiting = 0;
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        let kind = input.byte() % 42;
        waiting += usize::from(kind < STEP);
        operate(kind, &mut world, &mut input);
        if kind == STEP || waiting >= AT_ONCE || kind < STEP && input.byte() < 192 {
            let is_stuck = kind == STEP && input.byte() >= 250;
            world.plane.pass(1);
            world.step(is_stuck);
            waiting = 0;
        }
    }
    world.finish();
}

fn operate(kind: u8, world: &mut World, input: &mut Input<'_>) {
    let spec = &world.plane.spec;
    let sent = match kind {
        RAW | 1 => Some(Sent {
            is_inside: kind != RAW,
            frame: input.bytes().to_vec(),
        }),
        2..=13 => Some(frames::of_client(spec, input)),
        14..=17 => frames::of_backend(spec, input),
        18..=20 => frames::error(spec, input),
        21..=23 => frames::fragment(spec, input),
        24 | 25 => Some(frames::arp(spec, input)),
        26 | 27 => Some(frames::ndp(spec, input)),
        28 | 29 => Some(frames::ping(spec, input)),
        STEP => None,
        _ => return control(kind, world, input),
    };
    if let Some(sent) = sent {
        put(sent, kind <= 1, world, input);
    }
}

/// Puts a frame on the wire: addressed and tagged for the port, unless it is as it stands, mostly whole.
fn put(sent: Sent, is_raw: bool, world: &mut World, input: &mut Input<'_>) {
    let Sent {
        is_inside,
        mut frame,
    } = sent;
    let (port, mac, vlan) = world.port(is_inside);
    if !is_raw && frame.len() >= 14 {
        if frame[0] & 1 == 0 {
            frame[..6].copy_from_slice(&mac.0);
        }
        if let Some(vlan) = vlan {
            let [high, low] = vlan.to_be_bytes();
            frame.splice(12..12, [0x81, 0, high, low]);
        }
    }
    let how = input.byte();
    if how >= 128 {
        let other = frames::of_client(&world.plane.spec, input).frame;
        mutate(&mut frame, &other, 1 + usize::from(how % 4), input);
    }
    frame.truncate(super::mutate::LEN_MAX);
    if world.is_summed {
        make_right(&mut frame);
    }
    let shape = if how & 0x7f == 0x7f {
        input.byte() % 2
    } else {
        2
    };
    let worker = usize::from(how >> 6 & 1);
    world.send(worker, port, frame, shape);
}

/// Time passes, or the control plane does something.
fn control(kind: u8, world: &mut World, input: &mut Input<'_>) {
    match kind {
        31 => world.plane.pass(input.byte().into()),
        32 => world.plane.pass(1 << (input.byte() % 18)),
        _ => world.plane.change(kind - 33, input),
    }
}
