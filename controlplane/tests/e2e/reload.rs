//! A configuration that changes again and again under traffic, by SIGHUP and by `config apply`.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use rustix::process::Signal;
use tether_api::operator::{Affinity, ConfigApplied, ConfigDiff, Stats};
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    testbed::{
        self, Testbed,
        client::Client,
        setup::Setup,
        vip::{SHOP, SHOP_TLS},
        wait::{SOON, wait_until},
    },
};

/// The client of the unaffected service, one with an affinity, and one with a live connection.
const OTHER: &str = "10.9.0.4";
const BOUND: &str = "10.9.0.3";
const CLIENT: &str = "10.9.0.1";
const OWNER: &str = "server-1";
const ROUNDS: usize = 120;

/// A configuration as text, service by service.
#[derive(Clone)]
struct File {
    head: String,
    services: Vec<String>,
}

impl File {
    fn of(text: &str) -> Self {
        let mut parts = text.split("\n[[service]]\n").map(str::to_owned);
        Self {
            head: parts.next().unwrap(),
            services: parts.collect(),
        }
    }

    fn text(&self) -> String {
        let services = self.services.iter();
        let services = services.map(|service| format!("\n[[service]]\n{service}"));
        self.head.clone() + &services.collect::<String>()
    }

    /// Changes the service `shop`.
    fn shop(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let mut services = self.services.iter_mut();
        let shop = services.find(|it| it.starts_with("name = \"shop\"\n"));
        let shop = shop.unwrap();
        let changed = change(shop);
        assert_ne!(changed, *shop);
        *shop = changed;
        self
    }

    fn without(mut self, service: &str) -> Self {
        let name = format!("name = \"{service}\"\n");
        self.services.retain(|it| !it.starts_with(&name));
        self
    }

    /// What this round has; `shop` always has its first server, and `shop-tls` never changes.
    fn in_round(&self, round: usize) -> Self {
        let third = "\n[[service.backend]]\nname = \"server-3\"";
        let file = self.clone();
        match round % 6 {
            0 => file.shop(|shop| shop.split(third).next().unwrap().to_owned()),
            1 => file.without("game6"),
            2 => file.shop(|shop| {
                let weight = round % 7 + 2;
                shop.replacen(third, &format!("{third}\nweight = {weight}"), 1)
            }),
            3 => file.without("game").shop(|shop| {
                let duration =
                    format!("[service.affinity]\nduration = \"{round}m\"\nrefresh = \"never\"");
                shop.replacen("[service.affinity]", &duration, 1)
            }),
            4 => file.shop(|shop| shop.replacen("maglev", "weighted-round-robin", 1)),
            _ => file,
        }
    }
}

/// Requests to a service that no reload concerns.
#[derive(Default)]
struct Requests {
    done: AtomicBool,
    sent: AtomicU32,
    failed: AtomicU32,
}

impl Requests {
    fn send(&self, client: Client<'_>) {
        while !self.done.load(Ordering::Acquire) {
            self.sent.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = request(client) {
                println!("a request failed: {error}");
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn request(client: Client<'_>) -> Result<(), std::io::Error> {
    let mut connection = client.open(0, SHOP_TLS).greet()?;
    match connection.try_echo(b"a request")?.as_slice() {
        b"a request" => Ok(()),
        other => Err(std::io::Error::other(format!("{other:?}"))),
    }
}

/// Ends what runs beside a test, also where the test fails.
struct Done<'a>(&'a Requests);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
    }
}

fn apply(bed: &Testbed<'_>, path: &str) {
    let applied: ConfigApplied = bed.daemon.ctl(&["config", "apply", path]);
    assert!(!applied.file_agrees || applied.changes.is_empty());
}

/// Has the daemon take over a file in one of the two ways, and waits until it has.
fn reload(bed: &Testbed<'_>, round: usize, text: &str) {
    let path: PathBuf = bed.daemon.directory().join("next.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    if round.is_multiple_of(2) {
        apply(bed, path);
    } else {
        bed.daemon.reload(text);
    }
    wait_until("the file to be what runs", SOON, || {
        let diff: ConfigDiff = bed.daemon.ctl(&["config", "diff", path]);
        assert!(diff.refused.is_empty(), "{diff:?}");
        diff.changes.is_empty()
    });
}

fn fallen_back(stats: &Stats) -> u64 {
    let placed = stats.workers.iter().flat_map(|worker| &worker.placed);
    let fallen = placed.filter(|(how, _)| how.starts_with("fallback"));
    fallen.map(|(_, count)| count).sum()
}

#[test]
fn l2_a_hundred_reloads_under_traffic_harm_nobody_they_do_not_concern() {
    testbed::run(Setup::new(), |bed| {
        let base = File::of(&bed.setup.toml(bed.daemon.directory()));
        let owner = bed.server(OWNER);
        let (affinity, _) = owner.bind_source(SHOP, BOUND, Options::new());
        drop(affinity.detach());
        let before: Affinity = bed.daemon.ctl(&["affinity", "show", "shop", BOUND]);
        let mut live = bed.client(BOUND).flow(SHOP);
        assert_eq!(live.server(), OWNER);
        let requests = Requests::default();
        thread::scope(|scope| {
            let done = Done(&requests);
            let other = bed.client(OTHER);
            let running = &requests;
            let sending = scope.spawn(move || running.send(other));
            for round in 0..ROUNDS {
                reload(bed, round, &base.in_round(round).text());
                live.goes_on();
                assert_sticks_once(bed);
                let reached = bed.client(CLIENT).reach(SHOP);
                assert!(round % 6 != 0 || reached != "server-3", "it was removed");
            }
            drop(done);
            sending.join().unwrap();
        });
        let (sent, failed) = (requests.sent.into_inner(), requests.failed.into_inner());
        println!("{ROUNDS} rounds, {sent} requests, {failed} failed");
        assert_eq!(failed, 0);
        assert!(sent as usize > ROUNDS, "{sent} requests");

        assert_sticks(bed.client(BOUND), SHOP, OWNER);
        let after: Affinity = bed.daemon.ctl(&["affinity", "show", "shop", BOUND]);
        assert_eq!(after.generation, before.generation);
        assert_eq!(after.duration_ms, before.duration_ms);
        assert!(after.created_ms_ago > before.created_ms_ago);
        let stats = bed.daemon.check_accounts();
        assert_eq!(fallen_back(&stats), 0, "{stats:?}");
    });
}

fn assert_sticks_once(bed: &Testbed<'_>) {
    assert_eq!(bed.client(BOUND).reach(SHOP), OWNER);
}

/// What `tetherctl config` says of a text, with its exit code.
fn config(bed: &Testbed<'_>, verb: &str, text: &str) -> (Option<i32>, String) {
    let path = bed.daemon.directory().join("other.toml");
    fs::write(&path, text).unwrap();
    let output = bed
        .daemon
        .run_ctl(&["config", verb, path.to_str().unwrap()]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn l2_what_is_shown_is_taken_over_and_what_is_wrong_is_not() {
    testbed::run(Setup::new().health(), |bed| {
        let shown = bed.daemon.run_ctl(&["config", "show"]).stdout;
        let shown = String::from_utf8(shown).unwrap();
        let (exit, said) = config(bed, "check", &shown);
        assert_eq!(exit, Some(0), "{said}");
        assert_eq!(
            config(bed, "diff", &shown),
            (Some(0), "no changes\n".into())
        );

        let heavier = shown.replacen("weight = 1", "weight = 9", 1);
        let change = "~ service shop backend server-1: weight 1 -> 9\n";
        assert_eq!(config(bed, "diff", &heavier), (Some(0), change.into()));
        let wrong = heavier.replacen("rise = 1", "rise = \"one\"", 1);
        for verb in ["check", "diff", "apply"] {
            let (exit, said) = config(bed, verb, &wrong);
            assert_eq!(exit, Some(1), "{said}");
            assert!(said.contains("other.toml:"), "{said}");
        }
        let (exit, said) = config(
            bed,
            "apply",
            &heavier.replacen("flows = 65536", "flows = 2048", 1),
        );
        assert_eq!(exit, Some(1), "{said}");
        assert!(
            said.contains("workers.flows changes only by a restart"),
            "{said}"
        );
        assert_eq!(
            config(bed, "diff", &heavier).1,
            change,
            "nothing was changed"
        );

        let (exit, said) = config(bed, "apply", &heavier);
        assert_eq!(exit, Some(0), "{said}");
        assert!(said.contains("says something else"), "{said}");
        bed.daemon.reload(&heavier);
        bed.daemon.wait_for_log("tether.toml is applied: 0 changes");
        assert!(config(bed, "apply", &heavier).1.contains("says the same"));

        bed.daemon.signal(Signal::TERM);
        bed.daemon.ended(SOON);
        let (exit, said) = config(bed, "check", &heavier);
        assert_eq!(exit, Some(3), "{said}");
        assert!(said.contains("--check"), "{said}");
    });
}
