//! How the forwarder is reached, and why it was not.

use std::{error::Error as Cause, sync::Arc, time::Duration};

use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{Config, Error, Tls, tls::advice};

/// Room for the outcomes of a full window (a compact outcome has some 30 bytes).
const WINDOW_BYTES: u32 = 1 << 20;
/// A forwarder that vanished without a word is noticed after this and the answer timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why the forwarder is away, as [`Error::Away`] says it.
pub(crate) type Away = Arc<str>;

/// Makes connections to the forwarder.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    tls: Option<Tls>,
    timeout: Duration,
}

impl Dialer {
    /// Errors: the URI is none or does not fit the certificates, or those cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let dialer = Self {
            endpoint: endpoint(config)?,
            tls: config.tls.clone(),
            timeout: config.answer_timeout,
        };
        dialer.secure()?;
        Ok(dialer)
    }

    /// Connects, with the certificates as they are now.
    pub(crate) async fn dial(&self) -> Result<Channel, Away> {
        let endpoint = self
            .secure()
            .map_err(|error| Away::from(error.to_string()))?;
        match tokio::time::timeout(self.timeout, endpoint.connect()).await {
            Ok(connected) => connected.map_err(|error| explain(&error)),
            Err(_) => Err(silence(self.timeout)),
        }
    }

    fn secure(&self) -> Result<Endpoint, Error> {
        let endpoint = self.endpoint.clone();
        let Some(tls) = &self.tls else {
            return Ok(endpoint);
        };
        let secured = endpoint.tls_config(tls.load()?);
        secured.map_err(|error| Error::Tls {
            what: "server_name",
            name: tls.name().unwrap_or(&self.host()).to_owned(),
            reason: explain(&error).to_string(),
        })
    }

    fn host(&self) -> String {
        self.endpoint.uri().host().unwrap_or_default().to_owned()
    }
}

fn endpoint(config: &Config) -> Result<Endpoint, Error> {
    let refuse = |reason: String| Error::Forwarder {
        uri: config.forwarder.clone(),
        reason,
    };
    let endpoint = Endpoint::from_shared(config.forwarder.clone())
        .map_err(|error| refuse(error.to_string()))?;
    let host = endpoint.uri().host();
    let scheme = host.and_then(|_| endpoint.uri().scheme_str());
    match (scheme, &config.tls) {
        (Some("http"), None) | (Some("https"), Some(_)) => Ok(with_limits(endpoint, config)),
        (Some("http"), Some(_)) => Err(refuse("with Config::tls the scheme is https".into())),
        (Some("https"), None) => Err(refuse("https needs the certificates of Config::tls".into())),
        _ => Err(refuse(
            "it needs the scheme http or https, and a host".into(),
        )),
    }
}

fn with_limits(endpoint: Endpoint, config: &Config) -> Endpoint {
    endpoint
        .connect_timeout(config.answer_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(config.answer_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
}

pub(crate) fn silence(answer_timeout: Duration) -> Away {
    format!("no answer within {answer_timeout:?}").into()
}

/// What broke the connection, or what the forwarder said instead of outcomes.
pub(crate) fn explain_status(status: &Status) -> Away {
    match status.source() {
        Some(cause) => explain(cause),
        None => format!("{}: {}", status.code(), status.message()).into(),
    }
}

/// Why the forwarder did not say hello. In TLS 1.3 a refused certificate shows only here, and not
/// always by its name: the connection may just close, as it does on who speaks no TLS.
pub(crate) fn explain_refusal(config: &Config, status: &Status) -> Away {
    let reason = explain_status(status);
    if status.source().is_none() {
        return reason;
    }
    let suspicion = match &config.tls {
        Some(tls) => tls.suspicion(),
        None => "the forwarder may want TLS: write https://, with Config::tls".to_owned(),
    };
    format!("{reason}: {suspicion}").into()
}

/// The innermost cause is the one that helps: "connection refused".
fn explain(error: &(dyn Cause + 'static)) -> Away {
    let mut cause = error;
    let mut advice = advice(cause);
    while let Some(inner) = cause.source() {
        cause = inner;
        advice = advice.or_else(|| self::advice(cause));
    }
    match advice {
        Some(advice) => format!("{cause}: {advice}").into(),
        None => cause.to_string().into(),
    }
}
