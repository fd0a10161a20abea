//! `kill -9` at any moment loses no signal that was acknowledged, and revives none that was ended
//! (contract rule L1): `tetherd` as a process, again and again on one state directory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod daemon;
mod ledger;

use daemon::{Client, Daemon, Home};
use ledger::{Ledger, Told};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tether_api::v1::{EndRequest, OutcomeCode, StartRequest};

/// How often the daemon is killed.
const ROUNDS: usize = 200;
/// Signals that are under way at once.
const SENDERS: usize = 50;
/// Sources that each sender starts and ends.
const SOURCES: usize = 8;
/// At most so long, in milliseconds, before the daemon is killed.
const LONGEST_MS: u64 = 60;

type Shared = Arc<Mutex<Ledger>>;

fn source(sender: usize, number: usize) -> String {
    let host = u32::try_from(sender * SOURCES + number).unwrap();
    Ipv4Addr::from_bits(0x0a01_0000 + host).to_string()
}

/// Starts and ends its sources at random until the daemon is gone.
async fn send(mut client: Client, sender: usize, seed: u64, ledger: Shared) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let source = source(sender, random.usize(..SOURCES));
        let is_start = random.u8(..3) > 0;
        ledger.lock().unwrap().is_told(&source, is_start);
        let answer = if is_start {
            let request = StartRequest {
                service: "shop".into(),
                source: source.clone(),
                duration_ms: 3_600_000,
                ..StartRequest::default()
            };
            client.start(request).await
        } else {
            let request = EndRequest {
                service: "shop".into(),
                source: source.clone(),
                ..EndRequest::default()
            };
            client.end(request).await
        };
        let Ok(outcome) = answer else {
            return;
        };
        let outcome = outcome.into_inner();
        let told = match outcome.code() {
            OutcomeCode::Created | OutcomeCode::Refreshed => Told::Started(outcome.generation),
            OutcomeCode::Ended | OutcomeCode::NotFound => Told::Ended,
            other => panic!("{source}: {other:?}"),
        };
        ledger.lock().unwrap().is_acknowledged(&source, told);
    }
}

/// Signals for a random time, then `kill -9`.
async fn live(daemon: Daemon<'_>, client: Client, random: &mut fastrand::Rng, ledger: &Shared) {
    let senders = (0..SENDERS).map(|sender| {
        let (client, ledger) = (client.clone(), Arc::clone(ledger));
        tokio::spawn(send(client, sender, random.u64(..), ledger))
    });
    let senders: Vec<_> = senders.collect();
    tokio::time::sleep(Duration::from_micros(random.u64(..LONGEST_MS * 1000))).await;
    daemon.kill();
    for sender in senders {
        sender.await.unwrap();
    }
}

#[tokio::test]
async fn l1_kill_9_loses_nothing_acknowledged_and_revives_nothing_ended() {
    let begun = Instant::now();
    let home = Home::new();
    let mut random = fastrand::Rng::with_seed(9);
    let ledger: Shared = Arc::default();
    let mut epochs = Vec::new();
    for _ in 0..ROUNDS {
        let daemon = Daemon::start(&home);
        let mut client = daemon.connect().await;
        let found = daemon::list(&mut client).await;
        ledger.lock().unwrap().compare(&found);
        epochs.push(daemon::epoch(&mut client).await);
        live(daemon, client, &mut random, &ledger).await;
    }
    // The last one is stopped in order.
    let daemon = Daemon::start(&home);
    let mut client = daemon.connect().await;
    let found = daemon::list(&mut client).await;
    ledger.lock().unwrap().compare(&found);
    drop(client);
    daemon.stop();

    let ledger = ledger.lock().unwrap();
    println!(
        "{ROUNDS} rounds, {} acked, {} lost, {} revived, {} s",
        ledger.acked,
        ledger.lost.len(),
        ledger.revived.len(),
        begun.elapsed().as_secs()
    );
    assert!(ledger.acked > ROUNDS, "hardly anything was signalled");
    assert_eq!(ledger.lost, Vec::<String>::new());
    assert_eq!(ledger.revived, Vec::<String>::new());
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "the table never started empty (L3)");
    let log = home.log();
    assert!(!log.contains("left out:"), "{log}");
}
