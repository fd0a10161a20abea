//! The directory against a map, and what becomes of the memory that it lets go of.

use super::{word::KEY_BITS, *};
use crate::rcu;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Readers are dropped before the writer, which else leaks what they may look at.
fn writer(readers: usize) -> (DirectoryWriter<2>, rcu::Publisher, Vec<rcu::Reader>) {
    let (publisher, readers) = rcu::domain(readers);
    let hasher: Hasher<2> = |keys, entry| keys.hash2(entry[0], entry[1] & KEY_BITS);
    let writer = DirectoryWriter::new(publisher.domain(), HashKeys::random(), hasher);
    (writer, publisher, readers)
}

#[test]
fn prefixes_of_one_address_are_different_keys() {
    let (mut writer, _publisher, _readers) = writer(0);
    writer.put(&[1, (24 << 56) | 7]).unwrap();
    assert_eq!(writer.get(&[1, 24 << 56]), Some((24 << 56) | 7));
    assert_eq!(writer.get(&[1, 16 << 56]), None);
}

proptest! {
    #![proptest_config(crate::models::cases(64))]
    #[test]
    fn it_agrees_with_a_map_after_every_step(
        steps in prop::collection::vec((0_u64..300, 0_u64..3, 0_u8..4), 1..600)
    ) {
        let (mut writer, publisher, mut readers) = writer(1);
        let directory = Arc::clone(writer.directory());
        let mut oracle = BTreeMap::new();
        for (value, (address, prefix, what)) in (1_u64..).zip(steps) {
            let key = [address, prefix << 56];
            match what {
                0 => { writer.remove(&key); oracle.remove(&key); }
                1 => { publisher.advance(); readers[0].quiescent(); writer.reclaim(publisher.passed()); }
                _ => { writer.put(&[address, (prefix << 56) | value]).unwrap(); oracle.insert(key, value); }
            }
            let root = directory.root(readers[0].guard());
            let seen = root.word(writer.hash(&key)).find(&key).map(|word| word & !KEY_BITS);
            prop_assert_eq!(seen, oracle.get(&key).copied());
            prop_assert_eq!(writer.len(), oracle.len());
        }
        let root = directory.root(readers[0].guard());
        for (key, value) in &oracle {
            let hash = writer.hash(key);
            prop_assert!(root.word(hash).may_hold(hash), "no false negative in the Bloom bits");
            prop_assert_eq!(root.word(hash).find(key).map(|word| word & !KEY_BITS), Some(*value));
        }
    }
}

/// Millions of buckets are replaced when a large directory grows: they are one change, not as
/// many as make the table refuse others.
#[test]
fn growth_is_one_change() {
    let (mut writer, publisher, mut readers) = writer(1);
    let mut grown = 0;
    for address in 0..if cfg!(miri) { 400 } else { 2000 } {
        let words = writer.root.words.len();
        writer.put(&[address, 1]).unwrap();
        if writer.root.words.len() > words {
            grown += 1;
            assert!(writer.waiting() <= 2, "{} wait", writer.waiting());
        }
        publisher.advance();
        readers[0].quiescent();
        writer.reclaim(publisher.passed());
        assert_eq!(writer.waiting(), 0);
    }
    assert!(grown > usize::from(!cfg!(miri)));
}

/// Every granule that was cut from a slab is in a bucket that is read, or free.
#[test]
fn what_a_growth_replaces_is_used_again() {
    let (mut writer, publisher, mut readers) = writer(1);
    for address in 0..if cfg!(miri) { 400 } else { 2000 } {
        writer.put(&[address, 1]).unwrap();
        publisher.advance();
        readers[0].quiescent();
        writer.reclaim(publisher.passed());
    }
    let words = writer.root.words.iter();
    let buckets = words.filter_map(|word| old_bucket::<2>(word.load(Ordering::Relaxed)));
    let read: usize = buckets.map(|it| Pool::<2>::granules(it.entries)).sum();
    assert_eq!(writer.pool.in_use(), read);
}

#[test]
fn a_free_block_serves_as_smaller_ones_that_lie_within_lines() {
    let (mut writer, ..) = writer(1);
    let pool = &mut writer.pool;
    let large = pool.take(8);
    pool.give(large, 8);
    let offset = |block: NonNull<u64>| block.addr().get() - large.addr().get();
    let smaller = [1, 2, 1, 3].map(|entries| offset(pool.take(entries)));
    assert_eq!(smaller, [0, 32, 16, 64]);
    assert_eq!(offset(pool.take(1)), 128);
}

/// Keys that fall into one bucket, beside others or alone.
#[test]
fn a_full_bucket_makes_the_directory_grow_unless_it_is_nearly_empty() {
    let (publisher, _readers) = rcu::domain(0);
    let mut crowded =
        DirectoryWriter::<2>::new(publisher.domain(), HashKeys::random(), |_, entry| entry[0]);
    let same = |number: usize| [(number * FEWEST_WORDS) as u64, 1];
    for number in 0..MOST_PER_BUCKET {
        crowded.put(&same(number)).unwrap();
    }
    assert_eq!(crowded.put(&same(MOST_PER_BUCKET)), Err(BucketFull));
    for other in 1..FEWEST_WORDS as u64 {
        crowded.put(&[other, 1]).unwrap();
    }
    crowded.put(&same(MOST_PER_BUCKET)).unwrap();
    assert_eq!(crowded.root.words.len(), 2 * FEWEST_WORDS);
    for number in 0..=MOST_PER_BUCKET {
        assert_eq!(crowded.get(&same(number)), Some(1));
    }
}

#[test]
fn a_reader_keeps_its_bucket_while_the_writer_goes_on() {
    let (mut writer, publisher, mut readers) = writer(1);
    let directory = Arc::clone(writer.directory());
    writer.put(&[9, 1]).unwrap();
    let word = directory
        .root(readers[0].guard())
        .word(writer.hash(&[9, 0]));
    for round in 2..50 {
        writer.put(&[9, round]).unwrap();
        publisher.advance();
        writer.reclaim(publisher.passed());
    }
    assert_eq!(word.find(&[9, 0]), Some(1));
    assert!(writer.waiting() > 0);
    readers[0].quiescent();
    writer.reclaim(publisher.passed());
    assert_eq!(writer.waiting(), 0);
}
