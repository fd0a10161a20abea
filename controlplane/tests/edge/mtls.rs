//! Servers known by their certificates (contract rule P1), and certificates that change.

use crate::{
    bench::{BACKEND, Edge, decide},
    certificates::{Authority, FORWARDER, Files, Own, authority, certificate, connect, dated},
    operator::Operator,
};
use std::sync::mpsc;
use tether_api::{
    operator::{ConfigFile, Payload, Request, Response},
    v1::{StartRequest, affinity_client::AffinityClient},
};
use tether_controlplane::{
    command::{Command, Comparison, Reloaded},
    signal::Identity,
};
use tonic::transport::Channel;

fn edge(files: &Files, control: impl FnMut(Command) + Send + 'static) -> Edge {
    Edge::with(&files.keys(), BACKEND, control)
}

/// Whether a new connection gets a word with the forwarder.
async fn start(edge: &Edge, trusted: &Authority, own: Option<&Own>) -> bool {
    match connect(edge, trusted, own).await {
        Ok(client) => goes_on(&client).await,
        Err(_) => false,
    }
}

/// Whether this connection does.
async fn goes_on(client: &AffinityClient<Channel>) -> bool {
    let started = client.clone().start(StartRequest::default()).await;
    started.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_the_sender_is_the_name_in_its_certificate() {
    let authority = authority();
    let files = Files::of(&authority);
    let (seen, identities) = mpsc::channel();
    let edge = edge(&files, move |command| {
        if let Command::Signals { identity, .. } = &command {
            seen.send(identity.clone()).unwrap();
        }
        decide(command);
    });
    let own = certificate(&authority, "shop-1");
    assert!(start(&edge, &authority, Some(&own)).await);
    match identities.recv().unwrap() {
        Identity::Certificate(names) => assert!(names.contains(&"shop-1".to_owned()), "{names:?}"),
        other => panic!("{other:?}"),
    }
}

/// Decides signals and accepts reloads.
fn reloading(command: Command) {
    match command {
        Command::Reload { reply, .. } => reply.send(Ok(Reloaded::default())).unwrap(),
        Command::Compare { reply, .. } => reply.send(Comparison::default()).unwrap(),
        command => decide(command),
    }
}

/// The configuration that the daemon has, whose certificates are read again.
fn again(edge: &Edge) -> ConfigFile {
    ConfigFile {
        name: "again".into(),
        text: std::fs::read_to_string(&edge.file).unwrap(),
    }
}

fn apply(edge: &Edge) -> Response {
    Operator::of(edge).ask(&Request::ConfigApply(again(edge)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_new_certificates_are_for_new_connections_and_old_connections_go_on() {
    let (old, new) = (authority(), authority());
    let files = Files::of(&old);
    let edge = edge(&files, reloading);
    let old_own = certificate(&old, "shop-1");
    let new_own = certificate(&new, "shop-1");
    let open = connect(&edge, &old, Some(&old_own)).await.unwrap();
    assert!(goes_on(&open).await);
    assert!(!start(&edge, &old, Some(&new_own)).await);

    // The server's own certificate, and after it the authority of the clients.
    files.set_server(&certificate(&new, FORWARDER));
    assert!(matches!(apply(&edge), Response::Ok(_)));
    assert!(!start(&edge, &old, Some(&old_own)).await);
    assert!(start(&edge, &new, Some(&old_own)).await);
    files.set_client_cas(&[&old, &new]);
    assert!(matches!(apply(&edge), Response::Ok(_)));
    for own in [&old_own, &new_own] {
        assert!(start(&edge, &new, Some(own)).await);
    }
    files.set_client_ca(&new);
    assert!(matches!(apply(&edge), Response::Ok(_)));
    assert!(!start(&edge, &new, Some(&old_own)).await);
    assert!(start(&edge, &new, Some(&new_own)).await);

    // What was opened before, by an authority that is withdrawn, goes on.
    assert!(goes_on(&open).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l2_certificates_that_do_not_fit_refuse_a_reload_and_the_old_ones_stay() {
    let authority = authority();
    let files = Files::of(&authority);
    let edge = edge(&files, |command| match command {
        Command::Reload { .. } => panic!("this was to be refused before"),
        command => decide(command),
    });
    let own = certificate(&authority, "shop-1");
    let fitting = certificate(&authority, FORWARDER);
    let other = certificate(&authority, FORWARDER);
    for (certificate, key, names) in [
        (&fitting.certificate, &other.key, "control.tls.certificate"),
        (&fitting.key, &fitting.key, "control.tls.certificate"),
        (
            &fitting.certificate,
            &fitting.certificate,
            "control.tls.key",
        ),
        (&String::new(), &fitting.key, "control.tls.certificate"),
    ] {
        files.set_server(&Own {
            certificate: certificate.clone(),
            key: key.clone(),
        });
        let Response::Error(failure) = apply(&edge) else {
            panic!("{names} was taken");
        };
        assert!(failure.message.starts_with(names), "{failure:?}");
        assert!(start(&edge, &authority, Some(&own)).await, "{names}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_certificates_that_the_control_thread_does_not_want_are_not_used() {
    let (old, new) = (authority(), authority());
    let files = Files::of(&old);
    let edge = edge(&files, |command| match command {
        Command::Reload { reply, .. } => reply.send(Err(vec!["not today".into()])).unwrap(),
        command => decide(command),
    });
    files.set_server(&certificate(&new, FORWARDER));
    files.set_client_ca(&new);
    let Response::Error(failure) = apply(&edge) else {
        panic!("it was taken");
    };
    assert_eq!(failure.message, "not today");
    let own = certificate(&old, "shop-1");
    assert!(start(&edge, &old, Some(&own)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_certificate_out_of_date_is_warned_of_and_refused_by_clients() {
    let authority = authority();
    let files = Files::of(&authority);
    let edge = edge(&files, reloading);
    for (from, to, warnings) in [(2020, 2120, 0), (2001, 2002, 1), (2101, 2102, 1)] {
        files.set_server(&dated(&authority, FORWARDER, from, to));
        let asked = Operator::of(&edge).ask(&Request::ConfigCheck(again(&edge)));
        let Response::Ok(Payload::ConfigCheck(check)) = asked else {
            panic!("{asked:?}");
        };
        assert!(check.ok, "{check:?}");
        assert_eq!(check.warnings.len(), warnings, "{check:?}");
    }
    assert!(matches!(apply(&edge), Response::Ok(_)));
    let own = certificate(&authority, "shop-1");
    assert!(!start(&edge, &authority, Some(&own)).await);
}
