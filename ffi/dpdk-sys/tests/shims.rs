//! Each shim against the macro or inline function it stands for, by what DPDK documents of it.
#![allow(unsafe_code, reason = "the bindings are what is tested")]

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};
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
            assert!(unsafe { dpdk_sys::rte_eal_init(count, args.as_mut_ptr()) } >= 0);
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

#[test]
fn errno_is_that_of_the_last_failure_on_this_thread() {
    let too_large_a_cache = 100_000;
    assert!(create_pool("errno", 15, too_large_a_cache).is_null());
    // SAFETY: no conditions.
    assert_eq!(unsafe { dpdk_sys::tether_errno() }, EINVAL);
    // SAFETY: no conditions.
    let elsewhere = thread::spawn(|| unsafe { dpdk_sys::tether_errno() });
    assert_eq!(elsewhere.join().unwrap(), 0);
}

#[test]
fn lcore_id_is_main_on_the_main_thread_and_any_on_others_until_registered() {
    assert_eq!(start_eal(), MAIN_LCORE);
    thread::spawn(|| {
        // SAFETY: no conditions.
        let id = || unsafe { dpdk_sys::tether_lcore_id() };
        assert_eq!(id(), dpdk_sys::TETHER_LCORE_ID_ANY);
        // SAFETY: EAL is up.
        assert_eq!(unsafe { dpdk_sys::rte_thread_register() }, 0);
        assert!(id() != MAIN_LCORE && id() < dpdk_sys::RTE_MAX_LCORE);
        // SAFETY: the thread is registered.
        unsafe { dpdk_sys::rte_thread_unregister() };
        assert_eq!(id(), dpdk_sys::TETHER_LCORE_ID_ANY);
    })
    .join()
    .unwrap();
}

#[test]
fn rdtsc_ticks_as_fast_as_eal_says() {
    start_eal();
    // SAFETY: no conditions.
    let cycles = || unsafe { dpdk_sys::tether_rdtsc() };
    // SAFETY: EAL is up.
    let hz = unsafe { dpdk_sys::rte_get_tsc_hz() };
    let (start, began) = (Instant::now(), cycles());
    while start.elapsed() < Duration::from_millis(20) {}
    let (ticks, ns) = (u128::from(cycles() - began), start.elapsed().as_nanos());
    let measured = ticks * 1_000_000_000 / ns;
    assert!(
        measured.abs_diff(u128::from(hz)) < u128::from(hz) / 10,
        "{measured} of {hz}"
    );
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
    // SAFETY: the pool exists and there is room for 16.
    assert_ne!(
        unsafe { dpdk_sys::tether_pktmbuf_alloc_bulk(pool, burst.as_mut_ptr(), 16) },
        0
    );
    assert_eq!(in_use(pool), 0);
    // SAFETY: as above.
    assert_eq!(
        unsafe { dpdk_sys::tether_pktmbuf_alloc_bulk(pool, burst.as_mut_ptr(), 15) },
        0
    );
    assert_eq!(in_use(pool), 15);
    // SAFETY: the pool exists.
    assert!(unsafe { dpdk_sys::tether_pktmbuf_alloc(pool) }.is_null());
    // SAFETY: the 15 buffers are ours.
    unsafe { dpdk_sys::rte_pktmbuf_free_bulk(burst.as_mut_ptr(), 15) };
    assert_eq!(in_use(pool), 0);
}

/// Ports in EAL's order of `--vdev`: 0 is the ring, 1 the null device.
fn start_port(port: u16, pool: *mut rte_mempool) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let conf = dpdk_sys::rte_eth_conf::default();
    // SAFETY: the port exists; `conf` is read during the call.
    assert_eq!(
        unsafe { dpdk_sys::rte_eth_dev_configure(port, 1, 1, &raw const conf) },
        0
    );
    // SAFETY: the port is configured and the pool is never freed.
    let receive = unsafe { dpdk_sys::rte_eth_rx_queue_setup(port, 0, 64, 0, ptr::null(), pool) };
    // SAFETY: the port is configured.
    let transmit = unsafe { dpdk_sys::rte_eth_tx_queue_setup(port, 0, 64, 0, ptr::null()) };
    assert_eq!((receive, transmit), (0, 0));
    // SAFETY: the queues are set up.
    assert_eq!(unsafe { dpdk_sys::rte_eth_dev_start(port) }, 0);
}

#[test]
fn what_is_transmitted_into_a_ring_is_received_from_it() {
    let pool = create_pool("burst", 15, 0);
    start_port(0, pool);
    let mut sent: [*mut rte_mbuf; 4] = [ptr::null_mut(); 4];
    // SAFETY: the pool exists and there is room for 4.
    assert_eq!(
        unsafe { dpdk_sys::tether_pktmbuf_alloc_bulk(pool, sent.as_mut_ptr(), 4) },
        0
    );
    // SAFETY: the port is started and the 4 buffers are ours.
    assert_eq!(
        unsafe { dpdk_sys::tether_eth_tx_burst(0, 0, sent.as_mut_ptr(), 4) },
        4
    );
    let mut received: [*mut rte_mbuf; 8] = [ptr::null_mut(); 8];
    // SAFETY: the port is started and there is room for 8.
    assert_eq!(
        unsafe { dpdk_sys::tether_eth_rx_burst(0, 0, received.as_mut_ptr(), 8) },
        4
    );
    assert_eq!(received[..4], sent);
    // SAFETY: they are ours again.
    unsafe { dpdk_sys::rte_pktmbuf_free_bulk(received.as_mut_ptr(), 4) };
    assert_eq!(in_use(pool), 0);
}

#[test]
fn the_link_follows_the_device() {
    start_port(1, create_pool("link", 15, 0));
    let link = |()| {
        let mut link = tether_link::default();
        // SAFETY: the port exists, and `link` is written to.
        assert_eq!(
            unsafe { dpdk_sys::tether_eth_link_get_nowait(1, &raw mut link) },
            0
        );
        (link.up, link.full_duplex, link.speed_mbps)
    };
    assert_eq!(link(()), (1, 1, 10_000));
    // SAFETY: the port is started.
    assert_eq!(unsafe { dpdk_sys::rte_eth_dev_stop(1) }, 0);
    assert_eq!(link(()).0, 0);
}
