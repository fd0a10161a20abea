//! Files that were cut, flipped, lost.

use super::{
    super::{
        disk::Disk as _,
        format::{Batch, Kind},
    },
    *,
};
use proptest::prelude::*;

/// A snapshot of some affinities and a segment of some turns after it; the states that were
/// acknowledged since, the oldest first.
fn some_turns() -> (Bench, Vec<State>) {
    let mut bench = Bench::new();
    for place in 0..4 {
        bench.turn(|it| it.put(place, place % 2, 90_000)).unwrap();
    }
    // Over a segment of its own: nothing older is left to fall back to.
    bench.journal.rotate_bytes = 0;
    bench.begin();
    bench.journal.rotate_bytes = 1 << 20;
    bench.settle();
    let mut states = vec![bench.acked];
    let turns: [fn(&mut Bench); 6] = [
        |it| it.end(0),
        |it| it.put(1, 0, 80_000),
        |it| {
            it.packet(2, 200_000);
            it.touch(2);
        },
        |it| {
            it.put(4, 1, 70_000);
            it.end(3);
        },
        |it| it.put(0, 1, 60_000),
        |it| it.end(4),
    ];
    for what in turns {
        bench.turn(what).unwrap();
        states.push(bench.acked);
    }
    (bench, states)
}

fn segment(bench: &Bench) -> String {
    Kind::Segment.name(bench.journal.next - 1)
}

fn found(disk: &Memory, bench: &Bench) -> (State, Recovered) {
    let recovered = recover(disk, stamp(bench.now())).unwrap();
    (state_of(&recovered, bench.now()), recovered)
}

#[test]
fn l1_a_journal_cut_at_any_byte_is_what_was_acknowledged_until_then() {
    let (bench, states) = some_turns();
    let name = segment(&bench);
    let whole = bench.disk.bytes(&name);
    let mut reached = 0;
    for end in 0..=whole.len() {
        let disk = bench.disk.with(&name, whole[..end].to_vec());
        let (state, recovered) = found(&disk, &bench);
        let place = states.iter().position(|it| *it == state);
        let place = place.unwrap_or_else(|| panic!("cut at {end}: {state:?}"));
        assert!(place >= reached, "more bytes, less of it: {end}");
        assert_eq!(recovered.left_out, Vec::<String>::new(), "{end}");
        assert_eq!(recovered.epoch, Some(77), "{end}");
        reached = place;
        // What was cut off is gone, and the next daemon has nothing to say of it.
        let (again, _) = found(&disk, &bench);
        assert_eq!(again, state);
        assert!(disk.bytes(&name).len() <= end);
    }
    assert_eq!(reached, states.len() - 1);
}

#[test]
fn l1_a_journal_flipped_at_any_byte_is_a_prefix_or_says_what_is_left_out() {
    let (bench, states) = some_turns();
    let snapshot = Kind::Snapshot.name(bench.journal.next - 1);
    for name in [segment(&bench), snapshot] {
        let whole = bench.disk.bytes(&name);
        for place in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= flip;
                let (state, recovered) = found(&bench.disk.with(&name, bytes), &bench);
                let says = !recovered.left_out.is_empty();
                let is_prefix = name.starts_with("journal") && states.contains(&state);
                assert!(says || is_prefix, "{name}, {place}: {state:?}");
                assert!(says == recovered.epoch.is_none(), "{name}, {place}");
            }
        }
    }
}

#[test]
fn damage_in_the_middle_costs_one_batch() {
    let (bench, states) = some_turns();
    let name = segment(&bench);
    let mut bytes = bench.disk.bytes(&name);
    // The third turn of the segment's own: places 0 and 1 are settled before it, all others after.
    let marks: Vec<_> = (0..bytes.len())
        .filter(|it| bytes[*it..].starts_with(b"\xf5TJ\xfa"))
        .collect();
    bytes[marks[marks.len() - 4] + 40] ^= 1;
    let (state, recovered) = found(&bench.disk.with(&name, bytes), &bench);
    let mut expected = *states.last().unwrap();
    expected[2] = states[0][2];
    assert_eq!(state, expected);
    assert_eq!(recovered.left_out.len(), 1, "{:?}", recovered.left_out);
    let said = &recovered.left_out[0];
    assert!(said.contains(&name) && said.contains("damaged"), "{said}");
    assert_eq!(
        recovered.epoch, None,
        "clients are to assert again what they hold"
    );
}

#[test]
fn what_a_snapshot_has_is_not_undone_by_older_records() {
    let mut bench = Bench::new();
    bench.turn(|it| it.put(1, 0, 90_000)).unwrap();
    bench.turn(|it| it.end(1)).unwrap();
    let name = segment(&bench);
    let before = bench.disk.bytes(&name).len();
    bench.turn(|it| it.put(1, 1, 90_000)).unwrap();
    bench.journal.owes_snapshot = true;
    bench.settle();
    assert_eq!(bench.disk.names().unwrap().len(), 2);
    // The last record of the affinity is damaged, but the snapshot has it.
    let mut bytes = bench.disk.bytes(&name);
    bytes[before + 40] ^= 1;
    let (state, recovered) = found(&bench.disk.with(&name, bytes), &bench);
    assert_eq!(state, bench.acked);
    assert_eq!(recovered.left_out.len(), 1, "{:?}", recovered.left_out);
}

#[test]
fn a_damaged_snapshot_falls_back_to_what_it_was_to_replace() {
    let mut bench = Bench::new();
    for place in 0..4 {
        bench.turn(|it| it.put(place, 0, 90_000)).unwrap();
    }
    let before = bench.disk.copy();
    bench.journal.owes_snapshot = true;
    bench.settle();
    bench.turn(|it| it.end(2)).unwrap();
    let snapshot = Kind::Snapshot.name(1);
    let mut bytes = bench.disk.bytes(&snapshot);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let disk = bench.disk.with(&snapshot, bytes);
    // The segment that the snapshot was over is whole: nothing is lost.
    assert!(before.bytes(&Kind::Segment.name(1)).len() > 56);
    let (state, recovered) = found(&disk, &bench);
    assert_eq!(state, bench.acked);
    assert_eq!(recovered.epoch, Some(77));
    assert!(
        recovered.left_out[0].contains(&snapshot),
        "{:?}",
        recovered.left_out
    );
}

#[test]
fn a_missing_segment_is_said() {
    let mut bench = Bench::new();
    bench.turn(|it| it.put(1, 0, 90_000)).unwrap();
    let now = bench.now();
    let bench = Bench::on(Arc::new(bench.disk.copy()), now);
    let (state, _) = found(&bench.disk, &bench);
    assert!(state[1].is_some());
    let first = Kind::Segment.name(1);
    let disk = bench.disk.copy();
    disk.remove(&first).unwrap();
    let (state, recovered) = found(&disk, &bench);
    assert_eq!(state, State::default());
    assert!(
        recovered.left_out[0].contains(&first),
        "{:?}",
        recovered.left_out
    );
    assert_eq!(recovered.epoch, None);
}

proptest! {
    #[test]
    fn l1_any_bytes_in_a_journal_are_read_to_an_end(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        is_framed in any::<bool>(),
        at in 0..2_000_usize,
    ) {
        let (bench, _) = some_turns();
        let name = segment(&bench);
        let mut file = bench.disk.bytes(&name);
        let at = at.min(file.len());
        let mut batch = vec![];
        Batch::open(&mut batch);
        batch.extend(&bytes);
        Batch::close(&mut batch, 0, 1 << 40, &stamp(5));
        file.splice(at..at, if is_framed { batch } else { bytes });
        recover(&bench.disk.with(&name, file), stamp(bench.now())).unwrap();
    }
}

#[test]
fn records_without_sense_are_said() {
    let (bench, states) = some_turns();
    let name = segment(&bench);
    let mut bytes = bench.disk.bytes(&name);
    let start = bytes.len();
    Batch::open(&mut bytes);
    // An end of an affinity of a backend that was not defined, and no record at all.
    let end = Record::End(Name {
        owner: 9,
        source: source(1),
        generation: 100,
    });
    end.write(&mut bytes);
    bytes.push(99);
    Batch::close(&mut bytes, start, 1 << 40, &stamp(bench.now()));
    let (state, recovered) = found(&bench.disk.with(&name, bytes), &bench);
    assert_eq!(Some(&state), states.last());
    assert!(
        recovered.left_out[0].contains("2 records"),
        "{:?}",
        recovered.left_out
    );
}

#[test]
fn an_empty_directory_is_nothing_to_speak_of() {
    let recovered = recover(&Memory::default(), stamp(1)).unwrap();
    assert_eq!((recovered.held.len(), recovered.number), (0, 0));
    assert_eq!(recovered.left_out, Vec::<String>::new());
    assert_eq!(recovered.epoch, None);
}

#[test]
fn what_a_later_version_has_written_is_not_touched() {
    let bench = Bench::new();
    let name = segment(&bench);
    let mut bytes = bench.disk.bytes(&name);
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..52]);
    bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    let refused = recover(&bench.disk.with(&name, bytes), stamp(1)).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains(&name) && said.contains("format 9"), "{said}");
}
