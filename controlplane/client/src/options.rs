//! What a start may ask for, and what an affinity is about.

use std::{net::SocketAddr, time::Duration};

use tether_api::Source;

/// What a start asks for; the default leaves all to the service's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub(crate) lifetime: Lifetime,
    pub(crate) ip_port: bool,
    pub(crate) keep_on_reboot: bool,
    pub(crate) bound_to_session: bool,
}

/// How long an affinity lasts without a packet (T1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifetime {
    #[default]
    ServiceDefault,
    For(Duration),
    UntilEnded,
}

impl Options {
    /// The service's defaults, for the client's address.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long without a packet, bounded by the service's cap (T1). Whole milliseconds, at least one.
    #[must_use]
    pub fn duration(self, duration: Duration) -> Self {
        Self {
            lifetime: Lifetime::For(duration),
            ..self
        }
    }

    /// No deadline; only a service without a cap grants it (T1).
    #[must_use]
    pub fn until_ended(self) -> Self {
        Self {
            lifetime: Lifetime::UntilEnded,
            ..self
        }
    }

    /// Binds the client's address and port instead of its address. For `start`, which reads the
    /// source off the socket.
    #[must_use]
    pub fn ip_port(self) -> Self {
        Self {
            ip_port: true,
            ..self
        }
    }

    /// Survives a restart of this process (S7).
    #[must_use]
    pub fn keep_on_reboot(self) -> Self {
        Self {
            keep_on_reboot: true,
            ..self
        }
    }

    /// Ends when the connection to the forwarder breaks (S6), and so when this process dies. If it
    /// is still held when the forwarder is back, it is started again.
    #[must_use]
    pub fn bound_to_session(self) -> Self {
        Self {
            bound_to_session: true,
            ..self
        }
    }
}

/// How a signal names the service (S5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// VIP and port, or the backend's own address and port.
    Address(SocketAddr),
    /// The service's name in the forwarder's configuration.
    Service(String),
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        // Without the scope and flow label of IPv6, and IPv4 as IPv4 (S4).
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl From<&str> for Destination {
    fn from(service: &str) -> Self {
        Self::Service(service.to_owned())
    }
}

/// Which affinity: of which service, with which client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The service.
    pub destination: Destination,
    /// The client.
    pub source: Source,
}
