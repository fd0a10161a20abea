//! The audit log's file and the thread that writes it.
//!
//! Once a second it is seen whether the path still names the file that is open: logrotate needs no
//! signal. A disk that refuses is told of once, and tried again with the next lines.

use super::{Disk, Line};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Owner writes, group reads: it names clients.
const MODE: u32 = 0o640;
/// How often to see whether the file is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes that are written at once.
const BATCH_BYTES: usize = 64 << 10;

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    file: File,
    looked: Instant,
    disk: Arc<Disk>,
    /// Lines that could not be written since the last that could.
    failed: u64,
    /// Whether the log has been told that something is wrong.
    is_broken: bool,
}

/// Lines as they are to be written.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

impl Writer {
    pub(super) fn open(path: PathBuf, disk: Arc<Disk>) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(Self {
            file: open(&path)?,
            path,
            looked: Instant::now(),
            disk,
            failed: 0,
            is_broken: false,
        })
    }

    /// Writes what comes until nobody can send any more.
    pub(super) fn run(mut self, lines: &Receiver<Line>) {
        loop {
            let first = lines.recv_timeout(LOOK);
            if self.looked.elapsed() >= LOOK {
                self.look();
            }
            match first {
                Ok(first) => self.write(&gather(&first, lines)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Opens the file anew where the path names another one or none.
    fn look(&mut self) {
        self.looked = Instant::now();
        if is_same(&self.path, &self.file) {
            return;
        }
        match open(&self.path) {
            Ok(file) => {
                log::info!("audit log {}: opened anew", self.path.display());
                self.file = file;
            }
            Err(error) => self.complain(&error),
        }
    }

    fn write(&mut self, batch: &Batch) {
        match self.append(batch) {
            Ok(()) => {
                self.disk.written.fetch_add(batch.lines, Ordering::Relaxed);
                self.failed = 0;
                if std::mem::take(&mut self.is_broken) {
                    log::info!("audit log {}: it is written again", self.path.display());
                }
            }
            Err(error) => {
                self.disk.failed.fetch_add(batch.lines, Ordering::Relaxed);
                self.failed += batch.lines;
                self.complain(&error);
            }
        }
    }

    /// Appends the lines; after a failure with the end of a line that may be half there, and with
    /// one that says how many are missing.
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        if self.failed > 0 {
            end_line(&self.file)?;
            let mut missing = Batch::default();
            missing.push(&Line::failed(self.failed));
            self.file.write_all(&missing.bytes)?;
            self.failed = 0;
        }
        self.file.write_all(&batch.bytes)
    }

    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_broken, true) {
            log::error!(
                "audit log {}: {error}; lines are lost until it can be written",
                self.path.display()
            );
        }
    }
}

impl Batch {
    fn push(&mut self, line: &Line) {
        let before = self.bytes.len();
        match serde_json::to_writer(&mut self.bytes, line) {
            Ok(()) => {
                self.bytes.push(b'\n');
                self.lines += 1;
            }
            Err(error) => {
                log::error!("a line of the audit log: {error}");
                self.bytes.truncate(before);
            }
        }
    }
}

/// The line and those that wait behind it.
fn gather(first: &Line, lines: &Receiver<Line>) -> Batch {
    let mut batch = Batch::default();
    batch.push(first);
    while batch.bytes.len() < BATCH_BYTES
        && let Ok(next) = lines.try_recv()
    {
        batch.push(&next);
    }
    batch
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(MODE);
    let file = file.open(path)?;
    end_line(&file)?;
    Ok(file)
}

/// Ends a last line that was cut off in the middle.
fn end_line(mut file: &File) -> io::Result<()> {
    let mut last = [b'\n'];
    if let Some(place) = file.metadata()?.len().checked_sub(1) {
        file.read_at(&mut last, place)?;
    }
    if last == [b'\n'] {
        return Ok(());
    }
    file.write_all(b"\n")
}

fn is_same(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(open)) = (fs::metadata(path), file.metadata()) else {
        return false;
    };
    (named.dev(), named.ino()) == (open.dev(), open.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Sender, bounded};
    use std::{
        os::unix::fs::PermissionsExt as _,
        thread::{self, JoinHandle},
    };

    /// Nothing takes longer here.
    const SOON: Duration = Duration::from_secs(30);

    struct Log {
        lines: Sender<Line>,
        disk: Arc<Disk>,
        thread: JoinHandle<()>,
    }

    impl Log {
        fn at(path: &Path) -> Self {
            let disk = Arc::new(Disk::default());
            let writer = Writer::open(path.to_owned(), Arc::clone(&disk)).unwrap();
            let (lines, waiting) = bounded(16);
            let thread = thread::spawn(move || writer.run(&waiting));
            Self {
                lines,
                disk,
                thread,
            }
        }

        fn say(&self, event: &'static str) {
            self.lines.send(Line::now(event)).unwrap();
        }

        fn end(self) {
            drop(self.lines);
            self.thread.join().unwrap();
        }
    }

    fn events(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["event"].as_str().unwrap().to_owned()
        });
        lines.collect()
    }

    #[test]
    fn p5_the_file_is_made_for_owner_and_group_and_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/audit.log");
        for event in ["start", "end"] {
            let log = Log::at(&path);
            log.say(event);
            log.end();
        }
        assert_eq!(events(&path), ["start", "end"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn p5_a_line_that_was_cut_off_spoils_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        fs::write(&path, "{\"event\":\"st").unwrap();
        let log = Log::at(&path);
        log.say("end");
        log.end();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("\"end\""), "{text}");
    }

    #[test]
    fn p5_a_file_that_is_moved_away_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let log = Log::at(&path);
        log.say("start");
        let begun = Instant::now();
        while log.disk.written.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < SOON);
            thread::yield_now();
        }
        let old = directory.path().join("audit.log.1");
        fs::rename(&path, &old).unwrap();
        while !path.exists() {
            assert!(begun.elapsed() < SOON);
            thread::sleep(Duration::from_millis(10));
        }
        log.say("end");
        log.end();
        assert_eq!(
            (events(&old), events(&path)),
            (vec!["start".to_owned()], vec!["end".to_owned()])
        );
    }

    #[test]
    fn p5_a_disk_that_refuses_is_counted_and_the_log_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let disk = Arc::new(Disk::default());
        let mut writer = Writer::open(path.clone(), Arc::clone(&disk)).unwrap();
        let good = std::mem::replace(&mut writer.file, open(Path::new("/dev/full")).unwrap());
        let mut batch = Batch::default();
        batch.push(&Line::now("start"));
        batch.push(&Line::now("end"));
        writer.write(&batch);
        writer.write(&batch);
        assert!(writer.is_broken);
        writer.file = good;
        writer.write(&batch);
        assert!(!writer.is_broken);
        let counts = [&disk.written, &disk.failed].map(|it| it.load(Ordering::Relaxed));
        assert_eq!(counts, [2, 4]);
        assert_eq!(events(&path), ["failed", "start", "end"]);
        assert!(fs::read_to_string(&path).unwrap().contains("\"lines\":4"));
    }
}
