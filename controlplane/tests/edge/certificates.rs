//! Authorities, certificates, the files of `[control.tls]`, and clients that have them.

use crate::bench::Edge;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use std::path::{Path, PathBuf};
use tether_api::v1::affinity_client::AffinityClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as Pem};

/// Who signs certificates.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The name in the server's certificate.
pub(crate) const FORWARDER: &str = "forwarder";

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of this name that is valid today.
pub(crate) fn certificate(authority: &Authority, name: &str) -> Own {
    dated(authority, name, 2020, 2120)
}

/// One that is valid from the beginning of one year to that of another.
pub(crate) fn dated(authority: &Authority, name: &str, from: i32, to: i32) -> Own {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    sign(authority, &params)
}

/// One that may serve and may not be a client's.
pub(crate) fn of_servers_only(authority: &Authority, name: &str) -> Own {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(authority, &params)
}

fn sign(authority: &Authority, params: &CertificateParams) -> Own {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Own {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// The files of `[control.tls]`.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    /// A server's certificate by this authority, which vouches for the clients too.
    pub(crate) fn of(authority: &Authority) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.set_server(&certificate(authority, FORWARDER));
        files.set_client_ca(authority);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn set_server(&self, own: &Own) {
        std::fs::write(self.path("server.pem"), &own.certificate).unwrap();
        std::fs::write(self.path("server.key"), &own.key).unwrap();
    }

    pub(crate) fn set_client_ca(&self, authority: &Authority) {
        self.set_client_cas(&[authority]);
    }

    pub(crate) fn set_client_cas(&self, authorities: &[&Authority]) {
        let texts: String = authorities.iter().map(|it| it.pem()).collect();
        std::fs::write(self.path("ca.pem"), texts).unwrap();
    }

    /// The keys of `[control]`.
    pub(crate) fn keys(&self) -> String {
        format!(
            r#"
            signal = "127.0.0.1:0"
            auth = "mtls"
            [control.tls]
            certificate = "{}"
            key = "{}"
            client_ca = "{}"
            "#,
            self.name("server.pem"),
            self.name("server.key"),
            self.name("ca.pem"),
        )
    }

    fn name(&self, name: &str) -> String {
        let path: &Path = &self.path(name);
        path.display().to_string()
    }
}

/// A connection that trusts this authority and shows its own certificate, if any. In TLS 1.3 a client
/// learns only at its first call that its certificate was refused.
pub(crate) async fn connect(
    edge: &Edge,
    trusted: &Authority,
    own: Option<&Own>,
) -> Result<AffinityClient<Channel>, tonic::transport::Error> {
    let channel = channel(edge, trusted, own).await?;
    Ok(AffinityClient::new(channel))
}

/// As [`connect`], for calls of any kind.
pub(crate) async fn channel(
    edge: &Edge,
    trusted: &Authority,
    own: Option<&Own>,
) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(trusted.pem()))
        .domain_name(FORWARDER);
    let tls = match own {
        Some(own) => tls.identity(Pem::from_pem(&own.certificate, &own.key)),
        None => tls,
    };
    let address = format!("https://{}", edge.signals.unwrap());
    let endpoint = Endpoint::from_shared(address).unwrap().tls_config(tls)?;
    endpoint.connect().await
}
