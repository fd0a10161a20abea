//! Instructions of the stages, under valgrind: the same on a noisy machine as on a quiet one.
//!
//! `apt-get install valgrind; cargo install gungraun-runner --version 0.20.0`, then
//! `cargo bench -p tether-benches --bench instructions`. Cache misses are another matter.
#![allow(
    missing_docs,
    clippy::pedantic,
    reason = "gungraun's macros make public functions without documentation"
)]

use etherparse::PacketBuilder;
use gungraun::{library_benchmark, library_benchmark_group, main};
use std::{hint::black_box, net::Ipv4Addr};
use tether_dataplane::{
    key::{Key4, Ports, Protocol},
    measure::{self, Flows, Schedule},
    tables::{id::BackendId, service::Scheduler},
};

const BURST: u32 = 64;

fn key(client: u32) -> Key4 {
    Key4 {
        source: (0x0a40_0000 + client).to_be(),
        destination: Ipv4Addr::new(10, 9, 0, 100).to_bits().to_be(),
        ports: Ports::new(1024, 80),
        protocol: Protocol::Tcp,
    }
}

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

fn flows() -> (Flows, Vec<Key4>) {
    let mut flows = Flows::new(1000);
    let keys: Vec<Key4> = (0..1000).map(key).collect();
    for key in &keys {
        assert!(flows.insert(key, BackendId(1)));
    }
    (flows, keys)
}

#[library_benchmark]
#[bench::tcp4(frame())]
fn parse(frame: Vec<u8>) -> (Option<Key4>, Vec<u8>) {
    (measure::parse(black_box(&frame)), frame)
}

#[library_benchmark]
#[bench::burst(flows())]
fn find_a_burst_of_64((flows, keys): (Flows, Vec<Key4>)) -> (usize, Flows, Vec<Key4>) {
    let found = flows.find(black_box(&keys[..BURST as usize]));
    (found, flows, keys)
}

#[library_benchmark]
#[bench::maglev(Schedule::new(Scheduler::Maglev, 100))]
fn schedule(mut schedule: Schedule) -> (Option<BackendId>, Schedule) {
    (schedule.choose(black_box(&key(1))), schedule)
}

library_benchmark_group!(
    name = stages,
    benchmarks = [parse, find_a_burst_of_64, schedule]
);
main!(library_benchmark_groups = stages);
