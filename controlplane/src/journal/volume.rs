//! A file of batches that is being written: a segment of the journal, or a snapshot.

use super::{
    disk::{Disk, Sink},
    format::{BATCH_FULL, BATCH_HEAD, Batch, HEAD, Head},
    record::Record,
    stamp::Stamp,
};
use std::{io, sync::Arc};

/// The file, and the batch that is being put together.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) file: Arc<dyn Sink>,
    pub(crate) number: u64,
    /// Bytes in the file.
    bytes: u64,
    sequence: u64,
    stamp: Stamp,
    /// Batches that are not written yet.
    pending: Vec<u8>,
    /// Where in them the last one begins.
    start: usize,
    /// Which numbers of backends the file has a name for.
    defined: Vec<bool>,
}

impl Volume {
    /// Creates it. `stamp` is of the kernel that all its batches are of.
    pub(crate) fn create(disk: &dyn Disk, name: &str, head: &Head) -> io::Result<Self> {
        let file = disk.create(name)?;
        let bytes = head.bytes();
        if let Err(error) = file.write_at(&bytes, 0) {
            // It is of no use, and takes room where there may be none.
            drop(disk.remove(name));
            return Err(error);
        }
        Ok(Self {
            file,
            number: head.number,
            bytes: long(HEAD),
            sequence: 0,
            stamp: Stamp::default(),
            pending: Vec::new(),
            start: 0,
            defined: Vec::new(),
        })
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether no batch was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == long(HEAD)
    }

    /// What is added from here on is of this instant.
    pub(crate) fn begin(&mut self, stamp: Stamp) {
        self.stamp = stamp;
    }

    /// Adds a record to the batch.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        if self.pending.is_empty() {
            Batch::open(&mut self.pending);
        } else if self.pending.len() - self.start >= BATCH_HEAD + BATCH_FULL {
            self.close();
            self.start = self.pending.len();
            Batch::open(&mut self.pending);
        }
        record.write(&mut self.pending);
    }

    /// Adds the names of a backend, service and own, if the file does not have them.
    pub(crate) fn define<'a>(&mut self, number: u16, names: impl FnOnce() -> (&'a str, &'a str)) {
        let place = usize::from(number);
        if self.defined.get(place) == Some(&true) {
            return;
        }
        let (service, backend) = names();
        self.add(&Record::Define {
            number,
            service,
            backend,
        });
        if self.defined.len() <= place {
            self.defined.resize(place + 1, false);
        }
        self.defined[place] = true;
    }

    /// Numbers may mean other backends from now on.
    pub(crate) fn forget_names(&mut self) {
        self.defined.clear();
    }

    /// Writes what was added: all of it, or nothing. After an error the file is of no more use.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.close();
        let written = self.file.write_at(&self.pending, self.bytes);
        if written.is_err() {
            // A batch that is not whole counts for nothing, if it cannot be cut off either; but
            // the turn may have been of several.
            drop(self.file.cut(self.bytes));
        } else {
            self.bytes += long(self.pending.len());
        }
        self.pending.clear();
        self.start = 0;
        written
    }

    fn close(&mut self) {
        Batch::close(&mut self.pending, self.start, self.sequence, &self.stamp);
        self.sequence += 1;
    }
}

fn long(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
