//! Why the edge cannot start, and what to do about it.

use std::{
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error(
        "{key} = \"{address}\" cannot be bound: {error}; {}",
        bind_advice(error)
    )]
    Bind {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A listener that cannot be served.
    #[error("cannot serve {address}: {reason}")]
    Listen {
        /// What is bound.
        address: String,
        /// Why.
        reason: String,
    },
    /// A file of `[control.tls]` that cannot be read.
    #[error(
        "control.tls.{key} = {path:?} cannot be read: {error}; \
         give the path of a PEM file that this user may read"
    )]
    TlsFile {
        /// The key of the configuration.
        key: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of `[control.tls]` that is not what it should be.
    #[error("control.tls.{key} = {path:?}: {reason}; {}", tls_advice(key))]
    Tls {
        /// The key of the configuration.
        key: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An operator socket that cannot be.
    #[error("control.operator = {path:?}: {reason}")]
    Operator {
        /// The path.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The system refuses a thread, a runtime or a signal handler.
    #[error("cannot start the server thread: {0}; the limits of this process are too low")]
    Thread(io::Error),
}

impl StartError {
    pub(super) fn listen(address: Option<SocketAddr>, reason: &dyn Display) -> Self {
        Self::Listen {
            address: address.map_or_else(|| "a listener".to_owned(), |it| it.to_string()),
            reason: reason.to_string(),
        }
    }
}

/// Listens on a TCP address.
pub(super) fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| StartError::Bind {
        key,
        address,
        error,
    })
}

fn tls_advice(key: &str) -> &'static str {
    match key {
        "key" => "give the certificate's private key as PEM (PKCS#8, PKCS#1 or SEC1)",
        "client_ca" => "give the authority of the backends' certificates as PEM",
        _ => "give a PEM chain, the server's own first, that goes with control.tls.key",
    }
}

fn bind_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there (`ss -ltnp`): stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host (or network namespace) has that address: `ip address` lists them"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 want CAP_NET_BIND_SERVICE: choose another, or run as root"
        }
        _ => "choose another address",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_named_with_what_to_do() {
        let holder = bind("control.signal", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();
        let error = bind("control.signal", address).unwrap_err().to_string();
        let start =
            format!("control.signal = \"{address}\" cannot be bound: Address already in use");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("ss -ltnp"), "{error}");
    }

    #[test]
    fn an_address_of_another_host_is_told_apart() {
        let error = bind("control.metrics", "192.0.2.1:1".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("ip address"), "{error}");
    }
}
