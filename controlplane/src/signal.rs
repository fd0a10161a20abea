//! A signal and its outcome, as the control thread knows them: free of any wire format.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tether_api::{Source, v1::OutcomeCode};
use tether_dataplane::tables::id::{BackendId, ServiceId};

/// Who sends, as the edge has established it (contract rules P1 and P3). Not yet what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The source address of the control connection (`auth = "address"`).
    Address(IpAddr),
    /// The names in the client's certificate (`auth = "mtls"`).
    Certificate(Vec<String>),
    /// An operator on the local socket, with the peer's user id.
    Operator {
        /// The user id of the process at the other end.
        uid: u32,
    },
}

/// What a signal is about: the service, as the server names it (contract rule S5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// By name, which all signals of a batch share.
    Service(Arc<str>),
    /// By VIP and port, or by the backend's own address and port.
    Address(SocketAddr),
}

/// How long is asked for (contract rule T1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// What the service grants by default; of an extension: the affinity's own duration.
    #[default]
    Default,
    /// So many milliseconds, above zero.
    Milliseconds(u64),
    /// Until ended, by name.
    UntilEnded,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start, or refresh.
    Start {
        /// For how long.
        duration: Asked,
        /// Re-assertion: the first deadline is no further than so many milliseconds; 0: plain start.
        remaining_ms: u64,
        /// It survives a new boot id (contract rule S7).
        keep_on_reboot: bool,
        /// It ends with this session (contract rule S6); they are numbered from 1.
        session: Option<u64>,
    },
    /// Extend.
    Extend {
        /// How far ahead of now.
        duration: Asked,
        /// Only this life of the key's affinity.
        generation: Option<u64>,
    },
    /// End.
    End {
        /// Only this life of the key's affinity.
        generation: Option<u64>,
    },
}

/// One signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Which service.
    pub destination: Destination,
    /// Which client. The error is what is wrong with it, for the outcome `INVALID`.
    pub source: Result<Source, String>,
    /// What for.
    pub operation: Operation,
    /// For which backend, where the identity has several; `None`: the only one. Shared as well.
    pub backend: Option<Arc<str>>,
    /// The life of the backend's process; 0: not stated (contract rule S7).
    pub boot_id: u64,
}

/// What became of a signal. Of numbers: who says it has their names beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The outcome of the contract's section 4.
    pub code: OutcomeCode,
    /// The duration granted, in milliseconds; 0 where refused or until ended.
    pub granted_ms: u64,
    /// Milliseconds to the deadline; of a conflict: to that of the owner's.
    pub remaining_ms: u64,
    /// It has no deadline.
    pub until_ended: bool,
    /// The life of the key's affinity; 0: there is none.
    pub generation: u64,
    /// The canonical source, where it could be read.
    pub key: Option<Source>,
    /// The owner, if there is one.
    pub owner: Option<BackendId>,
    /// The service, if it is known.
    pub service: Option<ServiceId>,
    /// One sentence on a refusal.
    pub detail: String,
}
