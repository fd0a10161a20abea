//! A capture: the workers get taps, their records go to the operator with names, and the taps come
//! back.
//!
//! ```text
//! arming ─ all workers have taps ─▶ running ─ enough, or the operator goes ─▶ ending ─ taps are back ─▶ told
//! ```
//!
//! There is one at a time. Workers wait for nobody: what is not taken from them in time is missed.

mod clock;
mod filter;
mod names;
mod place;

pub(crate) use place::Place;

use super::{Lines, Refused, forwarder};
use crate::control::{Answer, Control, Inquiry, Ticket};
use clock::WallClock;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tether_api::operator::{
    CaptureEnd, CaptureFilter, CaptureRequest, CapturedFrame, Capturing as Begun, End, Entry,
    Payload, Response, SNAP_LENGTH,
};
use tether_dataplane::{
    capture::{self, Collector, Filter, Record},
    clock::Millis,
    limits,
    plane::{Answer as Found, Question},
};
use tokio::sync::mpsc::error::TrySendError;

/// How long workers may take to be given taps, and to give them back, in milliseconds.
const PATIENCE_MS: u64 = 1000;
/// Records of one worker that are taken at once.
const RECORDS: usize = 256;

/// A capture.
#[derive(Debug)]
pub(crate) struct Capturing {
    lines: Lines,
    /// The operator has had enough.
    stop: Arc<AtomicBool>,
    /// There is no other while this is held.
    _place: Arc<()>,
    stage: Stage,
    /// What the workers have not answered.
    asked: Vec<Ticket>,
    since: Millis,
    collectors: Vec<Collector>,
    clock: WallClock,
    /// Taken from the workers, not yet told.
    waiting: VecDeque<CapturedFrame>,
    told: u64,
    count: u64,
    begun: Begun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Arming,
    Running,
    Ending,
}

/// Begins to capture.
pub(crate) fn capture(
    control: &mut Control,
    uid: u32,
    request: &CaptureRequest,
    lines: Lines,
    stop: Arc<AtomicBool>,
    now: Millis,
) -> Answer {
    match begin(control, uid, request, &lines, stop, now) {
        Ok(capturing) => Answer::Capturing(Box::new(capturing)),
        Err((message, hint)) => Answer::error(lines, message, hint),
    }
}

fn begin(
    control: &mut Control,
    uid: u32,
    request: &CaptureRequest,
    lines: &Lines,
    stop: Arc<AtomicBool>,
    now: Millis,
) -> Result<Capturing, Refused> {
    let filter: Result<CaptureFilter, _> = request.filter.parse();
    let filter = filter.map_err(|bad| (bad.to_string(), None))?;
    let filter = filter::resolved(control, &filter)?;
    let place = control.capture.take(uid)?;
    log::info!("operator {uid}: captures {:?}", request.filter);
    let snap_length = snap_length(request.snap_length);
    let (collectors, asked) = arm(control, &filter, snap_length)?;
    let ports = control.config.ports.iter();
    let begun = Begun {
        ports: ports.map(|it| it.device.clone()).collect(),
        snap_length: u32::try_from(snap_length).unwrap_or(u32::MAX),
        workers: u32::try_from(collectors.len()).unwrap_or(u32::MAX),
    };
    Ok(Capturing {
        lines: lines.clone(),
        stop,
        _place: place,
        stage: Stage::Arming,
        asked,
        since: now,
        collectors,
        clock: WallClock::start(control.ports.cycles_per_second()),
        waiting: VecDeque::new(),
        told: 0,
        count: request.count.unwrap_or(u64::MAX),
        begun,
    })
}

/// Within what the workers' records hold; 0 asks for whole frames.
fn snap_length(asked: Option<u32>) -> usize {
    let (least, most) = limits::CAPTURED_BYTES.into_inner();
    match usize::try_from(asked.unwrap_or(SNAP_LENGTH)) {
        Ok(0) | Err(_) => most,
        Ok(bytes) => bytes.clamp(least, most),
    }
}

/// Gives every worker a tap.
fn arm(
    control: &mut Control,
    filter: &Filter,
    snap_length: usize,
) -> Result<(Vec<Collector>, Vec<Ticket>), Refused> {
    let (mut collectors, mut asked) = (Vec::new(), Vec::new());
    for worker in 0..control.inquiry.workers() {
        let (tap, collector) = capture::tap(filter.clone(), snap_length);
        collectors.push(collector);
        let Control {
            inquiry, writer, ..
        } = control;
        let ticket = Inquiry::ask(inquiry, writer, worker, Question::Tap(Some(tap)));
        // The taps that were given close with their collectors.
        asked.push(ticket.ok_or_else(|| silent(control, worker))?);
    }
    Ok((collectors, asked))
}

fn silent(control: &Control, worker: usize) -> Refused {
    let core = forwarder::core(control, worker);
    let message = format!("the worker on core {core} does not answer");
    let hint = "tetherctl status shows which workers are reporting".to_owned();
    (message, Some(hint))
}

impl Capturing {
    /// Goes on; `None` when all is told, or nobody listens any more.
    pub(crate) fn advance(
        mut self: Box<Self>,
        control: &mut Control,
        now: Millis,
    ) -> Option<Answer> {
        self.asked
            .retain(|ticket| control.inquiry.take(*ticket).is_none_or(|it| !is_tap(&it)));
        match self.stage {
            Stage::Arming => Some(self.await_workers(control, now)),
            Stage::Running => {
                self.pass_on(control);
                if self.is_enough() {
                    self.begin_to_end(control, now);
                }
                Some(Answer::Capturing(self))
            }
            Stage::Ending => self.end(control, now),
        }
    }

    fn await_workers(mut self: Box<Self>, control: &mut Control, now: Millis) -> Answer {
        if self.asked.is_empty() {
            let begun = Response::Ok(Payload::Capturing(self.begun.clone()));
            match self.lines.try_send(begun) {
                Ok(()) | Err(TrySendError::Closed(_)) => self.stage = Stage::Running,
                Err(TrySendError::Full(_)) => {}
            }
            return Answer::Capturing(self);
        }
        if now.since(self.since) < PATIENCE_MS {
            return Answer::Capturing(self);
        }
        self.forget(control);
        let message = "a worker does not answer, so its frames would not be seen".to_owned();
        let hint = "tetherctl status shows which workers are reporting".to_owned();
        Answer::error(self.lines, message, Some(hint))
    }

    fn is_enough(&self) -> bool {
        self.told >= self.count || self.stop.load(Ordering::Relaxed) || self.lines.is_closed()
    }

    /// Takes what the workers have, in the order of time, and tells it as far as there is room.
    fn pass_on(&mut self, control: &Control) {
        if self.waiting.is_empty() {
            self.collect(control);
        }
        while self.told < self.count
            && let Some(frame) = self.waiting.front()
        {
            let Ok(room) = self.lines.try_reserve() else {
                return;
            };
            room.send(Response::Entry(Entry::Captured(frame.clone())));
            self.waiting.pop_front();
            self.told += 1;
        }
    }

    fn collect(&mut self, control: &Control) {
        let clock = self.clock;
        let mut frames = Vec::new();
        for (worker, collector) in self.collectors.iter().enumerate() {
            let mut take = |record: &Record| {
                let time_ns = clock.ns(record.at);
                frames.push(names::frame(control, worker, record, time_ns));
            };
            for _ in 0..RECORDS {
                if !collector.take(&mut take) {
                    break;
                }
            }
        }
        frames.sort_by_key(|frame| frame.time_ns);
        self.waiting = frames.into();
    }

    /// Asks for the taps.
    fn begin_to_end(&mut self, control: &mut Control, now: Millis) {
        self.stage = Stage::Ending;
        self.since = now;
        let Control {
            inquiry, writer, ..
        } = control;
        for (worker, collector) in self.collectors.iter().enumerate() {
            collector.close();
            // One that is not asked keeps a closed tap, until it is given another.
            self.asked
                .extend(inquiry.ask(writer, worker, Question::Tap(None)));
        }
    }

    /// Tells what is left, and how much was missed.
    fn end(mut self: Box<Self>, control: &mut Control, now: Millis) -> Option<Answer> {
        if !self.asked.is_empty() && now.since(self.since) < PATIENCE_MS {
            return Some(Answer::Capturing(self));
        }
        self.forget(control);
        self.pass_on(control);
        if self.lines.is_closed() {
            return None;
        }
        let all_told =
            self.told >= self.count || self.waiting.is_empty() && !self.has_more(control);
        if !all_told || self.lines.capacity() < 2 {
            return Some(Answer::Capturing(self));
        }
        let ended = CaptureEnd {
            captured: self.told,
            missed: self.collectors.iter().map(Collector::missed).sum(),
        };
        let entries = self.told;
        let ended = Response::Entry(Entry::CaptureEnd(ended));
        match self.lines.try_send(ended) {
            Ok(()) => {
                let end = Response::End(End { entries });
                Some(Answer::Line(self.lines, Box::new(end)))
            }
            Err(_) => None,
        }
    }

    fn has_more(&mut self, control: &Control) -> bool {
        self.collect(control);
        !self.waiting.is_empty()
    }

    fn forget(&mut self, control: &mut Control) {
        for ticket in self.asked.drain(..) {
            control.inquiry.forget(ticket);
        }
    }
}

fn is_tap(answer: &Found) -> bool {
    matches!(answer, Found::Tap(_))
}
