//! Threads: registration, queues and buffers that move between them.

use std::sync::{Arc, Barrier};
use std::thread;

use dpdk::{Error, Mempool, Queue, register_thread};

use super::eal;
use super::rig::{Burst, frame, marks, pool, start_port};

#[test]
fn a_thread_is_registered_once_and_until_its_guard_is_dropped() {
    let ids = Arc::new(Barrier::new(2));
    let registered = [1, 2].map(|_| {
        let both = ids.clone();
        thread::spawn(move || {
            let guard = register_thread(eal()).unwrap();
            assert_eq!(register_thread(eal()).unwrap_err(), Error::ThreadRegistered);
            both.wait();
            guard.lcore_id()
        })
    });
    let [first, second] = registered.map(|thread| thread.join().unwrap());
    assert_ne!(first, second);
    let guard = register_thread(eal()).unwrap();
    drop(guard);
    assert!(register_thread(eal()).is_ok());
}

#[test]
fn a_registered_thread_allocates_and_frees_like_any_other() {
    let pool = pool(eal(), "cached");
    let other = pool.clone();
    let frames = thread::spawn(move || {
        let _guard = register_thread(eal()).unwrap();
        let kept: Burst = (0..16).map(|mark| frame(&other, mark)).collect();
        drop((0..100).map(|mark| frame(&other, mark)).collect::<Vec<_>>());
        kept
    });
    let frames = frames.join().unwrap();
    assert_eq!((pool.in_use(), pool.available()), (16, 2047 - 16));
    assert_eq!(marks(&frames), (0..16).collect::<Vec<u8>>());
    drop(frames);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn each_queue_can_be_polled_by_a_thread_of_its_own() {
    let pool = pool(eal(), "threads");
    let (port, queues) = start_port(eal(), "net_ring_threads", 2, &pool);
    let workers: Vec<_> = (1..)
        .zip(queues)
        .map(|(mark, queue)| {
            let pool = pool.clone();
            thread::spawn(move || circulate(queue, &pool, mark))
        })
        .collect();
    let turns: u64 = workers
        .into_iter()
        .map(|worker| worker.join().unwrap())
        .sum();
    let counted = port.statistics().unwrap();
    assert_eq!(
        (counted.received_packets, counted.transmitted_packets),
        (turns, turns)
    );
    assert_eq!(pool.in_use(), 0);
}

/// Sends frames with a mark round a ring; returns how many passed.
fn circulate(mut queue: Queue, pool: &Mempool, mark: u8) -> u64 {
    let _guard = register_thread(eal()).unwrap();
    let mut burst: Burst = (0..32).map(|_| frame(pool, mark)).collect();
    for _ in 0..1000 {
        assert_eq!(queue.transmit(&mut burst), 32);
        assert_eq!(queue.receive(&mut burst), 32);
    }
    assert_eq!(marks(&burst), [mark; 32]);
    32 * 1000
}
