//! Frames for the forwarder itself: ARP, NDP and ping, answered byte for byte.

use crate::{
    frames::{OUTSIDE, ROUTER, arp, ndp, padded, tagged, written},
    world::{Counts, Left, OUTSIDE_PORT, OUTSIDE4, USUAL, VIP4, VIP6, World, usual},
};
use etherparse::{ArpOperation, PacketBuilder};
use std::net::{Ipv4Addr, Ipv6Addr};
use tether_dataplane::Mac;

const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn who_has(target: Ipv4Addr) -> Vec<u8> {
    padded(arp(
        (ROUTER, Mac::BROADCAST),
        ArpOperation::REQUEST,
        (ROUTER, ROUTER4),
        (Mac([0; 6]), target),
    ))
}

fn is_at(address: Ipv4Addr) -> Vec<u8> {
    padded(arp(
        (OUTSIDE, ROUTER),
        ArpOperation::REPLY,
        (OUTSIDE, address),
        (ROUTER, ROUTER4),
    ))
}

/// A question by the outside port, its answer by the same, and nothing else.
fn answered(world: &mut World, question: &[u8], answer: &[u8]) {
    let (left, moved) = world.observed(&[question.to_vec()]);
    let expected = Left {
        port: OUTSIDE_PORT,
        frame: answer.to_vec(),
    };
    assert_eq!(left, [expected]);
    assert_eq!(moved, Counts::from([("answered", 1), ("originated", 1)]));
}

#[test]
fn arp_is_answered_for_vips_and_own_addresses() {
    let mut world = World::new();
    for address in [VIP4.parse().unwrap(), OUTSIDE4] {
        answered(&mut world, &who_has(address), &is_at(address));
    }
}

#[test]
fn arp_is_answered_in_its_vlan() {
    let mut spec = usual();
    spec.ports[0].vlan = Some(100);
    let mut world = World::of(spec, USUAL);
    let vip = VIP4.parse().unwrap();
    let (question, answer) = (tagged(who_has(vip), 100), tagged(is_at(vip), 100));
    answered(&mut world, &question, &answer);
}

#[test]
fn a_solicitation_is_answered() {
    let vip: Ipv6Addr = VIP6.parse().unwrap();
    let group = Mac([0x33, 0x33, 0xff, 0, 0, 0x80]);
    let question = ndp((ROUTER, ROUTER6), (group, vip), (135, 0, 1), vip);
    let answer = ndp((OUTSIDE, vip), (ROUTER, ROUTER6), (136, 0x60, 2), vip);
    answered(&mut World::new(), &question, &answer);
}

#[test]
fn pings_are_answered() {
    let from = |from: Mac, to: Mac| PacketBuilder::ethernet2(from.0, to.0);
    let (us, router) = (OUTSIDE4.octets(), ROUTER4.octets());
    let v4 = from(ROUTER, OUTSIDE).ipv4(router, us, 64);
    let question = written(|out| v4.icmpv4_echo_request(7, 1).write(out, b"abcdefghi"));
    let v4 = from(OUTSIDE, ROUTER).ipv4(us, router, 64);
    let answer = written(|out| v4.icmpv4_echo_reply(7, 1).write(out, b"abcdefghi"));
    answered(&mut World::new(), &question, &answer);

    let (vip, router) = (VIP6.parse::<Ipv6Addr>().unwrap().octets(), ROUTER6.octets());
    let v6 = from(ROUTER, OUTSIDE).ipv6(router, vip, 64);
    let question = written(|out| v6.icmpv6_echo_request(7, 1).write(out, b"abcdefghi"));
    let v6 = from(OUTSIDE, ROUTER).ipv6(vip, router, 64);
    let answer = written(|out| v6.icmpv6_echo_reply(7, 1).write(out, b"abcdefghi"));
    answered(&mut World::new(), &question, &answer);
}
