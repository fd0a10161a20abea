//! Servers known by their certificates (contract rule P1).

use crate::bench::{BACKEND, Edge, decide};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{path::Path, sync::mpsc};
use tether_api::v1::{StartRequest, affinity_client::AffinityClient};
use tether_controlplane::{command::Command, signal::Identity};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as Pem};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn edge(
    files: &Path,
    authority: &Authority,
    control: impl FnMut(Command) + Send + 'static,
) -> Edge {
    Edge::with(&keys(files, authority), BACKEND, control)
}

/// `[control]` of a forwarder whose servers have certificates.
pub(crate) fn keys(files: &Path, authority: &Authority) -> String {
    let (certificate, key) = certificate(authority, "forwarder");
    let write = |name: &str, text: &str| {
        let path = files.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    format!(
        r#"
        signal = "127.0.0.1:0"
        auth = "mtls"
        [control.tls]
        certificate = "{}"
        key = "{}"
        client_ca = "{}"
        "#,
        write("server.pem", &certificate),
        write("server.key", &key),
        write("ca.pem", &authority.pem()),
    )
}

async fn start(edge: &Edge, authority: &Authority, own: Option<(String, String)>) -> bool {
    // In TLS 1.3 a client learns only at its first call that its certificate was refused.
    match endpoint(edge, authority, own).connect().await {
        Ok(channel) => AffinityClient::new(channel)
            .start(StartRequest::default())
            .await
            .is_ok(),
        Err(_) => false,
    }
}

/// The edge as one with this certificate reaches it.
pub(crate) fn endpoint(
    edge: &Edge,
    authority: &Authority,
    own: Option<(String, String)>,
) -> Endpoint {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("forwarder");
    let tls = match own {
        Some((certificate, key)) => tls.identity(Pem::from_pem(certificate, key)),
        None => tls,
    };
    let address = format!("https://{}", edge.signals.unwrap());
    let endpoint = Endpoint::from_shared(address).unwrap();
    endpoint.tls_config(tls).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_the_sender_is_the_name_in_its_certificate() {
    let files = tempfile::tempdir().unwrap();
    let authority = authority();
    let (seen, identities) = mpsc::channel();
    let edge = edge(files.path(), &authority, move |command| {
        if let Command::Signals { identity, .. } = &command {
            seen.send(identity.clone()).unwrap();
        }
        decide(command);
    });
    assert!(start(&edge, &authority, Some(certificate(&authority, "shop-1"))).await);
    match identities.recv().unwrap() {
        Identity::Certificate(names) => assert!(names.contains(&"shop-1".to_owned()), "{names:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_nobody_signals_without_a_certificate_of_the_authority() {
    let files = tempfile::tempdir().unwrap();
    let authority = authority();
    let edge = edge(files.path(), &authority, |command| {
        assert!(!matches!(command, Command::Signals { .. }), "{command:?}");
    });
    assert!(!start(&edge, &authority, None).await);
    let stranger = self::authority();
    let own = certificate(&stranger, "shop-1");
    assert!(!start(&edge, &authority, Some(own)).await);
}
