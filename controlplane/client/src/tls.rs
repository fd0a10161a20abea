//! Who the forwarder is and who this process is, by certificates (contract rule P1).

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::Error;

/// Mutual TLS with a forwarder that has `auth = "mtls"`; files are read again at each connection,
/// so that new certificates need no restart.
#[derive(Clone, Debug)]
pub struct Tls {
    ca: Pem,
    certificate: Pem,
    key: Pem,
    server_name: Option<String>,
}

/// Something in PEM form.
#[derive(Clone)]
pub enum Pem {
    /// The path of a file, read at each connection.
    File(PathBuf),
    /// The text itself.
    Bytes(Vec<u8>),
}

impl From<&str> for Pem {
    /// A path.
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<Vec<u8>> for Pem {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// Keys do not show in logs.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Pem {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes(bytes) => format!("of {} bytes in memory", bytes.len()),
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path),
            Self::Bytes(bytes) => Ok(bytes.clone()),
        }
    }

    /// What is wrong with it.
    fn error(&self, what: &'static str, reason: impl fmt::Display) -> Error {
        Error::Tls {
            what,
            name: self.name(),
            reason: reason.to_string(),
        }
    }

    fn certificates(
        &self,
        what: &'static str,
    ) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), Error> {
        let text = self.read().map_err(|error| self.error(what, error))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.error(
                what,
                "there is no certificate in it; it must be PEM, with -----BEGIN CERTIFICATE-----",
            )),
            Ok(found) => Ok((text, found)),
            Err(error) => Err(self.error(what, error)),
        }
    }

    fn key(&self) -> Result<(Vec<u8>, PrivateKeyDer<'static>), Error> {
        let text = self.read().map_err(|error| self.error("key", error))?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let advice = "it must be an unencrypted private key in PEM";
            self.error("key", format_args!("{error}; {advice}"))
        })?;
        Ok((text, key))
    }
}

impl Tls {
    /// The authority that signs the forwarder's certificate, and this process's own certificate,
    /// whose name is the backend's `identity`, with its key.
    pub fn new(ca: impl Into<Pem>, certificate: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        Self {
            ca: ca.into(),
            certificate: certificate.into(),
            key: key.into(),
            server_name: None,
        }
    }

    /// Sets the name that the forwarder's certificate must have, where it is not the host of the URI.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self {
            server_name: Some(name.into()),
            ..self
        }
    }

    /// The name that was set.
    pub(crate) fn name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What is likely where the forwarder breaks the connection instead of a first word.
    pub(crate) fn suspicion(&self) -> String {
        let certificate = self.certificate.name();
        format!(
            "the forwarder may refuse this process's certificate {certificate}: \
             has it expired, or has the forwarder's client_ca not signed it?"
        )
    }

    /// Reads what the certificates are now, and checks them, so that an error names the file.
    pub(crate) fn load(&self) -> Result<ClientTlsConfig, Error> {
        let (ca, roots) = self.ca.certificates("ca")?;
        let (certificate, chain) = self.certificate.certificates("certificate")?;
        let (key_text, key) = self.key.key()?;
        self.check(roots, chain, key)?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca))
            .identity(Identity::from_pem(certificate, key_text));
        Ok(match &self.server_name {
            Some(name) => tls.domain_name(name),
            None => tls,
        })
    }

    fn check(
        &self,
        roots: Vec<CertificateDer<'static>>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), Error> {
        let mut trusted = RootCertStore::empty();
        for root in roots {
            let added = trusted.add(root);
            added.map_err(|error| self.ca.error("ca", error))?;
        }
        let made = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let builder = builder.with_root_certificates(trusted);
                builder.with_client_auth_cert(chain, key)
            });
        match made {
            Ok(_) => Ok(()),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let certificate = self.certificate.name();
                let reason = format_args!("it is not the key of the certificate {certificate}");
                Err(self.key.error("key", reason))
            }
            Err(error) => Err(self.certificate.error("certificate", error)),
        }
    }
}

/// The application's, if it has chosen one for the process, as the connection itself has it.
fn provider() -> Arc<CryptoProvider> {
    let chosen = CryptoProvider::get_default().cloned();
    chosen.unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// What an error of TLS means for whoever has set it up; `None` if it is none, or speaks for itself.
pub(crate) fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let error = match inside {
        Some(inside) => inside.downcast_ref()?,
        None => error.downcast_ref()?,
    };
    match error {
        rustls::Error::InvalidCertificate(reason) => advice_on_certificate(reason),
        rustls::Error::InvalidMessage(_) => {
            Some("it does not speak TLS: write http://, or give it auth = \"mtls\"")
        }
        _ => None,
    }
}

fn advice_on_certificate(reason: &CertificateError) -> Option<&'static str> {
    use CertificateError as Reason;
    match reason {
        Reason::UnknownIssuer | Reason::BadSignature => {
            Some("the forwarder's certificate is not signed by the configured ca")
        }
        Reason::Expired | Reason::ExpiredContext { .. } => {
            Some("the forwarder's certificate has expired")
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => Some(
            "the forwarder's certificate has another name: connect to that, or set Tls::server_name",
        ),
        _ => None,
    }
}
