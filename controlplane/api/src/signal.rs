//! Typed access to the byte fields of a batched signal.

use std::{fmt, net::SocketAddr};

use crate::{
    BadSource, Bytes, Source,
    source::address_of,
    v1::{Signal, SignalBatch},
};

/// Why a signal of a batch cannot be read: `INVALID`, with this as its detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSignal {
    /// The client side.
    Source(BadSource),
    /// `destination` has neither 4 nor 16 bytes.
    DestinationLength(usize),
    /// `destination_port` is beyond 65535.
    DestinationPort(u32),
    /// `service_index` points past `SignalBatch.services`.
    ServiceIndex(u32),
}

impl fmt::Display for BadSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(bad) => bad.fmt(f),
            Self::DestinationLength(bytes) => write!(
                f,
                "destination: {bytes} bytes; an address has 4 or 16, in network order"
            ),
            Self::DestinationPort(port) => {
                write!(f, "destination_port: {port} is beyond 65535")
            }
            Self::ServiceIndex(index) => write!(
                f,
                "service_index: {index} is beyond the batch's services; it counts from 1"
            ),
        }
    }
}

impl std::error::Error for BadSignal {}

/// How a signal names its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// By name.
    Service(&'a str),
    /// By VIP and port, or by the backend's own address and port (S5); not IPv4-mapped.
    Destination(SocketAddr),
}

impl Signal {
    /// The source, canonical.
    pub fn source(&self) -> Result<Source, BadSignal> {
        Source::from_wire(&self.source, self.source_port, self.prefix_length)
            .map_err(BadSignal::Source)
    }

    /// Sets the three fields of the source.
    pub fn set_source(&mut self, source: &Source) {
        self.source = octets(source.address());
        self.source_port = source.port().into();
        self.prefix_length = source.is_subnet().then(|| source.prefix_length().into());
    }

    /// The service, as the signal of this batch names it.
    pub fn target<'a>(&self, batch: &'a SignalBatch) -> Result<Target<'a>, BadSignal> {
        if self.service_index == 0 {
            return self.destination().map(Target::Destination);
        }
        let position = usize::try_from(self.service_index - 1).ok();
        position
            .and_then(|position| batch.services.get(position))
            .map(|name| Target::Service(name))
            .ok_or(BadSignal::ServiceIndex(self.service_index))
    }

    /// Names the service by VIP and port, or by the backend's own address and port.
    pub fn set_destination(&mut self, destination: SocketAddr) {
        self.destination = octets(destination.ip().to_canonical());
        self.destination_port = destination.port().into();
    }

    fn destination(&self) -> Result<SocketAddr, BadSignal> {
        let address = address_of(&self.destination)
            .ok_or(BadSignal::DestinationLength(self.destination.len()))?;
        let port = u16::try_from(self.destination_port)
            .map_err(|_| BadSignal::DestinationPort(self.destination_port))?;
        Ok(SocketAddr::new(address.to_canonical(), port))
    }
}

fn octets(address: std::net::IpAddr) -> Bytes {
    match address {
        std::net::IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
        std::net::IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_goes_there_and_back() {
        for text in [
            "10.1.2.3",
            "10.1.2.3:5000",
            "10.1.0.0/16",
            "fd00::1",
            "[fd00::1]:5",
            "fd00::/32",
        ] {
            let source: Source = text.parse().unwrap();
            let mut signal = Signal::default();
            signal.set_source(&source);
            assert_eq!(signal.source(), Ok(source), "{text}");
        }
    }

    #[test]
    fn a_target_is_a_name_or_a_destination() {
        let batch = SignalBatch {
            services: vec!["shop".into()],
            ..Default::default()
        };
        let mut signal = Signal {
            service_index: 1,
            ..Default::default()
        };
        assert_eq!(signal.target(&batch), Ok(Target::Service("shop")));
        signal.service_index = 2;
        assert_eq!(signal.target(&batch), Err(BadSignal::ServiceIndex(2)));
        signal.service_index = 0;
        assert_eq!(signal.target(&batch), Err(BadSignal::DestinationLength(0)));
        signal.set_destination("[::ffff:10.9.0.100]:80".parse().unwrap());
        let vip = "10.9.0.100:80".parse().unwrap();
        assert_eq!(signal.target(&batch), Ok(Target::Destination(vip)));
        signal.destination_port = 65_536;
        assert_eq!(
            signal.target(&batch),
            Err(BadSignal::DestinationPort(65_536))
        );
    }
}
