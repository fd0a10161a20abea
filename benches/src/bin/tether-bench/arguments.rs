//! What is to be measured.

use clap::{Parser, ValueEnum};
use dpdk::MempoolConfig;
use std::net::IpAddr;
use tether_dataplane::key::Protocol;

/// What is done with each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// It is sent on as it is.
    Io,
    /// Its MAC addresses are swapped.
    Macswap,
    /// The whole path, without affinities.
    Balance,
    /// The whole path, with an affinity for every source.
    Affinity,
}

/// What a capture wants that is under way meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Watch {
    /// A client of whom no packet comes.
    Nothing,
    /// TCP of a port that nobody uses.
    NoPort,
    /// What is dropped.
    Drops,
    /// Everything.
    All,
}

/// Measures Tether's packet path. EAL arguments come first, then `--`, then these.
#[derive(Debug, Parser)]
#[command(name = "tether-bench [EAL arguments] --", version)]
pub(crate) struct Arguments {
    /// What is done with each packet.
    #[arg(long, value_enum, default_value_t = Mode::Balance)]
    pub(crate) mode: Mode,
    /// A service, as PROTOCOL/ADDRESS:PORT; those not named are read off the first frames.
    #[arg(long = "service", value_parser = service)]
    pub(crate) services: Vec<Service>,
    /// Flows that each worker's flow table has room for.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) flows: usize,
    /// Affinities: for sources in the frames first, then for made-up ones. In mode `affinity`, at
    /// least one for each source in the frames.
    #[arg(long, default_value_t = 0)]
    pub(crate) affinities: usize,
    /// Backends of each service.
    #[arg(long, default_value_t = 10)]
    pub(crate) backends: u16,
    /// Signals that are applied each second while packets pass: starts of made-up sources, each of
    /// which expires after a second, so that as many expire.
    #[arg(long, default_value_t = 0)]
    pub(crate) signals_per_second: u64,
    /// Configurations that are applied each second, each with other weights for all backends.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) reloads_per_second: f64,
    /// Every packet opens a flow: its source port counts on.
    #[arg(long)]
    pub(crate) flood: bool,
    /// A capture is under way, in the modes that run the whole path.
    #[arg(long, value_enum)]
    pub(crate) capture: Option<Watch>,
    /// Cores of the workers, as in 0,1: one worker on each, with one queue on every port. Without it
    /// one worker on any.
    #[arg(long, value_delimiter = ',')]
    pub(crate) cores: Vec<u16>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Seconds before that.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Seconds after that, in which cycles are told apart by stage; 0: not at all.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) stage_seconds: f64,
    /// Frames that each pool of the first port holds; a `net_pcap` port that repeats its file needs as
    /// many as the file has.
    #[arg(long, default_value_t = 300_000)]
    pub(crate) mbufs: u32,
    /// Bytes of a frame's buffer, as testpmd's --mbuf-size.
    #[arg(long, default_value_t = MempoolConfig::DATA_ROOM)]
    pub(crate) mbuf_size: u16,
    /// Frames of each queue of the first port that are looked at for services and sources before the
    /// start; by default as many as its pool holds.
    #[arg(long)]
    pub(crate) survey: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.cores.len().max(1)
    }
}

/// What clients address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Service {
    pub(crate) protocol: Protocol,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

fn service(text: &str) -> Result<Service, String> {
    let wrong = || format!("'{text}' is no service: write tcp/10.0.0.1:80 or udp/[fd00::1]:53");
    let (protocol, address) = text.split_once('/').ok_or_else(wrong)?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(wrong()),
    };
    let address: std::net::SocketAddr = address.parse().map_err(|_| wrong())?;
    Ok(Service {
        protocol,
        address: address.ip(),
        port: address.port(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_written_as_in_the_manual() {
        let read = service("udp/[fd00::1]:53").unwrap();
        assert_eq!((read.protocol, read.port), (Protocol::Udp, 53));
        assert!(service("10.0.0.1:80").unwrap_err().contains("write tcp/"));
    }
}
