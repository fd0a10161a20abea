//! Sessions against a map: ports are given once, freed ones wait longest, and a name that is over
//! finds nothing.

use super::*;
use crate::{flow_table::Tick, key::Protocol, tables::id::BackendId};
use proptest::prelude::*;
use std::{collections::BTreeMap, net::SocketAddr};

const LOCALS: [LocalId; 3] = [LocalId(0), LocalId(5), LocalId(255)];
const PORTS: (u16, u16) = (4000, 4011);
const WORKERS: usize = 3;
const PLACE: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Step {
    Open { client: u16, alone: bool },
    Close(usize),
    CloseAgain(usize),
    Hear(usize, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (any::<u16>(), any::<bool>()).prop_map(|(client, alone)| Step::Open { client, alone }),
        3 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::CloseAgain),
        1 => (any::<usize>(), 0..8192_u32).prop_map(|(which, now)| Step::Hear(which, now)),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 40 } else { 200 })
}

#[derive(Debug, Default)]
struct Known {
    live: BTreeMap<u32, (SocketAddr, BackendId, u32)>,
    over: Vec<SessionId>,
}

impl Known {
    fn at(&self, which: usize) -> Option<SessionId> {
        let place = which.checked_rem(self.live.len())?;
        SessionId::from_bits(*self.live.keys().nth(place)?)
    }
}

fn apply(step: Step, sessions: &mut Sessions, known: &mut Known) {
    match step {
        Step::Open { client, alone } => open(client, alone, sessions, known),
        Step::Close(which) => {
            if let Some(id) = known.at(which) {
                sessions.close(id);
                known.live.remove(&SessionId::bits(Some(id)));
                known.over.push(id);
            }
        }
        Step::CloseAgain(which) => {
            if let Some(place) = which.checked_rem(known.over.len()) {
                sessions.close(known.over[place]);
            }
        }
        Step::Hear(which, now) => {
            if let Some(id) = known.at(which) {
                sessions.get_mut(id).unwrap().hear(Tick(now));
                let bits = SessionId::bits(Some(id));
                known.live.get_mut(&bits).unwrap().2 = now;
            }
        }
    }
}

fn open(client: u16, alone: bool, sessions: &mut Sessions, known: &mut Known) {
    let locals = if alone { &LOCALS[..1] } else { &LOCALS[..] };
    let ends = Ends {
        protocol: if client.is_multiple_of(2) {
            Protocol::Tcp
        } else {
            Protocol::Udp
        },
        client: SocketAddr::new([10, 0, 0, 1].into(), client),
        vip_port: 80,
        backend: BackendId(client % 16_384),
        now: Tick(1),
    };
    let full = locals.iter().all(|local| {
        let of = |bits: &&u32| SessionId::from_bits(**bits).unwrap().local() == *local;
        known.live.keys().filter(of).count() == 4
    });
    let opened = sessions.open(locals, &ends, |_| |port| port > 4006);
    assert_eq!(opened.is_none(), full);
    if let Some(id) = opened {
        assert!(locals.contains(&id.local()));
        assert_eq!(usize::from(id.port() - PORTS.0) % WORKERS, PLACE);
        let new = (ends.client, ends.backend, 1);
        let before = known.live.insert(SessionId::bits(Some(id)), new);
        assert!(before.is_none(), "given twice");
    }
}

fn check(sessions: &Sessions, known: &Known) {
    assert_eq!(sessions.len(), known.live.len() as u64);
    for (bits, (client, backend, heard)) in &known.live {
        let id = SessionId::from_bits(*bits).unwrap();
        let session = sessions.get(id).unwrap();
        assert_eq!((session.client(), session.backend()), (*client, *backend));
        assert_eq!(session.heard(), Tick(*heard));
        assert_eq!(sessions.find(id.local(), id.port()).unwrap().0, id);
    }
    for id in known.over.iter().rev().take(100) {
        let again = known.live.contains_key(&SessionId::bits(Some(*id)));
        assert_eq!(sessions.get(*id).is_some(), again);
    }
}

#[test]
#[cfg_attr(miri, ignore = "a million of them")]
fn sixteen_addresses_hold_a_million_flows_and_not_one_more() {
    let locals: Vec<_> = (0..16).map(LocalId).collect();
    let mut sessions = Sessions::new(0, 1);
    for local in &locals {
        sessions.adopt(*local, Slab::new((1024, 65_535), 0, 1));
    }
    let ends = Ends {
        protocol: Protocol::Tcp,
        client: SocketAddr::from(([192, 0, 2, 7], 4000)),
        vip_port: 80,
        backend: BackendId(1),
        now: Tick(0),
    };
    let mut open = || sessions.open(&locals, &ends, |_| |_| true);
    let opened = std::iter::from_fn(&mut open).count();
    assert_eq!(opened, 16 * 64_512);
    assert!(opened > 1_000_000 && open().is_none());
    assert_eq!(sessions.len(), sessions.capacity());
}

proptest! {
    #![proptest_config(crate::models::cases(128))]
    #[test]
    fn they_agree_with_a_map(steps in steps()) {
        let mut sessions = Sessions::new(PLACE, WORKERS);
        for local in LOCALS {
            sessions.adopt(local, Slab::new(PORTS, PLACE, WORKERS));
        }
        prop_assert_eq!(sessions.capacity(), 12);
        let mut known = Known::default();
        for step in steps {
            apply(step, &mut sessions, &mut known);
            check(&sessions, &known);
        }
        prop_assert!(sessions.find(LocalId(1), 4001).is_none());
        prop_assert!(sessions.find(LOCALS[0], 4000).is_none());
    }
}
