//! A forwarder that answers by errors, or that is away for long: nothing is lost, nobody waits.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use crate::{
    SECOND, accepted, config, connect,
    forwarder::{Forwarder, PATIENCE},
    source,
};
use tether_client::{Client, Error, Options, OutcomeCode};
use tonic::Code;

#[test]
fn s10_what_an_overloaded_forwarder_did_not_decide_is_said_again() {
    for code in [Code::ResourceExhausted, Code::Unavailable, Code::Internal] {
        let forwarder = Forwarder::start(1);
        let client = connect(&forwarder);
        let ended = client.start(&accepted("10.1.2.3:5000"));
        ended.wait(PATIENCE).unwrap();
        forwarder.heard().fails = Some(code);
        let held = client.start(&accepted("10.1.2.4:5000"));
        let Err(Error::Away(reason)) = held.wait(PATIENCE) else {
            panic!("{:?}", held.wait(PATIENCE))
        };
        assert!(reason.contains("not now"), "{reason}");
        assert!(matches!(ended.end().wait(PATIENCE), Err(Error::Away(_))));
        let extended = held.extend(Some(600 * SECOND)).wait(PATIENCE);
        assert!(matches!(extended, Err(Error::Away(_))), "{extended:?}");
        forwarder.heard().batches.clear();
        forwarder.heard().fails = None;
        // What was under way is repeated, and in an order that makes sense.
        let heard = forwarder.wait_until(|heard| {
            let said = heard.said();
            said.iter().any(|it| it == "extend 10.1.2.4")
                && said.iter().any(|it| it == "end 10.1.2.3")
        });
        let said = heard.said();
        let place = |what: &str| said.iter().position(|it| it == what).unwrap();
        assert!(
            place("start 10.1.2.4") < place("extend 10.1.2.4"),
            "{said:?}"
        );
        let extend = heard
            .signals()
            .nth(place("extend 10.1.2.4"))
            .unwrap()
            .duration_ms;
        assert!((550_000..=600_000).contains(&extend), "{extend}");
        drop(heard);
        drop(
            client
                .start(&accepted("10.1.2.5:5000"))
                .detach()
                .wait(PATIENCE),
        );
    }
}

/// It says hello to whoever comes and breaks every stream: no reason to come ever more often.
#[test]
fn s10_a_forwarder_that_breaks_every_stream_is_left_alone_ever_longer() {
    let forwarder = Forwarder::start(1);
    forwarder.heard().fails = Some(Code::ResourceExhausted);
    let client = Client::builder(forwarder.uri())
        .reconnect(Duration::from_millis(100), Duration::from_millis(400))
        .connect()
        .unwrap();
    let began = Instant::now();
    let held = client.start(&accepted("10.1.2.3:5000"));
    drop(forwarder.wait_until(|heard| heard.sessions >= 6));
    // 0, then from a half to the whole of 100, 200, 400, 400, 400 ms.
    let elapsed = began.elapsed();
    assert!(elapsed >= Duration::from_millis(700), "{elapsed:?}");
    forwarder.heard().fails = None;
    let sessions = forwarder.heard().sessions;
    drop(held);
    drop(forwarder.wait_until(|heard| heard.said().iter().any(|it| it == "end 10.1.2.3")));
    assert!(forwarder.heard().sessions <= sessions + 1);
}

/// The epoch stays where the forwarder has kept its table; what was bound has ended (S6).
#[test]
fn s6_bound_affinities_are_started_again_with_the_same_epoch_too() {
    let forwarder = Forwarder::start(7);
    let client = connect(&forwarder);
    let bound = Options::new().bound_to_session().duration(600 * SECOND);
    let _ordinary = client.start(&accepted("10.1.2.3:5000"));
    let bound = client.start_with(&accepted("10.1.2.4:5000"), bound);
    bound.wait(PATIENCE).unwrap();
    let mut address = forwarder.address;
    let mut forwarder = Some(forwarder);
    for _ in 0..2 {
        forwarder.take().unwrap().stop();
        let again = Forwarder::start_at(address, 7);
        address = again.address;
        drop(again.wait_until(|heard| heard.signals().count() >= 1));
        // An answer in turn: there is nothing more on its way.
        let gone = client.start(&accepted("10.1.2.5:5000"));
        gone.wait(PATIENCE).unwrap();
        assert_eq!(gone.end().wait(PATIENCE).unwrap().code, OutcomeCode::Ended);
        let heard = again.heard();
        assert_eq!(
            heard.said(),
            ["start 10.1.2.4", "start 10.1.2.5", "end 10.1.2.5"]
        );
        let first = heard.signals().next().unwrap();
        assert!(first.bound_to_session);
        assert_eq!(first.duration_ms, 600_000);
        assert!((1..=600_000).contains(&first.remaining_ms));
        drop(heard);
        forwarder = Some(again);
    }
}

#[test]
fn a_full_queue_and_a_forwarder_that_says_nothing_block_nobody() {
    // It takes connections into its backlog, and never a word out of them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder(uri)
        .queue_max(10)
        .answer_timeout(60 * SECOND)
        .connect()
        .unwrap();
    let began = Instant::now();
    let affinity = client.start_source("shop", source("10.1.2.3"), Options::new());
    let key = affinity.key().unwrap().clone();
    for _ in 0..10_000 {
        drop(affinity.extend(None));
        drop(client.end(&key));
        affinity.touch();
    }
    assert!(matches!(
        affinity.extend(None).now(),
        Some(Err(Error::Busy))
    ));
    assert!(matches!(client.end(&key).now(), Some(Err(Error::Busy))));
    drop((affinity, client));
    assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
}

/// Nothing that waits for the forwarder grows while it is away.
#[test]
fn what_is_kept_for_an_absent_forwarder_is_bounded() {
    const HELD_MAX: usize = 50;
    let forwarder = Forwarder::start(1);
    let address = forwarder.address;
    let config = config(&forwarder).held_max(HELD_MAX);
    forwarder.stop();
    let client = config.connect().unwrap();
    let mut guards = Vec::new();
    for number in 0..500_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let client_address = accepted(&format!("10.{a}.{b}.{c}:5000"));
        let guard = client.start(&client_address);
        drop(guard.wait(PATIENCE));
        if number % 2 == 0 {
            guards.push(guard);
        }
    }
    let refused = guards
        .iter()
        .filter(|guard| matches!(guard.started().now(), Some(Err(Error::TooManyHeld))));
    assert_eq!(refused.count(), 250 - HELD_MAX);
    let forwarder = Forwarder::start_at(address, 1);
    let last = guards.pop().unwrap();
    drop(last);
    let heard = forwarder.wait_until(|heard| heard.signals().count() >= HELD_MAX);
    let starts = heard.said();
    assert_eq!(
        starts.iter().filter(|it| it.starts_with("start")).count(),
        HELD_MAX
    );
    assert!(starts.len() <= 2 * HELD_MAX, "{starts:?}");
}
