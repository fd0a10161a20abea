//! One watcher and its queue, which is never waited for.

use crate::{command::Told, signal::Identity};
use std::sync::Arc;
use tether_api::v1::{self, WatchRequest};
use tokio::sync::mpsc::{Sender, error::TrySendError};

/// What was told since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) told: u64,
    pub(super) lost: u64,
}

/// Somebody who watches.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) identity: Identity,
    pub(super) request: WatchRequest,
    events: Sender<Told>,
    /// Of the last event, told or lost.
    sequence: u64,
    /// Events since the last that was told.
    lost: u64,
}

impl Watcher {
    pub(super) fn new(identity: Identity, request: WatchRequest, events: Sender<Told>) -> Self {
        Self {
            identity,
            request,
            events,
            sequence: 0,
            lost: 0,
        }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells an event, or counts it as lost where there is no room or none was made.
    pub(super) fn tell(&mut self, event: Option<&Arc<v1::Event>>, counted: &mut Counted) {
        self.sequence += 1;
        let event = event.filter(|_| self.lost == 0);
        let is_told = event.is_some_and(|event| {
            let told = Told::Event {
                sequence: self.sequence,
                event: Arc::clone(event),
            };
            self.events.try_send(told).is_ok()
        });
        let count = if is_told {
            &mut counted.told
        } else {
            self.lost += 1;
            &mut counted.lost
        };
        *count += 1;
    }

    /// Whether it can be told something, with the gap before it where there is one.
    pub(super) fn has_room(&self) -> bool {
        let free = self.events.capacity();
        free > 0 && (self.lost == 0 || free * 4 >= self.events.max_capacity())
    }

    /// Says how many are missing, once a good part of the queue is free: a reader who is always a
    /// little too slow gets runs of events and not one gap after another.
    pub(super) fn mind_the_gap(&mut self, epoch: u64) {
        if self.lost == 0 || !self.has_room() {
            return;
        }
        let gap = Told::Gap {
            sequence: self.sequence,
            lost: self.lost,
            epoch,
        };
        match self.events.try_send(gap) {
            Ok(()) => self.lost = 0,
            // Closed: it is forgotten with the next look.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {}
        }
    }
}
