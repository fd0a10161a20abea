//! The audit log: who has started, extended, ended and been refused what (contract rule P5).
//!
//! ```text
//! control thread: room in this second? ─yes─▶ bounded queue ─▶ writer's thread: JSON line ─▶ file
//!                                        └no─▶ counted; one line says how many
//! ```
//!
//! The control thread never waits for a disk. What is too much for a second, for the queue or for the
//! disk is counted, and the log says how much is missing.

mod line;
mod writer;

pub(crate) use line::Line;

use crate::{config, master::Bucket};
use crossbeam_channel::{Sender, bounded};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};
use tether_api::Source;
use tether_dataplane::clock::Millis;
use writer::Writer;

/// Lines that wait for the disk.
const AHEAD: usize = 4096;
/// How often the log says how many lines are missing, at most.
const SAY_MS: u64 = 1000;

/// The log, as the control thread has it.
#[derive(Debug)]
pub(crate) struct Audit {
    settings: config::Audit,
    /// `None` only while it ends.
    lines: Option<Sender<Line>>,
    writer: Option<JoinHandle<()>>,
    disk: Arc<Disk>,
    all: Bucket,
    refusals: Bucket,
    dropped: u64,
    /// Of them, those that the log does not yet tell of.
    unsaid: u64,
    said: Millis,
    /// How many events of this turn it has heard of.
    pub(crate) heard: usize,
}

/// What the writer has done since the start.
#[derive(Debug, Default)]
struct Disk {
    written: AtomicU64,
    failed: AtomicU64,
}

/// Lines since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// In the file.
    pub(crate) written: u64,
    /// Beyond the rate, or more than the disk could follow.
    pub(crate) dropped: u64,
    /// That the disk has refused.
    pub(crate) failed: u64,
}

impl Audit {
    /// Opens the file, to append to it.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub(crate) fn open(settings: config::Audit) -> io::Result<Self> {
        let disk = Arc::new(Disk::default());
        let writer = Writer::open(settings.path.clone(), Arc::clone(&disk))?;
        let (lines, waiting) = bounded(AHEAD);
        let thread = thread::Builder::new().name("tether-audit".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting))?;
        Ok(Self {
            settings,
            lines: Some(lines),
            writer: Some(thread),
            disk,
            all: Bucket::default(),
            refusals: Bucket::default(),
            dropped: 0,
            unsaid: 0,
            said: Millis::default(),
            heard: 0,
        })
    }

    /// Whether this second has room for a line; what has none is counted. Refusals get half of it
    /// at most: whoever is refused again and again cannot hide what others do.
    pub(crate) fn admits(&mut self, is_refusal: bool, now: Millis) -> bool {
        let rate = self.settings.lines_per_second;
        let half = (rate / 2).max(1);
        let admitted = (!is_refusal || self.refusals.take(half, now)) && self.all.take(rate, now);
        if !admitted {
            self.miss();
        }
        admitted
    }

    /// Writes a line that was admitted.
    pub(crate) fn write(&mut self, line: Line) {
        if !self.send(line) {
            self.miss();
        }
    }

    /// Says from time to time how many lines are missing.
    pub(crate) fn own_up(&mut self, now: Millis) {
        if self.unsaid > 0 && now.since(self.said) >= SAY_MS {
            self.said = now;
            if self.send(Line::dropped(self.unsaid)) {
                self.unsaid = 0;
            }
        }
    }

    /// A client as the log may show it.
    pub(crate) fn shown(&self, client: Source) -> Source {
        match self.settings.mask {
            Some(mask) => masked(client, mask),
            None => client,
        }
    }

    /// Whether clients are shown as they are.
    pub(crate) fn shows_clients(&self) -> bool {
        self.settings.mask.is_none()
    }

    /// What became of the lines.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            written: self.disk.written.load(Ordering::Relaxed),
            dropped: self.dropped,
            failed: self.disk.failed.load(Ordering::Relaxed),
        }
    }

    fn send(&self, line: Line) -> bool {
        let lines = self.lines.as_ref();
        lines.is_some_and(|lines| lines.try_send(line).is_ok())
    }

    fn miss(&mut self) {
        self.dropped += 1;
        self.unsaid += 1;
    }
}

impl Drop for Audit {
    /// Waits until what was said is written.
    fn drop(&mut self) {
        if self.unsaid > 0 {
            self.send(Line::dropped(self.unsaid));
        }
        self.lines = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            log::error!("the audit log's thread has panicked: this is a bug, please report it");
        }
    }
}

/// The subnet of a client, where that is broader than the client.
fn masked(client: Source, (v4, v6): (u8, u8)) -> Source {
    let length = if client.address().is_ipv4() { v4 } else { v6 };
    if client.prefix_length() < length {
        return client;
    }
    Source::subnet(client.address(), length).unwrap_or(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_a_mask_leaves_the_subnet_of_a_client() {
        for (client, shown) in [
            ("192.0.2.7", "192.0.2.0/24"),
            ("192.0.2.7:5000", "192.0.2.0/24"),
            ("192.0.2.128/25", "192.0.2.0/24"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.0.0/16", "192.0.0.0/16"),
            ("2001:db8:1:2ff::7", "2001:db8:1:200::/56"),
            ("[2001:db8:1:2ff::7]:80", "2001:db8:1:200::/56"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let client = client.parse().unwrap();
            assert_eq!(masked(client, (24, 56)).to_string(), shown, "{client}");
        }
        let whole: Source = "192.0.2.7:5000".parse().unwrap();
        assert_eq!(masked(whole, (32, 128)).to_string(), "192.0.2.7");
    }
}
