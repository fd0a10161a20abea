//! Captures: which frames, and what became of each.

mod filter;

use serde::{Deserialize, Serialize};

use super::bytes::HexBytes;

pub use filter::{BadFilter, CaptureFilter, CaptureTerm, CaptureTest};

/// Bytes of a frame that are captured unless told otherwise.
pub const SNAP_LENGTH: u32 = 256;

/// What to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaptureRequest {
    /// Words of a [`CaptureFilter`]; empty: every frame.
    pub filter: String,
    /// How many bytes of each frame; absent: [`SNAP_LENGTH`]; 0: whole frames.
    pub snap_length: Option<u32>,
    /// End after so many frames; absent: go on until the operator closes his half of the connection.
    pub count: Option<u64>,
}

/// The capture has begun: every worker's frames are seen from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capturing {
    /// The ports, in the order of the configuration.
    pub ports: Vec<String>,
    /// How many bytes of each frame are told.
    pub snap_length: u32,
    /// How many workers there are.
    pub workers: u32,
}

/// Which way a frame went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureDirection {
    /// It came.
    #[default]
    In,
    /// It left.
    Out,
}

/// What decided where a packet goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The flow that it is of (R1).
    Flow,
    /// An affinity (R2).
    Affinity,
    /// The service's scheduler (R3).
    Scheduler,
    /// What it belongs to: the first fragment of its packet, the packet that an error is about, or,
    /// through NAT, the backend that it comes from.
    Related,
    /// Nothing: it was dropped before, or is for the forwarder.
    #[default]
    None,
}

/// A captured frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapturedFrame {
    /// When its burst was taken, in nanoseconds since 1970.
    pub time_ns: u64,
    /// The port that it came or left by.
    pub port: String,
    /// Which of these.
    pub direction: CaptureDirection,
    /// What became of its packet: the name of a fate, `held` for one that waits and is told of again,
    /// or `originated` for one of the forwarder's own.
    pub fate: String,
    /// What decided.
    pub by: DecidedBy,
    /// Source of the affinity that decided.
    pub affinity: Option<String>,
    /// Name of the backend's service.
    pub service: Option<String>,
    /// Name of the backend that it went to, or through NAT came from.
    pub backend: Option<String>,
    /// Core of the worker that had it.
    pub core: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    /// Its first bytes, in hexadecimal.
    pub bytes: HexBytes,
}

/// The capture has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaptureEnd {
    /// How many frames were told.
    pub captured: u64,
    /// How many more have matched: they came faster than they were told.
    pub missed: u64,
}

impl CapturedFrame {
    /// What became of it and who decided, in words: the comment of the frame in a file.
    #[must_use]
    pub fn comment(&self) -> String {
        let by = match (self.by, &self.affinity) {
            (DecidedBy::None, _) => String::new(),
            (DecidedBy::Flow, _) => ", by its flow".to_owned(),
            (DecidedBy::Scheduler, _) => ", by the scheduler".to_owned(),
            (DecidedBy::Related, _) => ", by what it belongs to".to_owned(),
            (DecidedBy::Affinity, Some(source)) => format!(", by the affinity of {source}"),
            (DecidedBy::Affinity, None) => ", by an affinity that has ended since".to_owned(),
        };
        let backend = match (&self.service, &self.backend) {
            (Some(service), Some(backend)) => format!(", backend {service}/{backend}"),
            (None, Some(backend)) => format!(", backend {backend}"),
            (_, None) => String::new(),
        };
        format!("{}{by}{backend}", self.fate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_says_fate_rule_and_backend() {
        let dropped = CapturedFrame {
            fate: "no_service".into(),
            ..CapturedFrame::default()
        };
        assert_eq!(dropped.comment(), "no_service");
        let placed = CapturedFrame {
            fate: "forwarded".into(),
            by: DecidedBy::Affinity,
            affinity: Some("10.0.0.0/8".into()),
            service: Some("shop".into()),
            backend: Some("shop-1".into()),
            ..dropped
        };
        assert_eq!(
            placed.comment(),
            "forwarded, by the affinity of 10.0.0.0/8, backend shop/shop-1"
        );
    }
}
