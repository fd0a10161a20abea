//! Why a call has no outcome. Refusals are outcomes, not errors.

use std::{io, sync::Arc, time::Duration};

use tether_api::BadSource;

/// Why a call has no outcome. In each case the application goes on: its clients are balanced.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `Config::forwarder` is no URI, or does not fit `Config::tls`.
    #[error("forwarder {uri:?}: {reason}; write it as http://10.8.0.2:7470, or https:// with TLS")]
    Forwarder {
        /// As configured.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or key of `Config::tls` cannot be used.
    #[error("TLS {what} {name}: {reason}")]
    Tls {
        /// `ca`, `certificate`, `key` or `server_name`.
        what: &'static str,
        /// Its path, or that it is in memory.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The background thread could not be started.
    #[error("cannot start the tether-client thread: {0}")]
    Thread(Arc<io::Error>),
    /// The socket's addresses cannot be read: it is not connected any more.
    #[error("cannot read the addresses of the accepted socket: {0}")]
    Address(Arc<io::Error>),
    /// The source is none.
    #[error(transparent)]
    Source(#[from] BadSource),
    /// Too many calls wait already: the forwarder is slower than the application, or stuck.
    #[error("the queue of signals is full; send fewer, or raise Config::queue_max")]
    Busy,
    /// As many affinities as may be are held already.
    #[error("as many affinities as may be are held already; end some, or raise Config::held_max")]
    TooManyHeld,
    /// The forwarder cannot be reached, or went away before it answered. When it is back, starts
    /// and extensions of what is still held then are said again, and so are ends.
    #[error("the forwarder is away: {0}")]
    Away(Arc<str>),
    /// Nothing was ended: other guards of this process hold the same client.
    #[error("not ended: this process holds the same client {0} more times")]
    StillHeld(usize),
    /// Nothing was ended: the start was refused, or it has been ended or lost since.
    #[error("not ended: nothing is held any more")]
    NotHeld,
    /// No outcome yet; it may still come.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The background thread has ended.
    #[error("the client has been closed")]
    Closed,
}
