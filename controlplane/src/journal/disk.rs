//! The state directory and its files: all that the journal asks of a disk, behind a trait, so that a
//! test can have a full one.

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fmt::Debug,
    fs::{DirBuilder, File, OpenOptions, read_dir, remove_file, rename},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A directory of files.
pub(crate) trait Disk: Debug + Send + Sync {
    /// The names of its files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A file to read, and how many bytes it has.
    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)>;
    /// A new and empty file, in the place of one of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Sink>>;
    /// Cuts a file down to so many bytes.
    fn cut(&self, name: &str, bytes: u64) -> io::Result<()>;
    /// Gives a file another name, in the place of what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns once names survive a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is being written.
pub(crate) trait Sink: Debug + Send + Sync {
    /// Writes all bytes from this offset on.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts it down to so many bytes.
    fn cut(&self, bytes: u64) -> io::Result<()>;
    /// Returns once what was written survives a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error(
        "control.state: {} is in use by another tetherd: end that one, or give this one a directory of its own",
        .0.display()
    )]
    Taken(PathBuf),
    /// The system says no.
    #[error(
        "control.state: cannot {what} {}: {error}; it has to be a directory that tetherd may read and write",
        path.display()
    )]
    System {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file that a later version has written.
    #[error(
        "control.state: {file} is of format {format}, this version reads {known}: start the version that wrote it, or move the directory away to begin without affinities"
    )]
    Format {
        /// Its name.
        file: String,
        /// What it says it is.
        format: u16,
        /// What this version reads.
        known: u16,
    },
}

/// A directory of this machine, locked against other daemons for as long as it lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    // The lock is on the directory itself: it can be taken on a disk that is read-only.
    handle: File,
}

impl Directory {
    /// Makes it if it is not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |what| {
            let path = path.to_owned();
            move |error| OpenError::System { what, path, error }
        };
        if !path.is_dir() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(path);
            made.map_err(failed("make"))?;
        }
        let handle = File::open(path).map_err(failed("open"))?;
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Taken(path.to_owned())),
            Err(error) => return Err(failed("lock")(error.into())),
        }
        Ok(Self {
            path: path.to_owned(),
            handle,
        })
    }
}

impl Disk for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let file = File::open(self.path.join(name))?;
        let bytes = file.metadata()?.len();
        Ok((Box::new(file), bytes))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Sink>> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(options.open(self.path.join(name))?))
    }

    fn cut(&self, name: &str, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Sink for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_has_a_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("made/on/the/way");
        let first = Directory::open(&path).unwrap();
        let second = Directory::open(&path).unwrap_err();
        assert!(matches!(second, OpenError::Taken(_)), "{second}");
        drop(first);
        Directory::open(&path).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Directory::open(file.path()).unwrap_err().to_string();
        assert!(refused.contains("control.state"), "{refused}");
    }
}
