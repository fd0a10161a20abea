//! Mutual TLS with the forwarder (contract rule P1): certificates that are right, wrong, and new.

use std::{fs, net::TcpListener, path::Path, time::Instant};

use tether_client::{Client, Config, Error, OutcomeCode, Pem, Tls};

use crate::{
    SECOND, accepted,
    authority::{Authority, Files},
    forwarder::{Forwarder, PATIENCE},
};

fn config(forwarder: &Forwarder, tls: Tls) -> Config {
    config_at(&forwarder.address.to_string(), tls)
}

fn config_at(address: &str, tls: Tls) -> Config {
    Client::builder(format!("https://{address}"))
        .tls(tls)
        .answer_timeout(SECOND)
        .reconnect(SECOND / 200, SECOND / 20)
}

/// Why a start had no outcome.
#[track_caller]
fn away(config: Config) -> String {
    let client = config.connect().unwrap();
    let began = Instant::now();
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    assert!(began.elapsed() < SECOND, "a start does not wait");
    match affinity.wait(PATIENCE) {
        Err(Error::Away(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p1_a_server_signals_by_its_certificate() {
    let authority = Authority::new();
    let forwarder = authority.forwarder(&authority.sign("forwarder"));
    let own = authority.sign("shop-1");
    let files = Files::new(&authority, &own);
    let bytes = Tls::new(
        authority.0.pem().into_bytes(),
        own.0.into_bytes(),
        own.1.into_bytes(),
    )
    .server_name("forwarder");
    for tls in [files.tls(), bytes] {
        let client = config(&forwarder, tls).connect().unwrap();
        let affinity = client.start(&accepted("10.1.2.3:5000"));
        assert!(affinity.wait(PATIENCE).unwrap().is_effective());
        let ended = affinity.end().wait(PATIENCE).unwrap();
        assert_eq!(ended.code, OutcomeCode::Ended);
    }
}

#[test]
fn the_name_of_the_forwarder_is_the_host_unless_it_is_set() {
    let authority = Authority::new();
    let address = Forwarder::free_address();
    let pair = authority.sign(&address.ip().to_string());
    let forwarder = authority.forwarder_at(address, (&pair.0, &pair.1));
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let [ca, certificate, key] = ["ca.pem", "shop.pem", "shop.key"].map(|name| files.path(name));
    let tls = Tls::new(ca, certificate, key);
    let client = config(&forwarder, tls).connect().unwrap();
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    assert!(affinity.wait(PATIENCE).unwrap().is_effective());
    let reason = away(config(&forwarder, files.tls().server_name("other")));
    assert!(reason.contains("set Tls::server_name"), "{reason}");
}

#[test]
fn p1_a_forwarder_of_another_authority_is_not_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let forwarder = authority.forwarder(&stranger.sign("forwarder"));
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let reason = away(config(&forwarder, files.tls()));
    assert!(
        reason.contains("not signed by the configured ca"),
        "{reason}"
    );
    assert!(forwarder.heard().batches.is_empty());
}

#[test]
fn p1_a_certificate_that_the_forwarder_does_not_trust_is_named_as_the_reason() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let forwarder = authority.forwarder(&authority.sign("forwarder"));
    let files = Files::new(&authority, &stranger.sign("shop-1"));
    let reason = away(config(&forwarder, files.tls()));
    assert_suspects(&reason, &files);
}

#[track_caller]
fn assert_suspects(reason: &str, files: &Files) {
    let certificate = files.path("shop.pem");
    let suspicion = format!("certificate {}: has it expired", certificate.display());
    assert!(reason.contains(&suspicion), "{reason}");
}

#[test]
fn what_has_expired_is_named() {
    let authority = Authority::new();
    let forwarder = authority.forwarder(&authority.sign_until("forwarder", 2001));
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let reason = away(config(&forwarder, files.tls()));
    assert!(
        reason.contains("the forwarder's certificate has expired"),
        "{reason}"
    );

    let forwarder = authority.forwarder(&authority.sign("forwarder"));
    let files = Files::new(&authority, &authority.sign_until("shop-1", 2001));
    let reason = away(config(&forwarder, files.tls()));
    assert_suspects(&reason, &files);
}

#[test]
fn a_forwarder_without_tls_is_named_and_one_that_says_nothing_is_away() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let plain = Forwarder::start(1);
    let reason = away(config(&plain, files.tls()));
    assert!(reason.contains("does not speak TLS"), "{reason}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let reason = away(config_at(&address, files.tls()));
    assert!(reason.contains("no answer within 1s"), "{reason}");
}

#[test]
fn http_to_a_forwarder_with_tls_is_named() {
    let authority = Authority::new();
    let forwarder = authority.forwarder(&authority.sign("forwarder"));
    let reason = away(Client::builder(format!("http://{}", forwarder.address)));
    assert!(reason.contains("write https://"), "{reason}");
}

/// The files are read at each connection; until they fit each other again, the forwarder is away.
#[test]
fn new_certificates_are_taken_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let forwarder = old.forwarder(&old.sign("forwarder"));
    let address = forwarder.address;
    let files = Files::new(&old, &old.sign("shop-1"));
    let client = config(&forwarder, files.tls()).connect().unwrap();
    let affinity = client.start(&accepted("10.1.2.3:5000"));
    affinity.wait(PATIENCE).unwrap();

    forwarder.stop();
    let pair = new.sign("forwarder");
    let forwarder = new.forwarder_at(address, (&pair.0, &pair.1));
    let reason = wait_for_reason(&client, "not signed by the configured ca");
    assert!(forwarder.heard().batches.is_empty(), "{reason}");

    let own = new.sign("shop-1");
    files.write(&new, &(own.0.clone(), old.sign("shop-1").1));
    wait_for_reason(&client, "is not the key of the certificate");
    fs::remove_file(files.path("shop.key")).unwrap();
    wait_for_reason(&client, "shop.key: No such file");
    files.write(&new, &own);
    drop(forwarder.wait_until(|heard| heard.sessions > 0));
    let began = Instant::now();
    while client
        .extend(affinity.key().unwrap(), None)
        .wait(PATIENCE)
        .is_err()
    {
        assert!(began.elapsed() < PATIENCE, "it does not come back");
    }
}

#[track_caller]
fn wait_for_reason(client: &Client, words: &str) -> String {
    let began = Instant::now();
    loop {
        let extended = client.extend(
            &tether_client::Key {
                destination: "shop".into(),
                source: crate::source("10.9.9.9"),
            },
            None,
        );
        match extended.wait(PATIENCE) {
            Err(Error::Away(reason)) if reason.contains(words) => return reason.to_string(),
            other => assert!(began.elapsed() < PATIENCE, "{other:?} instead of {words}"),
        }
    }
}

#[test]
fn what_is_no_certificate_is_refused_by_its_name() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let [ca, certificate, key] = ["ca.pem", "shop.pem", "shop.key"].map(|name| files.path(name));
    let nowhere = files.path("nowhere.pem");
    let pem = |path: &Path| Pem::from(path);
    let garbage = Pem::from(b"garbage".to_vec());
    let other = authority.sign("shop-2").1.into_bytes();
    let cases = [
        (
            [pem(&nowhere), pem(&certificate), pem(&key)],
            "TLS ca",
            "nowhere.pem: No such file",
        ),
        (
            [pem(&ca), pem(&nowhere), pem(&key)],
            "TLS certificate",
            "nowhere.pem: No such file",
        ),
        (
            [garbage.clone(), pem(&certificate), pem(&key)],
            "TLS ca",
            "of 7 bytes in memory",
        ),
        (
            [pem(&ca), pem(&key), pem(&key)],
            "TLS certificate",
            "shop.key: there is no certificate",
        ),
        (
            [pem(&ca), pem(&certificate), garbage],
            "TLS key",
            "an unencrypted private key",
        ),
        (
            [pem(&ca), pem(&certificate), other.into()],
            "TLS key",
            "not the key of the certificate",
        ),
    ];
    for ([ca, certificate, key], what, reason) in cases {
        let refused = config_at("127.0.0.1:1", Tls::new(ca, certificate, key)).connect();
        let text = refused.unwrap_err().to_string();
        assert!(text.starts_with(what) && text.contains(reason), "{text}");
    }
    let bad_name = files.tls().server_name("not a name");
    let text = config_at("127.0.0.1:1", bad_name).connect().unwrap_err();
    assert!(
        text.to_string().starts_with("TLS server_name not a name: "),
        "{text}"
    );
}

#[test]
fn the_scheme_and_the_certificates_belong_together() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let http = Client::builder("http://10.8.0.2:7470").tls(files.tls());
    let text = http.connect().unwrap_err().to_string();
    assert!(text.contains("the scheme is https"), "{text}");
    let https = Client::builder("https://10.8.0.2:7470");
    let text = https.connect().unwrap_err().to_string();
    assert!(
        text.contains("needs the certificates of Config::tls"),
        "{text}"
    );
}

#[test]
fn a_key_in_memory_is_not_printed() {
    let tls = Tls::new("ca.pem", "shop.pem", b"secret".to_vec());
    let text = format!("{:?}", Client::builder("https://10.8.0.2").tls(tls));
    assert!(text.contains("of 6 bytes in memory"), "{text}");
    assert!(
        !text.contains("secret") && !text.contains("115, 101"),
        "{text}"
    );
}
