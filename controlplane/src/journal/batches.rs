//! A file as the batches that can still be read of it, in order.

use super::format::{BATCH_HEAD, Batch, LONGEST, NoBatch};
use std::io::{self, Read};

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A batch.
    Batch(Batch<'a>),
    /// Bytes that are none, with batches or nothing after them.
    Damaged {
        /// Where they begin.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
    /// The beginning of a batch, where the file ends.
    Torn {
        /// Where it begins.
        offset: u64,
        /// How much there is of it.
        bytes: u64,
    },
}

/// A file that is being read, through a window of two of the longest batches.
#[derive(Debug)]
pub(crate) struct Batches<R> {
    from: R,
    window: Vec<u8>,
    /// Where in the window the next piece begins.
    at: usize,
    /// Where in the file the window begins.
    offset: u64,
    is_over: bool,
}

impl<R: Read> Batches<R> {
    /// What follows `offset` bytes that were read before.
    pub(crate) fn new(from: R, offset: usize) -> Self {
        Self {
            from,
            window: Vec::new(),
            at: 0,
            offset: long(offset),
            is_over: false,
        }
    }

    /// The next piece.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.fill()?;
        if self.at == self.window.len() {
            return Ok(None);
        }
        let length = match Batch::read(&self.window[self.at..]) {
            Ok(batch) => batch.length(),
            Err(why) => return self.skip(why).map(Some),
        };
        let start = self.at;
        self.at += length;
        // Read twice, because a borrow that is returned in one branch lasts in all of them.
        let batch = Batch::read(&self.window[start..self.at]);
        Ok(batch.ok().map(Piece::Batch))
    }

    /// Goes to where the next batch begins, or to the end.
    fn skip(&mut self, why: NoBatch) -> io::Result<Piece<'_>> {
        let offset = self.offset + long(self.at);
        let mut marks = 0;
        while self.at < self.window.len() && Batch::read(&self.window[self.at..]).is_err() {
            let rest = &self.window[self.at..];
            let next = Batch::next_mark(rest);
            marks += usize::from(next.is_some());
            self.at += next.unwrap_or(self.unmarked(rest.len()));
            self.fill()?;
        }
        let bytes = self.offset + long(self.at) - offset;
        let is_end = self.at == self.window.len();
        Ok(if is_end && marks == 0 && why == NoBatch::Torn {
            Piece::Torn { offset, bytes }
        } else {
            Piece::Damaged { offset, bytes }
        })
    }

    /// How much to pass over where there is no mark: a mark may begin in the last bytes.
    fn unmarked(&self, rest: usize) -> usize {
        if self.is_over {
            rest
        } else {
            rest.saturating_sub(3).max(1)
        }
    }

    /// Has at least one of the longest batches in the window, or all that is left.
    fn fill(&mut self) -> io::Result<()> {
        if self.is_over || self.window.len() - self.at >= LONGEST {
            return Ok(());
        }
        self.window.drain(..self.at);
        self.offset += long(self.at);
        self.at = 0;
        let wanted = long(2 * LONGEST - self.window.len());
        let read = self
            .from
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.window)?;
        self.is_over = long(read) < wanted;
        Ok(())
    }
}

fn long(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

const _: () = assert!(LONGEST > BATCH_HEAD);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::stamp::Stamp;

    fn batch(sequence: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        Batch::open(&mut bytes);
        bytes.resize(BATCH_HEAD + length, 0xf5);
        Batch::close(&mut bytes, 0, sequence, &Stamp::default());
        bytes
    }

    /// Sequences of batches, and what was passed over.
    fn read(bytes: &[u8]) -> Vec<String> {
        let mut batches = Batches::new(bytes, 10);
        let mut all = Vec::new();
        while let Some(piece) = batches.next().unwrap() {
            all.push(match piece {
                Piece::Batch(batch) => batch.sequence.to_string(),
                Piece::Damaged { offset, bytes } => format!("damaged {offset}+{bytes}"),
                Piece::Torn { offset, bytes } => format!("torn {offset}+{bytes}"),
            });
        }
        all
    }

    #[test]
    fn batches_come_in_order_whatever_their_sizes() {
        let sizes = [0, 1, 1000, (1 << 20) + 5, 1 << 20, 7];
        let batches = (0..).zip(sizes).map(|(place, size)| batch(place, size));
        let bytes: Vec<u8> = batches.flatten().collect();
        assert_eq!(read(&bytes), ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn a_torn_end_is_told_from_damage() {
        let two = [batch(0, 5), batch(1, 5)].concat();
        let one = two.len() / 2;
        for end in one + 1..two.len() {
            let torn = format!("torn {}+{}", 10 + one, end - one);
            assert_eq!(read(&two[..end]), ["0", &torn]);
        }
        let zeros = [batch(0, 5), vec![0; 40]].concat();
        assert_eq!(read(&zeros), ["0", &format!("damaged {}+40", 10 + one)]);
    }

    #[test]
    fn what_follows_damage_is_found() {
        let three = [batch(0, 5), batch(1, 5), batch(2, 5)].concat();
        let one = three.len() / 3;
        for place in one..2 * one {
            let mut bytes = three.clone();
            bytes[place] ^= 0xff;
            let damaged = format!("damaged {}+{one}", 10 + one);
            assert_eq!(read(&bytes), ["0", &damaged, "2"], "{place}");
        }
        // Also beyond the window.
        let far = [batch(0, 5), vec![7; 5 << 20], batch(1, 5)].concat();
        let damaged = format!("damaged {}+{}", 10 + one, 5 << 20);
        assert_eq!(read(&far), ["0", &damaged, "1"]);
    }
}
