//! What a capture sees: of bursts only in steps with a tap, of frames by themselves wherever they leave.

use super::{Lane, Lanes, Verdict, View};
use crate::{
    capture::{Direction, Marked, Outcome, Rule, Screen, Screened, Tap},
    fate::Fate,
    key::{FlowKey, Key4, Key6},
    port::{Burst, Frame},
    tables::{
        Toward,
        id::{BackendId, PortId},
    },
    worker::Own,
};

/// A burst came and was sorted; nothing has changed in it yet.
pub(super) fn came<F: Frame>(burst: &Burst<F>, port: PortId, lanes: &Lanes, own: &mut Own<F>) {
    if let Some(tap) = &mut own.tap {
        let (v4, v6) = (&lanes.v4.all, &lanes.v6.all);
        let keyed = passed(v4, tap.screen()).or(passed(v6, tap.screen()));
        tap.see(burst, (keyed, aside(burst.len(), v4, v6)), port);
    }
}

/// What is left of a burst, from this place of it on, may change now or is dropped; so far nothing but the
/// addresses of its links has changed.
pub(super) fn stay<F: Frame>(burst: &Burst<F>, first: usize, own: &mut Own<F>) {
    let Some(tap) = own.tap.as_mut().filter(|tap| !tap.late().is_empty()) else {
        return;
    };
    for index in tap.late().places() {
        let place = usize::from(index).checked_sub(first);
        if let Some(frame) = place.and_then(|it| burst.get(it)) {
            tap.see_staying(index, frame.bytes());
        }
    }
    tap.none_is_late();
}

/// The frames of a lane that may match, by their keys.
#[inline]
fn passed<K: Screened>(lane: &Lane<K>, screen: &Screen) -> Marked {
    let passed = screen.pass(&lane.iter().map(|entry| &entry.key));
    passed
        .places()
        .map(|place| lane[usize::from(place)].index)
        .collect()
}

/// The frames of a burst that are in no lane. Mostly there are none.
#[inline]
fn aside(count: usize, v4: &Lane<Key4>, v6: &Lane<Key6>) -> Marked {
    if v4.len() + v6.len() == count {
        return Marked::NONE;
    }
    let v6 = v6.iter().map(|entry| entry.index);
    let keyed = v4.iter().map(|entry| entry.index).chain(v6);
    Marked::first(count).without(keyed.collect())
}

/// Packets of a lane went after their flows, those aside that are new.
#[inline]
pub(super) fn followed<F, K: FlowKey>(lane: &Lane<K>, new: &Lane<K>, own: &mut Own<F>) {
    let Some(tap) = own.tap.as_mut().filter(|tap| tap.wants_any()) else {
        return;
    };
    for (packets, rule) in [(lane, Rule::Flow), (new, Rule::None)] {
        for entry in packets {
            tap.decided_by(entry.index, rule);
        }
    }
}

/// A frame of the burst is ready to leave.
#[inline]
pub(super) fn leaves<F: Frame>(
    index: u8,
    port: PortId,
    verdict: Verdict,
    frame: &F,
    own: &mut Own<F>,
) {
    if let Some(tap) = own.tap.as_mut().filter(|tap| tap.wants(index)) {
        let backend = match verdict {
            Verdict::To(toward) => backend_of(toward),
            _ => None,
        };
        tap.see_leaving(index, port, backend, frame.bytes());
    }
}

/// The whole burst is ready to leave, by one port.
pub(super) fn leave_alike<F: Frame>(burst: &Burst<F>, port: PortId, own: &mut Own<F>) {
    for index in wanted(own).places() {
        if let Some(frame) = burst.get(usize::from(index)) {
            leaves(index, port, own.findings.verdict(index), frame, own);
        }
    }
}

/// The frames of the burst that may match.
#[inline]
fn wanted<F>(own: &Own<F>) -> Marked {
    own.tap.as_ref().map_or(Marked::NONE, |tap| tap.wanted())
}

/// Some frames of the burst went to the kernel, the last of them in vain; the others have moved up.
pub(super) fn diverted<F>(
    kept: &[u8],
    refused: usize,
    moved: &[(u8, u8)],
    view: View<'_>,
    own: &mut Own<F>,
) {
    // One that was closed has seen other bursts.
    let tap = own.tap.as_mut();
    let Some(tap) = tap.filter(|tap| tap.is_open() && tap.wants_any()) else {
        return;
    };
    let taken = kept.len() - refused;
    for (count, index) in kept.iter().enumerate() {
        let fate = if count < taken {
            Fate::ToKernel
        } else {
            Fate::KernelRefused
        };
        if tap.wants(*index) {
            tap.settle(*index, Outcome::Fate(fate), view.tables);
        }
    }
    tap.move_up(moved);
}

/// The kernel sends a frame by a port.
pub(super) fn passed_on<F: Frame>(tap: Option<&mut Tap>, port: PortId, frame: &F, view: View<'_>) {
    if let Some(tap) = tap.filter(|tap| tap.takes(frame.bytes())) {
        tap.see_alone(Direction::Out, port, frame.bytes());
        let outcome = Outcome::Fate(Fate::FromKernel);
        tap.settle_alone(Direction::Out, outcome, None, view.tables);
    }
}

/// The packets of the burst have met their fates.
pub(super) fn settled<F>(view: View<'_>, own: &mut Own<F>) {
    let Own { tap, findings, .. } = own;
    let Some(tap) = tap else {
        return;
    };
    let takes_sent = tap.takes_sent();
    for index in tap.wanted().places() {
        let verdict = findings.verdict(index);
        if matches!(verdict, Verdict::To(_)) && !takes_sent {
            continue;
        }
        if let Some(outcome) = outcome_of(verdict) {
            tap.settle(index, outcome, view.tables);
        }
    }
}

/// What became of a packet here; one that another worker has now is that one's to tell of.
fn outcome_of(verdict: Verdict) -> Option<Outcome> {
    Some(match verdict {
        Verdict::To(toward) => Outcome::Fate(fate_of(toward)),
        Verdict::Answer => Outcome::Fate(Fate::Answered),
        Verdict::Done(fate) => Outcome::Fate(fate),
        Verdict::Held | Verdict::Early(_) => Outcome::Held,
        Verdict::Handed => return None,
    })
}

/// The fate of a packet that was sent on.
pub(super) fn fate_of(toward: Toward) -> Fate {
    match toward {
        Toward::Backend(_) | Toward::BackendBy(..) => Fate::Forwarded,
        Toward::Client(_) | Toward::ClientOf(..) | Toward::Worker(_) => Fate::Returned,
    }
}

fn backend_of(toward: Toward) -> Option<BackendId> {
    match toward {
        Toward::Backend(id)
        | Toward::Client(id)
        | Toward::BackendBy(id, _)
        | Toward::ClientOf(id, _) => Some(id),
        Toward::Worker(_) => None,
    }
}

/// A frame by itself that a capture sees.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    tap: &'a mut Tap,
    direction: Direction,
    backend: Option<BackendId>,
}

/// The forwarder has made a frame.
pub(crate) fn originated<'a, F: Frame>(
    tap: Option<&'a mut Tap>,
    port: PortId,
    frame: &F,
) -> Option<Seen<'a>> {
    let tap = tap.filter(|tap| tap.takes(frame.bytes()))?;
    tap.see_alone(Direction::Out, port, frame.bytes());
    Some(Seen {
        tap,
        direction: Direction::Out,
        backend: None,
    })
}

/// It has left.
pub(crate) fn has_left(seen: Option<Seen<'_>>, view: View<'_>) {
    if let Some(seen) = seen {
        seen.tap.settle_alone(
            seen.direction,
            Outcome::Originated,
            seen.backend,
            view.tables,
        );
    }
}

/// A frame that has waited, and came by this port, is about to be sent on or dropped.
pub(super) fn waited<'a, F: Frame>(
    tap: Option<&'a mut Tap>,
    came_by: PortId,
    toward: Option<Toward>,
    frame: &F,
) -> Option<Seen<'a>> {
    let tap = tap.filter(|tap| tap.takes(frame.bytes()))?;
    tap.see_alone(Direction::In, came_by, frame.bytes());
    Some(Seen {
        tap,
        direction: Direction::In,
        backend: toward.and_then(backend_of),
    })
}

impl Seen<'_> {
    /// It is ready to leave.
    pub(super) fn leaves<F: Frame>(&mut self, port: PortId, frame: &F) {
        self.tap.see_alone(Direction::Out, port, frame.bytes());
        self.direction = Direction::Out;
    }

    /// This is what became of it.
    pub(super) fn met(self, fate: Fate, view: View<'_>) {
        let direction = if fate.is_drop() {
            Direction::In
        } else {
            self.direction
        };
        self.tap
            .settle_alone(direction, Outcome::Fate(fate), self.backend, view.tables);
    }
}
