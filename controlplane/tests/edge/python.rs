//! Servers in another language, with stock grpcio, and the commands that the documentation shows.
//!
//! They need what `scripts/setup test` installs; where that is missing, the tests fail and say so.

mod documents;
mod examples;
mod interpreter;

use crate::bench::Edge;
use interpreter::interpreter;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A backend that signals from this host, or by its certificate.
pub(crate) const BACKEND: &str = r#"
    [[service.backend]]
    name = "shop-1"
    address = "10.9.0.11"
    port = 80
    signal_from = ["127.0.0.1"]
"#;

fn python(script: &Path) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What a script prints; it must succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

/// OpenSSL takes a certificate for self-signed if its authority has the same name.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Certificates of one authority, for the forwarder and for shop-1, in a directory.
pub(crate) struct Certificates(tempfile::TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        let mut params = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        write("ca.pem", authority.pem());
        for name in ["forwarder", "shop-1"] {
            let key = KeyPair::generate().unwrap();
            let certificate = named(name).signed_by(&key, &authority).unwrap();
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Self(directory)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A forwarder that knows its servers by certificate.
    pub(crate) fn edge(&self) -> Edge {
        let keys = format!(
            r#"
            signal = "127.0.0.1:0"
            auth = "mtls"
            [control.tls]
            certificate = "{}"
            key = "{}"
            client_ca = "{}"
            "#,
            self.path("forwarder.pem"),
            self.path("forwarder.key"),
            self.path("ca.pem"),
        );
        Edge::real(&keys, BACKEND)
    }
}
