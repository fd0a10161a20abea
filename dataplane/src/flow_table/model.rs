//! The flow table of IPv6 against a map, under pressure: who is pushed out, who never is, and what is
//! counted for it.

use super::*;
use crate::{
    key::{Key6, Ports, Protocol},
    tables::id::BackendId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// More than the table has places for.
const CLIENTS: u16 = 60;
const TIMEOUT_S: u32 = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A first packet; by an affinity or not.
    Open(u16, bool),
    /// A later one: the flow is established.
    Packet(u16),
    Remove(u16),
    Sweep(usize),
    Second,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..CLIENTS, any::<bool>()).prop_map(|(client, by)| Step::Open(client, by)),
        4 => (0..CLIENTS).prop_map(Step::Packet),
        1 => (0..CLIENTS).prop_map(Step::Remove),
        1 => (0_usize..9).prop_map(Step::Sweep),
        1 => Just(Step::Second),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 60 } else { 300 })
}

/// A flow as the map knows it: its backend has its client's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    established: bool,
    seen: u32,
    cell: Option<CellId>,
    session: Option<SessionId>,
}

#[derive(Debug)]
struct Bench {
    table: FlowTable<Line6>,
    known: BTreeMap<u16, Known>,
    now: u32,
}

/// Protocols and ports differ too.
fn key(client: u16) -> Key6 {
    let mut source = [0; 16];
    source[15] = client.to_be_bytes()[1] / 4;
    Key6 {
        source,
        destination: [1; 16],
        ports: Ports::new(1 + client % 2, 80),
        protocol: if client % 4 < 2 {
            Protocol::Tcp
        } else {
            Protocol::Udp
        },
    }
}

fn expired(now: u32) -> impl Fn(Flow, Option<SessionId>) -> bool {
    move |flow, session| {
        assert!(session.is_none() || session == session_of(flow.backend().0));
        Tick(now).since(flow.seen()) > TIMEOUT_S
    }
}

/// Every second client's flow has one.
fn session_of(client: u16) -> Option<SessionId> {
    SessionId::from_bits(u32::from(client % 2) << 16 | u32::from(client % 2 * client))
}

impl Bench {
    fn place(&self, client: u16) -> Option<Place> {
        let key = key(client);
        self.table.find(self.table.hash(&key), &key)
    }

    fn open(&mut self, client: u16, by_affinity: bool) {
        let cell = by_affinity.then_some(CellId {
            index: client.into(),
            generation: self.now,
        });
        let placement = if by_affinity {
            Placement::Affinity
        } else {
            Placement::Scheduler
        };
        let key = key(client);
        let flow = Flow::opened(key.protocol, BackendId(client), placement, Tick(self.now));
        let hash = self.table.hash(&key);
        let new = Known {
            established: false,
            seen: self.now,
            cell,
            session: session_of(client),
        };
        let place = match self.table.insert(hash, &key, flow, cell, expired(self.now)) {
            Inserted::NoPlace => return,
            Inserted::Free(place) => place,
            Inserted::InsteadOf(place, gone) => {
                self.pushed_out(gone);
                place
            }
        };
        assert_eq!(self.table.session(place), None);
        if new.session.is_some() {
            self.table.attach(place, new.session);
        }
        self.known.insert(client, new);
    }

    fn pushed_out(&mut self, gone: Gone) {
        let was = self.gone(gone);
        let timed_out = self.now - was.seen > TIMEOUT_S;
        assert_eq!(gone.evicted, !timed_out);
        assert!(timed_out || !was.established, "established: {gone:?}");
    }

    fn gone(&mut self, gone: Gone) -> Known {
        let was = self.known.remove(&gone.flow.backend().0).unwrap();
        assert_eq!((gone.cell, gone.session), (was.cell, was.session));
        was
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Open(client, by) if !self.known.contains_key(&client) => self.open(client, by),
            Step::Open(client, _) | Step::Packet(client) => {
                if let Some(place) = self.place(client) {
                    let flow = self.table.get(place).after(TcpEvent::Other, Tick(self.now));
                    self.table.set(place, flow);
                    let known = self.known.get_mut(&client).unwrap();
                    (known.established, known.seen) = (true, self.now);
                }
            }
            Step::Remove(client) => {
                if let Some(place) = self.place(client) {
                    let gone = self.table.remove(place).unwrap();
                    self.gone(gone);
                }
            }
            Step::Sweep(lines) => {
                let mut all = Vec::new();
                let expired = expired(self.now);
                self.table.expire(
                    lines,
                    &mut all,
                    |_, flow, session| expired(flow, session),
                    Vec::push,
                );
                for gone in all {
                    assert!(!gone.evicted);
                    let was = self.gone(gone);
                    assert!(self.now - was.seen > TIMEOUT_S);
                }
            }
            Step::Second => self.now += 1,
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.known.len());
        let mut elsewhere = vec![0; self.table.elsewhere.len()];
        for client in 0..CLIENTS {
            let found = self.place(client).map(|place| {
                let flow = self.table.get(place);
                let choices = self.table.choices(self.table.hash(&key(client)));
                let near = choices[..2].contains(&(place.line as usize));
                elsewhere[choices[0] / 2] += u8::from(!near);
                assert_eq!(flow.backend(), BackendId(client));
                Known {
                    established: !flow.is_half_open(),
                    seen: flow.seen().0,
                    cell: flow
                        .placement()
                        .by_affinity()
                        .then(|| self.table.cell(place)),
                    session: self.table.session(place),
                }
            });
            assert_eq!(found, self.known.get(&client).copied(), "{client}");
        }
        assert_eq!(*self.table.elsewhere, *elsewhere);
        let sessions = self.known.values().filter(|it| it.session.is_some());
        assert_eq!(self.table.attached, sessions.count());
        let listed: usize = (0..self.table.lines())
            .map(|line| self.table.line(line).count())
            .sum();
        assert_eq!(listed, self.known.len());
    }
}

proptest! {
    #![proptest_config(crate::models::cases(128))]
    #[test]
    fn it_agrees_with_a_map_under_pressure(steps in steps()) {
        let table = FlowTable::new(16);
        let mut bench = Bench { table, known: BTreeMap::new(), now: 1 };
        prop_assert!(bench.table.capacity() < usize::from(CLIENTS));
        for step in steps {
            bench.apply(step);
            bench.check();
        }
    }
}
