//! A disk in memory.

use super::super::disk::{Disk, Sink};
use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Files by name, and what is wrong with the disk.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    files: Mutex<BTreeMap<String, Arc<Mutex<Vec<u8>>>>>,
    faults: Arc<Faults>,
}

/// What is wrong.
#[derive(Debug)]
pub(crate) struct Faults {
    /// Bytes that can still be written.
    pub(crate) room: AtomicU64,
    pub(crate) is_read_only: AtomicBool,
    pub(crate) cannot_sync: AtomicBool,
    /// Files cannot be cut down, whatever else can be done.
    pub(crate) cannot_cut: AtomicBool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            room: AtomicU64::new(u64::MAX),
            is_read_only: AtomicBool::default(),
            cannot_sync: AtomicBool::default(),
            cannot_cut: AtomicBool::default(),
        }
    }
}

#[derive(Debug)]
struct Open {
    bytes: Arc<Mutex<Vec<u8>>>,
    faults: Arc<Faults>,
}

impl Memory {
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// As it is now, with nothing wrong.
    pub(crate) fn copy(&self) -> Self {
        let files = self.files.lock().unwrap();
        let copied = files.iter().map(|(name, file)| {
            let bytes = file.lock().unwrap().clone();
            (name.clone(), Arc::new(Mutex::new(bytes)))
        });
        Self {
            files: Mutex::new(copied.collect()),
            faults: Arc::default(),
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.file(name).unwrap().lock().unwrap().clone()
    }

    /// As it is now, but for one file.
    pub(crate) fn with(&self, name: &str, bytes: Vec<u8>) -> Self {
        let copy = self.copy();
        let file = Arc::new(Mutex::new(bytes));
        copy.files.lock().unwrap().insert(name.to_owned(), file);
        copy
    }

    fn file(&self, name: &str) -> io::Result<Arc<Mutex<Vec<u8>>>> {
        let files = self.files.lock().unwrap();
        let file = files.get(name).cloned();
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Faults {
    fn check(&self) -> io::Result<()> {
        if self.is_read_only.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }
}

impl Disk for Memory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let bytes = self.file(name)?.lock().unwrap().clone();
        let length = u64::try_from(bytes.len()).unwrap();
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Sink>> {
        self.faults.check()?;
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let mut files = self.files.lock().unwrap();
        files.insert(name.to_owned(), Arc::clone(&bytes));
        let faults = Arc::clone(&self.faults);
        Ok(Arc::new(Open { bytes, faults }))
    }

    fn cut(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.faults.check()?;
        let file = self.file(name)?;
        let length = usize::try_from(bytes).unwrap();
        file.lock().unwrap().truncate(length);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.check()?;
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.check()?;
        let removed = self.files.lock().unwrap().remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.check()
    }
}

impl Sink for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.check()?;
        let length = u64::try_from(bytes.len()).unwrap();
        let room = self.faults.room.load(Ordering::Relaxed);
        let written = usize::try_from(room.min(length)).unwrap();
        if room != u64::MAX {
            self.faults
                .room
                .store(room.saturating_sub(length), Ordering::Relaxed);
        }
        let offset = usize::try_from(offset).unwrap();
        let mut file = self.bytes.lock().unwrap();
        let end = file.len().max(offset + written);
        file.resize(end, 0);
        file[offset..offset + written].copy_from_slice(&bytes[..written]);
        if written < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.faults.check()?;
        if self.faults.cannot_cut.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        let length = usize::try_from(bytes).unwrap();
        self.bytes.lock().unwrap().truncate(length);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.faults.cannot_sync.load(Ordering::Relaxed) {
            return Err(io::Error::other("input/output error"));
        }
        self.faults.check()
    }
}
