//! How files are laid out: a head, then batches, each with a checksum of its own.
//!
//! ```text
//! head    "tetherJ\n"  format:16 kind:16  number:64 epoch:64 generation:64  kernel:128   crc:32
//! batch   mark:32 crc:32 length:32  sequence:64 boottime_ms:64 wall_ms:64   records..
//! ```
//!
//! Little-endian. The checksum (CRC-32C) of a head is of all before it, that of a batch of all after
//! it. A batch is whole or is not there; one that is damaged takes nothing with it but itself: the
//! mark says where the next may begin.

use super::stamp::Stamp;
use std::fmt;

const MAGIC: [u8; 8] = *b"tetherJ\n";
/// What this version writes and reads.
pub(crate) const FORMAT: u16 = 1;
/// Bytes of a head.
pub(crate) const HEAD: usize = 56;
const MARK: [u8; 4] = [0xf5, b'T', b'J', 0xfa];
/// Bytes of a batch before its records.
pub(crate) const BATCH_HEAD: usize = 36;
/// Bytes of records after which a batch is closed and another begun.
pub(crate) const BATCH_FULL: usize = 1 << 20;
/// Bytes of records at most: one that closes a batch may reach beyond.
const BATCH_MOST: usize = BATCH_FULL + (1 << 17);
/// Bytes of a batch at most.
pub(crate) const LONGEST: usize = BATCH_HEAD + BATCH_MOST;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A part of the journal.
    Segment,
    /// All that there was.
    Snapshot,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::Segment => 1,
            Self::Snapshot => 2,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Segment => "journal-",
            Self::Snapshot => "snapshot-",
        }
    }

    /// The name of the file with this number.
    pub(crate) fn name(self, number: u64) -> String {
        format!("{}{number:010}", self.prefix())
    }

    /// The number in a file's name, if it is one of this kind.
    pub(crate) fn number(self, name: &str) -> Option<u64> {
        let number = name.strip_prefix(self.prefix())?.parse().ok()?;
        (self.name(number) == name).then_some(number)
    }
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// What it is.
    pub(crate) kind: Kind,
    /// Of a segment, which; of a snapshot, the first segment that it does not replace.
    pub(crate) number: u64,
    /// This life of the table (contract rule L3).
    pub(crate) epoch: u64,
    /// The greatest generation when it was begun.
    pub(crate) generation: u64,
    /// When it was begun; of its batches, the kernel.
    pub(crate) kernel: [u8; 16],
}

/// Why a head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// Damaged, or never written.
    Damaged,
    /// Whole, and of a format that this version does not know.
    Format(u16),
}

impl Head {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.kind.code().to_le_bytes());
        for number in [self.number, self.epoch, self.generation] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.kernel);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_le_bytes());
        let mut head = [0; HEAD];
        head.copy_from_slice(&bytes[..HEAD]);
        head
    }

    /// What it says of a file of this kind and number.
    pub(crate) fn read(bytes: &[u8], kind: Kind, number: u64) -> Result<Self, NoHead> {
        let mut fields = Fields(bytes.get(..HEAD).ok_or(NoHead::Damaged)?);
        let magic = fields.array::<8>();
        let format = fields.short();
        let code = fields.short();
        let head = Self {
            kind,
            number: fields.long(),
            epoch: fields.long(),
            generation: fields.long(),
            kernel: fields.array(),
        };
        let is_whole = fields.word() == crc32c::crc32c(&bytes[..HEAD - 4]) && magic == MAGIC;
        match format {
            _ if !is_whole => Err(NoHead::Damaged),
            FORMAT if code == kind.code() && head.number == number => Ok(head),
            FORMAT => Err(NoHead::Damaged),
            format => Err(NoHead::Format(format)),
        }
    }
}

/// A batch that is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    /// Which of its file, from 0.
    pub(crate) sequence: u64,
    /// When it was written; the kernel is in the file's head.
    pub(crate) stamp: Stamp,
    /// What it says.
    pub(crate) records: &'a [u8],
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {}, {} bytes", self.sequence, self.records.len())
    }
}

/// Why there is no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBatch {
    /// It ends too early.
    Torn,
    /// It is something else.
    Damaged,
}

impl<'a> Batch<'a> {
    /// Its bytes on disk.
    pub(crate) fn length(&self) -> usize {
        BATCH_HEAD + self.records.len()
    }

    /// The batch at the beginning of some bytes.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, NoBatch> {
        let known = bytes.len().min(MARK.len());
        if bytes[..known] != MARK[..known] {
            return Err(NoBatch::Damaged);
        }
        let head = bytes.get(..BATCH_HEAD).ok_or(NoBatch::Torn)?;
        let mut fields = Fields(&head[MARK.len()..]);
        let (crc, length) = (fields.word(), fields.word());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > BATCH_MOST {
            return Err(NoBatch::Damaged);
        }
        let whole = bytes.get(..BATCH_HEAD + length).ok_or(NoBatch::Torn)?;
        if crc != crc32c::crc32c(&whole[8..]) {
            return Err(NoBatch::Damaged);
        }
        Ok(Self {
            sequence: fields.long(),
            stamp: Stamp {
                boottime_ms: fields.long(),
                wall_ms: fields.long(),
                ..Stamp::default()
            },
            records: &whole[BATCH_HEAD..],
        })
    }

    /// Where in some bytes the next batch may begin, after the first byte.
    pub(crate) fn next_mark(bytes: &[u8]) -> Option<usize> {
        let rest = bytes.get(1..)?;
        let found = rest.windows(MARK.len()).position(|it| it == MARK);
        found.map(|place| place + 1)
    }

    /// Leaves room for the head of a batch.
    pub(crate) fn open(to: &mut Vec<u8>) {
        to.extend([0; BATCH_HEAD]);
    }

    /// Writes the head of the batch that begins at `start` and ends with the bytes.
    pub(crate) fn close(bytes: &mut [u8], start: usize, sequence: u64, stamp: &Stamp) {
        let length = bytes.len() - start - BATCH_HEAD;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let fields: [&[u8]; 4] = [
            &length.to_le_bytes(),
            &sequence.to_le_bytes(),
            &stamp.boottime_ms.to_le_bytes(),
            &stamp.wall_ms.to_le_bytes(),
        ];
        let head = fields.concat();
        bytes[start + 8..start + BATCH_HEAD].copy_from_slice(&head);
        let crc = crc32c::crc32c(&bytes[start + 8..]);
        bytes[start..start + 4].copy_from_slice(&MARK);
        bytes[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Fields of bytes that are known to be enough.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *array
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        kernel: [0; 16],
        boottime_ms: 7,
        wall_ms: 1 << 40,
    };

    fn head() -> Head {
        Head {
            kind: Kind::Segment,
            number: 3,
            epoch: 77,
            generation: 9,
            kernel: [5; 16],
        }
    }

    fn batch() -> Vec<u8> {
        let mut bytes = Vec::new();
        Batch::open(&mut bytes);
        bytes.extend(b"records");
        Batch::close(&mut bytes, 0, 4, &STAMP);
        bytes
    }

    #[test]
    fn a_head_with_any_byte_flipped_is_none() {
        let bytes = head().bytes();
        assert_eq!(Head::read(&bytes, Kind::Segment, 3), Ok(head()));
        for (kind, number) in [(Kind::Segment, 4), (Kind::Snapshot, 3)] {
            assert_eq!(Head::read(&bytes, kind, number), Err(NoHead::Damaged));
        }
        for place in 0..HEAD {
            let mut bytes = bytes;
            bytes[place] ^= 0x10;
            assert_eq!(Head::read(&bytes, Kind::Segment, 3), Err(NoHead::Damaged));
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = head().bytes();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..HEAD - 4]);
        bytes[HEAD - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Head::read(&bytes, Kind::Segment, 3), Err(NoHead::Format(2)));
    }

    #[test]
    fn a_batch_is_whole_or_none() {
        let bytes = batch();
        let read = Batch::read(&bytes).unwrap();
        assert_eq!((read.sequence, read.stamp), (4, STAMP));
        assert_eq!(
            (read.records, read.length()),
            (&b"records"[..], bytes.len())
        );
        for end in 0..bytes.len() {
            assert_eq!(Batch::read(&bytes[..end]), Err(NoBatch::Torn), "{end}");
            let mut flipped = bytes.clone();
            flipped[end] ^= 1;
            assert!(Batch::read(&flipped).is_err(), "{end}");
        }
    }

    #[test]
    fn the_next_mark_is_after_the_first_byte() {
        let two = [batch(), batch()].concat();
        assert_eq!(Batch::next_mark(&two), Some(batch().len()));
        assert_eq!(Batch::next_mark(&batch()), None);
        assert_eq!(Batch::next_mark(&[]), None);
    }

    #[test]
    fn names_have_numbers() {
        assert_eq!(Kind::Segment.name(7), "journal-0000000007");
        assert_eq!(Kind::Segment.number("journal-0000000007"), Some(7));
        for other in [
            "journal-7",
            "snapshot-0000000007",
            "snapshot-0000000007.new",
        ] {
            assert_eq!(Kind::Segment.number(other), None, "{other}");
        }
        assert_eq!(Kind::Snapshot.number("snapshot-0000000007.new"), None);
    }
}
