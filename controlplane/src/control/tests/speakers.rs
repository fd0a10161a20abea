//! Contract section 5 and rule S5: who may speak, for whom, about what.

use super::*;
use OutcomeCode::{Conflict, Created, Denied, Invalid, Refreshed};

fn at(destination: &str, source: &str) -> Signal {
    Signal {
        destination: Destination::Address(destination.parse().unwrap()),
        ..signal("", source, start_of(Asked::Default))
    }
}

fn for_backend(service: &str, backend: &str) -> Signal {
    Signal {
        backend: Some(backend.into()),
        ..signal(service, CLIENT, start_of(Asked::Default))
    }
}

fn certificate(names: &[&str]) -> Identity {
    Identity::Certificate(names.iter().map(|it| (*it).to_owned()).collect())
}

#[test]
fn p1_the_address_decides_which_backend_speaks() {
    let mut bench = Bench::new();
    for (sender, code, owner, detail) in [
        ("10.8.0.11", Created, "shop-1", ""),
        ("::ffff:10.8.0.11", Refreshed, "shop-1", ""),
        (
            "10.8.0.99",
            Denied,
            "",
            "10.8.0.99 is not in signal_from of any backend of service shop",
        ),
    ] {
        let outcome = bench.start(sender, CLIENT);
        assert_eq!(
            (outcome.code, outcome.owner.as_str()),
            (code, owner),
            "{sender}"
        );
        assert_eq!(outcome.detail, detail);
    }
}

#[test]
fn p1_the_certificate_decides_which_backend_speaks() {
    let mut bench = Bench::new();
    let start = || vec![signal("shop", CLIENT, start_of(Asked::Default))];
    for (names, code) in [
        (&["two.shop"][..], Created),
        (&["other", "two.shop"], Refreshed),
        (&["shop-2"], Denied),
        (&[], Denied),
    ] {
        let outcome = bench.send(certificate(names), start()).remove(0);
        assert_eq!(outcome.code, code, "{names:?}: {}", outcome.detail);
    }
    assert_eq!(bench.owner(CLIENT), Some("shop-2"));
}

#[test]
fn p2_each_signal_of_a_batch_is_judged_by_whom_it_names_itself() {
    let cases = [
        (for_backend("shop", "shop-1"), Created, "shop", "shop-1"),
        (for_backend("mail", "mail-2"), Created, "mail", "mail-2"),
        (for_backend("mail", "mail-1"), Conflict, "mail", "mail-2"),
        (for_backend("shop", "shop-2"), Denied, "shop", ""),
        (at("10.9.0.12:80", CLIENT), Denied, "shop", ""),
        (at("10.9.0.100:80", CLIENT), Refreshed, "shop", "shop-1"),
        (for_backend("none", "shop-1"), Invalid, "", ""),
        (for_backend("shop", "shop-1"), Refreshed, "shop", "shop-1"),
    ];
    let batch = cases.iter().map(|(signal, ..)| signal.clone()).collect();
    let outcomes = Bench::new().send(from(ONE), batch);
    assert_eq!(outcomes.len(), cases.len());
    for (outcome, (signal, code, service, owner)) in outcomes.iter().zip(&cases) {
        let told = (outcome.code, &*outcome.service, &*outcome.owner);
        assert_eq!(told, (*code, *service, *owner), "{signal:?}");
    }
}

#[test]
fn p2_a_backend_speaks_for_itself_only() {
    let mut bench = Bench::new();
    let outcome = bench.say(ONE, for_backend("shop", "shop-2"));
    assert_eq!(outcome.code, Denied);
    assert!(
        outcome.detail.contains("only for shop-1"),
        "{}",
        outcome.detail
    );
    assert_eq!(
        bench
            .say(TWO, signal("mail", CLIENT, start_of(Asked::Default)))
            .code,
        Denied
    );
    let outcome = bench.say(ONE, for_backend("shop", "shop-9"));
    assert_eq!(outcome.code, Invalid);
    assert!(
        outcome.detail.contains("shop-1 and shop-2"),
        "{}",
        outcome.detail
    );
    assert_eq!(bench.say(ONE, for_backend("shop", "shop-1")).code, Created);
}

#[test]
fn an_identity_with_several_backends_says_which_or_is_asked() {
    let mut bench = Bench::new();
    let outcome = bench.say(ONE, signal("mail", CLIENT, start_of(Asked::Default)));
    assert_eq!(outcome.code, Invalid);
    assert!(
        outcome.detail.starts_with("backend: "),
        "{}",
        outcome.detail
    );
    assert!(
        outcome.detail.contains("mail-1 and mail-2"),
        "{}",
        outcome.detail
    );
    let outcome = bench.say(ONE, for_backend("mail", "mail-2"));
    assert_eq!((outcome.code, outcome.owner.as_str()), (Created, "mail-2"));
}

#[test]
fn s5_a_service_is_named_by_vip_and_port_or_by_the_backends_own_socket() {
    let mut bench = Bench::new();
    for (place, (destination, service, owner)) in (1..).zip([
        ("10.9.0.100:80", "shop", "shop-1"),
        ("[::ffff:10.9.0.100]:80", "shop", "shop-1"),
        ("10.9.0.11:80", "shop", "shop-1"),
        ("10.9.0.11:25", "mail", "mail-1"),
        ("10.9.0.13:25", "mail", "mail-2"),
        ("[fd00:9::100]:80", "six", "six-1"),
    ]) {
        let source = match service {
            "six" => format!("2001:db8::{place}"),
            _ => format!("192.0.2.{place}"),
        };
        let outcome = bench.say(ONE, at(destination, &source));
        assert_eq!(outcome.code, Created, "{destination}: {}", outcome.detail);
        assert_eq!(
            (outcome.service.as_str(), outcome.owner.as_str()),
            (service, owner)
        );
    }
}

#[test]
fn s5_a_destination_of_nobody_or_of_another_is_refused() {
    let mut bench = Bench::new();
    let outcome = bench.say(ONE, at("10.9.0.100:81", CLIENT));
    assert_eq!(outcome.code, Invalid);
    assert!(
        outcome.detail.starts_with("destination: 10.9.0.100:81"),
        "{}",
        outcome.detail
    );
    let outcome = bench.say(ONE, at("10.9.0.12:80", CLIENT));
    assert_eq!(outcome.code, Denied);
    assert!(
        outcome.detail.contains("backend shop-2"),
        "{}",
        outcome.detail
    );
    assert_eq!(
        bench.say(ONE, at("10.9.0.101:25", CLIENT)).code,
        Invalid,
        "of several: which?"
    );
}

#[test]
fn s5_of_a_tcp_and_a_udp_service_an_accepted_socket_means_the_tcp_one() {
    let udp = r#"
[[service]]
name = "shop-udp"
address = "10.9.0.100"
port = 80
protocol = "udp"
[[service.backend]]
name = "udp-1"
address = "10.9.0.11"
signal_from = ["10.8.0.11", "10.8.0.55"]
"#;
    let mut bench = Bench::of(&format!("{CONFIG}{udp}"));
    assert_eq!(bench.say(ONE, at("10.9.0.100:80", CLIENT)).service, "shop");
    let outcome = bench.say("10.8.0.55", at("10.9.0.100:80", CLIENT));
    assert_eq!(
        (outcome.code, outcome.service.as_str()),
        (Created, "shop-udp")
    );
}

#[test]
fn s5_a_socket_of_two_services_must_be_told_apart_by_name() {
    let other = r#"
[[service]]
name = "other"
address = "10.9.0.102"
port = 80
[[service.backend]]
name = "other-1"
address = "10.9.0.11"
signal_from = ["10.8.0.11"]
"#;
    let mut bench = Bench::of(&format!("{CONFIG}{other}"));
    let outcome = bench.say(ONE, at("10.9.0.11:80", CLIENT));
    assert_eq!(outcome.code, Invalid);
    assert!(
        outcome.detail.contains("shop and other"),
        "{}",
        outcome.detail
    );
    assert_eq!(bench.say(ONE, at("10.9.0.102:80", CLIENT)).service, "other");
}

#[test]
fn r6_an_affinity_to_one_service_says_nothing_about_another() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    assert!(bench.find("shop", CLIENT).is_some());
    assert!(bench.find("mail", CLIENT).is_none());
}

#[test]
fn s5_every_address_of_a_prefix_names_its_service() {
    let net = r#"
[[service]]
name = "net"
address = "10.9.1.0/28"
port = 80
[[service.backend]]
name = "net-1"
address = "10.9.0.14"
signal_from = ["10.8.0.14"]

[[service]]
name = "half"
address = "10.9.1.8/29"
port = 0
[[service.backend]]
name = "half-1"
address = "10.9.0.15"
signal_from = ["10.8.0.14"]
"#;
    let mut bench = Bench::of(&format!("{CONFIG}{net}"));
    for (destination, service) in [
        ("10.9.1.0:80", "net"),
        ("10.9.1.7:80", "net"),
        ("[::ffff:10.9.1.7]:80", "net"),
        ("10.9.1.8:80", "half"),
        ("10.9.1.15:9", "half"),
    ] {
        let outcome = bench.say("10.8.0.14", at(destination, CLIENT));
        assert_eq!(
            outcome.service, service,
            "{destination}: {}",
            outcome.detail
        );
        assert!(outcome.code.is_positive(), "{outcome:?}");
    }
    for nowhere in ["10.9.1.16:80", "10.9.1.7:81"] {
        let outcome = bench.say("10.8.0.14", at(nowhere, CLIENT));
        assert_eq!(outcome.code, Invalid, "{nowhere}");
    }
    // R6: one affinity of the service, whichever of its addresses was named.
    assert!(bench.find("net", CLIENT).is_some());
    assert_eq!(bench.control.master.records.len(), 2);
}
