//! The IPv4 flow table: who gets a place, who keeps it, and a map beside it.

use super::*;
use crate::{
    key::{Key4, Ports, Protocol},
    tables::id::BackendId,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn key(client: u32) -> Key4 {
    Key4 {
        source: client,
        destination: 1,
        ports: Ports::new(1000, 80),
        protocol: Protocol::Tcp,
    }
}

fn half_open(backend: u16, seen: Tick) -> Flow {
    Flow::opened(
        Protocol::Tcp,
        BackendId(backend),
        Placement::Scheduler,
        seen,
    )
}

fn established(backend: u16, seen: Tick) -> Flow {
    half_open(backend, seen).after(TcpEvent::Other, seen)
}

fn insert(table: &mut FlowTable<Line4>, key: &Key4, flow: Flow) -> Inserted {
    let hash = table.hash(key);
    table.insert(hash, key, flow, None, |_, _| false)
}

fn found(table: &FlowTable<Line4>, key: &Key4) -> Option<Flow> {
    let place = table.find(table.hash(key), key)?;
    Some(table.get(place))
}

#[test]
fn tcp_and_udp_of_one_tuple_are_two_flows() {
    let mut table: FlowTable<Line4> = FlowTable::new(8);
    insert(&mut table, &key(1), half_open(3, Tick(0)));
    let udp = Key4 {
        protocol: Protocol::Udp,
        ..key(1)
    };
    assert_eq!(found(&table, &udp), None);
    assert_eq!(
        found(&table, &key(1)).map(Flow::backend),
        Some(BackendId(3))
    );
}

#[test]
fn a_flood_of_half_open_flows_pushes_out_no_established_one() {
    let (flows, flood) = if cfg!(miri) {
        (32, 500)
    } else {
        (512, 100_000)
    };
    let mut table: FlowTable<Line4> = FlowTable::new(flows);
    let kept: Vec<u32> = (0..if cfg!(miri) { 16 } else { 256 })
        .filter(|client| {
            let inserted = insert(&mut table, &key(*client), established(1, Tick(1)));
            inserted != Inserted::NoPlace
        })
        .collect();
    assert!(kept.len() * 10 > flows * 4);
    for client in 1000..1000 + flood {
        insert(&mut table, &key(client), half_open(2, Tick(2)));
    }
    assert_eq!(table.len(), table.capacity());
    for client in kept {
        assert_eq!(
            found(&table, &key(client)).map(Flow::backend),
            Some(BackendId(1))
        );
    }
}

/// Clients whose flows belong in the same two lines, and have two others.
fn neighbours(table: &FlowTable<Line4>, count: usize) -> Vec<u32> {
    let is_one = |client: &u32| {
        let [home, _, other, _] = table.choices(table.hash(&key(*client)));
        home / 2 == 0 && other / 2 != 0
    };
    (0..).filter(is_one).take(count).collect()
}

#[test]
fn while_there_is_room_elsewhere_no_half_open_flow_has_to_go() {
    let mut table: FlowTable<Line4> = FlowTable::new(64);
    let clients = neighbours(&table, 2 * WAYS + 1);
    for client in &clients {
        let inserted = insert(&mut table, &key(*client), half_open(1, Tick(0)));
        assert!(matches!(inserted, Inserted::Free(_)), "{inserted:?}");
    }
    let all = clients.iter().all(|it| found(&table, &key(*it)).is_some());
    assert!(all && table.elsewhere.iter().sum::<u8>() == 1);
}

#[test]
fn in_a_crowded_table_a_flood_stays_in_its_first_two_lines() {
    let mut table: FlowTable<Line4> = FlowTable::new(64);
    let (mut evicted, clients) = (0, if cfg!(miri) { 300 } else { 2000 });
    for client in 0..clients {
        let crowded = table.is_crowded();
        let inserted = insert(&mut table, &key(client), half_open(1, Tick(0)));
        if crowded && let Inserted::InsteadOf(place, _) = inserted {
            let home = table.home(table.hash(&key(client)));
            assert_eq!(place.line as usize / 2, home / 2);
            evicted += 1;
        }
    }
    assert!(evicted > clients / 3, "{evicted}");
}

#[test]
fn full_of_established_flows_there_is_no_place() {
    let mut table: FlowTable<Line4> = FlowTable::new(8);
    let flows = if cfg!(miri) { 60 } else { 1000 };
    let refused = (0..flows)
        .filter(|client| {
            insert(&mut table, &key(*client), established(1, Tick(0))) == Inserted::NoPlace
        })
        .count();
    assert_eq!(table.len(), table.capacity());
    assert_eq!(refused, flows as usize - table.capacity());
}

#[test]
fn nominal_capacity_finds_a_place_for_every_flow() {
    let flows = if cfg!(miri) { 64 } else { 100_000 };
    let mut table: FlowTable<Line4> = FlowTable::new(flows as usize);
    for client in 0..flows {
        assert_ne!(
            insert(&mut table, &key(client), established(1, Tick(0))),
            Inserted::NoPlace
        );
    }
}

#[test]
fn a_sweep_forgets_what_timed_out_and_says_so() {
    let mut table: FlowTable<Line4> = FlowTable::new(64);
    insert(&mut table, &key(1), established(1, Tick(0)));
    insert(&mut table, &key(2), established(2, Tick(9)));
    let mut gone = Vec::new();
    let lines = table.lines();
    table.expire(
        lines,
        &mut (),
        |(), flow, _| Tick(10).since(flow.seen()) > 5,
        |(), it| gone.push(it),
    );
    assert_eq!(
        gone.iter()
            .map(|it| it.flow.backend().0)
            .collect::<Vec<_>>(),
        [1]
    );
    assert!(!gone[0].evicted);
    assert_eq!((table.len(), found(&table, &key(1))), (1, None));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u16),
    Remove(u32),
    Sweep(usize, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u32..60, 0_u16..100).prop_map(|(client, backend)| Step::Insert(client, backend)),
        1 => (0_u32..60).prop_map(Step::Remove),
        1 => (0_usize..20, 0_u16..100).prop_map(|(lines, backend)| Step::Sweep(lines, backend)),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 50 } else { 200 })
}

proptest! {
    #![proptest_config(crate::models::cases(128))]
    #[test]
    fn it_agrees_with_a_map_after_every_step(steps in steps()) {
        // Small enough that flows live elsewhere than in their first two lines.
        let mut table: FlowTable<Line4> = FlowTable::new(32);
        let mut oracle: BTreeMap<u32, u16> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(client, backend) if !oracle.contains_key(&client) => {
                    if insert(&mut table, &key(client), established(backend, Tick(0))) != Inserted::NoPlace {
                        oracle.insert(client, backend);
                    }
                }
                Step::Insert(client, backend) => {
                    let place = table.find(table.hash(&key(client)), &key(client)).unwrap();
                    table.set(place, established(backend, Tick(0)));
                    oracle.insert(client, backend);
                }
                Step::Remove(client) => {
                    if let Some(place) = table.find(table.hash(&key(client)), &key(client)) {
                        table.remove(place);
                    }
                    oracle.remove(&client);
                }
                Step::Sweep(lines, below) => {
                    let (mut gone, before) = (0, oracle.len());
                    table.expire(lines, &mut (), |(), flow, _| flow.backend().0 < below, |(), _| gone += 1);
                    oracle.retain(|client, backend| {
                        *backend >= below || found(&table, &key(*client)).is_some()
                    });
                    prop_assert_eq!(oracle.len(), before - gone);
                }
            }
            prop_assert_eq!(table.len(), oracle.len());
            for client in 0..60 {
                let backend = found(&table, &key(client)).map(|flow| flow.backend().0);
                prop_assert_eq!(backend, oracle.get(&client).copied());
            }
        }
    }
}
