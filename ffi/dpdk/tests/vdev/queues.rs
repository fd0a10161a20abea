//! Bursts: what comes, what goes, what stays, and that nothing is lost or freed twice.

use arrayvec::ArrayVec;
use dpdk::{Mbuf, PortStatistics, free_burst};

use super::eal;
use super::rig::{Burst, frame, marks, pool, start_port};

#[test]
fn what_is_transmitted_into_a_ring_is_received_in_order() {
    let pool = pool(eal(), "loop");
    let (port, mut queues) = start_port(eal(), "net_ring_loop", 1, &pool);
    let mut burst: Burst = (0..20).map(|mark| frame(&pool, mark)).collect();
    assert_eq!(queues[0].transmit(&mut burst), 20);
    assert!(burst.is_empty());
    assert_eq!(queues[0].receive(&mut burst), 20);
    assert_eq!(marks(&burst), (0..20).collect::<Vec<u8>>());
    assert!(
        burst
            .iter()
            .all(|frame| frame.len() == 60 && frame.is_contiguous())
    );
    let counted = port.statistics().unwrap();
    let packets = PortStatistics {
        received_packets: 20,
        transmitted_packets: 20,
        ..counted
    };
    assert_eq!(counted, packets);
    assert_eq!(pool.in_use(), 20);
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn receive_fills_only_the_room_that_is_free() {
    let pool = pool(eal(), "room");
    let (_port, mut queues) = start_port(eal(), "net_ring_room", 1, &pool);
    let mut sent: Burst = (0..10).map(|mark| frame(&pool, mark)).collect();
    assert_eq!(queues[0].transmit(&mut sent), 10);
    let mut burst: ArrayVec<Mbuf, 8> = (100..103).map(|mark| frame(&pool, mark)).collect();
    assert_eq!(queues[0].receive(&mut burst), 5);
    assert_eq!(marks(&burst), [100, 101, 102, 0, 1, 2, 3, 4]);
    assert_eq!(queues[0].receive(&mut burst), 0);
    assert_eq!(burst.len(), 8);
    burst.truncate(3);
    assert_eq!(queues[0].receive(&mut burst), 5);
    assert_eq!(marks(&burst), [100, 101, 102, 5, 6, 7, 8, 9]);
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_a_full_device_does_not_take_stays_in_order() {
    let pool = pool(eal(), "full");
    let (_port, mut queues) = start_port(eal(), "net_ring_full", 1, &pool);
    let mut taken = 0;
    let mut burst = Burst::new();
    while burst.is_empty() {
        burst.extend((0..24).map(|mark| frame(&pool, mark)));
        taken += queues[0].transmit(&mut burst);
    }
    let kept = burst.len();
    assert!(
        kept < 24,
        "a ring's size is no multiple of 24, so a part was taken"
    );
    let expected: Vec<u8> = (24 - u8::try_from(kept).unwrap()..24).collect();
    assert_eq!(marks(&burst), expected);
    assert_eq!(queues[0].transmit(&mut burst), 0);
    assert_eq!(marks(&burst), expected);
    assert_eq!(pool.in_use(), taken + kept);
    free_burst(&mut burst);
    while queues[0].receive(&mut burst) > 0 {
        taken -= burst.len();
        free_burst(&mut burst);
    }
    assert_eq!((taken, pool.in_use()), (0, 0));
}

#[test]
fn an_empty_burst_is_transmitted_as_nothing() {
    let pool = pool(eal(), "sink");
    let (port, mut queues) = start_port(eal(), "net_null_sink", 1, &pool);
    let mut burst = Burst::new();
    assert_eq!(queues[0].transmit(&mut burst), 0);
    assert_eq!(queues[0].receive(&mut burst), 0);
    burst.push(frame(&pool, 1));
    assert_eq!(queues[0].transmit(&mut burst), 1);
    assert_eq!(port.statistics().unwrap().transmitted_packets, 1);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_null_device_makes_frames_until_the_pool_is_empty() {
    let pool = pool(eal(), "endless");
    let (_port, mut queues) = start_port(eal(), "net_null_endless", 1, &pool);
    let mut bursts: Vec<Burst> = Vec::new();
    loop {
        let mut burst = Burst::new();
        if queues[0].receive(&mut burst) == 0 {
            break;
        }
        assert!(burst.iter().all(|frame| frame.data().len() == 128));
        bursts.push(burst);
    }
    assert!(pool.available() < 32, "{pool:?}");
    drop(bursts);
    assert_eq!((pool.in_use(), pool.available()), (0, pool.capacity()));
}

#[test]
fn queues_of_one_port_do_not_mix() {
    let pool = pool(eal(), "queues");
    let (_port, mut queues) = start_port(eal(), "net_ring_queues", 3, &pool);
    assert_eq!(
        queues.iter().map(dpdk::Queue::index).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    for (mark, queue) in (10..).zip(&mut queues) {
        let mut burst: Burst = (0..4).map(|_| frame(&pool, mark)).collect();
        assert_eq!(queue.transmit(&mut burst), 4);
    }
    for (mark, queue) in (10..).zip(&mut queues) {
        let mut burst = Burst::new();
        assert_eq!(queue.receive(&mut burst), 4);
        assert_eq!(marks(&burst), [mark; 4]);
    }
}

#[test]
fn an_allocated_bulk_is_all_or_nothing() {
    let pool = pool(eal(), "bulk");
    let mut held: ArrayVec<Mbuf, 2047> = ArrayVec::new();
    assert!(pool.allocate_bulk(&mut held, 2040));
    let mut burst: Burst = ArrayVec::new();
    assert!(!pool.allocate_bulk(&mut burst, 8), "the pool has 7");
    assert!(
        !pool.allocate_bulk(&mut burst, 33),
        "the burst has room for 32"
    );
    assert!(burst.is_empty());
    assert!(pool.allocate_bulk(&mut burst, 7));
    assert_eq!((burst.len(), pool.in_use(), pool.available()), (7, 2047, 0));
    assert!(pool.allocate().is_none());
    assert!(
        burst
            .iter()
            .all(|frame| frame.is_empty() && frame.headroom() == Mbuf::HEADROOM)
    );
    free_burst(&mut burst);
    assert!(burst.is_empty());
    drop(held);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_recycled_buffer_is_fresh_again() {
    let pool = pool(eal(), "recycle");
    let mut used = frame(&pool, 1);
    assert!(used.prepend(20).is_some() && used.trim_front(50));
    drop(used);
    let mut all: ArrayVec<Mbuf, 2047> = ArrayVec::new();
    assert!(pool.allocate_bulk(&mut all, 2047));
    assert!(
        all.iter()
            .all(|fresh| fresh.headroom() == Mbuf::HEADROOM && fresh.is_empty())
    );
    assert!(all.iter().all(|fresh| fresh.tailroom() == 2048));
}
