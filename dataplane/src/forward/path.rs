//! What the path needs to know of an address family: its flow lines and its half of the affinities.

use crate::{
    clock::Millis,
    flow_table::{FlowTable, Line, Line4, Line6},
    key::{FlowKey, Key4, Key6},
    rcu::Guard,
    tables::{
        affinity::{AffinityTable, Hits, Query},
        id::ServiceId,
    },
    worker::Flows,
};

/// A flow key with the tables of its family.
pub(crate) trait PathKey: FlowKey {
    /// A line of the family's flow table.
    type Line: Line<Key = Self>;
    /// A client's address, in host byte order.
    type Address: Copy;

    /// The family's flow table.
    fn table(flows: &Flows) -> &FlowTable<Self::Line>;
    /// The same, to change.
    fn flows(flows: &mut Flows) -> &mut FlowTable<Self::Line>;
    /// The client's side of this key.
    fn query(&self, service: ServiceId) -> Query<Self::Address>;
    /// The affinities of a burst of clients.
    fn lookup(
        table: &AffinityTable,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<Self::Address>],
        hits: &mut Hits,
    );
}

impl PathKey for Key4 {
    type Line = Line4;
    type Address = u32;

    #[inline]
    fn table(flows: &Flows) -> &FlowTable<Line4> {
        &flows.v4
    }

    #[inline]
    fn flows(flows: &mut Flows) -> &mut FlowTable<Line4> {
        &mut flows.v4
    }

    #[inline]
    fn query(&self, service: ServiceId) -> Query<u32> {
        Query {
            service,
            source: u32::from_be(self.source),
            port: self.ports.source(),
        }
    }

    fn lookup(
        table: &AffinityTable,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<u32>],
        hits: &mut Hits,
    ) {
        table.lookup4(guard, now, queries, hits);
    }
}

impl PathKey for Key6 {
    type Line = Line6;
    type Address = u128;

    #[inline]
    fn table(flows: &Flows) -> &FlowTable<Line6> {
        &flows.v6
    }

    #[inline]
    fn flows(flows: &mut Flows) -> &mut FlowTable<Line6> {
        &mut flows.v6
    }

    #[inline]
    fn query(&self, service: ServiceId) -> Query<u128> {
        Query {
            service,
            source: u128::from_be_bytes(self.source),
            port: self.ports.source(),
        }
    }

    fn lookup(
        table: &AffinityTable,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<u128>],
        hits: &mut Hits,
    ) {
        table.lookup6(guard, now, queries, hits);
    }
}
