//! Buffers are bare pointers, and yet no order of drops reaches freed memory.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

#[path = "support/rig.rs"]
mod rig;

use dpdk::{Eal, Error, Mbuf, Mempool, MempoolConfig, register_thread};

#[test]
fn memory_stays_while_a_buffer_is_out_and_goes_after() {
    let eal = rig::start(&["net_ring0"]);
    a_pool_is_freed_after_its_last_buffer(&eal);
    a_pool_is_not_counted_while_threads_have_caches(&eal);
    queues_bring_buffers_of_pools_that_have_no_handle(&eal);

    let frame = rig::frame(&rig::pool(&eal, "last"), 42);
    let address = frame.data().as_ptr() as usize;
    drop(eal);
    assert!(rig::is_mapped(address), "EAL stays up for the buffer");
    assert_eq!(frame.data()[0], 42);
    drop(frame);
}

fn small_pool(eal: &Eal, name: &str) -> Result<Mempool, Error> {
    Mempool::new(
        eal,
        name,
        MempoolConfig {
            count: 63,
            cache: 8,
            ..MempoolConfig::default()
        },
    )
}

/// A name is free again when its pool is.
fn is_freed(eal: &Eal, name: &str) -> bool {
    small_pool(eal, name).is_ok()
}

fn a_pool_is_freed_after_its_last_buffer(eal: &Eal) {
    let pool = small_pool(eal, "one").unwrap();
    let clone = pool.clone();
    drop(pool);
    assert!(!is_freed(eal, "one"), "a handle is left");
    let frame = rig::frame(&clone, 7);
    drop(clone);
    assert!(!is_freed(eal, "one"), "a buffer is left");
    assert_eq!(frame.data()[0], 7);
    drop(frame);
    assert!(is_freed(eal, "one"));
}

fn a_pool_is_not_counted_while_threads_have_caches(eal: &Eal) {
    let guard = register_thread(eal).unwrap();
    let pool = small_pool(eal, "cached").unwrap();
    drop(rig::frame(&pool, 1));
    drop(pool);
    assert!(
        !is_freed(eal, "cached"),
        "a thread may be about to give buffers back"
    );
    drop(guard);
    assert!(is_freed(eal, "cached"));
}

fn queues_bring_buffers_of_pools_that_have_no_handle(eal: &Eal) {
    let pool = small_pool(eal, "ring").unwrap();
    let (port, mut queues) = rig::start_port(eal, "net_ring0", 1, &pool);
    let mut burst: rig::Burst = [rig::frame(&small_pool(eal, "other").unwrap(), 9)]
        .into_iter()
        .collect();
    assert_eq!(queues[0].transmit(&mut burst), 1);
    assert!(!is_freed(eal, "other"), "its buffer is in the ring");
    assert_eq!(queues[0].receive(&mut burst), 1);
    assert_eq!(burst[0].data()[0], 9);
    drop((port, queues, pool));
    drop::<Mbuf>(burst.remove(0));
    assert!(is_freed(eal, "other") && is_freed(eal, "ring"));
}
