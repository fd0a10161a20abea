//! EAL for a test binary: no hugepages, no root, no PCI, beside any number of others.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests use a part each, and fail by panic"
)]

use std::fs;
use std::ops::Range;
use std::sync::OnceLock;

use arrayvec::ArrayVec;
use dpdk::{Eal, Mbuf, Mempool, MempoolConfig, Port, PortConfig, Queue};

pub(crate) type Burst = ArrayVec<Mbuf, 32>;

/// The arguments of all test EALs.
pub(crate) const ARGS: &[&str] = &[
    "--no-huge",
    "-m",
    "128",
    "--no-pci",
    "--no-shconf",
    "--no-telemetry",
    "--file-prefix=tether-test",
    "--log-level=error",
    "-l",
    "0",
];

/// The one EAL of the process, started at the first call.
pub(crate) fn eal(devices: &[&str]) -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| start(devices))
}

/// Starts EAL with the devices, as `--vdev` takes them.
pub(crate) fn start(devices: &[&str]) -> Eal {
    let vdevs = devices.iter().map(|device| format!("--vdev={device}"));
    let args: Vec<String> = ARGS.iter().map(ToString::to_string).chain(vdevs).collect();
    Eal::init(&args).unwrap()
}

/// A pool of 2047 buffers with threads' caches.
pub(crate) fn pool(eal: &Eal, name: &str) -> Mempool {
    let config = MempoolConfig {
        count: 2047,
        cache: 32,
        ..MempoolConfig::default()
    };
    Mempool::new(eal, name, config).unwrap()
}

/// A started port with its queues on one pool.
pub(crate) fn start_port(eal: &Eal, name: &str, queues: u16, pool: &Mempool) -> (Port, Vec<Queue>) {
    let pools = [pool.clone()];
    let config = PortConfig {
        queues,
        ..PortConfig::new(&pools)
    };
    Port::open(eal, name).unwrap().configure(&config).unwrap()
}

/// A frame of 60 bytes whose first is `mark`.
pub(crate) fn frame(pool: &Mempool, mark: u8) -> Mbuf {
    let mut frame = pool.allocate().unwrap();
    frame.append(60).unwrap().fill(0);
    frame.data_mut()[0] = mark;
    frame
}

/// The first bytes of the frames.
pub(crate) fn marks<const N: usize>(burst: &ArrayVec<Mbuf, N>) -> Vec<u8> {
    burst.iter().map(|frame| frame.data()[0]).collect()
}

/// Is there memory at the address?
pub(crate) fn is_mapped(address: usize) -> bool {
    let range = |line: &str| -> Option<Range<usize>> {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(number(start)?..number(end)?)
    };
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter_map(range)
        .any(|range| range.contains(&address))
}
