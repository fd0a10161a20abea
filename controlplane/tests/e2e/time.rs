//! How long an affinity lasts: asked for, granted, extended, over.

use std::time::{Duration, Instant};

use tether_api::{
    operator::{Affinity, AffinityCount},
    v1::{OutcomeCode, StartRequest},
};
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self, Testbed,
        setup::Setup,
        signals::{extend, say, start},
        vip::SHOP,
        wait::{SOON, wait_until},
    },
};

const FLOWS: usize = 40;
const CLIENT: &str = "10.9.0.1";
const SHORT: Duration = Duration::from_millis(1500);

fn count(bed: &Testbed<'_>) -> u64 {
    bed.daemon
        .ctl::<AffinityCount>(&["affinity", "count"])
        .total
}

fn only(bed: &Testbed<'_>) -> Affinity {
    let mut list: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
    assert_eq!(list.len(), 1, "{list:?}");
    list.remove(0)
}

/// Waits until there is no affinity, and says how long after `start` that was.
#[track_caller]
fn expired(bed: &Testbed<'_>, start: Instant) -> Duration {
    wait_until("the affinity to expire", SOON, || count(bed) == 0);
    start.elapsed()
}

#[test]
fn t5_a_duration_given_at_the_start_ends_on_time() {
    let setup = Setup::new().affinity("refresh = \"never\"");
    testbed::run(setup, |bed| {
        let client = bed.client(CLIENT);
        client.reach(SHOP);
        let asked = Instant::now();
        let options = Options::new().duration(SHORT);
        let (affinity, outcome) = bed.server("server-1").bind_source(SHOP, CLIENT, options);
        let effective = Instant::now();
        assert_eq!(outcome.granted, Some(SHORT), "T1: {outcome:?}");
        let mut reached = 0;
        while asked.elapsed() < SHORT.mul_f32(0.9) {
            let server = client.reach(SHOP);
            // A slow machine may have looked too late to tell.
            if asked.elapsed() < SHORT {
                assert_eq!(server, "server-1", "{reached} flows reached it before");
                reached += 1;
            }
        }
        assert!(reached > 0, "no flow was opened in time");
        assert_eq!(only(bed).duration_ms, Some(1500));

        wait_until("the deadline", SOON, || effective.elapsed() > SHORT);
        // Collected or not: it routes nothing.
        assert_spread(&client.spread(SHOP, FLOWS));
        expired(bed, asked);
        // What has expired is not there to be ended.
        let ended = affinity.end().wait(SOON).unwrap();
        assert_eq!(ended.code, OutcomeCode::NotFound);
    });
}

#[test]
fn t2_traffic_extends_and_silence_ends() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client(CLIENT);
        let options = Options::new().duration(SHORT);
        let _bound = bed.server("server-1").bind_source(SHOP, CLIENT, options);
        let mut connection = client.connect(SHOP);
        let mut last = Instant::now();
        let start = last;
        while start.elapsed() < 2 * SHORT {
            connection.echo(b"still here");
            last = Instant::now();
            assert_eq!(only(bed).owner, "server-1");
        }
        assert!(only(bed).hits >= 1);
        assert_sticks(client, SHOP, "server-1");
        drop(connection);
        let silence = expired(bed, last);
        assert!(silence >= SHORT, "expired after {silence:?} of silence");
    });
}

#[test]
fn t2_only_flows_that_the_affinity_placed_extend_it() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client(CLIENT);
        let mut before = client.connect(SHOP);
        let owner = bed.server(&before.server);
        let start = Instant::now();
        let options = Options::new().duration(SHORT);
        let (_affinity, _) = owner.bind_peer(SHOP, before.local(), options);
        wait_until("the affinity to expire under traffic", SOON, || {
            before.echo(b"of an older flow");
            count(bed) == 0
        });
        assert!(start.elapsed() >= SHORT, "early: {:?}", start.elapsed());
        before.echo(b"R1");
    });
}

#[test]
fn t3_the_owner_extends_beyond_the_default_maximum() {
    let setup = Setup::new()
        .affinity("duration = \"1s\"")
        .affinity("duration_cap = \"1h\"")
        .affinity("refresh = \"never\"");
    testbed::run(setup, |bed| {
        let owner = &bed.server("server-1").host;
        let started = say(owner, start(SHOP, CLIENT));
        let acked = Instant::now();
        assert_eq!(started.granted_ms, 1000, "T1, the default: {started:?}");
        let extended = say(owner, extend(SHOP, CLIENT, 60_000));
        assert_eq!(extended.code(), OutcomeCode::Extended, "{extended:?}");
        assert!(extended.remaining_ms > 59_000, "{extended:?}");
        wait_until("the first deadline", SOON, || {
            acked.elapsed() > Duration::from_millis(1100)
        });
        assert_sticks(bed.client(CLIENT), SHOP, "server-1");
        // Neither a shorter extension nor a new start takes anything away.
        let shorter = say(owner, extend(SHOP, CLIENT, 1));
        assert!(shorter.remaining_ms > 50_000, "{shorter:?}");
        let capped = say(owner, extend(SHOP, CLIENT, u64::MAX));
        assert!(capped.remaining_ms <= 3_600_000, "{capped:?}");
        assert!(capped.remaining_ms > 3_590_000, "{capped:?}");
    });
}

#[test]
fn t1_no_end_is_granted_only_without_a_cap() {
    let until_ended = || StartRequest {
        until_ended: true,
        ..start(SHOP, CLIENT)
    };
    testbed::run(Setup::new(), |bed| {
        let granted = say(bed.server("server-1").host, until_ended());
        assert!(granted.until_ended, "{granted:?}");
        let listed = bed.daemon.json(&["affinity", "list"]);
        assert!(listed[0]["remaining_ms"].is_null(), "{listed}");
        assert_sticks(bed.client(CLIENT), SHOP, "server-1");
    });
    let capped = Setup::new().affinity("duration = \"1m\"\nduration_cap = \"2m\"");
    testbed::run(capped, |bed| {
        let granted = say(bed.server("server-1").host, until_ended());
        assert!(!granted.until_ended, "{granted:?}");
        assert!(granted.remaining_ms <= 120_000, "{granted:?}");
    });
}
