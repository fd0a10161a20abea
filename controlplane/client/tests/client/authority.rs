//! Certificates for the forwarder and its servers.

use std::{fs, net::SocketAddr, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;
use tether_client::Tls;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::forwarder::Forwarder;

/// An authority, and the certificates that it signs.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) type Pair = (String, String);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn sign(&self, name: &str) -> Pair {
        self.sign_until(name, 4000)
    }

    pub(crate) fn sign_until(&self, name: &str, year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A forwarder with this certificate, for clients of this authority.
    pub(crate) fn forwarder(&self, (certificate, key): &Pair) -> Forwarder {
        self.forwarder_at(Forwarder::free_address(), (certificate, key))
    }

    pub(crate) fn forwarder_at(
        &self,
        address: SocketAddr,
        (certificate, key): (&String, &String),
    ) -> Forwarder {
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(self.0.pem()));
        Forwarder::start_secure(address, tls)
    }
}

/// The three files of a server.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(authority: &Authority, own: &Pair) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.write(authority, own);
        files
    }

    pub(crate) fn write(&self, authority: &Authority, (certificate, key): &Pair) {
        fs::write(self.path("ca.pem"), authority.0.pem()).unwrap();
        fs::write(self.path("shop.pem"), certificate).unwrap();
        fs::write(self.path("shop.key"), key).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn tls(&self) -> Tls {
        let paths = ["ca.pem", "shop.pem", "shop.key"].map(|name| self.path(name));
        let [ca, certificate, key] = paths;
        Tls::new(ca, certificate, key).server_name("forwarder")
    }
}
