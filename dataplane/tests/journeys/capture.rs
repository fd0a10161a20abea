//! Captures: what came and what left, byte for byte, with fates and who decided; and nothing that is
//! seen changes by it.

use crate::{
    frames::{Conversation, INSIDE, OUTSIDE, ROUTER, arp, from_to, rewritten},
    nat::{by_one_port, nat},
    tunnels::{IPIP, through},
    world::{
        B1, B2, Counts, DNS, DNS4, INSIDE_PORT, OUTSIDE_PORT, OUTSIDE4, Size, USUAL, WEB, WEB_6,
        WEB4, WEB6, World, answer_to, mac_at, usual,
    },
};
use etherparse::ArpOperation;
use std::net::Ipv4Addr;
use tether_dataplane::{
    capture::{Collector, Direction, Filter, Outcome, Record, Rule, Term, Test, tap},
    fate::Fate,
    limits,
    plane::{Answer, Question},
    tables::id::{BackendId, PortId},
};

const MINUTE: u32 = 60_000;
const FORWARDED: Outcome = Outcome::Fate(Fate::Forwarded);

fn flow(port: u16) -> Conversation {
    from_to(&format!("198.51.100.7:{port}"), WEB4)
}

fn is(test: Test) -> Term {
    Term {
        negated: false,
        test,
    }
}

fn not(test: Test) -> Term {
    Term {
        negated: true,
        test,
    }
}

/// Gives a worker a tap, which it has from its next step on.
fn armed(world: &mut World, worker: usize, terms: Vec<Term>) -> Collector {
    armed_for(world, worker, terms, 256)
}

fn armed_for(world: &mut World, worker: usize, terms: Vec<Term>, snap_len: usize) -> Collector {
    let (tap, collector) = tap(Filter::new(terms), snap_len);
    world.writer.ask(worker, Question::Tap(Some(tap))).unwrap();
    world.workers[worker].step(world.now);
    let answer = world.writer.answer(worker);
    assert!(matches!(answer, Some(Answer::Tap(_))), "{answer:?}");
    collector
}

fn taken(collector: &Collector) -> Vec<Record> {
    let mut records = Vec::new();
    while collector.take(|record| records.push(record.clone())) {}
    records
}

/// What is told of each, without its bytes.
fn told(records: &[Record]) -> Vec<(usize, Direction, Outcome, Rule, Option<BackendId>)> {
    let told = records.iter();
    told.map(|it| {
        (
            it.port.index(),
            it.direction,
            it.outcome,
            it.rule,
            it.backend,
        )
    })
    .collect()
}

/// What a burst of frames is told as.
fn captured(world: &mut World, terms: Vec<Term>, frames: &[Vec<u8>]) -> Vec<Record> {
    let collector = armed(world, 0, terms);
    world.send_all(frames);
    taken(&collector)
}

#[test]
fn a_packet_is_told_as_it_came_and_as_it_left() {
    let mut world = World::new();
    let collector = armed(&mut world, 0, Vec::new());
    let (syn, ack) = (flow(4000).syn(), flow(4000).ack());
    let left = [world.send(&syn), world.send(&ack)].concat();
    let records = taken(&collector);
    let (outside, inside) = (OUTSIDE_PORT, INSIDE_PORT);
    let (scheduler, flow) = (Rule::Scheduler, Rule::Flow);
    let expected = [
        (outside, Direction::In, FORWARDED, scheduler, Some(B1)),
        (inside, Direction::Out, FORWARDED, scheduler, Some(B1)),
        (outside, Direction::In, FORWARDED, flow, Some(B1)),
        (inside, Direction::Out, FORWARDED, flow, Some(B1)),
    ];
    assert_eq!(told(&records), expected);
    let to = mac_at("10.0.0.1".parse().unwrap());
    let bytes: Vec<_> = records.iter().map(|it| it.bytes.clone()).collect();
    let expected = [
        syn.clone(),
        rewritten(&syn, INSIDE, to),
        ack.clone(),
        rewritten(&ack, INSIDE, to),
    ];
    assert_eq!(bytes, expected);
    assert_eq!([&left[0].frame, &left[1].frame], [&bytes[1], &bytes[3]]);
    assert!(records.iter().all(|it| it.len == it.bytes.len()));
}

#[test]
fn an_affinity_is_named_by_its_cell() {
    let mut world = World::new();
    let affinity = world.start(WEB, "198.51.100.0/24", B2, MINUTE);
    let burst = [flow(1).syn(), flow(1).ack(), flow(2).syn()];
    let records = captured(&mut world, vec![is(Test::Direction(Direction::In))], &burst);
    let rules: Vec<_> = records.iter().map(|it| it.rule).collect();
    let by_affinity = Rule::Affinity(affinity.cell);
    // The second is of the flow that the first has made in the same burst.
    assert_eq!(rules, [by_affinity, Rule::Flow, by_affinity]);
    assert!(records.iter().all(|it| it.backend == Some(B2)));
}

#[test]
fn what_is_dropped_is_told_with_its_reason() {
    let mut world = World::new();
    let nowhere = from_to("198.51.100.7:1", "203.0.113.80:81").syn();
    let short = vec![2; 4];
    let other = rewritten(&flow(3).syn(), ROUTER, INSIDE);
    let burst = [nowhere.clone(), flow(2).syn(), short.clone(), other.clone()];
    let records = captured(&mut world, vec![is(Test::Dropped)], &burst);
    let dropped = |fate| (0, Direction::In, Outcome::Fate(fate), Rule::None, None);
    let expected = [Fate::NoService, Fate::FrameTruncated, Fate::OtherMac].map(dropped);
    assert_eq!(told(&records), expected);
    let bytes: Vec<_> = records.into_iter().map(|it| it.bytes).collect();
    assert_eq!(bytes, [nowhere, short, other]);
}

#[test]
fn questions_and_answers_of_the_forwarder_are_told() {
    let mut world = World::new();
    let asked = arp(
        (ROUTER, tether_dataplane::Mac::BROADCAST),
        ArpOperation::REQUEST,
        (ROUTER, Ipv4Addr::new(192, 0, 2, 1)),
        (tether_dataplane::Mac::default(), OUTSIDE4),
    );
    let collector = armed(&mut world, 0, vec![is(Test::Arp)]);
    let left = world.send_all(&[asked.clone(), flow(1).syn()]);
    let records = taken(&collector);
    let answered = Outcome::Fate(Fate::Answered);
    let expected = [
        (0, Direction::In, answered, Rule::None, None),
        (0, Direction::Out, answered, Rule::None, None),
    ];
    assert_eq!(told(&records), expected);
    assert_eq!(records[0].bytes, asked);
    let answer = left.iter().find(|it| it.port == OUTSIDE_PORT).unwrap();
    assert_eq!(records[1].bytes, answer.frame);
}

#[test]
fn what_waits_is_told_again_when_it_leaves_or_is_dropped() {
    for answers in [true, false] {
        let mut world = World::unsettled(usual(), USUAL);
        world.pass(1);
        world.step(0);
        let collector = armed(&mut world, 0, vec![is(Test::Tcp)]);
        let syn = flow(1).syn();
        world.send(&syn);
        let held = (0, Direction::In, Outcome::Held, Rule::Scheduler, None);
        assert_eq!(told(&taken(&collector)), [held]);
        let mut left = Vec::new();
        for _ in 0..4 {
            world.pass(1000);
            for out in world.step(0) {
                match answer_to(&out.frame).filter(|_| answers) {
                    Some(reply) => world.put(0, out.port, &reply),
                    None => left.push(out),
                }
            }
        }
        let records = taken(&collector);
        if answers {
            let sent = (1, Direction::Out, FORWARDED, Rule::Related, Some(B1));
            assert_eq!(told(&records), [sent]);
            assert!(left.iter().any(|it| it.frame == records[0].bytes));
        } else {
            let unresolved = Outcome::Fate(Fate::NeighbourUnresolved);
            let dropped = (0, Direction::In, unresolved, Rule::Related, Some(B1));
            assert_eq!(told(&records), [dropped]);
            assert_eq!(records[0].bytes, syn);
        }
    }
}

#[test]
fn what_the_forwarder_makes_is_told() {
    let mut world = World::unsettled(usual(), USUAL);
    let collector = armed(&mut world, 0, vec![is(Test::Outcome(Outcome::Originated))]);
    // Those of the step in which it was given the tap.
    assert_eq!(world.left(0).len(), taken(&collector).len());
    let mut left = Vec::new();
    for _ in 0..20 {
        world.pass(100);
        left.extend(world.step(0));
    }
    let records = taken(&collector);
    assert!(left.len() > 8, "questions and announcements");
    let seen: Vec<_> = records
        .iter()
        .map(|it| (it.port.index(), &it.bytes))
        .collect();
    assert_eq!(seen.len(), left.len());
    assert!(left.iter().all(|it| seen.contains(&(it.port, &it.frame))));
}

#[test]
fn a_tunnels_headers_are_told_with_what_is_in_them() {
    let mut world = World::of(through(IPIP), USUAL);
    let collector = armed(&mut world, 0, vec![is(Test::Port(80))]);
    let syn = flow(1).syn();
    let left = world.send(&syn);
    let records = taken(&collector);
    assert_eq!(records[0].bytes, syn);
    assert_eq!(records[1].bytes, left[0].frame);
    assert_eq!(records.len(), 2);
}

#[test]
fn both_ways_through_nat_are_told() {
    let mut world = World::of(nat(), USUAL);
    let collector = armed(&mut world, 0, vec![is(Test::Backend([B1].into()))]);
    world.send(&flow(4000).syn());
    let answer = from_to("10.0.0.1:8001", "198.51.100.7:4000").ack();
    let answer = rewritten(&answer, mac_at("10.0.0.1".parse().unwrap()), INSIDE);
    world.put(0, INSIDE_PORT, &answer);
    world.pass(1);
    let left = world.step(0);
    let records = taken(&collector);
    let returned = Outcome::Fate(Fate::Returned);
    let expected = [
        (0, Direction::In, FORWARDED, Rule::Scheduler, Some(B1)),
        (1, Direction::Out, FORWARDED, Rule::Scheduler, Some(B1)),
        (1, Direction::In, returned, Rule::Related, Some(B1)),
        (0, Direction::Out, returned, Rule::Related, Some(B1)),
    ];
    assert_eq!(told(&records), expected);
    assert_eq!(records[2].bytes, answer);
    assert_eq!(records[3].bytes, left[0].frame);
}

#[test]
fn what_finds_no_room_to_leave_is_told_to_have_come() {
    let size = Size {
        transmit_frames: 1,
        ..USUAL
    };
    let mut world = World::of(usual(), size);
    let records = captured(&mut world, Vec::new(), &[flow(1).syn(), flow(2).syn()]);
    let full = Outcome::Fate(Fate::TransmitFull);
    let fates: Vec<_> = records
        .iter()
        .map(|it| (it.direction, it.outcome))
        .collect();
    let expected = [
        (Direction::In, FORWARDED),
        (Direction::Out, FORWARDED),
        (Direction::In, full),
    ];
    assert_eq!(fates, expected);
}

#[test]
fn filters_take_what_they_say() {
    let v4 = "198.51.100.7".parse().unwrap();
    let v6 = "2001:db8:7::7".parse().unwrap();
    let vip = "203.0.113.80".parse().unwrap();
    // A SYN over IPv4 and one over IPv6, a datagram, a SYN to no service.
    let burst = [
        flow(4000).syn(),
        from_to("[2001:db8:7::7]:4000", WEB6).syn(),
        from_to("198.51.100.7:4000", DNS4).datagram(),
        from_to("198.51.100.9:4000", "203.0.113.80:81").syn(),
    ];
    let net = |text: &str, length| Test::Net(text.parse().unwrap(), length);
    let fate = |fate| Test::Outcome(Outcome::Fate(fate));
    for (terms, expected) in [
        (vec![], "0123"),
        (vec![is(Test::Tcp)], "013"),
        (vec![not(Test::Tcp)], "2"),
        (vec![is(Test::Udp)], "2"),
        (vec![is(Test::Icmp)], ""),
        (vec![not(Test::Arp)], "0123"),
        (vec![is(Test::Host(v4))], "02"),
        (vec![is(Test::Source(v6))], "1"),
        (vec![is(Test::Destination(v4))], ""),
        (vec![is(Test::Destination(vip)), is(Test::Tcp)], "03"),
        (vec![is(net("198.51.100.0", 24))], "023"),
        (vec![is(net("198.51.100.8", 29))], "3"),
        (vec![is(net("2001:db8::", 32))], "1"),
        (vec![is(Test::Port(80))], "01"),
        (vec![not(Test::Port(80)), not(Test::Port(53))], "3"),
        (vec![is(Test::Service(WEB))], "0"),
        (vec![is(Test::Service(WEB_6))], "1"),
        (vec![not(Test::Service(DNS))], "013"),
        (vec![is(Test::Backend([B1, BackendId(7)].into()))], "02"),
        (vec![is(fate(Fate::NoService))], "3"),
        (vec![is(fate(Fate::Forwarded)), is(Test::Udp)], "2"),
        (vec![is(Test::Dropped)], "3"),
        (vec![not(Test::Dropped), not(Test::Udp)], "01"),
    ] {
        let mut world = World::new();
        let name = format!("{terms:?}");
        let records = captured(&mut world, terms, &burst);
        let came = records.iter().filter(|it| it.direction == Direction::In);
        let places: String = came
            .map(|it| {
                let place = burst.iter().position(|frame| *frame == it.bytes);
                place.unwrap().to_string()
            })
            .collect();
        assert_eq!(places, expected, "{name}");
        let kept = expected.chars().filter(|it| *it != '3').count();
        let left = records.iter().filter(|it| it.direction == Direction::Out);
        assert_eq!(left.count(), kept, "{name}: both ways of what is forwarded");
    }
    for (way, count) in [(Direction::In, 4), (Direction::Out, 3)] {
        for (term, expected) in [(is as fn(Test) -> Term, count), (not, 7 - count)] {
            let terms = vec![term(Test::Direction(way))];
            let records = captured(&mut World::new(), terms, &burst);
            assert_eq!(records.len(), expected, "{way:?}");
        }
    }
}

#[test]
fn a_service_is_told_by_its_address_where_no_backend_is() {
    let mut world = World::new();
    for backend in [1, 2, 3].map(BackendId) {
        world.remove(backend);
    }
    let burst = [flow(1).syn(), from_to("198.51.100.7:1", DNS4).datagram()];
    let records = captured(&mut world, vec![is(Test::Service(WEB))], &burst);
    let no_backend = Outcome::Fate(Fate::NoBackend);
    assert_eq!(
        told(&records),
        [(0, Direction::In, no_backend, Rule::None, None)]
    );
}

#[test]
fn long_frames_are_cut_and_their_length_is_told() {
    let mut world = World::new();
    let datagram = from_to("198.51.100.7:1", DNS4).datagram_of(&[7; 1000]);
    for (snap_len, kept) in [(0, 64), (100, 100), (5000, datagram.len())] {
        let collector = armed_for(&mut world, 0, Vec::new(), snap_len);
        world.send(&datagram);
        let records = taken(&collector);
        assert_eq!(records.len(), 2);
        for record in records {
            assert_eq!(record.len, datagram.len());
            assert_eq!(record.bytes.len(), kept);
            assert_eq!(record.bytes[14..], datagram[14..kept]);
        }
    }
}

#[test]
fn what_is_not_taken_in_time_is_missed_and_counted() {
    let mut world = World::new();
    let collector = armed(&mut world, 0, vec![is(Test::Direction(Direction::In))]);
    let frames = limits::CAPTURED_FRAMES + 100;
    for _ in 0..frames {
        world.send(&flow(1).syn());
    }
    assert_eq!(collector.missed(), 100);
    assert_eq!(taken(&collector).len(), limits::CAPTURED_FRAMES);
    world.send(&flow(1).syn());
    assert_eq!((taken(&collector).len(), collector.missed()), (1, 100));
}

#[test]
fn a_closed_tap_takes_nothing_and_comes_back() {
    let mut world = World::new();
    let collector = armed(&mut world, 0, Vec::new());
    collector.close();
    world.send(&flow(1).syn());
    assert!(taken(&collector).is_empty());
    world.writer.ask(0, Question::Tap(None)).unwrap();
    world.step(0);
    let answer = world.writer.answer(0);
    assert!(matches!(answer, Some(Answer::Tap(Some(_)))), "{answer:?}");
    let collector = armed(&mut world, 0, Vec::new());
    drop(collector);
    assert_eq!(world.send(&flow(1).syn()).len(), 1);
}

#[test]
fn two_workers_tell_their_own() {
    let mut world = World::of(
        usual(),
        Size {
            workers: 2,
            ..USUAL
        },
    );
    let both = [0, 1].map(|worker| armed(&mut world, worker, vec![is(Test::Tcp)]));
    for (worker, port) in [(0, 1), (1, 2), (1, 3)] {
        world.put(worker, OUTSIDE_PORT, &flow(port).syn());
    }
    world.pass(1);
    world.step_all();
    assert_eq!(both.map(|it| taken(&it).len()), [2, 4]);
}

/// The same frames through two worlds of which one is watched: the same leaves, the same is counted.
#[test]
fn nothing_changes_by_being_seen() {
    let bursts = |world: &mut World| -> (Vec<crate::world::Left>, Counts) {
        let mut left = Vec::new();
        for round in 0..40_u16 {
            let flows = (0..round % 9).map(|it| flow(4000 + (it * 7 + round) % 50));
            let mut frames: Vec<_> = flows
                .flat_map(|it| [it.syn(), it.ack(), it.fin()])
                .collect();
            frames.push(from_to("198.51.100.7:9", "203.0.113.80:81").syn());
            frames.push(from_to("10.0.0.1:8001", "198.51.100.7:4000").ack());
            frames.push(vec![2; usize::from(round)]);
            left.extend(world.send_all(&frames));
        }
        (left, world.counts(0))
    };
    let mut plain = World::of(by_one_port(), USUAL);
    plain.step(0);
    let mut seen = World::of(by_one_port(), USUAL);
    let collector = armed(&mut seen, 0, Vec::new());
    assert_eq!(bursts(&mut plain), bursts(&mut seen));
    let records = taken(&collector);
    assert!(records.len() > 500, "{}", records.len());
    assert!(records.iter().all(|it| it.port == PortId(0)));
    assert!(records.iter().any(|it| it.bytes[..6] == OUTSIDE.0));
}
