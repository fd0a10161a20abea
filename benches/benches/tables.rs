//! The affinity table and what the control thread publishes.
//!
//! `cargo bench -p tether-benches --bench tables`. `table-bench` compares with other tables, in turn.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::net::Ipv4Addr;
use tether_dataplane::{
    Mac,
    clock::Millis,
    key::Protocol,
    measure::{Affinities, Clients},
    plane::{Writer, data_plane},
    tables::{
        PortSpec, TablesSpec,
        affinity::{AffinityKey, CellId, Grant, Source},
        backend::{BackendSpec, BackendState},
        clients::ClientLists,
        id::{BackendId, ServiceId},
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
};

const BURST: u32 = 64;
const SERVICE: ServiceId = ServiceId(0);
const NOW: Millis = Millis(1000);

fn spec(services: u16, backends_each: u16) -> TablesSpec {
    let service = |number: u16| ServiceSpec {
        id: ServiceId(number),
        protocol: Protocol::Tcp,
        address: Ipv4Addr::from_bits(0x0a09_0064 + u32::from(number)).into(),
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
    };
    let backend = |number: u16| BackendSpec {
        id: BackendId(number),
        name: format!("backend-{number}"),
        service: ServiceId(number / backends_each),
        address: Ipv4Addr::from_bits(0xac10_0002 + u32::from(number)).into(),
        weight: 1,
        port: 0,
        nominal_weight: 1,
        state: BackendState::Up,
    };
    TablesSpec {
        ports: vec![PortSpec {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            vlan: None,
            addresses: vec![(Ipv4Addr::new(172, 16, 0, 1).into(), 12)],
            gateways: Vec::new(),
            mtu: 1500,
            neighbours: Vec::new(),
            spread: None,
        }],
        services: (0..services).map(service).collect(),
        backends: (0..services * backends_each).map(backend).collect(),
        pools: Vec::new(),
    }
}

fn address(number: u32) -> u32 {
    (number.wrapping_mul(0x9e37_79b1) & 0x3fff_ffff) + 0x0400_0000
}

fn start(writer: &mut Writer, number: u32) -> (AffinityKey, CellId) {
    let source = Source::host(Ipv4Addr::from_bits(address(number)).into());
    let key = AffinityKey {
        service: SERVICE,
        source: source.expect("a client's address"),
    };
    let grant = Grant {
        deadline: Millis::NEVER,
        duration_ms: 0,
        limit: None,
    };
    let cell = writer.affinities_mut();
    let cell = cell.start(&key, BackendId(0), 1, grant, None);
    (key, cell.expect("there is room"))
}

/// So many affinities, and a reader that has passed them.
fn filled(entries: u32) -> (Writer, Affinities) {
    let room = entries as usize + 65_536;
    let (mut writer, mut seats) = data_plane(&spec(1, 1), 1, room).expect("tables");
    let mut reader = Affinities::from(seats.pop().expect("a seat"));
    let nobody = Clients::new(SERVICE, std::iter::empty());
    for number in 0..entries {
        start(&mut writer, number);
        if number % 256 == 0 {
            writer.publish();
            reader.look_up(nobody.burst(0), NOW);
        }
    }
    writer.publish();
    (writer, reader)
}

fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("affinity/look up 64");
    group.throughput(Throughput::Elements(BURST.into()));
    for entries in [1000, 100_000, 1_000_000] {
        let (_writer, mut reader) = filled(entries);
        for (first, kind) in [(0, "hits"), (entries, "misses")] {
            let mut random = fastrand::Rng::with_seed(1);
            let clients = (0..1 << 20).map(|_| address(first + random.u32(..entries)));
            let clients = Clients::new(SERVICE, clients);
            let mut burst = 0;
            group.bench_function(BenchmarkId::new(kind, entries), |bench| {
                bench.iter(|| {
                    burst += 1;
                    reader.look_up(clients.burst(burst), NOW)
                });
            });
        }
    }
}

/// An end and a start, published, and taken over by a worker.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("affinity/end, start, publish 256");
    group.throughput(Throughput::Elements(512));
    for entries in [1000, 1_000_000] {
        let (mut writer, mut reader) = filled(entries);
        let nobody = Clients::new(SERVICE, std::iter::empty());
        let mut started: Vec<_> = (entries..entries + 256)
            .map(|number| start(&mut writer, number))
            .collect();
        group.bench_function(BenchmarkId::from_parameter(entries), |bench| {
            bench.iter(|| {
                for ((key, cell), number) in started.iter_mut().zip(entries..) {
                    writer.affinities_mut().end(key, *cell);
                    (*key, *cell) = start(&mut writer, number);
                }
                writer.publish();
                reader.look_up(nobody.burst(0), NOW)
            });
        });
    }
}

/// A whole configuration: nothing changed, or every weight.
fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish/100 services, 1000 backends");
    group.sample_size(20);
    let before = spec(100, 10);
    let mut after = before.clone();
    after.backends.iter_mut().for_each(|it| it.weight = 2);
    for (now, what) in [
        (&before, "nothing changed"),
        (&after, "all weights changed"),
    ] {
        group.bench_function(what, |bench| {
            bench.iter_batched_ref(
                || data_plane(&before, 0, 1).expect("tables").0,
                |writer| {
                    writer.set_tables(now).expect("tables");
                    writer.publish()
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(tables, look_up, change, publish);
criterion_main!(tables);
