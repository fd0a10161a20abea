//! What is told and what is on record of a running forwarder (contract rules S8 and P5).

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self, Testbed,
        programs::tetherctl,
        setup::Setup,
        vip::SHOP,
        wait::{SOON, wait_for, wait_until},
    },
};

const CLIENT: &str = "10.9.0.1";
const OTHER: &str = "10.9.0.200";
const FLOWS: usize = 40;

/// `tetherctl --json affinity watch`; killed when dropped.
struct Watch {
    child: Child,
    events: Receiver<Value>,
}

impl Watch {
    /// Begins, and has seen an event of [`OTHER`] when it returns.
    fn of(bed: &Testbed<'_>) -> Self {
        let mut child = Command::new(tetherctl())
            .arg("--socket")
            .arg(bed.daemon.socket())
            .args(["--json", "affinity", "watch", "--service", "shop"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Err: the test is over.
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let watch = Self { child, events };
        wait_for("the watch to be on", SOON, || {
            bed.daemon
                .json(&["affinity", "start", "shop", OTHER, "server-1"]);
            watch.events.try_recv().ok()
        });
        watch
    }

    /// What happens next to [`CLIENT`].
    fn next(&self) -> Value {
        let mut events = std::iter::from_fn(|| self.events.recv_timeout(SOON).ok());
        let event = events.find(|it| it["affinity"]["source"] == CLIENT);
        event.expect("nothing has happened")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn s8_p5_what_happens_is_told_when_it_is_so_and_stays_on_record() {
    testbed::run(Setup::new(), |bed| {
        let watch = Watch::of(bed);
        let client = bed.client(CLIENT);
        let bound = bed
            .server("server-2")
            .bind_source(SHOP, CLIENT, Options::new());
        let started = watch.next();
        assert_eq!(started["event"], "started", "{started}");
        assert_eq!(started["affinity"]["owner"], "server-2");
        assert_sticks(client, SHOP, "server-2");

        bed.daemon.json(&["backend", "disable", "shop", "server-2"]);
        assert_eq!(watch.next()["event"], "suspended");
        assert!(!client.spread(SHOP, FLOWS).contains_key("server-2"));
        bed.daemon.json(&["backend", "enable", "shop", "server-2"]);
        assert_eq!(watch.next()["event"], "resumed");
        assert_sticks(client, SHOP, "server-2");

        drop(bound);
        let ended = watch.next();
        assert_eq!(ended["event"], "ended", "{ended}");
        assert_eq!(ended["reason"], "owner");
        assert_spread(&client.spread(SHOP, FLOWS));

        let expected = ["start address:10.8.0.12", "end address:10.8.0.12"];
        wait_until("the audit log to be written", SOON, || {
            on_record(bed) == expected
        });
    });
}

/// What the audit log says of [`CLIENT`].
fn on_record(bed: &Testbed<'_>) -> Vec<String> {
    let log = fs::read_to_string(bed.daemon.directory().join("audit.log")).unwrap();
    let lines = log
        .lines()
        .map_while(|it| serde_json::from_str::<Value>(it).ok());
    let of_client = lines.filter(|it| it["key"] == CLIENT);
    let word = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    of_client
        .map(|it| word(&it, "event") + " " + &word(&it, "identity"))
        .collect()
}
