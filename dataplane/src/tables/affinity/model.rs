//! The whole table against a naive one: a list of keys with deadlines, searched for the most specific.

use super::*;
use crate::rcu::{self, Publisher, Reader};
use proptest::prelude::*;
use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU16};

const SERVICES: [ServiceId; 2] = [ServiceId(0), ServiceId(4095)];
const PORTS: [u16; 2] = [1, 65_535];
/// Addresses that share prefixes of many lengths.
const V4: [u32; 4] = [0xc633_6407, 0xc633_6406, 0xc633_0007, 0x4633_6407];
const V6: [u128; 4] = [
    0x2001_0db8_0007_0000_0000_0000_0000_0007,
    0x2001_0db8_0007_0000_0000_0000_0000_0006,
    0x2001_0db8_0007_0000_8000_0000_0000_0007,
    0x2001_0db8_8007_0000_0000_0000_0000_0007,
];
const PREFIXES4: [u8; 6] = [0, 8, 9, 16, 31, 32];
const PREFIXES6: [u8; 6] = [0, 33, 64, 65, 127, 128];

fn address(at: usize) -> IpAddr {
    match V4.get(at) {
        Some(bits) => std::net::Ipv4Addr::from_bits(*bits).into(),
        None => std::net::Ipv6Addr::from_bits(V6[at - V4.len()]).into(),
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(AffinityKey, u16, u64),
    End(AffinityKey),
    Expire(AffinityKey),
    Extend(AffinityKey, u64),
    Lower(AffinityKey, u64),
    /// A packet of a flow that the affinity placed.
    Packet(AffinityKey),
    Pass(u64),
    /// The worker ends its step; the writer its turn.
    Turn,
}

fn key() -> impl Strategy<Value = AffinityKey> {
    let of = |(service, at, kind): (usize, usize, usize)| {
        let prefixes = if at < V4.len() { PREFIXES4 } else { PREFIXES6 };
        let source = match PORTS.get(kind) {
            Some(port) => Source::host_port(address(at), NonZeroU16::new(*port).unwrap()),
            None => Source::subnet(address(at), prefixes[kind - PORTS.len()]),
        };
        AffinityKey {
            service: SERVICES[service],
            source: source.unwrap(),
        }
    };
    (0..SERVICES.len(), 0..V4.len() + V6.len(), 0..8_usize).prop_map(of)
}

/// Short ones, and some that are sure for a while.
fn duration() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..3000, 1_u64..300_000]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (key(), 0_u16..100, duration()).prop_map(|(key, owner, ms)| Step::Start(key, owner, ms)),
        2 => key().prop_map(Step::End),
        2 => key().prop_map(Step::Expire),
        1 => (key(), duration()).prop_map(|(key, ms)| Step::Extend(key, ms)),
        1 => (key(), duration()).prop_map(|(key, ms)| Step::Lower(key, ms)),
        2 => key().prop_map(Step::Packet),
        2 => (1_u64..800).prop_map(Step::Pass),
        1 => (1_u64..80_000).prop_map(Step::Pass),
        2 => Just(Step::Turn),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 12 } else { 120 })
}

/// An affinity as the naive table knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    owner: BackendId,
    cell: CellId,
    deadline: u64,
    duration: u64,
}

struct Bench {
    publisher: Publisher,
    reader: Reader,
    table: Arc<AffinityTable>,
    writer: AffinityWriter,
    known: BTreeMap<AffinityKey, Known>,
    generation: u32,
    now: u64,
}

fn bench(capacity: usize) -> Bench {
    let (publisher, mut readers) = rcu::domain(1);
    let (table, writer) = affinities(publisher.domain(), capacity);
    Bench {
        publisher,
        reader: readers.remove(0),
        table,
        writer,
        known: BTreeMap::new(),
        generation: 0,
        now: 1000,
    }
}

impl Bench {
    fn turn(&mut self) {
        self.publisher.advance();
        self.reader.quiescent();
        self.writer.reclaim(self.publisher.passed());
    }

    fn start(&mut self, key: AffinityKey, owner: u16, ms: u64) -> Result<CellId, Refused> {
        self.generation += 1;
        let owner = BackendId(owner);
        // Short enough for every packet to extend it (contract rule T7).
        let duration = ms.min(100_000);
        let grant = Grant {
            deadline: Millis(self.now + ms),
            duration_ms: u32::try_from(duration).unwrap(),
            limit: None,
        };
        let instead = self.known.get(&key).map(|known| known.cell);
        let cell = self
            .writer
            .start(&key, owner, self.generation, grant, instead)?;
        let known = Known {
            owner,
            cell,
            deadline: self.now + ms,
            duration,
        };
        self.known.insert(key, known);
        Ok(cell)
    }

    fn apply(&mut self, step: Step) {
        let now = Millis(self.now);
        match step {
            Step::Start(key, owner, ms) => {
                self.start(key, owner, ms).unwrap();
            }
            Step::End(key) => {
                if let Some(known) = self.known.remove(&key) {
                    self.writer.end(&key, known.cell);
                }
            }
            Step::Expire(key) => {
                if let Some(known) = self.known.get(&key).copied() {
                    let expected = if known.deadline <= self.now {
                        self.known.remove(&key);
                        Ok(())
                    } else {
                        Err(Millis(known.deadline))
                    };
                    assert_eq!(self.writer.expire(&key, known.cell, now), expected);
                }
            }
            Step::Extend(key, ms) => {
                if let Some(known) = self.known.get_mut(&key) {
                    known.deadline = known.deadline.max(self.now + ms);
                    let deadline = self.writer.extend(known.cell, now + ms);
                    assert_eq!(deadline, Millis(known.deadline));
                }
            }
            Step::Lower(key, ms) => {
                if let Some(known) = self.known.get_mut(&key) {
                    known.deadline = known.deadline.min(self.now + ms);
                    self.writer.lower(&key, known.cell, now + ms);
                }
            }
            Step::Packet(key) => {
                if let Some(known) = self.known.get_mut(&key) {
                    let CellId { generation, .. } = known.cell;
                    self.table.cell(known.cell).refresh(generation, now);
                    if known.deadline > self.now {
                        known.deadline = known.deadline.max(self.now + known.duration);
                    }
                }
            }
            Step::Pass(ms) => self.now += ms,
            Step::Turn => self.turn(),
        }
    }

    /// The most specific affinity that routes, found by looking at all.
    fn expected(&self, service: ServiceId, client: IpAddr, port: u16) -> Option<Found> {
        let matches = |source: &Source| {
            crate::tables::same_subnet(source.address(), client, source.prefix())
                && source.port().is_none_or(|own| own.get() == port)
        };
        let routes = self.known.iter().filter(|(key, known)| {
            key.service == service && known.deadline > self.now && matches(&key.source)
        });
        let best = routes.max_by_key(|(key, _)| (key.source.port(), key.source.prefix()));
        best.map(|(key, known)| Found {
            source: key.source,
            owner: known.owner,
            cell: known.cell,
        })
    }

    fn check(&self) {
        let mut hits = Hits::new();
        for service in SERVICES {
            for port in PORTS.into_iter().chain([2]) {
                let queries = V4.map(|source| Query {
                    service,
                    source,
                    port,
                });
                let now = Millis(self.now);
                self.table
                    .lookup4(self.reader.guard(), now, &queries, &mut hits);
                self.compare(&hits, 0, service, port);
                let queries = V6.map(|source| Query {
                    service,
                    source,
                    port,
                });
                self.table
                    .lookup6(self.reader.guard(), now, &queries, &mut hits);
                self.compare(&hits, V4.len(), service, port);
            }
        }
        assert_eq!(self.writer.len(), self.known.len());
        for known in self.known.values() {
            let view = self.writer.view(known.cell);
            assert_eq!(view.deadline, Millis(known.deadline));
        }
    }

    fn compare(&self, hits: &Hits, first: usize, service: ServiceId, port: u16) {
        for (at, hit) in (first..).zip(hits) {
            let client = address(at);
            let expected = self.expected(service, client, port);
            let what = format!("{service:?} {client} {port}");
            let hit = hit.map(|hit| (hit.owner(), self.table.cell_of(hit)));
            assert_eq!(hit, expected.map(|it| (it.owner, it.cell)), "{what}");
            let found = self.writer.find(service, client, port, Millis(self.now));
            assert_eq!(found, expected, "find: {what}");
        }
    }
}

proptest! {
    #![proptest_config(crate::models::cases(48))]
    #[test]
    fn it_agrees_with_a_list_after_every_step(steps in steps(), others in 0_u16..400) {
        let mut bench = bench(1000);
        // Others fill the directories, so that some cases grow them.
        let others = if cfg!(miri) { others / 40 } else { others };
        for other in 0..others {
            let [high, low] = other.to_be_bytes();
            let address = IpAddr::from([100, 64, high, low]);
            let source = Source::host(address).unwrap();
            let key = AffinityKey { service: SERVICES[0], source };
            bench.start(key, 7, 1 << 30).unwrap();
        }
        for step in steps {
            bench.apply(step);
            bench.check();
        }
    }
}

/// Contract rule R10: a service without affinities of a kind makes no probe for it, whatever others
/// have; nor does it once they are gone.
#[test]
fn r10_only_kinds_that_a_service_has_are_looked_for() {
    let mut bench = bench(100);
    let sources = [
        "198.51.100.7",
        "198.51.100.0/24",
        "2001:db8::/32",
        "2001:db8::7",
    ];
    let keys = sources.map(|text| {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "255"));
        let address: IpAddr = address.parse().unwrap();
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse::<u8>().unwrap().min(whole);
        AffinityKey {
            service: SERVICES[0],
            source: Source::subnet(address, prefix).unwrap(),
        }
    });
    let probes = |bench: &Bench, service| {
        let count = |words: &[u64]| words.iter().map(|word| word.count_ones()).sum::<u32>();
        let v4 = bench.table.ranks4(service);
        (count(&[v4]), count(&bench.table.ranks6(service)))
    };
    assert_eq!(probes(&bench, SERVICES[0]), (0, 0));
    for key in keys {
        bench.start(key, 1, 1000).unwrap();
    }
    assert_eq!(probes(&bench, SERVICES[0]), (2, 2));
    assert_eq!(probes(&bench, SERVICES[1]), (0, 0));
    for key in keys {
        let known = bench.known.remove(&key).unwrap();
        bench.writer.end(&key, known.cell);
    }
    assert_eq!(probes(&bench, SERVICES[0]), (0, 0));
}

fn host(last: u8) -> AffinityKey {
    AffinityKey {
        service: SERVICES[0],
        source: Source::host(IpAddr::from([198, 51, 100, last])).unwrap(),
    }
}

/// Contract rule S2: a worker that has read the bucket before a replacement and looks at the cell
/// after it still finds the old owner, not nobody.
#[test]
fn s2_a_replacement_has_no_moment_without_an_owner() {
    let mut bench = bench(100);
    let old = bench.start(host(7), 1, 1000).unwrap();
    bench.turn();
    let seen = Value::new(BackendId(1), old.index, Millis(0));
    bench.start(host(7), 2, 1000).unwrap();
    let owner = |bench: &Bench| {
        let hit = bench.table.alive(seen, Millis(bench.now));
        hit.map(Hit::owner)
    };
    assert_eq!(owner(&bench), Some(BackendId(1)));
    bench.turn();
    assert_eq!(owner(&bench), None, "no worker looks there any more");
    bench.turn();
    assert_eq!(bench.writer.waiting(), 0);
}

/// The control thread asks millions at their first deadlines, and need publish nothing where all live on.
#[test]
fn what_lives_on_leaves_nothing_that_waits_for_workers() {
    let mut bench = bench(10);
    let cell = bench.start(host(7), 1, 200_000).unwrap();
    bench.turn();
    bench.now += 150_000;
    bench.apply(Step::Packet(host(7)));
    bench.now += 50_000;
    assert!(
        bench
            .writer
            .expire(&host(7), cell, Millis(bench.now))
            .is_err()
    );
    assert_eq!(bench.writer.waiting(), 0);
    bench.check();
}

#[test]
fn a_full_table_still_replaces() {
    let mut bench = bench(4);
    for last in 1..=4 {
        bench.start(host(last), 1, 1000).unwrap();
    }
    assert_eq!(bench.start(host(5), 1, 1000), Err(Refused::Full(4)));
    for last in 1..=4 {
        bench.start(host(last), 2, 1000).unwrap();
    }
    assert_eq!(bench.start(host(5), 1, 1000), Err(Refused::Full(4)));
    let ended = bench.known.remove(&host(1)).unwrap();
    bench.writer.end(&host(1), ended.cell);
    bench.start(host(5), 1, 1000).unwrap();
    assert_eq!((bench.writer.len(), bench.writer.capacity()), (4, 4));
    bench.check();
}

#[test]
#[cfg_attr(miri, ignore = "65,536 changes take minutes there")]
fn a_table_refuses_changes_when_workers_do_not_report() {
    let mut bench = bench(4);
    bench.start(host(1), 1, 1000).unwrap();
    let mut replaced = 0;
    let refused = loop {
        match bench.start(host(1), 2, 1000) {
            Ok(_) => replaced += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Waiting(_)), "{refused:?}");
    assert!(replaced >= 1000);
    bench.turn();
    bench.turn();
    bench.start(host(1), 3, 1000).unwrap();
}
