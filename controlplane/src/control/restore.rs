//! A restart: what the journal has, as the configuration now allows it (contract rule L1).

use super::{Control, Recorder};
use crate::{
    journal::{Held, Loaded, Recovered},
    master::{self, Boots, Created, Record, Service, extension},
};
use tether_dataplane::{
    clock::Millis,
    plane::Seat,
    tables::{
        affinity::{AffinityKey, CellId, Grant},
        id::BackendId,
    },
};

/// Affinities after which memory is taken back.
const AT_ONCE: usize = 1 << 16;

/// What has become of the affinities that were recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// They route again.
    pub(crate) routing: u64,
    /// Their deadline has passed.
    pub(crate) expired: u64,
    /// Their service or backend is no longer configured, or of the other address family now.
    pub(crate) removed: u64,
    /// There is no room for them.
    pub(crate) full: u64,
}

impl Control {
    /// Takes over what was recovered, and begins to write down what happens from here on. What has
    /// passed since it was read counts: EAL has started meanwhile.
    pub(super) fn resume(&mut self, loaded: Loaded, seats: &mut [Seat], now: Millis) {
        let Loaded {
            mut journal,
            recovered,
        } = loaded;
        match recovered.epoch {
            Some(epoch) => self.master.epoch = epoch,
            None if recovered.number > 0 => log::warn!(
                "a new epoch: acknowledged signals may be missing, clients are to assert again what they hold"
            ),
            None => {}
        }
        self.master.generation = recovered.generation;
        journal.begin(now, self.master.epoch, self.master.generation);
        let mut recorder = Recorder::new(journal, self.writer.affinities().capacity(), now);
        let begun = self.clock.now();
        self.restored = self.restore(&recovered, &mut recorder, seats, now);
        self.published = self.writer.settle(seats);
        let ms = self.clock.now().since(begun);
        let Restored {
            routing,
            expired,
            removed,
            full,
        } = self.restored;
        log::info!(
            "restored {routing} affinities in {ms} ms; left out: {expired} that have expired, {removed} whose service or backend is gone, {full} without room"
        );
        self.recorder = Some(recorder);
    }

    fn restore(
        &mut self,
        recovered: &Recovered,
        recorder: &mut Recorder,
        seats: &mut [Seat],
        now: Millis,
    ) -> Restored {
        let owners = self.owners(recovered);
        let passed_ms = recorder.journal.passed_since(&recovered.at);
        let mut count = Restored::default();
        for (place, (key, held)) in recovered.held.iter().enumerate() {
            if place % AT_ONCE == 0 {
                self.writer.settle(seats);
            }
            let owner = owners.get(held.owner as usize).copied().flatten();
            match owner.map(|owner| self.grant(owner, key.source, &held.after(passed_ms), now)) {
                None | Some(Err(Left::Removed)) => count.removed += 1,
                Some(Err(Left::Expired)) => count.expired += 1,
                Some(Ok((record, grant))) => match self.state().restore(record, grant) {
                    Ok(cell) => {
                        recorder.knows(cell.index, grant.deadline);
                        count.routing += 1;
                    }
                    Err(_) => count.full += 1,
                },
            }
        }
        count
    }

    /// The backends that are still configured, by their places; they get their boot ids back.
    fn owners(&mut self, recovered: &Recovered) -> Vec<Option<BackendId>> {
        let registry = &mut self.master.registry;
        let named = recovered.owners.iter().map(|(service, name)| {
            let service = recovered.services.get(*service as usize)?;
            let service = registry.service_named(service)?;
            Some(registry.backend_named(service, name)?.id)
        });
        let owners: Vec<_> = named.collect();
        for (place, (current, previous)) in &recovered.boots {
            let owner = owners.get(*place as usize).copied().flatten();
            if let Some(backend) = owner.and_then(|id| registry.backend_mut(id)) {
                backend.boots = Boots::restored(*current, *previous);
            }
        }
        owners
    }

    fn grant(
        &self,
        owner: BackendId,
        source: tether_dataplane::tables::affinity::Source,
        held: &Held,
        now: Millis,
    ) -> Result<(Record, Grant), Left> {
        let service = self.service_of(owner).ok_or(Left::Removed)?;
        if source.address().is_ipv4() != service.settings.address.is_ipv4() {
            return Err(Left::Removed);
        }
        let deadline = match held.remaining_ms {
            None => Millis::NEVER,
            Some(left) if left <= 0 => return Err(Left::Expired),
            Some(left) => now + left.unsigned_abs(),
        };
        let policy = &service.settings.affinity;
        let record = Record {
            key: AffinityKey {
                service: service.id,
                source,
            },
            owner,
            generation: held.generation,
            duration_ms: master::capped(policy, held.duration_ms),
            created: Created::ago(now, held.age_ms),
            boot_id: held.boot_id,
            keep_on_reboot: held.keep_on_reboot,
            session: None,
            cell: CellId::default(),
        };
        let (duration_ms, limit) = extension(policy, &record);
        let grant = Grant {
            deadline,
            duration_ms,
            limit,
        };
        Ok((record, grant))
    }

    fn service_of(&self, backend: BackendId) -> Option<&Service> {
        let registry = &self.master.registry;
        registry.service(registry.backend(backend)?.service)
    }
}

/// Why an affinity is left out.
enum Left {
    Removed,
    Expired,
}
