//! The library against a signal server over loopback: real gRPC, real breaks of the connection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod authority;
mod away;
mod forwarder;
mod proxy;
mod tls;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use forwarder::{Forwarder, PATIENCE};
use tether_client::{Client, Config, Destination, Error, Key, Options, OutcomeCode, Source};

const SECOND: Duration = Duration::from_secs(1);

fn config(forwarder: &Forwarder) -> Config {
    Client::builder(forwarder.uri())
        .backend("shop-1")
        .reconnect(Duration::from_millis(5), Duration::from_millis(50))
}

fn connect(forwarder: &Forwarder) -> Client {
    config(forwarder).connect().unwrap()
}

/// The two addresses of a connection from this client to the VIP.
fn accepted(client: &str) -> (SocketAddr, SocketAddr) {
    ("10.9.0.100:80".parse().unwrap(), client.parse().unwrap())
}

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

#[test]
fn a_client_is_started_extended_and_ended_with_its_outcomes() {
    let forwarder = Forwarder::start(42);
    let client = connect(&forwarder);
    let options = Options::new().duration(30 * SECOND).keep_on_reboot();
    let affinity = client.start_with(&accepted("10.1.2.3:5000"), options);
    let started = affinity.wait(PATIENCE).unwrap();
    assert_eq!((started.code, started.epoch), (OutcomeCode::Created, 42));
    assert_eq!(started.granted, Some(30 * SECOND));
    let extended = affinity
        .extend(Some(3_600 * SECOND))
        .wait(PATIENCE)
        .unwrap();
    assert_eq!(extended.code, OutcomeCode::Extended);
    let ended = affinity.end().wait(PATIENCE).unwrap();
    assert_eq!(ended.code, OutcomeCode::Ended);

    let heard = forwarder.heard();
    assert_eq!(
        heard.said(),
        ["start 10.1.2.3", "extend 10.1.2.3", "end 10.1.2.3"]
    );
    let signals: Vec<_> = heard.signals().collect();
    assert_eq!(signals[0].destination.as_ref(), [10, 9, 0, 100]);
    assert_eq!(signals[0].destination_port, 80);
    assert_eq!(
        (signals[0].duration_ms, signals[0].keep_on_reboot),
        (30_000, true)
    );
    assert_eq!(signals[1].duration_ms, 3_600_000);
    assert_eq!(signals[2].generation, Some(started.generation));
    assert!(
        heard
            .batches
            .iter()
            .all(|batch| batch.backend == "shop-1" && batch.boot_id != 0)
    );
}

#[test]
fn the_addresses_are_read_off_an_accepted_socket() {
    let forwarder = Forwarder::start(1);
    let client = connect(&forwarder);
    // A dual-stack listener: accepted IPv4 sockets have addresses such as ::ffff:127.0.0.1 (S4).
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (stream, seen) = listener.accept().unwrap();
    assert!(seen.is_ipv6());
    let by_ip = client.start(&stream);
    let by_port = client.start_with(&stream, Options::new().ip_port());
    by_port.wait(PATIENCE).unwrap();
    let addressed = Destination::Address(([127, 0, 0, 1], port).into());
    assert_eq!(by_ip.key().unwrap().destination, addressed);
    let client_port = peer.local_addr().unwrap().port();
    let expected = [
        "start 127.0.0.1".to_owned(),
        format!("start 127.0.0.1:{client_port}"),
    ];
    assert_eq!(forwarder.heard().said(), expected);
}

#[test]
fn dropping_a_guard_ends_and_detaching_does_not() {
    let forwarder = Forwarder::start(1);
    let client = connect(&forwarder);
    let detached = client
        .start_source("shop", source("10.1.0.0/16"), Options::new())
        .detach();
    drop(client.start_source("shop", source("10.1.2.3"), Options::new()));
    assert_eq!(detached.wait(PATIENCE).unwrap().code, OutcomeCode::Created);
    let expected = ["start 10.1.0.0/16", "start 10.1.2.3", "end 10.1.2.3"];
    let heard = forwarder.wait_until(|heard| heard.signals().count() == 3);
    assert_eq!(heard.said(), expected);
    assert!(heard.batches.iter().all(|batch| batch.services.len() <= 1));
    drop(heard);

    let key = Key {
        destination: "shop".into(),
        source: source("10.1.0.0/16"),
    };
    assert_eq!(
        client.end(&key).wait(PATIENCE).unwrap().code,
        OutcomeCode::Ended
    );
}

#[test]
fn refusals_are_outcomes() {
    let forwarder = Forwarder::start(1);
    forwarder
        .heard()
        .refusals
        .insert("10.1.2.3".into(), OutcomeCode::Conflict);
    let client = connect(&forwarder);
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    let outcome = affinity.wait(PATIENCE).unwrap();
    assert_eq!(
        (outcome.code, outcome.is_effective()),
        (OutcomeCode::Conflict, false)
    );
    assert!(matches!(affinity.end().wait(PATIENCE), Err(Error::NotHeld)));
}

#[test]
fn an_outcome_can_be_awaited() {
    let forwarder = Forwarder::start(1);
    let client = connect(&forwarder);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    let awaited =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, affinity.started()).await });
    assert_eq!(awaited.unwrap().unwrap().code, OutcomeCode::Created);
}

#[test]
fn signals_of_one_thread_stay_in_order_and_share_batches() {
    const SIGNALS: usize = 20_000;
    let forwarder = Forwarder::start(1);
    let client = connect(&forwarder);
    let mut expected = Vec::new();
    let mut last = None;
    for number in 0..u16::try_from(SIGNALS / 2).unwrap() {
        let [high, low] = number.to_be_bytes();
        let address = format!("10.1.{high}.{low}");
        expected.extend([format!("start {address}"), format!("end {address}")]);
        let affinity = client.start_source("shop", source(&address), Options::new());
        last = Some(affinity.end());
    }
    assert_eq!(
        last.unwrap().wait(PATIENCE).unwrap().code,
        OutcomeCode::Ended
    );
    let heard = forwarder.heard();
    assert_eq!(heard.said(), expected);
    let sequences: Vec<_> = heard.batches.iter().map(|batch| batch.sequence).collect();
    assert!(sequences.is_sorted());
    assert!(
        heard.batches.len() < SIGNALS / 10,
        "{} batches",
        heard.batches.len()
    );
}

#[test]
fn it_reconnects_and_the_same_table_is_not_told_again() {
    let forwarder = Forwarder::start(7);
    let client = connect(&forwarder);
    let held = client.start(&accepted("10.1.2.3:5000"));
    held.wait(PATIENCE).unwrap();
    let address = forwarder.address;
    forwarder.stop();
    let forwarder = Forwarder::start_at(address, 7);
    drop(forwarder.wait_until(|heard| !heard.batches.is_empty()));
    let next = client.start(&accepted("10.1.2.4:5000"));
    // Until the library has read the hello, it says that the forwarder is away.
    drop(next.wait(PATIENCE));
    drop(forwarder.wait_until(|heard| heard.signals().count() >= 1));
    assert_eq!(forwarder.heard().said(), ["start 10.1.2.4"]);
}

#[test]
fn l3_a_new_epoch_is_told_all_that_is_held() {
    let forwarder = Forwarder::start(7);
    let client = connect(&forwarder);
    let options = Options::new().duration(600 * SECOND);
    let _kept = client.start_with(&accepted("10.1.2.3:5000"), options);
    drop(client.start_with(&accepted("10.1.2.4:5000"), options));
    drop(forwarder.wait_until(|heard| heard.signals().count() == 3));
    let last = client
        .start_with(&accepted("10.1.2.5:5000"), options)
        .detach();
    last.wait(PATIENCE).unwrap();
    let address = forwarder.address;
    let boot_id = forwarder.heard().batches[0].boot_id;
    forwarder.stop();

    let forwarder = Forwarder::start_at(address, 8);
    let heard = forwarder.wait_until(|heard| heard.signals().count() == 2);
    let mut said = heard.said();
    said.sort();
    assert_eq!(said, ["start 10.1.2.3", "start 10.1.2.5"]);
    for signal in heard.signals() {
        assert_eq!(signal.duration_ms, 600_000);
        assert!(
            (1..=600_000).contains(&signal.remaining_ms),
            "{}",
            signal.remaining_ms
        );
    }
    assert!(heard.batches.iter().all(|batch| batch.boot_id == boot_id));
}

#[test]
fn l3_a_new_epoch_in_the_middle_of_a_connection_is_seen_too() {
    let forwarder = Forwarder::start(7);
    let client = connect(&forwarder);
    let kept = client.start(&accepted("10.1.2.3:5000"));
    kept.wait(PATIENCE).unwrap();
    forwarder.heard().epoch = 8;
    let next = client.start(&accepted("10.1.2.4:5000"));
    assert_eq!(next.wait(PATIENCE).unwrap().epoch, 8);
    let heard = forwarder.wait_until(|heard| heard.signals().count() == 3);
    assert_eq!(
        heard.said(),
        ["start 10.1.2.3", "start 10.1.2.4", "start 10.1.2.3"]
    );
}

#[test]
fn nobody_there_fails_open_and_is_made_good_later() {
    let forwarder = Forwarder::start(1);
    let address = forwarder.address;
    let config = config(&forwarder);
    forwarder.stop();
    let client = config.connect().unwrap();
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    assert!(matches!(affinity.wait(PATIENCE), Err(Error::Away(_))));
    let gone = client.start(&accepted("10.1.2.4:5000"));
    assert!(matches!(gone.end().wait(PATIENCE), Err(Error::Away(_))));

    let forwarder = Forwarder::start_at(address, 1);
    drop(forwarder.wait_until(|heard| heard.signals().count() == 1));
    assert_eq!(
        affinity.end().wait(PATIENCE).unwrap().code,
        OutcomeCode::Ended
    );
    assert_eq!(forwarder.heard().said(), ["start 10.1.2.3", "end 10.1.2.3"]);
}

#[test]
fn an_end_that_was_not_heard_is_said_again() {
    let forwarder = Forwarder::start(1);
    let client = connect(&forwarder);
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    let generation = affinity.wait(PATIENCE).unwrap().generation;
    let address = forwarder.address;
    forwarder.stop();
    assert!(matches!(affinity.end().wait(PATIENCE), Err(Error::Away(_))));
    let forwarder = Forwarder::start_at(address, 1);
    let heard = forwarder.wait_until(|heard| heard.signals().count() == 1);
    assert_eq!(heard.said(), ["end 10.1.2.3"]);
    assert_eq!(heard.signals().next().unwrap().generation, Some(generation));
}

#[test]
fn a_forwarder_that_falls_silent_is_away_and_is_told_again() {
    let forwarder = Forwarder::start(1);
    let client = config(&forwarder)
        .answer_timeout(Duration::from_millis(200))
        .connect()
        .unwrap();
    client
        .start(&accepted("10.1.2.3:5000"))
        .detach()
        .wait(PATIENCE)
        .unwrap();
    forwarder.heard().is_mute = true;
    let affinity = client.start(&accepted("10.1.2.4:5000"));
    let Err(Error::Away(reason)) = affinity.wait(PATIENCE) else {
        panic!("{:?}", affinity.wait(PATIENCE))
    };
    assert!(reason.contains("no answer within 200ms"), "{reason}");
    forwarder.heard().is_mute = false;
    let said = ["start 10.1.2.3", "start 10.1.2.4", "start 10.1.2.4"];
    let heard = forwarder.wait_until(|heard| heard.signals().count() >= said.len());
    assert_eq!(heard.said()[..3], said);
}

#[test]
fn the_application_is_never_blocked() {
    const CALLS: u32 = 50_000;
    // It takes connections into its backlog, and never a word out of them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder(uri)
        .queue_max(100)
        .answer_timeout(60 * SECOND)
        .connect()
        .unwrap();
    let before = Instant::now();
    let guards: Vec<_> = (0..CALLS)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            client.start_source("shop", Source::ip([10, a, b, c].into()), Options::new())
        })
        .collect();
    let busy = guards
        .iter()
        .filter(|guard| matches!(guard.started().now(), Some(Err(Error::Busy))));
    assert!(busy.count() >= 49_000, "the queue is bounded");
    drop(guards);
    assert!(
        before.elapsed() < 10 * SECOND,
        "50,000 calls took {:?}",
        before.elapsed()
    );
}

#[test]
fn what_is_no_address_is_told() {
    for uri in [
        "",
        "10.8.0.2:7470",
        "ftp://10.8.0.2",
        "http://",
        "not a uri",
    ] {
        let refused = Client::builder(uri).connect();
        assert!(
            matches!(refused, Err(Error::Forwarder { .. })),
            "{uri:?}: {refused:?}"
        );
    }
    let client = Client::builder("http://127.0.0.1:1").connect().unwrap();
    let no_port = client.start_with(&accepted("10.1.2.3:0"), Options::new().ip_port());
    assert!(matches!(no_port.wait(PATIENCE), Err(Error::Source(_))));
    assert!(no_port.key().is_none());
}
