//! Translations: what NAT writes into the packets of one backend, both ways, and how a backend's
//! answer is told from other packets.
//!
//! The source of an answer says which backend it is of, so no worker needs to know its flow: answers
//! are sent on by whichever worker they come to, after a restart too.

use super::{
    id::{BackendId, NeighbourId, PortId},
    pool::Listed,
};
use crate::{
    key::{FlowKey, Protocol},
    sessions::SessionId,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Where the packets of a backend go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    /// To the backend.
    Backend(BackendId),
    /// From the backend, through NAT, to a client of its service.
    Client(BackendId),
    /// To the backend, through full NAT, from the local port of this session.
    BackendBy(BackendId, SessionId),
    /// From the backend, through full NAT, to the client of this session.
    ClientOf(BackendId, SessionId),
    /// To another worker, which decides.
    Worker(u8),
}

impl Toward {
    /// Whether both go by the same next hop.
    pub(crate) fn is_same_way(self, other: Self) -> bool {
        self.way() == other.way()
    }

    fn way(self) -> (u8, u16) {
        match self {
            Self::Backend(id) | Self::BackendBy(id, _) => (0, id.0),
            Self::Client(id) | Self::ClientOf(id, _) => (1, id.0),
            Self::Worker(place) => (2, place.into()),
        }
    }
}

impl Default for Toward {
    fn default() -> Self {
        Self::Backend(BackendId::default())
    }
}

/// The next hop of packets, and the port to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) neighbour: NeighbourId,
    pub(crate) port: PortId,
}

/// Both ends of the NAT of one backend, of one family. Port 0: packets keep theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    /// What clients address.
    pub(crate) vip: SocketAddr,
    /// What packets to the backend are addressed to instead.
    pub(crate) backend: SocketAddr,
    /// By where its answers leave: the gateway to the clients.
    pub(crate) exit: Hop,
    /// The local addresses that clients get; none without full NAT.
    pub(crate) locals: Listed,
    /// Whether connections to it begin with a PROXY header.
    pub(crate) proxied: bool,
}

/// What an answer comes from: address, protocol, port; port 0: any.
type Source = (IpAddr, Protocol, u16);

/// The backends of services with NAT, by what their answers come from.
#[derive(Debug, Default)]
pub(crate) struct Answering(BTreeMap<Source, BackendId>);

impl Answering {
    /// Adds a backend; gives back one that answers from there already. One of every port (0) shares its
    /// address with no other.
    pub(super) fn add(
        &mut self,
        protocol: Protocol,
        socket: SocketAddr,
        backend: BackendId,
    ) -> Result<(), BackendId> {
        let (address, port) = (socket.ip(), socket.port());
        let ports = if port == 0 { 0..=u16::MAX } else { port..=port };
        let same = (address, protocol, *ports.start())..=(address, protocol, *ports.end());
        let mut same = self.0.range(same).map(|(_, other)| *other);
        let every = || self.0.get(&(address, protocol, 0)).copied();
        if let Some(other) = same.next().or_else(every) {
            return Err(other);
        }
        self.0.insert((address, protocol, port), backend);
        Ok(())
    }

    /// The backend that sends packets of this key.
    pub(crate) fn find<K: FlowKey>(&self, key: &K) -> Option<BackendId> {
        if self.0.is_empty() {
            return None;
        }
        let at = |port| self.0.get(&(key.source(), key.protocol(), port));
        at(key.ports().source()).or_else(|| at(0)).copied()
    }

    /// Whether any backend answers from this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let all = (address, Protocol::Tcp, 0)..=(address, Protocol::Udp, u16::MAX);
        self.0.range(all).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key4, Ports};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn key(source: [u8; 4], port: u16) -> Key4 {
        Key4 {
            source: u32::from_ne_bytes(source),
            destination: 1,
            ports: Ports::new(port, 4000),
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn a_source_says_whose_answer_it_is() {
        let mut all = Answering::default();
        assert_eq!(all.find(&key([10, 0, 0, 1], 80)), None);
        all.add(Protocol::Tcp, at("10.0.0.1:80"), BackendId(1))
            .unwrap();
        all.add(Protocol::Tcp, at("10.0.0.2:0"), BackendId(2))
            .unwrap();
        assert_eq!(all.find(&key([10, 0, 0, 1], 80)), Some(BackendId(1)));
        assert_eq!(all.find(&key([10, 0, 0, 1], 81)), None);
        assert_eq!(all.find(&key([10, 0, 0, 2], 81)), Some(BackendId(2)));
        assert!(all.has(at("10.0.0.1:0").ip()) && !all.has(at("10.0.0.3:0").ip()));
    }

    #[test]
    fn two_cannot_answer_from_one_place() {
        let mut all = Answering::default();
        all.add(Protocol::Tcp, at("10.0.0.1:80"), BackendId(1))
            .unwrap();
        let mut add = |protocol, source| all.add(protocol, at(source), BackendId(9));
        assert_eq!(add(Protocol::Tcp, "10.0.0.1:80"), Err(BackendId(1)));
        assert_eq!(add(Protocol::Tcp, "10.0.0.1:0"), Err(BackendId(1)));
        assert_eq!(add(Protocol::Udp, "10.0.0.1:0"), Ok(()));
        assert_eq!(add(Protocol::Udp, "10.0.0.1:53"), Err(BackendId(9)));
        assert_eq!(add(Protocol::Tcp, "10.0.0.1:81"), Ok(()));
    }
}
