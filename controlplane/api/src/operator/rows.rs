//! Services, backends, affinities and flows as operators see them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::bytes::HexBytes;
use crate::v1::OutcomeCode;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What an operator wants a backend to be (contract, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// No new flows but those of affinities, so that it empties.
    Drain,
    /// No new flows at all; its affinities are suspended.
    Disable,
    /// As if neither had been said.
    Enable,
}

/// What a backend is (contract, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// Takes flows.
    Up,
    /// Takes flows of its affinities only.
    Draining,
    /// Takes none, by the operator's will.
    Disabled,
    /// Takes none, by its health.
    Down,
}

/// Whether an affinity routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AffinityState {
    /// It routes.
    #[default]
    Active,
    /// Its owner is down or disabled.
    Suspended,
    /// Its owner drains: it routes, and nothing extends it automatically.
    Draining,
}

/// What decides where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacedBy {
    /// A worker knows the flow (R1).
    Flow,
    /// An affinity matches (R2).
    Affinity,
    /// The service's scheduler (R3).
    Scheduler,
    /// Nothing: it would be dropped or is not for a service.
    None,
}

/// A service and its backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// VIP, or the first of several.
    pub address: IpAddr,
    /// How many bits its VIPs share, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
    /// Port; 0: every port.
    pub port: u16,
    /// Name of the scheduler, as in the configuration.
    pub scheduler: String,
    /// How packets reach its backends, as in the configuration.
    pub forward: String,
    /// Whether affinities route: its own switch and the forwarder's (section 8).
    pub affinity: bool,
    /// How many affinities it has.
    #[serde(default)]
    pub affinities: u64,
    /// How many flows it has.
    #[serde(default)]
    pub flows: u64,
    /// Its backends, in the order of the configuration.
    #[serde(default)]
    pub backends: Vec<Backend>,
}

/// One backend of a service. A drain is complete at 0 flows and 0 affinities (B3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Name of its service.
    pub service: String,
    /// Its name within the service.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0: the packet's.
    pub port: u16,
    /// Its share of the scheduler.
    pub weight: u32,
    /// What it is.
    pub state: BackendState,
    /// Live flows.
    pub flows: u64,
    /// Affinities that it owns.
    pub affinities: u64,
    /// Whether an operator has drained or disabled it and nothing of it is left: it may be stopped.
    #[serde(default)]
    pub drained: bool,
    /// How long packets may be through its tunnel, where a router on the way has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<u16>,
}

/// One affinity, as of the moment at which it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// Name of the service.
    pub service: String,
    /// The source in canonical form (S4).
    pub source: String,
    /// Name of the backend that it routes to.
    pub owner: String,
    /// Whether it routes.
    pub state: AffinityState,
    /// Since it was created.
    pub created_ms_ago: u64,
    /// Since a packet last matched; `null`: none has.
    pub last_hit_ms_ago: Option<u64>,
    /// How far ahead a matching packet puts the deadline; `null`: until ended.
    pub duration_ms: Option<u64>,
    /// To the deadline; `null`: until ended.
    pub remaining_ms: Option<u64>,
    /// New flows that it placed.
    pub hits: u64,
    /// Live flows that it placed.
    pub flows: u64,
    /// Its generation, for extend and end.
    pub generation: u64,
}

/// How many affinities match a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityCount {
    /// All of them.
    pub total: u64,
    /// Those that route, draining ones aside.
    #[serde(default)]
    pub active: u64,
    /// Those whose owner is down or disabled.
    #[serde(default)]
    pub suspended: u64,
    /// Those whose owner drains.
    #[serde(default)]
    pub draining: u64,
}

/// What became of a signal that an operator sent; as `tether.v1.Outcome`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalOutcome {
    /// By the names of the contract's section 4.
    #[serde(with = "code_name")]
    pub code: OutcomeCode,
    /// Name of the service.
    #[serde(default)]
    pub service: String,
    /// The source in canonical form (S4).
    #[serde(default)]
    pub source: String,
    /// Name of the backend that owns it now.
    #[serde(default)]
    pub owner: Option<String>,
    /// The duration that it has now; `null`: refused, ended, or until ended.
    #[serde(default)]
    pub granted_ms: Option<u64>,
    /// To the deadline; of CONFLICT: of the other's. `null`: there is none.
    #[serde(default)]
    pub remaining_ms: Option<u64>,
    /// Its generation; 0: there is no affinity.
    #[serde(default)]
    pub generation: u64,
    /// One life of the forwarder's table.
    #[serde(default)]
    pub epoch: u64,
    /// One sentence on a refusal; empty if there is nothing to say.
    #[serde(default)]
    pub detail: String,
}

mod code_name {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::v1::OutcomeCode;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde calls"
    )]
    pub(super) fn serialize<S: Serializer>(code: &OutcomeCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(code.as_str_name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OutcomeCode, D::Error> {
        let name = String::deserialize(from)?;
        OutcomeCode::from_str_name(&name)
            .ok_or_else(|| D::Error::custom(format_args!("unknown outcome {name:?}")))
    }
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// How many affinities it ended.
    pub ended: u64,
}

/// Where affinities route (section 8): where both the global and the service's own switch are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinitySwitch {
    /// The forwarder's switch.
    pub global: bool,
    /// The switch of each service, by name.
    pub services: BTreeMap<String, bool>,
}

/// Where a packet would go, and why (section 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Name of the service; `null`: the destination is none.
    pub service: Option<String>,
    /// Name of the backend; `null`: it would be dropped, or is not for us.
    pub backend: Option<String>,
    /// What decides.
    pub by: PlacedBy,
    /// The affinity that matches, also where it does not decide because it is suspended.
    pub affinity: Option<Affinity>,
    /// One sentence: why.
    pub reason: String,
    /// How the packet would reach the backend, as in the configuration.
    pub forward: Option<String>,
    /// The frame that would leave; `null`: none would.
    #[serde(default)]
    pub frame: Option<Box<ExplainedFrame>>,
}

/// The frame that would leave for a packet that nobody has sent: a SYN, or an empty datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFrame {
    /// The port that the packet would come by.
    pub comes_by: String,
    /// The port that it would leave by.
    pub port: String,
    /// The port's MAC address.
    pub source_mac: String,
    /// That of the next hop; `null`: not resolved yet.
    pub destination_mac: Option<String>,
    /// The address whose MAC address it is.
    pub next_hop: IpAddr,
    /// VLAN of the port.
    pub vlan: Option<u16>,
    /// The outer headers of a tunnel.
    pub outer: Option<OuterHeaders>,
    /// Source of the packet as it leaves.
    pub source: SocketAddr,
    /// Destination of the packet as it leaves.
    pub destination: SocketAddr,
    /// The longest packet of the client that goes this way, in bytes with its IP header.
    pub mtu: u16,
    /// The frame in which the packet would come, in hexadecimal; its source MAC address is not known.
    pub came: HexBytes,
    /// The frame that would leave, in hexadecimal; where the next hop is not resolved, its destination
    /// is all zeros.
    pub bytes: HexBytes,
}

/// What stands before a packet in a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OuterHeaders {
    /// The outer source address.
    pub source: IpAddr,
    /// The backend's end of the tunnel.
    pub destination: IpAddr,
    /// IP protocol number after the outer IP header.
    pub protocol: u8,
    /// UDP source port, which the flow decides; `null`: no UDP.
    pub source_port: Option<u16>,
    /// UDP destination port.
    pub destination_port: Option<u16>,
}

/// One flow as a worker remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Name of the service.
    pub service: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The client's address and port.
    pub source: SocketAddr,
    /// VIP and port.
    pub destination: SocketAddr,
    /// Name of the backend.
    pub backend: String,
    /// What placed it: `affinity` or `scheduler`.
    pub by: PlacedBy,
    /// State of the connection as the forwarder sees it, e.g. `opening`, `established`, `closing`.
    pub state: String,
    /// Since its last packet.
    pub idle_ms: u64,
    /// Core of the worker that has it.
    pub core: u32,
}
