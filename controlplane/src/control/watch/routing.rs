//! Affinities that stop to route, or route again, because of what their owner is (contract section 6).
//!
//! A backend may own a hundred thousand: they are told by a walk through all places, a part of it in
//! each turn. What ends before the walk has come to it is told as ended and nothing else, since it
//! has no record any more. A backend that changes again while it waits for the next walk has its
//! changes settled against each other.

use super::News;
use crate::control::Control;
use crate::master::Registry;
use hashbrown::{HashMap, HashSet};
use tether_api::v1::event::Kind;
use tether_dataplane::{clock::Millis, tables::id::BackendId};

/// Places that one turn looks at.
const PLACES: u32 = 16_384;
/// Affinities that one turn tells of: more would fill the queues of readers who are quick enough.
const TOLD: u32 = 256;

/// What backends were when it was last looked, and who is still to be told of what they are now.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// Whether a backend's state may have changed.
    may_differ: bool,
    /// The backends whose affinities did not route.
    suspended: HashSet<BackendId>,
    walk: Option<Walk>,
    /// Told by the next walk.
    next: HashMap<BackendId, Turn>,
}

/// A walk through all places.
#[derive(Debug)]
struct Walk {
    turns: HashMap<BackendId, Turn>,
    cursor: u32,
}

/// What there is to tell of one backend's affinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    routes: bool,
    /// Only of generations above this.
    after: u64,
    /// And up to this: what was started later was started in the new state.
    until: u64,
}

impl Routing {
    /// Whether there is something to go on with.
    pub(super) fn is_walking(&self) -> bool {
        self.walk.is_some() || !self.next.is_empty()
    }

    fn differ(&mut self, registry: &Registry) -> Vec<(BackendId, bool)> {
        let known = registry.known_backends();
        let differ = known.filter_map(|it| {
            let routes = it.is_removed || it.state().takes_affinities();
            let did = !self.suspended.contains(&it.id);
            (routes != did).then_some((it.id, routes))
        });
        differ.collect()
    }

    /// A backend has changed at this generation.
    fn turn(&mut self, backend: BackendId, routes: bool, generation: u64) {
        let settled = settle(self.next.remove(&backend), routes, generation);
        if let Some(turn) = settled {
            self.next.insert(backend, turn);
        }
    }
}

/// What is still to be told once a backend has changed again. While it is suspended nothing is
/// started, so what a turn to suspension and one back leave is nothing; those started between a
/// turn to routing and one back are the only ones that have to be told.
fn settle(waiting: Option<Turn>, routes: bool, generation: u64) -> Option<Turn> {
    match waiting {
        None => Some(Turn {
            routes,
            after: 0,
            until: generation,
        }),
        Some(Turn { until, .. }) if !routes => Some(Turn {
            routes,
            after: until,
            until: generation,
        }),
        Some(Turn { after: 0, .. }) => None,
        Some(Turn { after, .. }) => Some(Turn {
            routes,
            after: 0,
            until: after,
        }),
    }
}

impl Control {
    /// A backend's state may have changed: whoever watches is told once that is published.
    pub(crate) fn states_have_changed(&mut self) {
        self.watchers.routing.may_differ = true;
    }

    /// Finds the backends whose affinities route now and did not, or the other way round.
    pub(super) fn note_routing(&mut self) {
        let routing = &mut self.watchers.routing;
        if !std::mem::take(&mut routing.may_differ) {
            return;
        }
        for (backend, routes) in routing.differ(&self.master.registry) {
            if routes {
                self.watchers.routing.suspended.remove(&backend);
            } else {
                self.watchers.routing.suspended.insert(backend);
            }
            // Also what was being told when the last watcher went has its end.
            let routing = &self.watchers.routing;
            if routing.is_walking() || self.watchers.is_watched(backend) {
                let routing = &mut self.watchers.routing;
                routing.turn(backend, routes, self.master.generation);
            }
        }
    }

    /// Goes on with the walk by a turn's worth.
    pub(super) fn tell_routing(&mut self, now: Millis) {
        let routing = &mut self.watchers.routing;
        let walk = routing.walk.take().or_else(|| {
            let turns = std::mem::take(&mut routing.next);
            (!turns.is_empty()).then_some(Walk { turns, cursor: 0 })
        });
        let Some(mut walk) = walk else {
            return;
        };
        let end = self.master.records.end();
        let until = walk.cursor.saturating_add(PLACES).min(end);
        let mut left = TOLD;
        while walk.cursor < until && left > 0 {
            left -= u32::from(self.tell_turn(&walk.turns, walk.cursor, now));
            walk.cursor += 1;
        }
        if walk.cursor < end {
            self.watchers.routing.walk = Some(walk);
        }
    }

    /// Tells of the affinity at a place, if there is something to tell; says whether.
    fn tell_turn(&mut self, turns: &HashMap<BackendId, Turn>, place: u32, now: Millis) -> bool {
        let Some(record) = self.master.records.at(place).copied() else {
            return false;
        };
        let turn = turns.get(&record.owner);
        let is_meant = |it: &&Turn| it.after < record.generation && record.generation <= it.until;
        let Some(turn) = turn.filter(is_meant) else {
            return false;
        };
        let view = self.writer.affinities().view(record.cell);
        if view.deadline <= now || !self.watchers.is_watched(record.owner) {
            return false;
        }
        let kind = if turn.routes {
            Kind::Resumed
        } else {
            Kind::Suspended
        };
        let news = News {
            kind,
            record: &record,
            view,
            new_owner: None,
            reason: "",
        };
        self.tell_news(&news, now);
        true
    }
}
