//! Questions that a worker answers between two bursts, out of what it alone owns: its flows, and the tap
//! of a capture.
//!
//! The asker brings the memory for the answer, so that the worker allocates nothing.

use crate::{
    capture::Tap,
    flow_table::{FlowTable, Line, Line4, Line6, Tick},
    key::{FlowKey, Key4, Key6, Ports, Protocol},
    tables::{affinity::CellId, id::BackendId, prefix::Prefix},
};
use std::net::{IpAddr, SocketAddr};

/// Lines that a worker looks through before it goes on with its packets.
const LINES_PER_ANSWER: usize = 4096;

/// One flow, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client.
    pub source: SocketAddr,
    /// The VIP and port.
    pub destination: SocketAddr,
    /// Where its packets go.
    pub backend: BackendId,
    /// `half_open`, `established`, `closing` or `closed`.
    pub state: &'static str,
    /// Seconds since its last packet.
    pub idle_s: u32,
    /// The affinity that placed it, if one did.
    pub affinity: Option<CellId>,
}

/// Which flows are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Only of these clients: an address under a prefix length.
    pub source: Option<(IpAddr, u8)>,
    /// Only to these VIPs and this port (0: every port).
    pub destination: Option<(Protocol, Prefix, u16)>,
    /// Only of this backend.
    pub backend: Option<BackendId>,
}

/// What a worker is asked.
#[derive(Debug)]
pub enum Question {
    /// Where the flow with this 5-tuple goes.
    Flow {
        /// The protocol.
        protocol: Protocol,
        /// The client.
        source: SocketAddr,
        /// The VIP and port.
        destination: SocketAddr,
    },
    /// The next flows from `cursor` on, up to the room in `room`.
    Flows {
        /// Where to begin: 0, or what the answer before said.
        cursor: usize,
        /// Which.
        filter: FlowFilter,
        /// An empty vector with the capacity that the answer may use.
        room: Vec<FlowView>,
    },
    /// To capture by this tap from now on, or not at all.
    Tap(Option<Box<Tap>>),
}

/// What a worker answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Flow`].
    Flow(Option<FlowView>),
    /// To [`Question::Flows`].
    Flows {
        /// The flows.
        flows: Vec<FlowView>,
        /// Where to go on; `None` at the end.
        next: Option<usize>,
    },
    /// To [`Question::Tap`]: the one before, so that its memory is not the worker's to give back.
    Tap(Option<Box<Tap>>),
}

impl FlowFilter {
    fn wants(&self, flow: &FlowView) -> bool {
        self.backend.is_none_or(|backend| backend == flow.backend)
            && self.source.is_none_or(|(address, prefix)| {
                crate::tables::same_subnet(address, flow.source.ip(), prefix)
            })
            && self.destination.is_none_or(|(protocol, vips, port)| {
                protocol == flow.protocol
                    && vips.holds(flow.destination.ip())
                    && (port == 0 || port == flow.destination.port())
            })
    }
}

/// Answers a question.
pub(crate) fn answer(
    question: Question,
    v4: &FlowTable<Line4>,
    v6: &FlowTable<Line6>,
    tap: &mut Option<Box<Tap>>,
    now: Tick,
) -> Answer {
    match question {
        Question::Tap(new) => Answer::Tap(std::mem::replace(tap, new)),
        Question::Flow {
            protocol,
            source,
            destination,
        } => Answer::Flow(find(v4, v6, protocol, source, destination, now)),
        Question::Flows {
            cursor,
            filter,
            room,
        } => list(v4, v6, cursor, &filter, room, now),
    }
}

fn find(
    v4: &FlowTable<Line4>,
    v6: &FlowTable<Line6>,
    protocol: Protocol,
    source: SocketAddr,
    destination: SocketAddr,
    now: Tick,
) -> Option<FlowView> {
    let ports = Ports::new(source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let key = Key4 {
                source: u32::from_ne_bytes(source.octets()),
                destination: u32::from_ne_bytes(destination.octets()),
                ports,
                protocol,
            };
            find_in(v4, &key, now)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let key = Key6 {
                source: source.octets(),
                destination: destination.octets(),
                ports,
                protocol,
            };
            find_in(v6, &key, now)
        }
        _ => None,
    }
}

fn find_in<L: Line>(table: &FlowTable<L>, key: &L::Key, now: Tick) -> Option<FlowView> {
    let place = table.find(table.hash(key), key)?;
    Some(view(key, table.get(place), table.cell(place), now))
}

/// The cursor counts the lines of the IPv4 table, then those of the IPv6 table.
fn list(
    v4: &FlowTable<Line4>,
    v6: &FlowTable<Line6>,
    cursor: usize,
    filter: &FlowFilter,
    mut flows: Vec<FlowView>,
    now: Tick,
) -> Answer {
    let end = v4.lines() + v6.lines();
    let mut line = cursor;
    while line < end && line < cursor + LINES_PER_ANSWER {
        if flows.len() + crate::flow_table::WAYS > flows.capacity() {
            break;
        }
        if line < v4.lines() {
            append(v4, line, filter, &mut flows, now);
        } else {
            append(v6, line - v4.lines(), filter, &mut flows, now);
        }
        line += 1;
    }
    Answer::Flows {
        flows,
        next: (line < end).then_some(line),
    }
}

fn append<L: Line>(
    table: &FlowTable<L>,
    line: usize,
    filter: &FlowFilter,
    flows: &mut Vec<FlowView>,
    now: Tick,
) {
    for (key, flow, cell) in table.line(line) {
        let view = view(&key, flow, cell, now);
        if filter.wants(&view) {
            flows.push(view);
        }
    }
}

fn view<K: FlowKey>(key: &K, flow: crate::flow_table::Flow, cell: CellId, now: Tick) -> FlowView {
    FlowView {
        protocol: key.protocol(),
        source: SocketAddr::new(key.source(), key.ports().source()),
        destination: SocketAddr::new(key.destination(), key.ports().destination()),
        backend: flow.backend(),
        state: flow.state_name(),
        idle_s: now.since(flow.seen()),
        affinity: flow.placement().by_affinity().then_some(cell),
    }
}
