//! Contract rule R8: fragments, and ICMP errors about a flow, go where its packets go.

use crate::{
    frames::{Conversation, OUTSIDE, ROUTER, from_to, patched, written},
    world::{
        B1, B2, B3, DNS, DNS4, Size, USUAL, VIP4, WEB, WEB_6, WEB4, WEB6, World, service, usual,
    },
};
use etherparse::PacketBuilder;
use tether_dataplane::{
    key::Protocol,
    limits,
    tables::{id::BackendId, service::Scheduler},
};

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:7::7";
const MINUTE: u32 = 60_000;

fn query(port: u16) -> Conversation {
    from_to(&format!("{CLIENT}:{port}"), DNS4)
}

/// A datagram of a flow, cut into parts of `part` bytes.
pub(crate) fn parts(flow: Conversation, identification: u16, part: usize) -> Vec<Vec<u8>> {
    assert!(part.is_multiple_of(8));
    let whole = flow.datagram_of(&[7; 100]);
    let payload = &whole[34..];
    let count = payload.len().div_ceil(part);
    let cuts = payload.chunks(part).enumerate();
    cuts.map(|(index, bytes)| {
        let more = if index + 1 < count { 0x2000 } else { 0 };
        let offset = u16::try_from(index * part / 8).unwrap();
        let mut frame = whole[..34].to_vec();
        frame.extend(bytes);
        let len = u16::try_from(20 + bytes.len()).unwrap();
        frame = patched(frame, 16, &len.to_be_bytes());
        frame = patched(frame, 18, &identification.to_be_bytes());
        summed(patched(frame, 20, &(more | offset).to_be_bytes()))
    })
    .collect()
}

/// The same over IPv6, to [`WEB6`]'s address and port by UDP.
pub(crate) fn parts6(flow: Conversation, identification: u32, part: usize) -> Vec<Vec<u8>> {
    assert!(part.is_multiple_of(8));
    let whole = flow.datagram_of(&[7; 100]);
    let payload = &whole[54..];
    let count = payload.len().div_ceil(part);
    let cuts = payload.chunks(part).enumerate();
    cuts.map(|(index, bytes)| {
        let more = u16::from(index + 1 < count);
        let word = u16::try_from(index * part).unwrap() | more;
        let mut frame = whole[..54].to_vec();
        frame.extend([17, 0]);
        frame.extend(word.to_be_bytes());
        frame.extend(identification.to_be_bytes());
        frame.extend(bytes);
        let len = u16::try_from(8 + bytes.len()).unwrap();
        patched(patched(frame, 18, &len.to_be_bytes()), 20, &[44])
    })
    .collect()
}

/// With a right IPv4 header checksum.
fn summed(frame: Vec<u8>) -> Vec<u8> {
    let frame = patched(frame, 24, &[0, 0]);
    let words = frame[14..34].as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|it| u32::from(u16::from_be_bytes(*it))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    patched(frame, 24, &(!folded).to_be_bytes())
}

/// Who gets each of these frames.
fn receivers(world: &mut World, frames: &[Vec<u8>]) -> Vec<Option<BackendId>> {
    let left = world.send_all(frames);
    let frames = frames.iter();
    frames.map(|it| world.receiver_among(&left, it)).collect()
}

#[test]
fn r8_fragments_follow_their_first_and_its_affinity() {
    let mut world = World::new();
    world.start(DNS, CLIENT, BackendId(8), MINUTE);
    let frames = parts(query(1), 9, 32);
    assert!(frames.len() >= 4);
    let all = vec![Some(BackendId(8)); frames.len()];
    assert_eq!(receivers(&mut world, &frames), all, "in one burst");
    let frames = parts(query(2), 10, 32);
    for frame in &frames {
        assert_eq!(world.receiver(frame), Some(BackendId(8)), "one by one");
    }
    assert_eq!(world.counts(0)["flows_by_affinity"], 2);
}

#[test]
fn r8_fragments_follow_their_flow_over_ipv6() {
    let mut spec = usual();
    let id = tether_dataplane::tables::id::ServiceId(3);
    spec.services
        .push(service(id, Protocol::Udp, "2001:db8:80::80", 80));
    for number in 9..12 {
        let address = format!("fd00::{number}");
        spec.backends
            .push(crate::world::backend(number, id, &address));
    }
    let mut world = World::of(spec, USUAL);
    let flow = from_to(&format!("[{CLIENT6}]:4000"), WEB6);
    let owner = world.receiver(&flow.datagram_of(&[1; 8]));
    assert!(owner.is_some());
    world.start(id, CLIENT6, BackendId(11), MINUTE);
    let frames = parts6(flow, 77, 48);
    assert_eq!(receivers(&mut world, &frames), vec![owner; frames.len()]);
}

#[test]
fn r8_fragments_in_any_order_reach_the_same_backend() {
    for first_at in 0..4 {
        let mut world = World::new();
        world.start(DNS, CLIENT, BackendId(8), MINUTE);
        let mut frames = parts(query(1), 9, 32);
        let first = frames.remove(0);
        frames.insert(first_at, first);
        let mut left = Vec::new();
        for frame in &frames {
            left.extend(world.send(frame));
        }
        for frame in &frames {
            let to = world.receiver_among(&left, frame);
            assert_eq!(to, Some(BackendId(8)), "the first at {first_at}");
        }
        assert_eq!(world.counts(0)["held"], 0);
    }
}

#[test]
fn r8_a_fragment_waits_so_long_for_its_first_and_no_longer() {
    let mut world = World::new();
    let frames = parts(query(1), 9, 32);
    assert_eq!(world.receiver(&frames[1]), None);
    assert_eq!(world.counts(0)["held"], 1);
    world.pass(limits::FRAGMENT_WAIT_MS - 1);
    world.step(0);
    assert_eq!(world.counts(0)["held"], 1);
    world.pass(1);
    assert!(world.step(0).is_empty());
    assert_eq!(world.counts(0)["fragment_unknown"], 1);
    assert_eq!(world.counts(0)["held"], 0);
}

#[test]
fn r8_a_flood_of_fragments_takes_no_more_than_its_room_and_harms_no_other_packet() {
    let mut world = World::of(
        usual(),
        Size {
            transmit_frames: 2048,
            ..USUAL
        },
    );
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let owner = world.receiver(&flow.syn());
    for identification in 0..500 {
        let parts = parts(query(2), identification, 32);
        world.send(&parts[1]);
    }
    let counts = world.counts(0);
    let room = i64::try_from(limits::FRAGMENTS_WAITING).unwrap();
    assert_eq!((counts["held"], counts["hold_full"]), (room, 500 - room));
    assert_eq!(world.receiver(&flow.ack()), owner);
    for identification in 1000..20_000 {
        let parts = parts(query(3), identification, 56);
        assert!(world.receiver(&parts[0]).is_some());
    }
    assert_eq!(world.receiver(&flow.ack()), owner);
}

#[test]
fn a_fragment_for_nobody_does_not_wait() {
    let mut world = World::new();
    let stranger = from_to(&format!("{CLIENT}:1"), "203.0.113.81:53");
    world.send(&parts(stranger, 9, 32)[1]);
    let counts = world.counts(0);
    assert_eq!((counts["held"], counts["no_service"]), (0, 1));
}

/// An ICMP error of a router about what a backend sent to this client.
pub(crate) fn error4(kind: u8, code: u8, flow: Conversation, quoted: usize) -> Vec<u8> {
    let sent = flow.reversed().ack();
    let (from, to) = ([192, 0, 2, 99], VIP4.parse::<std::net::Ipv4Addr>().unwrap());
    let error = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0)
        .ipv4(from, to.octets(), 60)
        .icmpv4_raw(kind, code, [0, 0, 5, 0]);
    written(|out| error.write(out, &sent[14..14 + quoted]))
}

pub(crate) fn error6(kind: u8, flow: Conversation) -> Vec<u8> {
    let sent = flow.reversed().ack();
    let error = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0)
        .ipv6(
            "2001:db8::99"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
            "2001:db8:80::80"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
            60,
        )
        .icmpv6_raw(kind, 0, [0, 0, 5, 0]);
    written(|out| error.write(out, &sent[14..]))
}

const TOO_BIG: (u8, u8) = (3, 4);

#[test]
fn r8_an_icmp_error_reaches_the_backend_of_the_flow() {
    let mut world = World::new();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let owner = world.receiver(&flow.syn());
    world.start(WEB, CLIENT, B3, MINUTE);
    assert_ne!(owner, Some(B3));
    for (kind, code) in [TOO_BIG, (3, 3), (4, 0), (11, 0), (12, 0)] {
        for quoted in [28, 40] {
            let error = error4(kind, code, flow, quoted);
            assert_eq!(world.receiver(&error), owner, "{kind} {code} {quoted}");
        }
    }
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let owner = world.receiver(&flow.syn());
    assert!(owner.is_some());
    for kind in 1..=4 {
        assert_eq!(world.receiver(&error6(kind, flow)), owner, "ICMPv6 {kind}");
    }
}

#[test]
fn r8_an_icmp_error_about_an_unknown_flow_reaches_the_owner_of_the_affinity() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B2, MINUTE);
    world.start(WEB_6, CLIENT6, BackendId(6), MINUTE);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (kind, code) = TOO_BIG;
    assert_eq!(world.receiver(&error4(kind, code, flow, 40)), Some(B2));
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    assert_eq!(world.receiver(&error6(2, flow)), Some(BackendId(6)));
}

#[test]
fn r8_without_flow_or_affinity_it_goes_where_maglev_would_place_the_flow() {
    let mut spec = usual();
    spec.services[0].scheduler = Scheduler::Maglev;
    let (kind, code) = TOO_BIG;
    for port in 1..20 {
        let mut world = World::of(spec.clone(), USUAL);
        let flow = from_to(&format!("{CLIENT}:{port}"), WEB4);
        let told = world.receiver(&error4(kind, code, flow, 40));
        assert!(told.is_some());
        assert_eq!(told, world.receiver(&flow.syn()), "{port}");
    }
}

#[test]
fn an_icmp_error_changes_no_flow_and_extends_nothing() {
    let mut world = World::new();
    let affinity = world.start(WEB, CLIENT, B1, 1000);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (kind, code) = TOO_BIG;
    let before = world.view(affinity);
    world.pass(500);
    assert_eq!(world.receiver(&error4(kind, code, flow, 40)), Some(B1));
    assert_eq!(world.view(affinity), before);
    assert_eq!(world.counts(0)["flows"], 0);
}

#[test]
fn an_icmp_error_that_cannot_be_believed_is_dropped() {
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (kind, code) = TOO_BIG;
    let error = error4(kind, code, flow, 40);
    let resum = |frame: Vec<u8>| {
        let words = frame[34..].chunks(2);
        let words = words.map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)));
        let sum: u32 = words.sum::<u32>() - u32::from(u16::from_be_bytes([frame[36], frame[37]]));
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        patched(frame, 36, &(!sum).to_be_bytes())
    };
    for (says, fate, frame) in [
        (
            "a wrong checksum",
            "icmp_malformed",
            patched(error.clone(), 38, &[0xff]),
        ),
        (
            "a quote cut short",
            "icmp_malformed",
            error4(kind, code, flow, 22),
        ),
        (
            "a quote without a header",
            "icmp_malformed",
            error4(kind, code, flow, 8),
        ),
        (
            "a quote of another sender",
            "icmp_unhandled",
            resum(patched(error.clone(), 57, &[9])),
        ),
        (
            "a quote of a later fragment",
            "icmp_no_flow",
            resum(patched(error.clone(), 48, &[0, 9])),
        ),
        (
            "a quote of no TCP or UDP",
            "icmp_unhandled",
            resum(patched(error.clone(), 51, &[47])),
        ),
        ("a flow of nobody", "icmp_no_flow", error),
    ] {
        let mut world = World::new();
        let (left, moved) = world.observed(&[frame]);
        assert!(left.is_empty(), "{says}");
        assert_eq!(moved.get(fate), Some(&1), "{says}: {moved:?}");
    }
}
