//! Readers and the writer of a directory in every order that the model checker knows.

use super::*;
use crate::rcu;
use loom::thread;

/// While the writer replaces, reclaims and reuses one bucket's memory, a reader finds its key
/// with one of the values that it has had, and never another's.
#[test]
fn a_reader_sees_whole_buckets() {
    loom::model(|| {
        let (publisher, mut readers) = rcu::domain(1);
        let hasher: Hasher<2> = |_, entry| entry[0];
        let mut writer = DirectoryWriter::<2>::new(publisher.domain(), HashKeys::random(), hasher);
        writer.put(&[1, 10]).expect("room");
        let directory = Arc::clone(writer.directory());
        let mut reader = readers.remove(0);
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                let word = directory.root(reader.guard()).word(1);
                let found = word.find(&[1, 0]);
                assert!(matches!(found, Some(10 | 11 | 12)), "{found:?}");
                thread::yield_now();
                assert_eq!(word.find(&[1, 0]), found, "immutable while held");
                reader.quiescent();
            }
        });
        for value in [11, 12] {
            writer.put(&[1, value]).expect("room");
            publisher.advance();
            writer.reclaim(publisher.passed());
        }
        worker.join().expect("the worker's assertions hold");
    });
}

/// The directory grows, and what it replaced is used again, while a reader looks up: entries
/// that stay are always found, with their own values.
#[test]
fn a_reader_finds_what_stays_while_the_directory_grows() {
    loom::model(|| {
        let (publisher, mut readers) = rcu::domain(1);
        let hasher: Hasher<2> = |_, entry| entry[0];
        let mut writer = DirectoryWriter::<2>::new(publisher.domain(), HashKeys::random(), hasher);
        for key in [1, 2, 3] {
            writer.put(&[key, key * 10]).expect("room");
        }
        publisher.advance();
        let mut reader = readers.remove(0);
        reader.quiescent();
        writer.reclaim(publisher.passed());
        let directory = Arc::clone(writer.directory());
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                let root = directory.root(reader.guard());
                let (one, two) = (root.word(1), root.word(2));
                thread::yield_now();
                assert_eq!(one.find(&[1, 0]), Some(10));
                assert_eq!(two.find(&[2, 0]), Some(20));
                reader.quiescent();
            }
        });
        for key in [4, 5] {
            writer.put(&[key, key * 10]).expect("room");
            publisher.advance();
            writer.reclaim(publisher.passed());
        }
        worker.join().expect("the worker's assertions hold");
        assert_eq!(writer.get(&[3, 0]), Some(30));
    });
}
