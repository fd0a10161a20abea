//! Slow start: how much of its weight a backend has after it came up, and how little is published
//! for it.

use super::*;
use std::collections::BTreeMap;
use tether_api::operator::AdminState;
use tether_dataplane::{explain, key::Protocol};

/// [`CONFIG`] with a slow start of 30 s at `shop`.
fn slow() -> Bench {
    Bench::of(&slow_text())
}

fn slow_text() -> String {
    CONFIG.replacen("port = 80\n", "port = 80\nslow_start = \"30s\"\n", 1)
}

impl Bench {
    /// Of a thousand new flows to `shop`, how many tenths of a percent each backend gets by the
    /// tables that are published.
    fn shares(&self) -> BTreeMap<String, u32> {
        let mut shares = BTreeMap::new();
        for number in 0_u16..1000 {
            let packet = explain::Packet {
                protocol: Protocol::Tcp,
                source: SocketAddr::from(([198, 51, 100, 7], 1 + number)),
                destination: SocketAddr::from(([10, 9, 0, 100], 80)),
                without: None,
            };
            let told = self.control.writer.explain(&packet, self.now);
            let backend = self.control.master.registry.backend(told.backend.unwrap());
            *shares
                .entry(backend.unwrap().name().to_owned())
                .or_default() += 1;
        }
        shares
    }

    /// The share of `shop-1`, and its weight of ten by which it should be so.
    fn assert_tenths(&self, backend: &str, tenths: u32) {
        let share = self.shares().get(backend).copied().unwrap_or(0);
        let expected = 1000 * tenths / (10 + tenths);
        assert!(
            share.abs_diff(expected) < 45,
            "{backend} has {share} of {expected} at {tenths} tenths"
        );
    }

    /// Turns, one every 20 ms, for so long; how many of them published.
    fn pass(&mut self, ms: u64) -> u64 {
        let before = self.published();
        for _ in 0..ms / 20 {
            self.after(20).turn(vec![]);
        }
        self.published() - before
    }

    fn published(&self) -> u64 {
        self.control.published
    }

    fn set(&mut self, backend: &str, state: AdminState) {
        self.payload(Request::BackendSet {
            service: "shop".to_owned(),
            backend: backend.to_owned(),
            state,
        });
    }
}

#[test]
fn a_backend_that_is_back_rises_in_steps_and_then_nothing_is_published() {
    let mut bench = slow();
    bench.assert_tenths("shop-1", 10);
    bench.health("shop-1", false);
    bench.assert_tenths("shop-1", 0);
    bench.health("shop-1", true);
    bench.assert_tenths("shop-1", 1);
    assert_eq!(bench.pass(5980), 0, "the first step is two tenths long");
    bench.assert_tenths("shop-1", 1);
    assert_eq!(bench.pass(20), 1);
    bench.assert_tenths("shop-1", 2);
    assert_eq!(bench.pass(9000), 3);
    bench.assert_tenths("shop-1", 5);
    assert_eq!(bench.pass(14_980), 4);
    bench.assert_tenths("shop-1", 9);
    assert_eq!(bench.pass(20), 1);
    bench.assert_tenths("shop-1", 10);
    assert_eq!(bench.pass(60_000), 0);
}

#[test]
fn enabled_and_added_backends_rise_too() {
    let mut bench = slow();
    bench.set("shop-2", AdminState::Disable);
    bench.set("shop-2", AdminState::Enable);
    bench.assert_tenths("shop-2", 1);
    bench.pass(30_000);
    bench.assert_tenths("shop-2", 10);
    let added = "[[service.backend]]\nname = \"shop-2\"";
    let text = slow_text();
    let without = text.replacen(
        &text[text.find(added).unwrap()..text.find("[[service]]\nname = \"mail\"").unwrap()],
        "",
        1,
    );
    bench.reload(&without);
    bench.assert_tenths("shop-2", 0);
    bench.reload(&text);
    bench.assert_tenths("shop-2", 1);
    bench.pass(15_000);
    bench.assert_tenths("shop-2", 5);
    // The key taken away, the weight is whole at once; put back, nobody falls.
    bench.reload(CONFIG);
    bench.turn(vec![]);
    bench.assert_tenths("shop-2", 10);
    bench.reload(&text);
    bench.pass(1000);
    bench.assert_tenths("shop-2", 10);
}

#[test]
fn a_rise_that_is_broken_off_begins_again() {
    let mut bench = slow();
    bench.health("shop-1", false);
    bench.health("shop-1", true);
    bench.pass(15_000);
    bench.assert_tenths("shop-1", 5);
    bench.set("shop-1", AdminState::Drain);
    bench.assert_tenths("shop-1", 0);
    bench.set("shop-1", AdminState::Enable);
    bench.assert_tenths("shop-1", 1);
}

#[test]
fn who_rises_alone_or_together_has_its_whole_weight_and_nothing_is_published() {
    let mut bench = slow();
    for up in [false, true] {
        for backend in ["shop-1", "shop-2"] {
            bench.control.turn(
                bench.now,
                vec![Command::Health {
                    service: "shop".to_owned(),
                    backend: backend.to_owned(),
                    up,
                }],
            );
        }
    }
    bench.assert_tenths("shop-1", 10);
    assert_eq!(bench.pass(40_000), 0);
    bench.set("shop-2", AdminState::Disable);
    bench.health("shop-1", false);
    bench.health("shop-1", true);
    assert_eq!(bench.shares(), [("shop-1".to_owned(), 1000)].into());
    assert_eq!(bench.pass(40_000), 0);
}

#[test]
fn at_the_start_and_without_the_key_weights_are_whole() {
    let mut bench = Bench::new();
    bench.health("shop-1", false);
    bench.health("shop-1", true);
    bench.assert_tenths("shop-1", 10);
    assert_eq!(bench.pass(40_000), 0);
    let mut bench = slow();
    assert_eq!(bench.pass(40_000), 0);
    bench.assert_tenths("shop-1", 10);
}

#[test]
fn r2_an_affinity_does_not_wait_for_a_slow_start() {
    let mut bench = slow();
    bench.start(ONE, CLIENT);
    bench.health("shop-1", false);
    bench.health("shop-1", true);
    let packet = explain::Packet {
        protocol: Protocol::Tcp,
        source: SocketAddr::new(CLIENT.parse().unwrap(), 4000),
        destination: SocketAddr::from(([10, 9, 0, 100], 80)),
        without: None,
    };
    let told = bench.control.writer.explain(&packet, bench.now);
    assert_eq!(told.by, explain::By::Affinity);
    let backend = bench.control.master.registry.backend(told.backend.unwrap());
    assert_eq!(backend.unwrap().name(), "shop-1");
}
