//! Any files as a state directory. An input is a list of files, each with a byte that says which it is
//! and how much of it is made whole: checksums are what a fuzzer does not guess, and what a disk that
//! lies, or a later version, may well have right.

use super::{
    disk::{Disk, OpenError, Sink},
    format::{BATCH_HEAD, Batch, Head, Kind},
    recover::{Recovered, recover},
    stamp::Stamp,
};
use std::{
    collections::BTreeMap,
    io::{self, Cursor, ErrorKind, Read},
    sync::Arc,
};

/// Files that are only read.
#[derive(Debug, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Disk for Files {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let bytes = self.0.get(name).ok_or(ErrorKind::NotFound)?;
        Ok((Box::new(Cursor::new(bytes.clone())), bytes.len() as u64))
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn Sink>> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn cut(&self, _: &str, _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

const NOW: Stamp = Stamp {
    kernel: [5; 16],
    boottime_ms: 1 << 32,
    wall_ms: 1 << 41,
};

/// Recovers what there is, twice.
///
/// # Panics
///
/// Where what is recovered refers to what is not there, or is not the same the second time.
pub fn journal(input: &[u8]) {
    let disk = files(input);
    match recover(&disk, NOW) {
        Ok(recovered) => {
            check(&recovered);
            let again = recover(&disk, NOW).map(|it| it.held.iter().count());
            assert_eq!(again.ok(), Some(recovered.held.iter().count()));
        }
        Err(error) => assert!(matches!(error, OpenError::Format { .. }), "{error}"),
    }
}

fn check(recovered: &Recovered) {
    let is_known = |owner: u32| {
        let owner = recovered.owners.get(owner as usize);
        owner.is_some_and(|(service, _)| recovered.services.len() > *service as usize)
    };
    let mut keys = std::collections::BTreeSet::new();
    for (key, held) in recovered.held.iter() {
        assert!(keys.insert(*key), "{key:?} twice");
        assert!(is_known(held.owner), "{held:?}");
        assert!(recovered.services.len() > key.service as usize, "{key:?}");
        let _ = held.after(u64::MAX);
    }
    assert!(recovered.boots.keys().all(|owner| is_known(*owner)));
}

fn files(mut input: &[u8]) -> Files {
    let mut files = Files::default();
    while let Some((shape, rest)) = input.split_first() {
        let (len, rest) = rest.split_first_chunk().unwrap_or((&[0; 2], rest));
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        let kind = if shape & 1 == 0 {
            Kind::Segment
        } else {
            Kind::Snapshot
        };
        let number = u64::from(shape >> 1 & 3) + 1;
        files.0.insert(
            kind.name(number),
            made(Wholeness::of(*shape), kind, number, bytes),
        );
    }
    files
}

/// How much of a file is made whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wholeness {
    /// It is as it stands.
    None,
    /// The head before it.
    Head,
    /// The head, and batches of what is between bytes 0xfe.
    Batches,
}

impl Wholeness {
    fn of(shape: u8) -> Self {
        match shape / 8 % 4 {
            0 => Self::None,
            1 => Self::Head,
            _ => Self::Batches,
        }
    }
}

fn made(whole: Wholeness, kind: Kind, number: u64, bytes: &[u8]) -> Vec<u8> {
    if whole == Wholeness::None {
        return bytes.to_vec();
    }
    let head = Head {
        kind,
        number,
        epoch: 9,
        generation: 7,
        kernel: [5; 16],
    };
    let mut file = head.bytes().to_vec();
    if whole == Wholeness::Head {
        file.extend(bytes);
        return file;
    }
    for (sequence, records) in (0..).zip(bytes.split(|byte| *byte == 0xfe)) {
        let start = file.len();
        Batch::open(&mut file);
        file.extend(records);
        let (sequence, stamp) = stamped(sequence, records);
        Batch::close(&mut file, start, sequence, &stamp);
        debug_assert_eq!(file.len() - start, BATCH_HEAD + records.len());
    }
    file
}

/// Batches that begin with 0xfd have a sequence and times of their own.
fn stamped(sequence: u64, records: &[u8]) -> (u64, Stamp) {
    let number = |at: usize| {
        let bytes = records.get(at..).and_then(|it| it.first_chunk());
        bytes.map_or(0, |it| u64::from_le_bytes(*it))
    };
    if records.first() == Some(&0xfd) {
        let stamp = Stamp {
            boottime_ms: number(9),
            wall_ms: number(17),
            ..NOW
        };
        return (number(1), stamp);
    }
    (sequence, NOW)
}

#[cfg(test)]
mod tests {
    use super::{
        super::record::{Name, Put, Record},
        *,
    };
    use std::{env, fs, path::Path};
    use tether_dataplane::tables::affinity::Source;

    const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/journal");

    fn records() -> Vec<u8> {
        let name = |last: u8, generation| Name {
            owner: 1,
            source: Source::host([192, 0, 2, last].into()).unwrap(),
            generation,
        };
        let put = |last, generation| {
            Record::Put(Put {
                name: name(last, generation),
                duration_ms: Some(60_000),
                remaining_ms: Some(50_000),
                age_ms: 10_000,
                boot_id: 3,
                keep_on_reboot: false,
            })
        };
        let all = [
            Record::Define {
                number: 1,
                service: "shop",
                backend: "b1",
            },
            Record::Boot {
                owner: 1,
                current: 3,
                previous: 2,
            },
            put(7, 1),
            put(8, 2),
            Record::Touch {
                name: name(7, 1),
                remaining_ms: 55_000,
            },
            Record::End(name(8, 2)),
            Record::Last,
        ];
        let mut bytes = Vec::new();
        for record in &all {
            record.write(&mut bytes);
        }
        bytes
    }

    fn file(shape: u8, bytes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[shape][..], &len, bytes].concat()
    }

    fn seeds() -> Vec<(&'static str, Vec<u8>)> {
        let records = records();
        let two = [&records[..], &[0xfe], &records].concat();
        let last_of_all = [&[0xfd][..], &[0xff; 8]].concat();
        vec![
            ("segment", file(0b1_0000, &records)),
            (
                "snapshot_and_segment",
                [file(0b1_0001, &records), file(0b1_0000, &two)].concat(),
            ),
            (
                "two_segments",
                [file(0b1_0000, &two), file(0b1_0010, &records)].concat(),
            ),
            ("raw", file(0, &records)),
            ("raw_batches", file(0b1000, &records)),
            ("crash_sequence_of_all_ones", file(0b1_0000, &last_of_all)),
        ]
    }

    /// `TETHER_WRITE_SEEDS=1` writes them anew.
    #[test]
    fn the_seeds_are_what_the_journal_writes() {
        for (name, seed) in seeds() {
            let path = Path::new(SEEDS).join(name);
            if env::var_os("TETHER_WRITE_SEEDS").is_some() {
                fs::write(&path, &seed).unwrap();
            }
            let known = fs::read(&path).unwrap_or_default();
            assert_eq!(
                known, seed,
                "{name}: run with TETHER_WRITE_SEEDS=1 to write it anew"
            );
        }
        let recovered = recover(&files(&seeds()[1].1), NOW).unwrap();
        assert_eq!(recovered.held.iter().count(), 1);
        assert_eq!(recovered.left_out, Vec::<String>::new());
    }
}
