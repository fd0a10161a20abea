//! Who watches what happens to affinities, and telling them (contract rule S8).
//!
//! ```text
//! event ─ owner ─▶ those who watch it ─▶ room? ─yes─▶ its queue
//!                                              └─no──▶ counted as lost; a gap once there is room again
//! ```
//!
//! Nobody is waited for. An event is made once and shared by all who are told. Costs a lookup per
//! event while somebody watches, and nothing while nobody does.

mod audience;
mod routing;
mod watcher;

use super::Control;
use crate::{
    command::{Declined, Told},
    master::{Event, Happened, Record},
    operator::rows,
    signal::Identity,
};
use audience::{Audience, audience};
use hashbrown::HashMap;
use routing::Routing;
use std::sync::Arc;
use tether_api::v1::{self, WatchRequest, event::Kind};
use tether_dataplane::{
    clock::Millis,
    tables::{affinity::CellView, id::BackendId},
};
use tokio::sync::mpsc::Sender;
use watcher::{Counted, Watcher};

/// Watchers at most: each may hold its queue full.
const WATCHERS: usize = 1024;
/// Of one identity: each of its events is told to all of them.
const WATCHERS_PER_IDENTITY: usize = 64;
/// How often to look whether watchers have gone or have room again.
const LOOK_MS: u64 = 20;

/// All watchers.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    all: HashMap<u64, Watcher>,
    /// Who is told what happens to a backend's affinities.
    of: HashMap<BackendId, Vec<u64>>,
    /// Who is told everything.
    of_all: Vec<u64>,
    last: u64,
    looked: Millis,
    routing: Routing,
    counted: Counted,
}

/// What is told of an affinity.
#[derive(Clone, Copy, Debug)]
struct News<'a> {
    kind: Kind,
    record: &'a Record,
    view: CellView,
    new_owner: Option<BackendId>,
    reason: &'static str,
}

impl Watchers {
    /// How many there are, and how many events were told and lost.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let watchers = u64::try_from(self.all.len()).unwrap_or(u64::MAX);
        (watchers, self.counted.told, self.counted.lost)
    }

    /// Whether there is something to go on with in the next turn.
    pub(super) fn is_telling(&self) -> bool {
        self.routing.is_walking()
    }

    fn is_watched(&self, owner: BackendId) -> bool {
        !self.of_all.is_empty() || self.of.contains_key(&owner)
    }

    /// One server cannot take all places, nor have the thread do nothing but tell it. Operators are
    /// held to the number of their connections.
    fn check_share(&self, identity: &Identity) -> Result<(), Declined> {
        let watchers = self.all.values();
        let same = watchers.filter(|it| it.identity == *identity).count();
        let is_server = !matches!(identity, Identity::Operator { .. });
        if is_server && same >= WATCHERS_PER_IDENTITY {
            return Err(Declined::Exhausted(format!(
                "this identity watches {WATCHERS_PER_IDENTITY} times already: close one"
            )));
        }
        Ok(())
    }

    fn add(&mut self, watcher: Watcher, audience: Audience) {
        self.last += 1;
        self.all.insert(self.last, watcher);
        self.join(self.last, audience);
    }

    fn join(&mut self, watcher: u64, audience: Audience) {
        match audience {
            Audience::All => self.of_all.push(watcher),
            Audience::Owners(owners) => {
                for owner in owners {
                    self.of.entry(owner).or_default().push(watcher);
                }
            }
        }
    }

    /// Forgets those who have gone.
    fn drop_closed(&mut self) {
        let before = self.all.len();
        self.all.retain(|_, it| !it.is_gone());
        if self.all.len() == before {
            return;
        }
        let all = &self.all;
        self.of_all.retain(|it| all.contains_key(it));
        self.of.retain(|_, watchers| {
            watchers.retain(|it| all.contains_key(it));
            !watchers.is_empty()
        });
    }

    /// Whether an event would reach anybody: of a flood, only what there is room for is made.
    fn is_heard(&self, owner: BackendId) -> bool {
        let watchers = self.of.get(&owner).into_iter().flatten();
        let mut watchers = watchers.chain(&self.of_all);
        watchers.any(|id| self.all.get(id).is_some_and(Watcher::has_room))
    }

    /// Tells all who watch a backend, or counts the event as lost to them where there is none.
    fn tell(&mut self, owner: BackendId, event: Option<&Arc<v1::Event>>, epoch: u64) {
        let Self {
            all,
            of,
            of_all,
            counted,
            ..
        } = self;
        let watchers = of.get(&owner).into_iter().flatten().chain(&*of_all);
        for id in watchers {
            if let Some(watcher) = all.get_mut(id) {
                watcher.mind_the_gap(epoch);
                watcher.tell(event, counted);
            }
        }
    }
}

impl Control {
    /// Begins to tell somebody what happens: to a backend of its own affinities, to an operator of all.
    pub(super) fn watch(
        &mut self,
        identity: Identity,
        request: WatchRequest,
        events: Sender<Told>,
    ) -> Result<(), Declined> {
        self.watchers.drop_closed();
        if self.watchers.all.len() >= WATCHERS {
            return Err(Declined::Exhausted(format!(
                "there are {WATCHERS} watchers already: close one, or ask List from time to time"
            )));
        }
        let audience = audience(&self.master.registry, &identity, &request)?;
        self.watchers.check_share(&identity)?;
        let watcher = Watcher::new(identity, request, events);
        self.watchers.add(watcher, audience);
        Ok(())
    }

    /// Which backends somebody watches may be others in a new configuration; what happens to those
    /// that are gone is told to the end.
    pub(super) fn follow_registry(&mut self) {
        let registry = &self.master.registry;
        let watchers = &mut self.watchers;
        watchers.of.clear();
        watchers.of_all.clear();
        let seen = watchers.all.iter();
        let seen: Vec<_> = seen
            .map(|(id, it)| (*id, Audience::of(registry, &it.identity, &it.request)))
            .collect();
        for (id, audience) in seen {
            watchers.join(id, audience);
        }
    }

    /// Tells what has happened in this turn, now that it is effective.
    pub(super) fn tell_watchers(&mut self, events: &[Event], now: Millis) {
        for event in events {
            if self.watchers.is_watched(event.record.owner) {
                self.tell_news(&News::of(event), now);
            }
        }
        self.note_routing();
        self.tell_routing(now);
        self.look_after_watchers(now);
    }

    fn tell_news(&mut self, news: &News<'_>, now: Millis) {
        let (owner, epoch) = (news.record.owner, self.master.epoch);
        let is_heard = self.watchers.is_heard(owner);
        let event = is_heard.then(|| Arc::new(self.event(news, now)));
        self.watchers.tell(owner, event.as_ref(), epoch);
    }

    fn event(&self, news: &News<'_>, now: Millis) -> v1::Event {
        v1::Event {
            kind: news.kind.into(),
            sequence: 0,
            epoch: self.master.epoch,
            affinity: Some(rows::entry_with(self, news.record, news.view, now)),
            new_owner: news
                .new_owner
                .map(|it| rows::backend_name(self, it))
                .unwrap_or_default(),
            reason: news.reason.to_owned(),
            lost: 0,
        }
    }

    fn look_after_watchers(&mut self, now: Millis) {
        if now.since(self.watchers.looked) < LOOK_MS {
            return;
        }
        self.watchers.looked = now;
        self.watchers.drop_closed();
        for watcher in self.watchers.all.values_mut() {
            watcher.mind_the_gap(self.master.epoch);
        }
    }
}

impl<'a> News<'a> {
    fn of(event: &'a Event) -> Self {
        let Event { what, record, view } = event;
        let (kind, new_owner, reason) = match what {
            Happened::Started => (Kind::Started, None, ""),
            Happened::Refreshed => (Kind::Refreshed, None, ""),
            Happened::Extended => (Kind::Extended, None, ""),
            Happened::Ended(why) => (Kind::Ended, None, why.word()),
            Happened::Expired => (Kind::Expired, None, ""),
            Happened::Replaced { by } => (Kind::Replaced, Some(*by), ""),
        };
        Self {
            kind,
            record,
            view: *view,
            new_owner,
            reason,
        }
    }
}
