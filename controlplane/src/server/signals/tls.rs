//! The certificates of the listener (contract rule P1), and how they change while it listens.
//!
//! New handshakes use what was read last. Connections that are open go on, also those whose
//! authority was withdrawn: their key was proven by the rules of their time. No session is resumed
//! across a change, because each reading has a session store of its own.

use super::super::{accept::Connection, error::StartError, limits, preface::Awaited};
use crate::config::{Auth, Config, Tls};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::WebPkiClientVerifier,
};
use std::{
    collections::VecDeque,
    fmt::Display,
    future::Future,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// HTTP/2 (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";

/// The log has one failed handshake in so long.
const TOLD: Duration = Duration::from_secs(1);

/// The certificates in force, and how many handshakes have failed. Clones are of the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    in_force: watch::Sender<Arc<ServerConfig>>,
    failed: Arc<AtomicU64>,
}

/// A connection whose handshake is done.
pub(super) type Secured = Awaited<TlsStream<Connection>>;

/// The certificates that a configuration names, read and found to fit together; none where it
/// names none.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub(crate) fn read(config: &Config) -> Result<Option<Arc<ServerConfig>>, StartError> {
    match config.control.signal.as_ref().map(|it| &it.auth) {
        Some(Auth::Mtls(tls)) => read_files(tls).map(Some),
        Some(Auth::Address) | None => Ok(None),
    }
}

/// What is wrong with the server's certificate in the eyes of its clients: its dates. The forwarder
/// uses it all the same, for its own clock may be the one that is wrong.
pub(crate) fn warning(config: &Config) -> Option<String> {
    let Auth::Mtls(tls) = &config.control.signal.as_ref()?.auth else {
        return None;
    };
    let chain = certificates("certificate", &tls.certificate).ok()?;
    let (_, own) = X509Certificate::from_der(chain.first()?).ok()?;
    let validity = own.validity();
    (!validity.is_valid()).then(|| {
        format!(
            "control.tls.certificate = \"{}\" is valid from {} to {} and not now: clients will refuse it",
            tls.certificate.display(),
            validity.not_before,
            validity.not_after
        )
    })
}

/// A server that only clients with a certificate of the authority get a word with.
pub(super) fn read_files(tls: &Tls) -> Result<Arc<ServerConfig>, StartError> {
    // Err: there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for authority in certificates("client_ca", &tls.client_ca)? {
        let added = roots.add(authority);
        added.map_err(|error| wrong("client_ca", &tls.client_ca, &error))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let verifier = verifier.map_err(|error| wrong("client_ca", &tls.client_ca, &error))?;
    let chain = certificates("certificate", &tls.certificate)?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, private_key(&tls.key)?)
        .map_err(|error| wrong("certificate", &tls.certificate, &error))?;
    config.alpn_protocols.push(ALPN.to_vec());
    Ok(Arc::new(config))
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let text = file(key, path)?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(wrong(key, path, &"it has no PEM certificate")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(wrong(key, path, &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, StartError> {
    let text = file("key", path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong("key", path, &error))
}

fn file(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::TlsFile {
        key,
        path: path.to_owned(),
        error,
    })
}

fn wrong(key: &'static str, path: &Path, reason: &dyn Display) -> StartError {
    StartError::Tls {
        key,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

impl Credentials {
    pub(super) fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            in_force: watch::Sender::new(config),
            failed: Arc::default(),
        }
    }

    /// From now on handshakes use these.
    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        self.in_force.send_replace(config);
    }

    /// How many handshakes have failed since the start (contract rule P5).
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    async fn accept(self, connection: Connection) -> io::Result<Secured> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.in_force.borrow()));
        let accepted = timeout(limits::HANDSHAKE, acceptor.accept(connection)).await;
        let stream = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Awaited::new(stream))
    }
}

/// The connections whose handshakes succeed, as they do; many are under way at once. To be called
/// within the runtime; ends when the stream is dropped.
pub(super) fn secured(
    connections: ReceiverStream<io::Result<Connection>>,
    credentials: Credentials,
) -> ReceiverStream<io::Result<Secured>> {
    let (done, secured) = mpsc::channel(1);
    tokio::spawn(shake_hands(connections, credentials, done));
    ReceiverStream::new(secured)
}

async fn shake_hands(
    mut connections: ReceiverStream<io::Result<Connection>>,
    credentials: Credentials,
    done: mpsc::Sender<io::Result<Secured>>,
) {
    let mut failures = Failures::of(&credentials);
    let mut handshakes = Handshakes::default();
    loop {
        tokio::select! {
            () = done.closed() => return,
            Some(ended) = handshakes.tasks.join_next() => {
                if let Some(failure) = failure(ended) {
                    failures.tell(&failure);
                }
            }
            Some(Ok(connection)) = connections.next() => {
                let (credentials, done) = (credentials.clone(), done.clone());
                handshakes.begin(shake_hand(connection, credentials, done));
            }
            else => return,
        }
    }
}

/// The handshakes that are under way. Dropping them ends them.
#[derive(Debug, Default)]
struct Handshakes {
    tasks: JoinSet<Result<(), String>>,
    /// The oldest first, some of which have ended.
    ages: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn begin(&mut self, handshake: impl Future<Output = Result<(), String>> + Send + 'static) {
        if self.ages.len() >= limits::HANDSHAKES {
            self.ages.retain(|it| !it.is_finished());
        }
        if self.ages.len() >= limits::HANDSHAKES
            && let Some(oldest) = self.ages.pop_front()
        {
            oldest.abort();
        }
        self.ages.push_back(self.tasks.spawn(handshake));
    }
}

/// Why a handshake has come to nothing.
fn failure(ended: Result<Result<(), String>, JoinError>) -> Option<String> {
    match ended {
        Ok(done) => done.err(),
        Err(error) if error.is_cancelled() => {
            let many = limits::HANDSHAKES;
            Some(format!(
                "a TLS handshake gave way to a later one: {many} are under way"
            ))
        }
        Err(panic) => Some(panic.to_string()),
    }
}

async fn shake_hand(
    connection: Connection,
    credentials: Credentials,
    done: mpsc::Sender<io::Result<Secured>>,
) -> Result<(), String> {
    let peer = connection.peer();
    let accepted = credentials.accept(connection).await;
    let secured = accepted.map_err(|error| format!("{peer}: the TLS handshake failed: {error}"))?;
    // Err: the listener has stopped.
    let _ = done.send(Ok(secured)).await;
    Ok(())
}

/// Handshakes that have failed: each is counted, and now and then one is told.
#[derive(Debug)]
struct Failures {
    counted: Arc<AtomicU64>,
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    fn of(credentials: &Credentials) -> Self {
        Self {
            counted: Arc::clone(&credentials.failed),
            told: None,
            untold: 0,
        }
    }

    fn tell(&mut self, failure: &str) {
        self.counted.fetch_add(1, Ordering::Relaxed);
        if self.told.is_some_and(|told| told.elapsed() < TOLD) {
            self.untold += 1;
            return;
        }
        match std::mem::take(&mut self.untold) {
            0 => log::info!("{failure}"),
            more => log::info!("{failure}; before it {more} others failed"),
        }
        self.told = Some(Instant::now());
    }
}
