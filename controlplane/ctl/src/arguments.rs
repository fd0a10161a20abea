//! The command line: verbs, their arguments, and the request that each makes.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments of arguments are the help text as it is shown"
)]

mod config;
mod traffic;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tether_api::{
    Source,
    operator::{
        AdminState, AffinityFilter, AffinityKey, AffinityState, DEFAULT_SOCKET, Request,
        StartAffinity, WatchFilter,
    },
};

pub(crate) use config::ConfigVerb;
pub(crate) use traffic::{Capture, Explain, FlowVerb, StatsOptions};

/// Look at and steer a running tetherd.
#[derive(Debug, Parser)]
#[command(name = "tetherctl", version, about, after_help = EXITS, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// The daemon's operator socket
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// Print JSON: one document, an array for lists, one object a line with watch and --interval
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const CAPTURE_HELP: &str = "A filter is made of terms that must all hold:
  tcp  udp  icmp  arp  in  out  dropped
  host ADDRESS  src ADDRESS  dst ADDRESS  net ADDRESS/LENGTH  port NUMBER
  service NAME  backend NAME  fate NAME
Each may follow \"not\", and \"and\" may stand between two. What holds for a packet as it came holds
for the frame in which it leaves.
  tetherctl capture tcp port 80 dropped
  tetherctl capture --write shop.pcapng --count 1000 service shop and not host 10.9.0.1";

const EXITS: &str = "Exit: 0 done, 1 refused or failed, 2 usage, 3 daemon not reachable.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Version, uptime, epoch, workers, ports, table fill, neighbours
    Status,
    /// Services and their backends
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Backends: what they are, and what you want them to be
    #[command(subcommand)]
    Backend(BackendVerb),
    /// Affinities: which clients are bound to which backend
    #[command(subcommand)]
    Affinity(AffinityVerb),
    /// Which backend a packet would get, and why; nothing is sent
    Explain(Explain),
    /// Flows: the connections that the workers remember
    #[command(subcommand)]
    Flow(FlowVerb),
    /// Counters per worker and port; rates with --interval
    Stats(StatsOptions),
    /// A live screen: workers, drops, ports, services and backends
    Top {
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = traffic::seconds)]
        interval: Duration,
    },
    /// What comes and leaves, with its fate and who decided; a line for each frame, or a pcapng file
    #[command(after_help = CAPTURE_HELP)]
    Capture(Capture),
    /// The configuration: check, compare, apply or show it
    #[command(subcommand)]
    Config(ConfigVerb),
    /// What on this host keeps Tether from running well, and what mends it; exit 1 if a problem is found
    Doctor {
        /// What tetherd is started with; default: /etc/tether/tether.toml, where there is one
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print a completion script, e.g. for /etc/bash_completion.d
    Completions {
        /// The shell that it is for
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// All services
    List,
    /// One service with its backends
    Show {
        /// Name of the service
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackendVerb {
    /// All backends, or those of a service
    List {
        /// Name of the service
        service: Option<String>,
    },
    /// No new clients but those with an affinity, until it is empty
    Drain {
        #[command(flatten)]
        name: BackendName,
        /// Come back only when no flow and no affinity is left
        #[arg(long)]
        wait: bool,
    },
    /// No new flows at all; its affinities are suspended
    Disable(BackendName),
    /// Take back drain or disable
    Enable(BackendName),
    /// Set its share of the scheduler; 0: no new flows but those of affinities
    Weight {
        #[command(flatten)]
        name: BackendName,
        /// The new weight
        weight: u32,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BackendName {
    /// Name of the service
    pub(crate) service: String,
    /// Name of the backend
    pub(crate) backend: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AffinityVerb {
    /// Those that match
    List(Filter),
    /// How many match
    Count(Filter),
    /// One of them
    Show(Key),
    /// Start one in the name of a backend
    Start(Start),
    /// Move its deadline further away
    Extend {
        #[command(flatten)]
        key: Key,
        /// From now, e.g. 30m; default: its own duration
        #[arg(long, value_parser = duration)]
        duration: Option<Duration>,
        /// Only if this is its generation
        #[arg(long)]
        generation: Option<u64>,
    },
    /// End it; live connections go on
    End {
        #[command(flatten)]
        key: Key,
        /// Only if this is its generation
        #[arg(long)]
        generation: Option<u64>,
    },
    /// End all that match
    Flush {
        #[command(flatten)]
        filter: Filter,
        /// Really all of them
        #[arg(long)]
        all: bool,
    },
    /// What happens to them from now on, as it happens, until ^C
    Watch {
        /// Of this service
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// Owned by this backend; of a takeover: taken from it
        #[arg(long, value_name = "NAME")]
        backend: Option<String>,
    },
    /// Let affinities route again, of a service or of all
    On {
        /// Name of the service
        service: Option<String>,
    },
    /// Balance everybody, of a service or of all; the table stays
    Off {
        /// Name of the service
        service: Option<String>,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Key {
    /// Name of the service
    service: String,
    /// The client: 10.1.2.3, 10.1.2.3:5000, [fd00::1]:5000 or 10.1.0.0/16
    source: Source,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    key: Key,
    /// Name of the backend that will own it
    backend: String,
    /// How long without a packet, e.g. 30m; default: the service's
    #[arg(long, value_parser = duration, conflicts_with = "until_ended")]
    duration: Option<Duration>,
    /// No deadline, where the service has no cap
    #[arg(long)]
    until_ended: bool,
    /// Keep it when the backend restarts
    #[arg(long)]
    keep_on_reboot: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Filter {
    /// Of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Owned by this backend
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Of this address, or within this prefix
    #[arg(long)]
    source: Option<Source>,
    /// In this state
    #[arg(long)]
    state: Option<State>,
    /// Whose deadline is at most so far away, e.g. 5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expiring_within: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Active,
    Suspended,
    Draining,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 90s, 30m or 1h30m"))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ServiceVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::List => Request::ServiceList,
            Self::Show { name } => Request::ServiceShow {
                service: name.clone(),
            },
        }
    }
}

impl BackendVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::List { service } => Request::BackendList {
                service: service.clone(),
            },
            Self::Drain { name, .. } => name.set(AdminState::Drain),
            Self::Disable(name) => name.set(AdminState::Disable),
            Self::Enable(name) => name.set(AdminState::Enable),
            Self::Weight { name, weight } => Request::BackendWeight {
                service: name.service.clone(),
                backend: name.backend.clone(),
                weight: *weight,
            },
        }
    }
}

impl BackendName {
    fn set(&self, state: AdminState) -> Request {
        Request::BackendSet {
            service: self.service.clone(),
            backend: self.backend.clone(),
            state,
        }
    }
}

impl AffinityVerb {
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::List(filter) => Request::AffinityList(filter.request()),
            Self::Count(filter) => Request::AffinityCount(filter.request()),
            Self::Show(key) => Request::AffinityShow(key.request()),
            Self::Start(start) => Request::AffinityStart(start.request()),
            Self::Extend {
                key,
                duration,
                generation,
            } => Request::AffinityExtend {
                key: key.request(),
                duration_ms: duration.map(milliseconds),
                generation: *generation,
            },
            Self::End { key, generation } => Request::AffinityEnd {
                key: key.request(),
                generation: *generation,
            },
            Self::Watch { service, backend } => Request::AffinityWatch(WatchFilter {
                service: service.clone(),
                backend: backend.clone(),
            }),
            Self::Flush { filter, .. } => Request::AffinityFlush(filter.request()),
            Self::On { service } => Request::AffinitySwitch {
                on: true,
                service: service.clone(),
            },
            Self::Off { service } => Request::AffinitySwitch {
                on: false,
                service: service.clone(),
            },
        }
    }

    /// A flush of everything must be meant.
    pub(crate) fn is_unmeant_flush(&self) -> bool {
        matches!(self, Self::Flush { filter, all: false }
            if filter.request() == AffinityFilter::default())
    }
}

impl Key {
    fn request(&self) -> AffinityKey {
        AffinityKey {
            service: self.service.clone(),
            source: self.source,
        }
    }
}

impl Start {
    fn request(&self) -> StartAffinity {
        StartAffinity {
            key: self.key.request(),
            backend: self.backend.clone(),
            duration_ms: self.duration.map(milliseconds),
            until_ended: self.until_ended,
            keep_on_reboot: self.keep_on_reboot,
        }
    }
}

impl Filter {
    fn request(&self) -> AffinityFilter {
        AffinityFilter {
            service: self.service.clone(),
            backend: self.backend.clone(),
            source: self.source,
            state: self.state.map(|state| match state {
                State::Active => AffinityState::Active,
                State::Suspended => AffinityState::Suspended,
                State::Draining => AffinityState::Draining,
            }),
            expiring_within_ms: self.expiring_within.map(milliseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    fn affinity(line: &str) -> AffinityVerb {
        match Arguments::try_parse_from(line.split_whitespace())
            .unwrap()
            .verb
        {
            Verb::Affinity(verb) => verb,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_flush_without_a_filter_needs_all() {
        assert!(affinity("tetherctl affinity flush").is_unmeant_flush());
        assert!(!affinity("tetherctl affinity flush --all").is_unmeant_flush());
        assert!(!affinity("tetherctl affinity flush --backend a").is_unmeant_flush());
        assert!(!affinity("tetherctl affinity list").is_unmeant_flush());
    }

    #[test]
    fn a_start_says_all_that_was_said() {
        let line = "tetherctl affinity start shop 10.1.2.3/16 shop-1 --duration 1h30m";
        let expected = StartAffinity {
            key: AffinityKey {
                service: "shop".into(),
                source: "10.1.0.0/16".parse().unwrap(),
            },
            backend: "shop-1".into(),
            duration_ms: Some(5_400_000),
            until_ended: false,
            keep_on_reboot: false,
        };
        assert_eq!(affinity(line).request(), Request::AffinityStart(expected));
    }
}
