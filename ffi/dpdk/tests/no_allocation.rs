//! Ten thousand bursts do not allocate.
#![allow(unsafe_code, reason = "an allocator that counts")]

#[path = "support/rig.rs"]
mod rig;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dpdk::{Queue, free_burst};
use rig::Burst;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn bursts_do_not_allocate() {
    let eal = rig::start(&["net_ring0"]);
    let pool = rig::pool(&eal, "ring");
    let (_port, mut queues) = rig::start_port(&eal, "net_ring0", 1, &pool);
    drop(Vec::<u8>::with_capacity(1));
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    for _ in 0..10_000 {
        turn(&pool, &mut queues[0]);
    }
    assert_eq!(ALLOCATIONS.get(), before);
}

fn turn(pool: &dpdk::Mempool, queue: &mut Queue) {
    let mut burst = Burst::new();
    assert!(pool.allocate_bulk(&mut burst, 31));
    burst.extend(pool.allocate());
    for frame in &mut burst {
        assert!(frame.append(60).is_some() && frame.prepend(20).is_some());
        assert!(frame.trim_front(20) && frame.truncate(50));
    }
    assert_eq!(queue.transmit(&mut burst), 32);
    assert_eq!(queue.receive(&mut burst), 32);
    drop(burst.pop());
    free_burst(&mut burst);
}
