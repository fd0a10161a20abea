//! `tetherd` as a process: how it starts, what it refuses, how it ends, what a restart costs.

use std::{
    fs,
    net::TcpStream,
    os::unix::{net::UnixDatagram, process::ExitStatusExt as _},
    process::{Command, Output},
    time::Duration,
};

use rustix::process::Signal;
use tether_api::operator::{Affinity, Backend, Status};
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self,
        daemon::NOTIFY_SOCKET,
        programs::tetherd,
        setup::Setup,
        vip::SHOP,
        wait::{SOON, wait_until},
    },
};

const CLIENT: &str = "10.9.0.1";

#[test]
fn sigterm_ends_it_in_order() {
    testbed::run(Setup::new(), |bed| {
        let mut connection = bed.client(CLIENT).connect(SHOP);
        connection.echo(b"served");
        assert!(bed.daemon.socket().exists());
        bed.daemon.signal(Signal::TERM);
        let status = bed.daemon.ended(Duration::from_secs(5));
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(!bed.daemon.socket().exists());
        let asked = bed.daemon.run_ctl(&["status"]);
        assert_eq!(asked.status.code(), Some(3), "no daemon is exit 3");
        assert!(bed.daemon.log().contains("stopped"));
    });
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    testbed::run(Setup::new(), |bed| {
        bed.daemon.signal(Signal::TERM);
        bed.daemon.ended(SOON);
        let path = bed.daemon.directory().join(NOTIFY_SOCKET);
        let systemd = UnixDatagram::bind(path).unwrap();
        systemd.set_read_timeout(Some(SOON)).unwrap();
        let hear = || {
            let mut told = [0; 64];
            let length = systemd.recv(&mut told).unwrap();
            text(&told[..length])
        };
        bed.daemon.restart(&bed.setup, &bed.network.forwarder);
        assert_eq!(hear(), "READY=1\n");
        bed.daemon.signal(Signal::TERM);
        assert_eq!(hear(), "STOPPING=1\n");
        bed.daemon.ended(SOON);
    });
}

/// Somebody who has connected and says nothing holds a stop up.
#[test]
fn a_second_sigterm_ends_it_at_once() {
    testbed::run(Setup::new(), |bed| {
        let host = bed.server("server-1").host;
        let silent = host.inside(|| TcpStream::connect("10.8.0.2:7470")).unwrap();
        // It has been taken in once a later one is served.
        let (later, _) = bed
            .server("server-1")
            .bind_source(SHOP, CLIENT, Options::new());
        bed.daemon.signal(Signal::TERM);
        bed.daemon.wait_for_log("SIGTERM: stopping");
        bed.daemon.signal(Signal::TERM);
        let status = bed.daemon.ended(Duration::from_secs(1));
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
        drop((silent, later.detach()));
    });
}

#[test]
fn l3_after_a_crash_the_library_asserts_what_it_holds() {
    testbed::run(Setup::new(), |bed| {
        let first = bed.client(CLIENT).connect(SHOP);
        let owner = first.server.clone();
        let (_affinity, outcome) =
            bed.server(&owner)
                .bind_peer(SHOP, first.local(), Options::new());
        bed.daemon.signal(Signal::KILL);
        bed.daemon.ended(SOON);
        // Over the socket file that the dead one left behind.
        bed.daemon.restart(&bed.setup, &bed.network.forwarder);
        wait_until("the affinity to be asserted again", SOON, || {
            let list: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
            list.len() == 1 && list[0].owner == owner
        });
        let status: Status = bed.daemon.ctl(&["status"]);
        assert_ne!(status.epoch, outcome.epoch, "L3");
        assert_sticks(bed.client(CLIENT), SHOP, &owner);
    });
}

#[test]
fn l1_after_a_crash_new_connections_still_stick() {
    testbed::run(Setup::new().state(), |bed| {
        let owner = "server-2";
        let (affinity, outcome) = bed.server(owner).bind_source(SHOP, CLIENT, Options::new());
        drop(affinity.detach());
        bed.daemon.signal(Signal::KILL);
        bed.daemon.ended(SOON);
        bed.daemon.restart(&bed.setup, &bed.network.forwarder);
        assert_sticks(bed.client(CLIENT), SHOP, owner);
        let status: Status = bed.daemon.ctl(&["status"]);
        assert_eq!(status.epoch, outcome.epoch);
        let journal = status.journal.expect("a journal");
        assert_eq!((journal.failing, journal.restored), (None, 1));
        assert_spread(&bed.client("10.9.0.3").spread(SHOP, 40));
    });
}

#[test]
fn l2_a_reload_applies_a_file_whole_or_not_at_all() {
    testbed::run(Setup::new(), |bed| {
        for (server, source) in [("server-1", CLIENT), ("server-3", "10.9.0.3")] {
            let (affinity, _) = bed.server(server).bind_source(SHOP, source, Options::new());
            drop(affinity.detach());
        }
        let good = bed.setup.toml(bed.daemon.directory());
        // The first service has lost its last server, and a later one has a mistake.
        let fewer = bed.setup.clone().servers(2);
        let fewer = fewer.toml(bed.daemon.directory());
        let wrong = format!("{fewer}\n[[service]]\nname = \"shop\"\n");
        bed.daemon.reload(&wrong);
        bed.daemon.wait_for_log("nothing was changed");
        let backends = |bed: &testbed::Testbed<'_>| {
            let list: Vec<Backend> = bed.daemon.ctl(&["backend", "list", SHOP.service]);
            list.len()
        };
        assert_eq!(backends(bed), 3);
        assert_sticks(bed.client("10.9.0.3"), SHOP, "server-3");

        bed.daemon.reload(&fewer);
        wait_until("the reload", SOON, || backends(bed) == 2);
        // B4: a backend that is still there keeps its affinities; the removed one's have ended.
        assert_sticks(bed.client(CLIENT), SHOP, "server-1");
        let list: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
        assert_eq!(list.len(), 1, "{list:?}");
        let spread = bed.client("10.9.0.3").spread(SHOP, 40);
        assert!(
            spread.len() == 2 && !spread.contains_key("server-3"),
            "{spread:?}"
        );

        bed.daemon.reload(&good);
        wait_until("the server to be back", SOON, || backends(bed) == 3);
        assert_spread(&bed.client("10.9.0.3").spread(SHOP, 40));
        assert_sticks(bed.client(CLIENT), SHOP, "server-1");
    });
}

/// Runs `tetherd` on this text, where it ends by itself.
fn run_on(text: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tether.toml");
    let text = text.replace("{directory}", &directory.path().display().to_string());
    fs::write(&file, text).unwrap();
    Command::new(tetherd())
        .args(arguments)
        .arg("--config")
        .arg(&file)
        .env("RUNTIME_DIRECTORY", directory.path())
        .output()
        .unwrap()
}

fn good() -> String {
    let toml = Setup::new().toml("{directory}".as_ref());
    // Where it runs there are no addresses of a testbed.
    toml.replace("10.8.0.2:7470", "127.0.0.1:0")
        .replace("10.8.0.2:9470", "127.0.0.1:0")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_configuration_is_checked_without_being_run() {
    testbed::must_be_root();
    let checked = run_on(&good(), &["--check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");

    let wrong = good()
        .replacen("idle = \"yield\"", "idel = \"yield\"", 1)
        .replacen("protocol = \"udp\"", "protocol = \"sctp\"", 1);
    let checked = run_on(&wrong, &["--check"]);
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    let said = text(&checked.stdout) + &text(&checked.stderr);
    // Every problem, with its place.
    assert!(
        said.contains("did you mean") && said.contains("sctp"),
        "{said}"
    );
    assert_eq!(said.matches("tether.toml:").count(), 2, "{said}");
}

#[test]
fn what_cannot_be_run_is_exit_1_and_says_what_to_do() {
    testbed::must_be_root();
    let wrong = good().replacen("idle = \"yield\"", "idel = \"yield\"", 1);
    for (wrong, says) in [
        (wrong.as_str(), "--check"),
        (
            &good().replace("iface=data", "iface=nowhere"),
            "net_af_packet0",
        ),
        ("", "--check"),
    ] {
        let run = run_on(wrong, &[]);
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{says}: {said}");
    }
}
