//! The forwarder itself: workers, ports, tables, neighbours and counters.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// The fates of packets that were not dropped.
pub const KEPT_FATES: [&str; 6] = [
    "forwarded",
    "returned",
    "answered",
    "learned",
    "to_kernel",
    "from_kernel",
];

/// How the forwarder does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of the daemon.
    pub version: String,
    /// Since its start.
    pub uptime_ms: u64,
    /// One life of the affinity table.
    pub epoch: u64,
    /// Whether it forwards: ports up, state loaded, workers running.
    pub ready: bool,
    /// The forwarder's affinity switch (section 8).
    pub affinity: bool,
    /// One each.
    pub workers: Vec<Worker>,
    /// One each.
    pub ports: Vec<Port>,
    /// How full the tables are.
    pub tables: TableFill,
    /// Those whose MAC address the forwarder needs.
    pub neighbours: Vec<Neighbour>,
    /// What outlives the daemon; `null`: nothing does.
    pub journal: Option<Journal>,
}

/// The journal of affinities and what it is good for (contract rule L1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// Where its files are.
    pub directory: String,
    /// Why it cannot be written, so that signals are refused; `null`: it can.
    pub failing: Option<String>,
    /// Files since the last snapshot.
    pub segments: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Bytes of the last snapshot of this run.
    pub snapshot_bytes: u64,
    /// Since it was complete; `null`: there was none in this run.
    pub snapshot_ms_ago: Option<u64>,
    /// Affinities that were there again after the start.
    pub restored: u64,
    /// Signals that were refused or not acknowledged because they could not be written.
    pub not_recorded: u64,
}

/// One poll-mode worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Core that it runs on.
    pub core: u32,
    /// Latest generation of the tables that it has seen.
    pub generation: u64,
    /// Whether it says *quiescent* as it should; if not, memory waits for it.
    pub reporting: bool,
    /// Packets received since the start.
    pub packets: u64,
    /// Flows in its table.
    pub flows: u64,
    /// Most flows that its table holds.
    pub flow_capacity: u64,
}

/// One port and what it carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// DPDK name: vdev or PCI address.
    pub device: String,
    /// Name of the DPDK driver.
    pub driver: String,
    /// MAC address, `02:00:00:00:00:01`.
    pub mac: String,
    /// Whether the link is up.
    pub link_up: bool,
    /// With their prefix lengths, as configured.
    pub addresses: Vec<String>,
    /// Tag, if the port has one.
    pub vlan: Option<u16>,
    /// What it has its device do, by DPDK's names: `rss`, `rx_ipv4_cksum`. A daemon from before does not say.
    #[serde(default)]
    pub offloads: Vec<String>,
    /// What it carried, in the same object.
    #[serde(flatten)]
    pub counters: PortCounters,
}

/// Counters of a port since the start, from `rte_eth_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortCounters {
    /// `ipackets`.
    pub received_packets: u64,
    /// `ibytes`.
    pub received_bytes: u64,
    /// `opackets`.
    pub transmitted_packets: u64,
    /// `obytes`.
    pub transmitted_bytes: u64,
    /// `imissed`: the hardware dropped them because the workers were too slow.
    pub received_missed: u64,
    /// `ierrors`.
    pub received_errors: u64,
    /// `rx_nombuf`: the mempool was empty.
    pub received_no_buffer: u64,
    /// `oerrors`.
    pub transmitted_errors: u64,
}

/// How full the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableFill {
    /// Affinities now.
    pub affinities: u64,
    /// Most affinities, as configured.
    pub affinity_capacity: u64,
    /// Flows of all workers now.
    pub flows: u64,
    /// Most flows of all workers.
    pub flow_capacity: u64,
    /// Generation of the affinity table.
    pub affinity_generation: u64,
    /// Generation that was published last.
    pub published_generation: u64,
}

/// Whether a neighbour's MAC address is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourState {
    /// Asked, no answer yet.
    #[default]
    Incomplete,
    /// Known and fresh.
    Reachable,
    /// Known, and being asked again.
    Stale,
    /// Asked in vain.
    Failed,
    /// Given by the configuration, and not asked for.
    Static,
}

/// A backend or gateway on the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// DPDK name of the port behind which it is.
    pub port: String,
    /// MAC address; `null`: not resolved.
    pub mac: Option<String>,
    /// Whether it is known.
    pub state: NeighbourState,
    /// Since it last answered; `null`: never.
    pub age_ms: Option<u64>,
}

/// Counters since the start of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Since the start: what rates are computed from.
    pub uptime_ms: u64,
    /// One each.
    pub workers: Vec<WorkerStats>,
    /// One each.
    pub ports: Vec<PortStats>,
    /// Signals by what became of them: name of the outcome → count.
    pub outcomes: BTreeMap<String, u64>,
}

/// Counters of one worker. received = the sum of fates + held, always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStats {
    /// Core that it runs on.
    pub core: u32,
    /// Packets received.
    pub received: u64,
    /// Packets that wait for a MAC address now.
    pub held: u64,
    /// What became of packets: name of the fate → count.
    pub fates: BTreeMap<String, u64>,
    /// Packets that the worker made itself (ARP, NDP), received from nobody.
    pub originated: u64,
    /// Packets that the transmit queue had no room for: the fate of that name.
    pub transmit_full: u64,
    /// New flows by what placed them: `affinity`, `scheduler`, or the reason of a fall-back → count.
    pub placed: BTreeMap<String, u64>,
    /// Turns of its loop.
    pub steps: u64,
    /// Cycles of the time-stamp counter by what they went into: `busy`, `idle`, or a stage → cycles.
    pub cycles: BTreeMap<String, u64>,
    /// Frequency of the time-stamp counter.
    pub cycles_per_second: u64,
}

/// Counters of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortStats {
    /// DPDK name.
    pub device: String,
    /// What it carried, in the same object.
    #[serde(flatten)]
    pub counters: PortCounters,
}
