//! Four flows in a structure of arrays: all keys of a line are compared at once.

use super::{Flow, Settled, WAYS};
use crate::{
    hash::HashKeys,
    key::{FlowKey, Key4, Key6, Ports, Protocol},
    simd::same_columns,
};

/// A line of four places.
pub(crate) trait Line: Default {
    /// What it is searched for.
    type Key: FlowKey;

    /// The keyed hash that chooses the line.
    fn hash(keys: &HashKeys, key: &Self::Key) -> u64;
    /// The way of the flow with this key.
    fn find(&self, key: &Self::Key) -> Option<usize>;
    /// The flow with this key, if it is one that an ordinary packet of a tick leaves as it is.
    fn settled(&self, key: &Self::Key, at: Settled) -> Option<Flow>;
    /// The flow in a way.
    fn flow(&self, way: usize) -> Flow;
    /// All four.
    fn flows(&self) -> [Flow; WAYS];
    /// Stores a flow, without its key.
    fn set_flow(&mut self, way: usize, flow: Flow);
    /// The key in a way; `None` for a free place.
    fn key(&self, way: usize) -> Option<Self::Key>;
    /// Stores a key, without its flow.
    fn set_key(&mut self, way: usize, key: &Self::Key);
}

/// IPv4: one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line4 {
    flows: [u32; WAYS],
    sources: [u32; WAYS],
    destinations: [u32; WAYS],
    ports: [u32; WAYS],
}

const _: () = assert!(size_of::<Line4>() == 64);

impl Line for Line4 {
    type Key = Key4;

    #[inline]
    fn hash(keys: &HashKeys, key: &Key4) -> u64 {
        keys.hash2(
            u64::from(key.destination) << 32 | u64::from(key.source),
            u64::from(key.ports.0) << 8 | key.protocol as u64,
        )
    }

    #[inline]
    fn find(&self, key: &Key4) -> Option<usize> {
        let columns = [&self.sources, &self.destinations, &self.ports];
        let row = [key.source, key.destination, key.ports.0];
        let mut ways = same_columns(columns, row);
        let (from, span) = Flow::bits_of(key.protocol);
        // A free place keeps the key that it had, and a TCP and a UDP flow may have the same.
        while ways != 0 {
            let way = ways.trailing_zeros() as usize & (WAYS - 1);
            if self.flows[way].wrapping_sub(from) < span {
                return Some(way);
            }
            ways &= ways - 1;
        }
        None
    }

    #[inline]
    fn settled(&self, key: &Key4, at: Settled) -> Option<Flow> {
        let columns = [&self.sources, &self.destinations, &self.ports];
        let ways = same_columns(columns, [key.source, key.destination, key.ports.0]);
        // Without any, one that has to be looked at anyhow; its key is another.
        let way = ways.trailing_zeros() as usize & (WAYS - 1);
        let flow = Flow::from_bits(self.flows[way]);
        (ways != 0 && flow.is_settled(key.protocol, at)).then_some(flow)
    }

    #[inline]
    fn flow(&self, way: usize) -> Flow {
        Flow::from_bits(self.flows[way])
    }

    #[inline]
    fn flows(&self) -> [Flow; WAYS] {
        self.flows.map(Flow::from_bits)
    }

    #[inline]
    fn set_flow(&mut self, way: usize, flow: Flow) {
        self.flows[way] = flow.bits();
    }

    fn key(&self, way: usize) -> Option<Key4> {
        Some(Key4 {
            source: self.sources[way],
            destination: self.destinations[way],
            ports: Ports(self.ports[way]),
            protocol: self.flow(way).protocol()?,
        })
    }

    fn set_key(&mut self, way: usize, key: &Key4) {
        self.sources[way] = key.source;
        self.destinations[way] = key.destination;
        self.ports[way] = key.ports.0;
    }
}

/// IPv6: the states and ports of four flows, then their addresses.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line6 {
    flows: [u32; WAYS],
    ports: [u32; WAYS],
    sources: [[u8; 16]; WAYS],
    destinations: [[u8; 16]; WAYS],
}

impl Line6 {
    #[inline]
    fn holds(&self, way: usize, key: &Key6, (from, span): (u32, u32)) -> bool {
        self.ports[way] == key.ports.0
            && self.flows[way].wrapping_sub(from) < span
            && self.sources[way] == key.source
            && self.destinations[way] == key.destination
    }
}

impl Line for Line6 {
    type Key = Key6;

    #[inline]
    fn hash(keys: &HashKeys, key: &Key6) -> u64 {
        let [a, b] = halves(&key.source);
        let [c, d] = halves(&key.destination);
        let rest = u64::from(key.ports.0) << 8 | u64::from(key.protocol == Protocol::Udp);
        keys.hash2(keys.hash4(a, b, c, d), rest)
    }

    #[inline]
    fn find(&self, key: &Key6) -> Option<usize> {
        let states = Flow::bits_of(key.protocol);
        (0..WAYS).find(|way| self.holds(*way, key, states))
    }

    #[inline]
    fn settled(&self, key: &Key6, at: Settled) -> Option<Flow> {
        let flow = Flow::from_bits(self.flows[self.find(key)?]);
        flow.is_settled(key.protocol, at).then_some(flow)
    }

    #[inline]
    fn flow(&self, way: usize) -> Flow {
        Flow::from_bits(self.flows[way])
    }

    #[inline]
    fn flows(&self) -> [Flow; WAYS] {
        self.flows.map(Flow::from_bits)
    }

    #[inline]
    fn set_flow(&mut self, way: usize, flow: Flow) {
        self.flows[way] = flow.bits();
    }

    fn key(&self, way: usize) -> Option<Key6> {
        Some(Key6 {
            source: self.sources[way],
            destination: self.destinations[way],
            ports: Ports(self.ports[way]),
            protocol: self.flow(way).protocol()?,
        })
    }

    fn set_key(&mut self, way: usize, key: &Key6) {
        self.sources[way] = key.source;
        self.destinations[way] = key.destination;
        self.ports[way] = key.ports.0;
    }
}

#[inline]
fn halves(address: &[u8; 16]) -> [u64; 2] {
    let bits = u128::from_ne_bytes(*address);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
    [(bits >> 64) as u64, bits as u64]
}
