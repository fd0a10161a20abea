//! Random turns against a model, with a crash at every step of a turn and of a snapshot.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize, usize, u64),
    End(usize),
    Packet(usize, u64),
    Touch(usize),
    Wait(u64),
    Turn,
    Sync,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = 0..PLACES;
    let step = prop_oneof![
        5 => (place.clone(), 0..OWNERS.len(), 1..100_000_u64)
            .prop_map(|(place, owner, ms)| Step::Put(place, owner, ms)),
        3 => place.clone().prop_map(Step::End),
        2 => (place.clone(), 1..200_000_u64).prop_map(|(place, ms)| Step::Packet(place, ms)),
        1 => place.prop_map(Step::Touch),
        1 => (1..3_000_u64).prop_map(Step::Wait),
        6 => Just(Step::Turn),
        3 => Just(Step::Sync),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn l1_a_crash_at_any_step_leaves_what_was_acknowledged(steps in steps()) {
        let mut bench = Bench::new();
        bench.begin();
        for step in steps {
            match step {
                Step::Put(place, owner, ms) => bench.put(place, owner, ms),
                Step::End(place) => bench.end(place),
                Step::Packet(place, ms) => bench.packet(place, ms),
                Step::Touch(place) => bench.touch(place),
                // Of a turn, there is one instant.
                Step::Wait(ms) => {
                    bench.commit().unwrap();
                    bench.wait(ms);
                    bench.begin();
                }
                Step::Turn => {
                    bench.commit().unwrap();
                    bench.check();
                    bench.begin();
                }
                Step::Sync => bench.sync(),
                Step::Restart => {
                    let disk = Arc::new(bench.disk.copy());
                    let now = bench.now();
                    bench = Bench::on(disk, now);
                    bench.begin();
                }
            }
            // What was not acknowledged yet is not there yet: it is written all at once.
            bench.check();
        }
    }
}

#[test]
fn snapshots_replace_what_led_to_them() {
    let mut bench = Bench::new();
    for round in 0..400 {
        let place = round % PLACES;
        bench.turn(|it| it.put(place, round % 2, 50_000)).unwrap();
        bench.sync();
        bench.wait(20);
        bench.check();
    }
    assert!(bench.journal.next > 5, "{}", bench.journal.next);
    bench.settle();
    let files: u64 = bench.journal.segments().1 + bench.journal.figures().snapshot_bytes;
    assert!(files < 2_000, "{:?}", bench.disk);
    assert_eq!(
        super::super::disk::Disk::names(&*bench.disk).unwrap().len(),
        2
    );
    bench.check();
}

#[test]
fn a_snapshots_deadline_is_not_taken_back_by_an_older_record() {
    let mut bench = Bench::new();
    bench.journal.owes_snapshot = true;
    bench.turn(|it| it.put(5, 0, 50_000)).unwrap();
    bench.packet(5, 90_000);
    let deadline = bench.state[5].unwrap().deadline;
    bench.settle();
    let found = state_of(&bench.recovered(), bench.now());
    assert_eq!(found[5].unwrap().deadline, deadline);
}

#[test]
fn generations_go_on_where_all_affinities_have_ended() {
    let mut bench = Bench::new();
    for _ in 0..40 {
        bench.turn(|it| it.put(1, 0, 50_000)).unwrap();
        bench.turn(|it| it.end(1)).unwrap();
        bench.wait(20);
    }
    bench.settle();
    let recovered = bench.recovered();
    assert_eq!((recovered.held.len(), recovered.generation), (0, 40));
}

#[test]
fn a_stop_in_order_keeps_the_epoch_under_another_kernel() {
    let mut bench = Bench::new();
    bench.turn(|it| it.put(1, 0, 50_000)).unwrap();
    let other = Stamp {
        kernel: [2; 16],
        boottime_ms: 5,
        wall_ms: stamp(bench.now()).wall_ms + 10_000,
    };
    let crashed = recover(&bench.disk.copy(), other).unwrap();
    assert_eq!(crashed.epoch, None, "what was not synced may be missing");
    let (disk, now) = (Arc::clone(&bench.disk), bench.now());
    bench.journal.end().unwrap();
    let stopped = recover(&*disk, other).unwrap();
    assert_eq!(stopped.epoch, Some(77));
    for recovered in [crashed, stopped] {
        let found = state_of(&recovered, now);
        assert_eq!(found[1].unwrap().deadline, now + 40_000);
    }
}
