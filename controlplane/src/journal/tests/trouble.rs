//! Disks that are full, read-only or broken: what was acknowledged stays, nothing else is, and it
//! gets well again by itself.

use super::*;

/// Turns until signals can be recorded again.
fn get_well(bench: &mut Bench) {
    for _ in 0..100 {
        bench.wait(500);
        if bench.turn(|_| {}).is_ok() {
            return;
        }
        bench.sync();
    }
    panic!("still failing: {:?}", bench.journal.failing());
}

fn begun() -> Bench {
    let mut bench = Bench::new();
    bench.turn(|it| it.put(1, 0, 90_000)).unwrap();
    bench.turn(|it| it.put(2, 1, 90_000)).unwrap();
    bench
}

#[test]
fn l1_a_full_disk_at_any_byte_loses_nothing_and_gets_well() {
    for room in 0..200 {
        for cannot_cut in [false, true] {
            let mut bench = begun();
            let faults = bench.disk.faults();
            faults.cannot_cut.store(cannot_cut, Ordering::Relaxed);
            faults.room.store(room, Ordering::Relaxed);
            let mut has_failed = false;
            for round in 0..8 {
                let done = bench.turn(|it| {
                    it.put(3 + round % 2, 0, 50_000);
                    it.end(1);
                });
                has_failed |= done.is_err();
                bench.check();
                bench.wait(300);
                bench.sync();
            }
            assert!(has_failed, "{room}");
            let failing = bench.journal.failing().unwrap().to_string();
            assert!(failing.contains("signals are refused"), "{failing}");
            bench.check();
            bench.disk.faults().room.store(u64::MAX, Ordering::Relaxed);
            get_well(&mut bench);
            // What was applied and not acknowledged is there as well now.
            assert_matches(&bench.acked, &bench.state, bench.now());
            bench.check();
            bench.turn(|it| it.end(2)).unwrap();
            bench.check();
        }
    }
}

#[test]
fn a_full_disk_is_not_filled_with_attempts() {
    let mut bench = begun();
    // Room for a segment's head, again and again.
    for _ in 0..50 {
        bench.disk.faults().room.store(80, Ordering::Relaxed);
        assert!(
            bench.turn(|it| it.put(3, 0, 50_000)).is_err() || bench.journal.failing().is_none()
        );
        bench.wait(1_000);
        bench.sync();
    }
    let names = super::super::disk::Disk::names(&*bench.disk).unwrap();
    assert!(names.len() <= 4, "{names:?}");
}

#[test]
fn a_read_only_disk_is_read_and_nothing_is_acknowledged() {
    let bench = begun();
    let disk = Arc::new(bench.disk.copy());
    disk.faults().is_read_only.store(true, Ordering::Relaxed);
    let mut bench = Bench::on(Arc::clone(&disk), bench.now());
    assert!(bench.state[1].is_some() && bench.state[2].is_some());
    assert!(bench.journal.failing().is_some());
    assert!(bench.turn(|it| it.end(1)).is_err());
    bench.check();
    disk.faults().is_read_only.store(false, Ordering::Relaxed);
    get_well(&mut bench);
    assert!(bench.acked[1].is_none());
    bench.check();
}

#[test]
fn what_the_disk_may_have_forgotten_is_written_anew() {
    let mut bench = begun();
    bench
        .disk
        .faults()
        .cannot_sync
        .store(true, Ordering::Relaxed);
    bench.wait(2_000);
    bench.turn(|it| it.put(3, 0, 50_000)).unwrap();
    bench.sync();
    let failed = bench.turn(|it| it.put(4, 0, 50_000)).unwrap_err();
    assert!(failed.to_string().contains("input/output"), "{failed}");
    bench
        .disk
        .faults()
        .cannot_sync
        .store(false, Ordering::Relaxed);
    get_well(&mut bench);
    assert!(bench.acked[4].is_some());
    bench.check();
}

#[test]
fn a_snapshot_that_cannot_be_made_stops_nothing() {
    let mut bench = begun();
    bench.journal.owes_snapshot = true;
    // The first slice of the snapshot is written, its end is not.
    for _ in 0..3 {
        bench.turn(|_| {}).unwrap();
    }
    bench.disk.faults().room.store(0, Ordering::Relaxed);
    for _ in 0..10 {
        let _ = bench.turn(|_| {});
    }
    assert_eq!(bench.journal.failing(), None, "the segment is as it was");
    bench.disk.faults().room.store(u64::MAX, Ordering::Relaxed);
    bench.turn(|it| it.put(3, 0, 50_000)).unwrap();
    bench.check();
    bench.wait(1_000);
    bench.settle();
    bench.check();
}
