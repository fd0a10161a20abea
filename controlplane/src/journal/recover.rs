//! From files to what there was: the newest whole snapshot, and every segment from its number on.
//!
//! ```text
//! journal-1 ─ journal-2 ─┬─ journal-3 ── ..        a segment is begun, then all places are walked:
//!                        └▶ snapshot-3             what a walk met early may change in journal-3
//! ```
//!
//! Why replaying a segment over a snapshot that is younger than its first batches ends where the
//! control thread was: per key, generations only grow, and of one generation the deadline only grows;
//! where a signal brings it nearer (contract rule T8), an `End` comes before the `Put`.
//! A `Put` counts unless a greater generation is known, an `End` takes out its generation and
//! lesser ones. So records that are older than what the snapshot has change nothing, or are undone
//! by later ones of the same segment; those that are younger count as they come.
//!
//! What cannot be read is said and left out; the rest counts.

mod held;
mod replay;

use super::{
    disk::{Disk, OpenError},
    format::Kind,
    stamp::Stamp,
};
use hashbrown::HashMap;
pub(crate) use held::Affinities;
use replay::Replay;
use tether_dataplane::tables::affinity::Source;

/// What was recovered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovered {
    /// When it was read, which all times are relative to.
    pub(crate) at: Stamp,
    /// The life of the table; `None`: acked signals may be missing, or there was nothing.
    pub(crate) epoch: Option<u64>,
    /// The greatest generation that was seen.
    pub(crate) generation: u64,
    /// The names of services.
    pub(crate) services: Vec<String>,
    /// Backends: the place of the service in `services`, and the name.
    pub(crate) owners: Vec<(u32, String)>,
    /// Affinities.
    pub(crate) held: Affinities,
    /// Current and previous boot ids, by the owner's place.
    pub(crate) boots: HashMap<u32, (u64, u64)>,
    /// What was left out, a sentence each.
    pub(crate) left_out: Vec<String>,
    /// The greatest number that a file has.
    pub(crate) number: u64,
    /// How many segments were read, and how many bytes they have.
    pub(crate) segments: (u64, u64),
}

/// What an affinity binds: the service's place in the list of names, and the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) service: u32,
    pub(crate) source: Source,
}

/// An affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its owner's place in the list of names.
    pub(crate) owner: u32,
    pub(crate) generation: u64,
    pub(crate) duration_ms: Option<u64>,
    /// How far from now the deadline is, less than 0 where it has passed; `None`: there is none.
    pub(crate) remaining_ms: Option<i64>,
    /// How long ago it was started.
    pub(crate) age_ms: u64,
    pub(crate) boot_id: u64,
    pub(crate) keep_on_reboot: bool,
}

impl Held {
    /// The same so much later.
    pub(crate) fn after(self, ms: u64) -> Self {
        Self {
            remaining_ms: self.remaining_ms.map(|it| it.saturating_sub_unsigned(ms)),
            age_ms: self.age_ms.saturating_add(ms),
            ..self
        }
    }
}

/// Reads all that there is.
pub(crate) fn recover(disk: &dyn Disk, now: Stamp) -> Result<Recovered, OpenError> {
    let names = disk.names().map_err(|error| OpenError::System {
        what: "list",
        path: ".".into(),
        error,
    })?;
    let numbers = |kind: Kind| {
        let mut numbers: Vec<_> = names.iter().filter_map(|it| kind.number(it)).collect();
        numbers.sort_unstable();
        numbers
    };
    let (snapshots, segments) = (numbers(Kind::Snapshot), numbers(Kind::Segment));
    let mut replay = base(disk, now, &snapshots, &segments)?;
    let from = replay.base;
    let segments: Vec<_> = segments.into_iter().filter(|it| *it >= from).collect();
    replay.check_numbers(&segments);
    for number in &segments {
        let is_last = segments.last() == Some(number);
        replay.segment(*number, is_last)?;
    }
    let newest = snapshots.last().max(segments.last());
    replay.state.number = newest.copied().unwrap_or_default();
    Ok(replay.conclude())
}

/// What the segments are replayed over: the newest snapshot that is whole and whose segments are
/// there; without one, nothing, if all segments are there; else what can be read of the newest.
fn base<'a>(
    disk: &'a dyn Disk,
    now: Stamp,
    snapshots: &[u64],
    segments: &[u64],
) -> Result<Replay<'a>, OpenError> {
    let mut damaged: Option<Replay<'a>> = None;
    let mut said = Vec::new();
    for number in snapshots.iter().rev() {
        let mut replay = Replay::new(disk, now, *number);
        let is_whole = replay.snapshot(*number)?;
        if is_whole && (damaged.is_none() || has_all(segments, *number)) {
            replay.state.left_out.extend(said);
            return Ok(replay);
        }
        said.extend(replay.state.left_out.iter().cloned());
        damaged = damaged.or(Some(replay));
    }
    match damaged {
        Some(replay) if !has_all(segments, 1) => Ok(replay),
        _ => {
            let mut replay = Replay::new(disk, now, 1);
            replay.state.left_out = said;
            Ok(replay)
        }
    }
}

/// Whether the segments from a number on are all there.
fn has_all(segments: &[u64], from: u64) -> bool {
    let mut wanted = from..;
    let mut there = segments.iter().filter(|it| **it >= from).peekable();
    there.peek().is_some() && there.all(|it| wanted.next() == Some(*it))
}
