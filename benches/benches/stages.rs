//! The stages of the path by themselves, a packet or a burst at a time.
//!
//! `cargo bench -p tether-benches --bench stages`. What a stage costs within a step, with the caches as
//! the others leave them, is what `tether-bench` tells.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::PacketBuilder;
use std::{hint::black_box, net::Ipv4Addr};
use tether_dataplane::{
    Mac,
    key::{Key4, Ports, Protocol},
    measure::{self, Flows, Schedule},
    plane::data_plane,
    port::{Frame, Port, memory::MemoryPort},
    tables::{
        TablesSpec,
        clients::ClientLists,
        id::{BackendId, ServiceId},
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
};

const BURST: usize = 64;

fn frame() -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 64, 0, 1], [10, 9, 0, 100], 64)
        .tcp(1024, 80, 1, 65_535)
        .ack(1);
    packet.write(&mut frame, &[]).expect("a Vec takes all");
    frame.resize(60, 0);
    frame
}

fn key(client: u32) -> Key4 {
    Key4 {
        source: (0x0a40_0000 + client).to_be(),
        destination: Ipv4Addr::new(10, 9, 0, 100).to_bits().to_be(),
        ports: Ports::new(1024, 80),
        protocol: Protocol::Tcp,
    }
}

fn service(number: u16) -> ServiceSpec {
    ServiceSpec {
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
    }
}

fn parse(criterion: &mut Criterion) {
    let frame = frame();
    assert!(measure::parse(&frame).is_some());
    criterion.bench_function("parse/tcp4", |bench| {
        bench.iter(|| measure::parse(black_box(&frame)));
    });
}

fn classify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    for services in [1, 100, 4000] {
        let spec = TablesSpec {
            services: (0..services).map(service).collect(),
            ..TablesSpec::default()
        };
        let (writer, _seats) = data_plane(&spec, 1, 1).expect("tables within the limits");
        let key = key(1);
        assert!(measure::classify(writer.tables(), &key).is_some());
        group.bench_function(BenchmarkId::from_parameter(services), |bench| {
            bench.iter(|| measure::classify(writer.tables(), black_box(&key)));
        });
    }
}

fn flow_table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow_table/find 64");
    group.throughput(Throughput::Elements(BURST as u64));
    for count in [1000_u32, 200_000, 1_000_000] {
        let mut flows = Flows::new(count as usize);
        let mut keys: Vec<Key4> = (0..count).map(key).collect();
        for key in &keys {
            assert!(flows.insert(key, BackendId(1)));
        }
        fastrand::Rng::with_seed(1).shuffle(&mut keys);
        let mut bursts = keys.chunks_exact(BURST).cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter(|| bursts.next().map(|burst| flows.find(burst)));
        });
    }
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    let schedulers = [
        (Scheduler::Maglev, "maglev"),
        (Scheduler::RoundRobin, "round-robin"),
        (Scheduler::WeightedRoundRobin, "weighted-round-robin"),
    ];
    for (scheduler, name) in schedulers {
        let mut schedule = Schedule::new(scheduler, 100);
        let mut client = 0;
        group.bench_function(name, |bench| {
            bench.iter(|| {
                client += 1;
                schedule.choose(&key(client))
            });
        });
    }
}

fn rewrite(criterion: &mut Criterion) {
    let (mut port, _peer) = MemoryPort::new(1, 1);
    let mut frame = port.allocate().expect("a fresh pool has a frame");
    assert!(frame.resize(60));
    let (to, from) = (Mac([2, 0, 0, 0, 0, 3]), Mac([2, 0, 0, 0, 0, 4]));
    criterion.bench_function("rewrite/direct", |bench| {
        bench.iter(|| measure::rewrite(black_box(&mut frame), to, from));
    });
}

criterion_group!(stages, parse, classify, flow_table, schedule, rewrite);
criterion_main!(stages);
