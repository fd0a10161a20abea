//! What there is to do, and doing it: in the records, in the wheel and in the affinity table that
//! workers read.

use super::{Event, Happened, Master, Record, Why, duration};
use crate::expiry::Wheel;
use hashbrown::HashSet;
use tether_dataplane::{
    clock::Millis,
    tables::{
        affinity::{AffinityWriter, CellId, Grant, Refused},
        id::{BackendId, ServiceId},
    },
};

/// What there is to do about one affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// A new affinity.
    Start {
        /// It, still without a cell.
        record: Record,
        /// What its cell is to say.
        grant: Grant,
        /// The one of the same key whose place it takes.
        instead: Option<CellId>,
    },
    /// Its record, how far packets extend it, and its deadline.
    Update {
        /// It, as it is to be.
        record: Record,
        /// Where its deadline is to be at least.
        deadline: Millis,
        /// Where it is to be at most: what the service's cap allows now (contract rule T8).
        latest: Option<Millis>,
        /// What this is to whoever watches.
        what: Happened,
    },
    /// Its end.
    End(Record, Why),
}

/// Everything that a change touches.
#[derive(Debug)]
pub struct State<'a> {
    /// The truth.
    pub master: &'a mut Master,
    /// When to look for expiry.
    pub wheel: &'a mut Wheel,
    /// What workers read.
    pub cells: &'a mut AffinityWriter,
    /// What has happened in this turn.
    pub events: &'a mut Vec<Event>,
}

impl State<'_> {
    /// Does it. An error has changed nothing.
    pub fn apply(&mut self, change: Change) -> Result<(), Refused> {
        match change {
            Change::Nothing => {}
            Change::Start {
                record,
                grant,
                instead,
            } => self.start(record, grant, instead)?,
            Change::Update {
                record,
                deadline,
                latest,
                what,
            } => self.update(record, deadline, latest, what),
            Change::End(record, why) => self.end(&record, why),
        }
        Ok(())
    }

    /// Another life of a backend's process begins: what belongs to older ones is over, but for what
    /// was to survive it (contract rule S7). Returns how many affinities were ended.
    pub fn reboot(&mut self, backend: BackendId, boot_id: u64) -> usize {
        if let Some(backend) = self.master.registry.backend_mut(backend) {
            backend.boots.begin(boot_id);
        }
        let owned = self.master.records.owned(backend);
        let over = owned.filter(|it| it.boot_id != boot_id && !it.keep_on_reboot);
        let over: Vec<_> = over.copied().collect();
        self.end_all(&over, Why::Reboot)
    }

    /// Ends all of a backend's affinities; returns how many.
    pub fn end_owned(&mut self, backend: BackendId, why: Why) -> usize {
        let owned: Vec<_> = self.master.records.owned(backend).copied().collect();
        self.end_all(&owned, why)
    }

    /// Ends what is bound to a session (contract rule S6); returns how many.
    pub fn end_session(&mut self, session: u64) -> usize {
        let bound: Vec<_> = self.master.records.of_session(session).copied().collect();
        self.end_all(&bound, Why::Session)
    }

    /// Tells the cells of some services how their rules extend them now (contract rule T8), and
    /// ends affinities of sources that are no longer of their service's family.
    pub fn follow_rules(&mut self, services: &HashSet<ServiceId>) {
        for place in 0..self.master.records.end() {
            let record = self.master.records.at(place).copied();
            if let Some(record) = record.filter(|it| services.contains(&it.key.service)) {
                self.follow(record);
            }
        }
    }

    fn follow(&mut self, record: Record) {
        let Some(service) = self.master.registry.service(record.key.service) else {
            return;
        };
        if record.key.source.address().is_ipv4() != service.settings.address.is_ipv4() {
            self.end(&record, Why::ServiceRemoved);
            return;
        }
        let policy = &service.settings.affinity;
        let record = Record {
            duration_ms: duration::capped(policy, record.duration_ms),
            ..record
        };
        let (duration_ms, limit) = duration::extension(policy, &record);
        self.cells.set_extension(record.cell, duration_ms, limit);
        self.master.records.update(record);
    }

    /// Collects at most so many affinities whose deadline has come; returns how many.
    pub fn expire(&mut self, now: Millis, at_most: usize) -> usize {
        let Self {
            master,
            wheel,
            cells,
            events,
        } = self;
        wheel.run(now, at_most, |place| {
            let Some(record) = master.records.at(place).copied() else {
                return Ok(());
            };
            let view = cells.view(record.cell);
            cells.expire(&record.key, record.cell, now)?;
            master.records.remove(place);
            events.push(Event {
                what: Happened::Expired,
                record,
                view,
            });
            Ok(())
        })
    }

    fn start(
        &mut self,
        record: Record,
        grant: Grant,
        instead: Option<CellId>,
    ) -> Result<(), Refused> {
        #[expect(clippy::cast_possible_truncation, reason = "the low half by design")]
        let generation = record.generation as u32;
        let Record { key, owner, .. } = record;
        let cell = self.cells.start(&key, owner, generation, grant, instead)?;
        if let Some(old) = instead {
            self.give_way(old, &record);
        }
        let record = Record { cell, ..record };
        self.master.generation = record.generation;
        self.master.records.insert(record);
        self.wheel.insert(cell.index, grant.deadline);
        self.tell(Happened::Started, record);
        Ok(())
    }

    /// Puts back what was there before a restart: what it says holds, and nothing has happened.
    pub fn restore(&mut self, record: Record, grant: Grant) -> Result<CellId, Refused> {
        #[expect(clippy::cast_possible_truncation, reason = "the low half by design")]
        let generation = record.generation as u32;
        let Record { key, owner, .. } = record;
        let cell = self.cells.start(&key, owner, generation, grant, None)?;
        self.master.records.insert(Record { cell, ..record });
        self.wheel.insert(cell.index, grant.deadline);
        Ok(cell)
    }

    /// Takes out what another affinity of the same key has replaced.
    fn give_way(&mut self, old: CellId, winner: &Record) {
        let view = self.cells.view(old);
        if let Some(record) = self.master.records.remove(old.index) {
            let what = if view.deadline > winner.created.plus(0) {
                Happened::Replaced { by: winner.owner }
            } else {
                Happened::Expired
            };
            self.events.push(Event { what, record, view });
        }
        self.wheel.remove(old.index);
    }

    fn update(&mut self, record: Record, deadline: Millis, latest: Option<Millis>, what: Happened) {
        let Some(service) = self.master.registry.service(record.key.service) else {
            return;
        };
        let (duration_ms, limit) = duration::extension(&service.settings.affinity, &record);
        self.cells.set_extension(record.cell, duration_ms, limit);
        let reached = self.cells.extend(record.cell, deadline);
        if let Some(latest) = latest.filter(|it| *it < reached) {
            self.cells.lower(&record.key, record.cell, latest);
            self.wheel.remove(record.cell.index);
            self.wheel.insert(record.cell.index, latest);
        }
        self.master.records.update(record);
        self.tell(what, record);
    }

    fn end_all(&mut self, records: &[Record], why: Why) -> usize {
        for record in records {
            self.end(record, why);
        }
        records.len()
    }

    fn end(&mut self, record: &Record, why: Why) {
        self.tell(Happened::Ended(why), *record);
        self.cells.end(&record.key, record.cell);
        self.wheel.remove(record.cell.index);
        self.master.records.remove(record.cell.index);
    }

    fn tell(&mut self, what: Happened, record: Record) {
        let view = self.cells.view(record.cell);
        self.events.push(Event { what, record, view });
    }
}
