//! TCP and UDP to backends: what leaves, and what is counted.

use crate::{
    frames::{Conversation, INSIDE, ROUTER, from_to, patched, rewritten, tagged},
    world::{
        B1, B2, Counts, DNS4, INSIDE_PORT, Left, USUAL, VIP4, WEB4, WEB6, World, backend, mac_at,
        service, usual,
    },
};
use tether_dataplane::{key::Protocol, tables::id::ServiceId};

/// One step: a sentence, frames in, frames out, counters moved.
struct Step {
    says: &'static str,
    frames: Vec<Vec<u8>>,
    out: Vec<Vec<u8>>,
    moved: Vec<(&'static str, i64)>,
}

fn journey(mut world: World, steps: Vec<Step>) {
    for step in steps {
        let (left, moved) = world.observed(&step.frames);
        let expected = step.out.iter().map(|frame| Left {
            port: INSIDE_PORT,
            frame: frame.clone(),
        });
        assert_eq!(left, expected.collect::<Vec<_>>(), "{}", step.says);
        assert_eq!(moved, Counts::from_iter(step.moved), "{}", step.says);
    }
}

fn to(backend: &str, frame: &[u8]) -> Vec<u8> {
    rewritten(frame, INSIDE, mac_at(backend.parse().unwrap()))
}

fn bytes(frame: &[u8]) -> (&'static str, i64) {
    ("forwarded_bytes", i64::try_from(frame.len()).unwrap())
}

/// The first packet of a flow that goes to `backend`.
fn placed(says: &'static str, frame: Vec<u8>, backend: &str) -> Step {
    Step {
        says,
        out: vec![to(backend, &frame)],
        moved: vec![
            ("forwarded", 1),
            bytes(&frame),
            ("flows", 1),
            ("flows_by_scheduler", 1),
        ],
        frames: vec![frame],
    }
}

/// A later one.
fn followed(says: &'static str, frame: Vec<u8>, backend: &str) -> Step {
    Step {
        says,
        out: vec![to(backend, &frame)],
        moved: vec![("forwarded", 1), bytes(&frame)],
        frames: vec![frame],
    }
}

fn dropped(says: &'static str, frame: Vec<u8>, fate: &'static str) -> Step {
    Step {
        says,
        frames: vec![frame],
        out: Vec::new(),
        moved: vec![(fate, 1)],
    }
}

#[test]
fn tcp_over_ipv4_follows_its_flow() {
    let (one, two) = (
        from_to("198.51.100.7:4000", WEB4),
        from_to("198.51.100.7:4001", WEB4),
    );
    journey(
        World::new(),
        vec![
            placed("a SYN is scheduled", one.syn(), "10.0.0.1"),
            followed("the same SYN again follows", one.syn(), "10.0.0.1"),
            followed("the ACK follows", one.ack(), "10.0.0.1"),
            placed("another connection has its turn", two.syn(), "10.0.0.2"),
            followed("the first goes on", one.ack(), "10.0.0.1"),
            followed("and ends", one.fin(), "10.0.0.1"),
            followed("its last ACK", one.ack(), "10.0.0.1"),
            followed("the second is reset", two.rst(), "10.0.0.2"),
        ],
    );
}

#[test]
fn tcp_over_ipv6_follows_its_flow() {
    let flow = from_to("[2001:db8:7::7]:4000", WEB6);
    journey(
        World::new(),
        vec![
            placed("a SYN is scheduled", flow.syn(), "fd00::4"),
            followed("the ACK follows", flow.ack(), "fd00::4"),
        ],
    );
}

#[test]
fn udp_follows_its_flow() {
    let (one, two) = (
        from_to("198.51.100.7:4000", DNS4),
        from_to("198.51.100.8:4000", DNS4),
    );
    journey(
        World::new(),
        vec![
            placed("a datagram opens a flow", one.datagram(), "10.0.0.7"),
            placed("another source, another flow", two.datagram(), "10.0.0.8"),
            followed("the next one follows", one.datagram(), "10.0.0.7"),
        ],
    );
}

#[test]
fn headers_with_more_in_them_leave_as_they_came() {
    let v4 = from_to("198.51.100.7:4000", WEB4);
    let v6 = from_to("[2001:db8:7::7]:4000", WEB6);
    journey(
        World::new(),
        vec![
            placed("IPv4 options", v4.with_options(), "10.0.0.1"),
            followed("and without, the same flow", v4.ack(), "10.0.0.1"),
            placed("IPv6 extension headers", v6.with_extensions(), "fd00::4"),
            followed("and without, the same flow", v6.ack(), "fd00::4"),
        ],
    );
}

#[test]
fn a_burst_of_one_flow_is_placed_once() {
    let flow = from_to("198.51.100.7:4000", WEB4);
    let frames = vec![flow.syn(), flow.ack(), flow.ack()];
    let out: Vec<_> = frames.iter().map(|it| to("10.0.0.1", it)).collect();
    let total = frames.concat();
    let step = Step {
        says: "SYN and data at once",
        frames,
        out,
        moved: vec![
            ("forwarded", 3),
            bytes(&total),
            ("flows", 1),
            ("flows_by_scheduler", 1),
        ],
    };
    journey(World::new(), vec![step]);
}

#[test]
fn nothing_is_remembered_of_a_flow_that_begins_with_its_end() {
    let flow = from_to("198.51.100.7:4000", WEB4);
    let forwarded = |says, frame: Vec<u8>| followed(says, frame, "10.0.0.1");
    let later = |says, frame: Vec<u8>| followed(says, frame, "10.0.0.2");
    journey(
        World::new(),
        vec![
            forwarded("an RST of no flow", flow.rst()),
            later("a FIN of no flow", flow.fin()),
            placed("then a SYN", flow.syn(), "10.0.0.3"),
        ],
    );
}

#[test]
fn a_service_of_every_port_takes_what_no_other_has() {
    let mut spec = usual();
    let every = ServiceId(9);
    spec.services.push(service(every, Protocol::Tcp, VIP4, 0));
    spec.backends.push(backend(20, every, "10.0.0.20"));
    let at = |port| from_to("198.51.100.7:4000", &format!("{VIP4}:{port}"));
    journey(
        World::of(spec, USUAL),
        vec![
            placed("the port's own service", at(80).syn(), "10.0.0.1"),
            placed("any other port", at(8080).syn(), "10.0.0.20"),
            placed("one more", at(22).syn(), "10.0.0.20"),
            dropped(
                "not the other protocol",
                from_to("198.51.100.7:4000", "203.0.113.80:22").datagram(),
                "no_service",
            ),
        ],
    );
}

#[test]
fn what_is_not_for_a_service_is_dropped() {
    let flow = from_to("198.51.100.7:4000", WEB4);
    let at = |service| from_to("198.51.100.7:4000", service).syn();
    journey(
        World::new(),
        vec![
            dropped("no such port", at("203.0.113.80:81"), "no_service"),
            dropped("no such address", at("203.0.113.81:80"), "no_service"),
            dropped(
                "another station's MAC",
                patched(flow.syn(), 0, &ROUTER.0),
                "other_mac",
            ),
            dropped("to all", patched(flow.syn(), 0, &[0xff; 6]), "other_mac"),
        ],
    );
}

#[test]
fn a_broken_frame_for_another_station_is_only_that() {
    let flow = from_to("198.51.100.7:4000", WEB4);
    let broken = patched(patched(flow.syn(), 0, &ROUTER.0), 24, &[0, 0]);
    journey(
        World::new(),
        vec![dropped("not ours to judge", broken, "other_mac")],
    );
}

// ---- VLANs ----

/// The usual world with these VLANs outside and inside; checks that `frame` leaves as `expected`.
fn over(vlans: (Option<u16>, Option<u16>), frame: &[u8], expected: &[u8]) {
    let mut spec = usual();
    (spec.ports[0].vlan, spec.ports[1].vlan) = vlans;
    let mut world = World::settled(spec, USUAL);
    let left = world.send(frame);
    assert_eq!(left.len(), 1, "{vlans:?}");
    assert_eq!(left[0].frame, to("10.0.0.1", expected), "{vlans:?}");
}

#[test]
fn tags_are_put_in_taken_out_and_changed() {
    let plain = from_to("198.51.100.7:4000", WEB4).syn();
    let with = |control| tagged(plain.clone(), control);
    over((Some(100), Some(100)), &with(0xe064), &with(0xe064));
    over((Some(100), Some(200)), &with(0xe064), &with(0xe0c8));
    over((Some(100), None), &with(0xe064), &plain);
    over((None, Some(200)), &plain, &with(200));
}

#[test]
fn a_priority_tag_becomes_the_tag() {
    let plain = from_to("198.51.100.7:4000", WEB4).syn();
    let with = |control| tagged(plain.clone(), control);
    over((None, None), &with(0xe000), &with(0xe000));
    over((None, Some(200)), &with(0xe000), &with(0xe0c8));
}

#[test]
fn a_tagged_port_takes_only_its_vlan() {
    let mut spec = usual();
    spec.ports[0].vlan = Some(100);
    let plain = from_to("198.51.100.7:4000", WEB4).syn();
    journey(
        World::of(spec, USUAL),
        vec![
            dropped("untagged", plain.clone(), "bad_vlan"),
            dropped("another VLAN", tagged(plain.clone(), 101), "bad_vlan"),
            dropped("a priority tag", tagged(plain, 0), "bad_vlan"),
        ],
    );
}

#[test]
fn a_tag_without_room_is_a_drop_of_its_own() {
    let mut spec = usual();
    spec.ports[1].vlan = Some(200);
    let mut world = World::of(spec, USUAL);
    let mut full = from_to("198.51.100.7:4000", WEB4).syn();
    full.resize(2046, 0);
    let (left, moved) = world.observed(&[full]);
    assert_eq!(left, []);
    let expected = [("no_room", 1), ("flows", 1), ("flows_by_scheduler", 1)];
    assert_eq!(moved, Counts::from_iter(expected));
}

#[test]
fn flows_are_counted_for_their_backend() {
    let mut world = World::new();
    let flows: Vec<Conversation> = (0..5)
        .map(|port| from_to(&format!("198.51.100.7:{}", 4000 + port), WEB4))
        .collect();
    for flow in &flows {
        world.send(&flow.syn());
    }
    assert_eq!(world.writer.backend_flows(B1), 2);
    assert_eq!(world.writer.backend_flows(B2), 2);
    world.pass(60_000);
    world.step(0);
    assert_eq!(world.writer.backend_flows(B1), 0, "half open for 30 s");
    assert_eq!(world.counts(0)["flows_expired"], 5);
}
