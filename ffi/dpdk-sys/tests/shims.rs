//! Each shim against the macro or inline function it stands for, by what DPDK documents of it.
#![allow(unsafe_code, reason = "the bindings are what is tested")]
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use dpdk_sys::{rte_mbuf, rte_mempool, tether_link};

const ARGS: &[&str] = &[
    "shims",
    "--no-huge",
    "-m",
    "64",
    "--no-pci",
    "--no-shconf",
    "--no-telemetry",
    "--file-prefix=tether-test",
    "--log-level=error",
    "-l",
    "0",
    "--vdev=net_ring0",
    "--vdev=net_null0",
];
const MAIN_LCORE: u32 = 0;
const EINVAL: i32 = 22;

/// Starts EAL once, on a thread of its own since it pins that one; returns its lcore id there.
fn start_eal() -> u32 {
    static MAIN: OnceLock<u32> = OnceLock::new();
    *MAIN.get_or_init(|| {
        thread::spawn(|| {
            let mut args: Vec<*mut c_char> = ARGS
                .iter()
                .map(|text| CString::new(*text).unwrap().into_raw())
                .collect();
            let count = i32::try_from(args.len()).unwrap();
            args.push(ptr::null_mut());
            // SAFETY: the strings live for ever and the array ends with null.
            let parsed = unsafe { dpdk_sys::rte_eal_init(count, args.as_mut_ptr()) };
            assert!(parsed >= 0);
            // SAFETY: no conditions.
            unsafe { dpdk_sys::tether_lcore_id() }
        })
        .join()
        .unwrap()
    })
}

fn create_pool(name: &str, count: u32, cache: u32) -> *mut rte_mempool {
    start_eal();
    let name = CString::new(name).unwrap();
    // SAFETY: EAL is up and the name ends with NUL.
    unsafe { dpdk_sys::rte_pktmbuf_pool_create(name.as_ptr(), count, cache, 0, 2176, -1) }
}

fn in_use(pool: *mut rte_mempool) -> u32 {
    // SAFETY: tests never free a pool.
    unsafe { dpdk_sys::rte_mempool_in_use_count(pool) }
}

fn errno() -> i32 {
    // SAFETY: no conditions.
    unsafe { dpdk_sys::tether_errno() }
}

fn lcore_id() -> u32 {
    // SAFETY: no conditions.
    unsafe { dpdk_sys::tether_lcore_id() }
}

fn rdtsc() -> u64 {
    // SAFETY: no conditions.
    unsafe { dpdk_sys::tether_rdtsc() }
}

fn allocate_bulk(pool: *mut rte_mempool, burst: &mut [*mut rte_mbuf]) -> i32 {
    let count = u32::try_from(burst.len()).unwrap();
    // SAFETY: tests never free a pool, and there is room for `count`.
    unsafe { dpdk_sys::tether_pktmbuf_alloc_bulk(pool, burst.as_mut_ptr(), count) }
}

fn free_bulk(burst: &mut [*mut rte_mbuf]) {
    let count = u32::try_from(burst.len()).unwrap();
    // SAFETY: the callers give up buffers that they own.
    unsafe { dpdk_sys::rte_pktmbuf_free_bulk(burst.as_mut_ptr(), count) };
}

#[test]
fn errno_is_that_of_the_last_failure_on_this_thread() {
    let too_large_a_cache = 100_000;
    assert!(create_pool("errno", 15, too_large_a_cache).is_null());
    assert_eq!(errno(), EINVAL);
    assert_eq!(thread::spawn(errno).join().unwrap(), 0);
}

#[test]
fn lcore_id_is_main_on_the_main_thread_and_any_on_others_until_registered() {
    assert_eq!(start_eal(), MAIN_LCORE);
    thread::spawn(|| {
        assert_eq!(lcore_id(), dpdk_sys::TETHER_LCORE_ID_ANY);
        // SAFETY: EAL is up.
        let result = unsafe { dpdk_sys::rte_thread_register() };
        assert_eq!(result, 0);
        assert!(lcore_id() != MAIN_LCORE && lcore_id() < dpdk_sys::RTE_MAX_LCORE);
        // SAFETY: the thread is registered.
        unsafe { dpdk_sys::rte_thread_unregister() };
        assert_eq!(lcore_id(), dpdk_sys::TETHER_LCORE_ID_ANY);
    })
    .join()
    .unwrap();
}

#[test]
fn rdtsc_ticks_as_fast_as_eal_says() {
    start_eal();
    // SAFETY: EAL is up.
    let expected = u128::from(unsafe { dpdk_sys::rte_get_tsc_hz() });
    let close = |_| rdtsc_per_second().abs_diff(expected) < expected / 10;
    assert!((0..20).any(close), "{} of {expected}", rdtsc_per_second());
}

/// Right unless the thread is interrupted between reading the two clocks.
fn rdtsc_per_second() -> u128 {
    let (start, first) = (Instant::now(), rdtsc());
    while start.elapsed() < Duration::from_millis(5) {}
    u128::from(rdtsc() - first) * 1_000_000_000 / start.elapsed().as_nanos()
}

#[test]
fn a_fresh_mbuf_is_seen_by_our_view_as_dpdk_documents_it() {
    let pool = create_pool("view", 15, 0);
    // SAFETY: the pool exists.
    let mbuf = unsafe { dpdk_sys::tether_pktmbuf_alloc(pool) };
    // SAFETY: the buffer is ours.
    let view = unsafe { &*mbuf };
    assert!(!view.buf_addr.is_null());
    assert_eq!(u32::from(view.data_off), dpdk_sys::RTE_PKTMBUF_HEADROOM);
    assert_eq!((view.refcnt, view.nb_segs, view.port), (1, 1, u16::MAX));
    assert_eq!((view.pkt_len, view.data_len, view.buf_len), (0, 0, 2176));
    assert_eq!((view.ol_flags, view.packet_type, view.vlan_tci), (0, 0, 0));
    assert_eq!((view.pool, view.next), (pool, ptr::null_mut()));
    assert_eq!(in_use(pool), 1);
    // SAFETY: the buffer is ours.
    unsafe { dpdk_sys::tether_pktmbuf_free(mbuf) };
    assert_eq!(in_use(pool), 0);
}

#[test]
fn a_bulk_is_all_or_nothing() {
    let pool = create_pool("bulk", 15, 0);
    let mut burst: [*mut rte_mbuf; 16] = [ptr::null_mut(); 16];
    assert_ne!(allocate_bulk(pool, &mut burst), 0);
    assert_eq!(in_use(pool), 0);
    assert_eq!(allocate_bulk(pool, &mut burst[..15]), 0);
    assert_eq!(in_use(pool), 15);
    // SAFETY: the pool exists.
    let none = unsafe { dpdk_sys::tether_pktmbuf_alloc(pool) };
    assert!(none.is_null());
    free_bulk(&mut burst[..15]);
    assert_eq!(in_use(pool), 0);
}

/// Ports in EAL's order of `--vdev`: 0 is the ring, 1 the null device. One test each.
fn start_port(port: u16, pool: *mut rte_mempool) {
    let conf = dpdk_sys::rte_eth_conf::default();
    // SAFETY: the port exists; `conf` is read during the call.
    let configure = unsafe { dpdk_sys::rte_eth_dev_configure(port, 1, 1, &raw const conf) };
    // SAFETY: the port is configured and the pool is never freed.
    let receive = unsafe { dpdk_sys::rte_eth_rx_queue_setup(port, 0, 64, 0, ptr::null(), pool) };
    // SAFETY: the port is configured.
    let transmit = unsafe { dpdk_sys::rte_eth_tx_queue_setup(port, 0, 64, 0, ptr::null()) };
    // SAFETY: the queues are set up.
    let start = unsafe { dpdk_sys::rte_eth_dev_start(port) };
    assert_eq!((configure, receive, transmit, start), (0, 0, 0, 0));
}

#[test]
fn what_is_transmitted_into_a_ring_is_received_from_it() {
    let pool = create_pool("burst", 15, 0);
    start_port(0, pool);
    let mut sent: [*mut rte_mbuf; 4] = [ptr::null_mut(); 4];
    assert_eq!(allocate_bulk(pool, &mut sent), 0);
    // SAFETY: the port is started and the 4 buffers are ours.
    let count = unsafe { dpdk_sys::tether_eth_tx_burst(0, 0, sent.as_mut_ptr(), 4) };
    assert_eq!(count, 4);
    let mut received: [*mut rte_mbuf; 8] = [ptr::null_mut(); 8];
    // SAFETY: the port is started and there is room for 8.
    let count = unsafe { dpdk_sys::tether_eth_rx_burst(0, 0, received.as_mut_ptr(), 8) };
    assert_eq!(count, 4);
    assert_eq!(received[..4], sent);
    free_bulk(&mut received[..4]);
    assert_eq!(in_use(pool), 0);
}

fn link(port: u16) -> tether_link {
    let mut link = tether_link::default();
    // SAFETY: the port exists, and `link` is written to.
    let result = unsafe { dpdk_sys::tether_eth_link_get_nowait(port, &raw mut link) };
    assert_eq!(result, 0);
    link
}

#[test]
fn the_link_follows_the_device() {
    start_port(1, create_pool("link", 15, 0));
    let started = link(1);
    assert_eq!(
        (started.up, started.full_duplex, started.speed_mbps),
        (1, 1, 10_000)
    );
    // SAFETY: the port is started.
    let stopped = unsafe { dpdk_sys::rte_eth_dev_stop(1) };
    assert_eq!((stopped, link(1).up), (0, 0));
}
