//! Verbs about packets: explain, flow, stats.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use tether_api::{
    Source,
    operator::{
        CaptureFilter, CaptureRequest, ExplainPacket, FlowFilter, Protocol, Request, SNAP_LENGTH,
    },
};

use crate::error::Error;

#[derive(Clone, Debug, Args)]
pub(crate) struct Explain {
    /// Transport protocol
    protocol: Transport,
    /// The client: 10.1.2.3, 10.1.2.3:5000, fd00::1 or [fd00::1]:5000
    source: Client,
    /// VIP and port: 10.9.0.100:80 or [fd00::100]:80
    destination: SocketAddr,
    /// What if this backend were down?
    #[arg(long, value_name = "BACKEND")]
    without: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

/// An address, with or without a port.
#[derive(Clone, Copy, Debug)]
struct Client {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for Client {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let source: Source = text.parse().map_err(|error| format!("{error}"))?;
        if source.is_subnet() {
            return Err("a packet comes from one address, not from a subnet".into());
        }
        let port = Some(source.port()).filter(|port| *port != 0);
        Ok(Self {
            address: source.address(),
            port,
        })
    }
}

impl Explain {
    pub(crate) fn request(&self) -> Request {
        Request::Explain(ExplainPacket {
            protocol: match self.protocol {
                Transport::Tcp => Protocol::Tcp,
                Transport::Udp => Protocol::Udp,
            },
            source: self.source.address,
            source_port: self.source.port,
            destination: self.destination,
            without: self.without.clone(),
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum FlowVerb {
    /// Those that match
    List {
        /// Of this service
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// To this backend
        #[arg(long, value_name = "NAME")]
        backend: Option<String>,
        /// Of clients with this address, or within this prefix
        #[arg(long)]
        source: Option<Source>,
    },
}

impl FlowVerb {
    pub(crate) fn request(&self) -> Request {
        let Self::List {
            service,
            backend,
            source,
        } = self;
        Request::FlowList(FlowFilter {
            service: service.clone(),
            backend: backend.clone(),
            source: *source,
        })
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Capture {
    /// Write a pcapng file, or with "-" to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// End after so many frames; default: at ^C
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many bytes of each frame to keep; 0: all
    #[arg(long, short, value_name = "BYTES", default_value_t = SNAP_LENGTH)]
    snap_length: u32,
    /// Which frames; default: all
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl Capture {
    /// The words of the filter.
    pub(crate) fn filter(&self) -> String {
        self.filter.join(" ")
    }

    pub(crate) fn request(&self) -> Result<CaptureRequest, Error> {
        let filter = self.filter();
        filter.parse::<CaptureFilter>().map_err(Error::Filter)?;
        Ok(CaptureRequest {
            filter,
            snap_length: Some(self.snap_length),
            count: self.count,
        })
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StatsOptions {
    /// Print rates again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) interval: Option<Duration>,
    /// Stop after so many intervals; default: never
    #[arg(long, requires = "interval", value_name = "N")]
    pub(crate) count: Option<u64>,
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "write it as 1 or 0.5")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if interval >= Duration::from_millis(10) => Ok(interval),
        _ => Err("at least 0.01 seconds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_with_or_without_a_port() {
        let client = |text: &str| {
            text.parse::<Client>()
                .map(|c| (c.address.to_string(), c.port))
        };
        assert_eq!(client("10.1.2.3"), Ok(("10.1.2.3".into(), None)));
        assert_eq!(client("[fd00::1]:5"), Ok(("fd00::1".into(), Some(5))));
        assert!(client("10.0.0.0/8").unwrap_err().contains("one address"));
        assert!(client("shop").unwrap_err().contains("10.1.2.3"));
    }

    #[test]
    fn intervals_are_seconds() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "x", "nan", "1e99"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
