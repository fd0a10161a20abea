//! The tables, with the same clients in each.

use crate::writer::Changer;
use arc_swap::ArcSwap;
use dpdk::{Eal, HashReader, hash_table};
use hashbrown::{DefaultHashBuilder, HashMap};
use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tether_benches::progress::with_bar;
use tether_dataplane::{
    clock::Millis,
    key::Protocol,
    measure::{Affinities, Clients},
    plane::data_plane,
    tables::{
        TablesSpec,
        affinity::{AffinityKey, CellId, Grant, Source},
        clients::ClientLists,
        id::{BackendId, ServiceId},
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
};

/// Clients that are looked up at once.
pub(crate) const BURST: usize = 64;
/// Lookups before they come round again.
const LOOKUPS: usize = 1 << 22;
const SERVICE: ServiceId = ServiceId(0);
const NOW: Millis = Millis(1000);
/// Changes are of the first entries, so many.
const CHANGED: u32 = 100_000;

type Key = [u8; 16];
type Map = HashMap<Key, u64>;
type Papaya = papaya::HashMap<Key, u64, DefaultHashBuilder>;

/// A table that is looked up.
pub(crate) trait Candidate {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Looks up a burst of the workload; how many were found.
    fn look_up(&mut self, workload: &Workload, burst: usize) -> usize;
    /// Whether it may be changed meanwhile.
    fn is_concurrent(&self) -> bool {
        true
    }
}

/// The clients that are looked up, in random order, as each table wants them.
#[derive(Debug)]
pub(crate) struct Workload {
    clients: Clients,
    keys: Vec<Key>,
}

impl Workload {
    /// So many of a hundred are among the `entries` clients.
    pub(crate) fn new(entries: u32, hits_percent: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(u64::from(entries) + u64::from(hits_percent));
        let wanted: Vec<u32> = (0..LOOKUPS)
            .map(|_| {
                let is_hit = random.u32(..100) < hits_percent;
                random.u32(..entries) + if is_hit { 0 } else { entries }
            })
            .map(address)
            .collect();
        Self {
            clients: Clients::new(SERVICE, wanted.iter().copied()),
            keys: wanted.into_iter().map(key).collect(),
        }
    }

    fn keys(&self, burst: usize) -> &[Key] {
        let start = burst % (LOOKUPS / BURST) * BURST;
        &self.keys[start..start + BURST]
    }
}

/// The address of a client: each of the first 2^30 numbers has its own, from 4.0.0.0 to 67.255.255.255.
fn address(number: u32) -> u32 {
    (number.wrapping_mul(0x9e37_79b1) & 0x3fff_ffff) + 0x0400_0000
}

/// What the other tables hold: service, address, port, prefix length, as the affinity table does.
fn key(address: u32) -> Key {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&address.to_le_bytes());
    key[8] = 32;
    key
}

/// Tables, and what changes each.
type Filled = (Vec<Box<dyn Candidate>>, Vec<Changer>);

/// All tables with so many clients.
pub(crate) fn fill(eal: &Eal, entries: u32) -> Result<Filled, Box<dyn Error>> {
    let (affinity, change_affinity) = fill_affinities(entries)?;
    let (rte_hash, change_rte_hash) = fill_rte_hash(eal, entries)?;
    let keys = || (0..entries).map(|number| (key(address(number)), u64::from(number)));
    let map: Map = keys().collect();
    let papaya = Arc::new(Papaya::with_capacity_and_hasher(
        entries as usize,
        DefaultHashBuilder::default(),
    ));
    for (key, number) in keys() {
        papaya.pin().insert(key, number);
    }
    let shared = Arc::new(ArcSwap::from_pointee(map.clone()));
    let tables: Vec<Box<dyn Candidate>> = vec![
        Box::new(affinity),
        Box::new(rte_hash),
        Box::new(map),
        Box::new(Arc::clone(&papaya)),
        Box::new(Arc::clone(&shared)),
    ];
    let count = entries.min(CHANGED);
    let changers: Vec<Changer> = vec![
        change_affinity,
        change_rte_hash,
        Box::new(|_| ()),
        each_of(count, move |key, number| {
            papaya.pin().insert(key, number);
        }),
        copy_and_swap(count, shared),
    ];
    Ok((tables, changers))
}

/// Changes one entry after the other.
fn each_of(count: u32, mut change: impl FnMut(Key, u64) + Send + 'static) -> Changer {
    let mut number = 0;
    Box::new(move |changes| {
        for _ in 0..changes {
            number = (number + 1) % count;
            change(key(address(number)), u64::from(number));
        }
    })
}

fn copy_and_swap(count: u32, shared: Arc<ArcSwap<Map>>) -> Changer {
    let mut number = 0;
    Box::new(move |changes| {
        let mut map = Map::clone(&shared.load());
        for _ in 0..changes {
            number = (number + 1) % count;
            map.insert(key(address(number)), u64::from(number));
        }
        shared.store(Arc::new(map));
    })
}

impl Candidate for Affinities {
    fn name(&self) -> &'static str {
        "affinity"
    }

    fn look_up(&mut self, workload: &Workload, burst: usize) -> usize {
        Affinities::look_up(self, workload.clients.burst(burst), NOW)
    }
}

fn fill_affinities(entries: u32) -> Result<(Affinities, Changer), Box<dyn Error>> {
    let spec = TablesSpec {
        services: vec![service()],
        ..TablesSpec::default()
    };
    let (mut writer, mut seats) = data_plane(&spec, 1, entries as usize + 65_536)?;
    let mut reader = Affinities::from(seats.pop().ok_or("one worker has one seat")?);
    let nobody = Clients::new(SERVICE, std::iter::empty());
    let mut started: Vec<(AffinityKey, CellId)> = Vec::new();
    for number in with_bar("affinities", entries as usize, 0..entries) {
        let source = Source::host(IpAddr::V4(Ipv4Addr::from_bits(address(number))))?;
        let key = AffinityKey {
            service: SERVICE,
            source,
        };
        let cell = writer.affinities_mut();
        let cell = cell.start(&key, BackendId(0), 1, grant(), None)?;
        if number < CHANGED {
            started.push((key, cell));
        }
        if number % 256 == 0 {
            writer.publish();
            reader.look_up(nobody.burst(0), NOW);
        }
    }
    let mut next = 0;
    let changer = move |changes| {
        for _ in 0..changes {
            next = (next + 1) % started.len();
            let (key, cell) = &mut started[next];
            let new = writer.affinities_mut();
            // Err: the reader has not reported for a while; the next change will do.
            if let Ok(new) = new.start(key, BackendId(0), 2, grant(), Some(*cell)) {
                *cell = new;
            }
        }
        writer.publish();
    };
    Ok((reader, Box::new(changer)))
}

fn service() -> ServiceSpec {
    ServiceSpec {
        id: SERVICE,
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(10, 9, 0, 100).into(),
        prefix_length: 32,
        port: 80,
        scheduler: Scheduler::Maglev,
        forward: Forward::Dsr,
        proxy_protocol: false,
        flow_timeout_s: 300,
        affinity: true,
        refresh: Refresh::Packet,
        on_backend_down: OnBackendDown::Balance,
        clients: ClientLists::default(),
        limits: FlowLimits::default(),
    }
}

fn grant() -> Grant {
    Grant {
        deadline: Millis::NEVER,
        duration_ms: 0,
        limit: None,
    }
}

impl Candidate for HashReader {
    fn name(&self) -> &'static str {
        "rte_hash"
    }

    fn look_up(&mut self, workload: &Workload, burst: usize) -> usize {
        HashReader::look_up(self, workload.keys(burst))
    }
}

/// With room for a quarter more: nearly full, it would look at both of a key's buckets more often.
fn fill_rte_hash(eal: &Eal, entries: u32) -> Result<(HashReader, Changer), Box<dyn Error>> {
    let room = (entries + entries / 4).max(64);
    let (mut writer, reader) = hash_table(eal, &format!("clients{entries}"), room)?;
    for number in with_bar("rte_hash", entries as usize, 0..entries) {
        writer.put(&key(address(number)), 0)?;
    }
    let changer = each_of(entries.min(CHANGED), move |key, number| {
        // Err: never, as the key is there.
        let _ = writer.put(&key, usize::try_from(number).unwrap_or_default());
    });
    Ok((reader, changer))
}

impl Candidate for Map {
    fn name(&self) -> &'static str {
        "hashbrown"
    }

    fn look_up(&mut self, workload: &Workload, burst: usize) -> usize {
        let keys = workload.keys(burst).iter();
        keys.filter(|key| self.contains_key(*key)).count()
    }

    fn is_concurrent(&self) -> bool {
        false
    }
}

impl Candidate for Arc<Papaya> {
    fn name(&self) -> &'static str {
        "papaya"
    }

    fn look_up(&mut self, workload: &Workload, burst: usize) -> usize {
        let pinned = self.pin();
        let keys = workload.keys(burst).iter();
        keys.filter(|key| pinned.contains_key(*key)).count()
    }
}

impl Candidate for Arc<ArcSwap<Map>> {
    fn name(&self) -> &'static str {
        "arc_swap"
    }

    fn look_up(&mut self, workload: &Workload, burst: usize) -> usize {
        let map = self.load();
        let keys = workload.keys(burst).iter();
        keys.filter(|key| map.contains_key(*key)).count()
    }
}
