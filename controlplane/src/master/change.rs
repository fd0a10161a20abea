//! What there is to do, and doing it: in the records, in the wheel and in the affinity table that
//! workers read.

use super::{Master, Record, duration};
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
    /// Its record and how far packets extend it; its deadline if that is later.
    Update {
        /// It, as it is to be.
        record: Record,
        /// Where its deadline is to be at least.
        deadline: Millis,
    },
    /// Its end.
    End(Record),
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
            Change::Update { record, deadline } => self.update(record, deadline),
            Change::End(record) => self.end(&record),
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
        self.end_all(&over)
    }

    /// Ends all of a backend's affinities; returns how many.
    pub fn end_owned(&mut self, backend: BackendId) -> usize {
        let owned: Vec<_> = self.master.records.owned(backend).copied().collect();
        self.end_all(&owned)
    }

    /// Ends what is bound to a session (contract rule S6); returns how many.
    pub fn end_session(&mut self, session: u64) -> usize {
        let bound: Vec<_> = self.master.records.of_session(session).copied().collect();
        self.end_all(&bound)
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
            self.end(&record);
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
        } = self;
        wheel.run(now, at_most, |place| {
            let Some(record) = master.records.at(place).copied() else {
                return Ok(());
            };
            cells.expire(&record.key, record.cell, now)?;
            master.records.remove(place);
            log::debug!("affinity of {} has expired", record.key.source);
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
            self.master.records.remove(old.index);
            self.wheel.remove(old.index);
        }
        self.master.generation = record.generation;
        self.master.records.insert(Record { cell, ..record });
        self.wheel.insert(cell.index, grant.deadline);
        Ok(())
    }

    fn update(&mut self, record: Record, deadline: Millis) {
        let Some(service) = self.master.registry.service(record.key.service) else {
            return;
        };
        let (duration_ms, limit) = duration::extension(&service.settings.affinity, &record);
        self.cells.set_extension(record.cell, duration_ms, limit);
        self.cells.extend(record.cell, deadline);
        self.master.records.update(record);
    }

    fn end_all(&mut self, records: &[Record]) -> usize {
        for record in records {
            self.end(record);
        }
        records.len()
    }

    fn end(&mut self, record: &Record) {
        self.cells.end(&record.key, record.cell);
        self.wheel.remove(record.cell.index);
        self.master.records.remove(record.cell.index);
    }
}
