//! A new configuration: whole or not at all (contract rule L2).

use super::Control;
use crate::{
    command::Reloaded,
    config::{
        Config,
        diff::{Diff, ServiceChange},
    },
    master::{Registry, Removed, Why},
    publish,
};
use hashbrown::HashSet;
use tether_dataplane::{
    clock::Millis,
    tables::id::{BackendId, ServiceId},
};

impl Control {
    /// Takes over a configuration; a refusal says all that is in its way, and has changed nothing.
    pub(super) fn reload(&mut self, config: Config) -> Result<Reloaded, Vec<String>> {
        let diff = Diff::between(&self.config, &config);
        let obstacles = self.obstacles(&config, &diff);
        if !obstacles.is_empty() {
            return Err(obstacles);
        }
        let changes = self.changes(&diff);
        let ended = self.adopt(config, &diff).map_err(|why| vec![why])?;
        log::info!(
            "the configuration is reloaded: {} services changed, {ended} affinities of removed backends have ended",
            diff.services.len()
        );
        Ok(Reloaded { changes, ended })
    }

    fn adopt(&mut self, config: Config, diff: &Diff) -> Result<usize, String> {
        let mut registry = self.master.registry.clone();
        let writer = &self.writer;
        let is_forgotten = |id| writer.backend_flows(id) == 0;
        let removed = registry.adopt(&config, &is_forgotten);
        let removed = removed.map_err(|error| error.to_string())?;
        let spec = publish::tables(&registry, &self.stations, self.master.affinity);
        let set = self.writer.set_tables(&spec);
        set.map_err(|error| error.to_string())?;
        Ok(self.commit(config, registry, &removed, diff))
    }

    /// What only a restart can change.
    pub(super) fn obstacles(&self, config: &Config, diff: &Diff) -> Vec<String> {
        let mut restart = diff.restart.clone();
        if publish::cells(&config.limits) > self.writer.affinities().capacity() {
            restart.push("limits.affinities (above what it was at start)");
        }
        let restart = restart.into_iter();
        let restart = restart.map(|key| format!("{key} changes only by a restart"));
        let pools = self.writer.check_pools(&publish::pools(config));
        restart
            .chain(pools.err().map(|error| error.to_string()))
            .collect()
    }

    /// From here on nothing can fail.
    fn commit(
        &mut self,
        config: Config,
        registry: Registry,
        removed: &Removed,
        diff: &Diff,
    ) -> usize {
        self.has_changed = true;
        self.needs_tables = false;
        // New backends, and those of another slow_start, are looked at in this turn.
        self.next_rise = Millis::default();
        self.master.registry = registry;
        if let Some(recorder) = &mut self.recorder {
            recorder.journal.forget_names();
        }
        self.master.limits = config.limits;
        self.config = config;
        self.follow_registry();
        self.states_have_changed();
        let removed = removed.backends.iter();
        let ended = removed.map(|id| self.end_removed(*id)).sum();
        let changed = self.changed_rules(diff);
        if !changed.is_empty() {
            self.state().follow_rules(&changed);
        }
        ended
    }

    /// Ends what a backend owns that is no longer configured; returns how many.
    fn end_removed(&mut self, id: BackendId) -> usize {
        let registry = &self.master.registry;
        let backend = registry.backend(id);
        let service = backend.and_then(|it| registry.service_named(&it.service_name));
        let why = match service {
            Some(_) => Why::BackendRemoved,
            None => Why::ServiceRemoved,
        };
        self.state().end_owned(id, why)
    }

    /// The services whose own settings differ.
    fn changed_rules(&self, diff: &Diff) -> HashSet<ServiceId> {
        let changed = diff.services.iter().filter_map(|change| match change {
            ServiceChange::Changed { name, fields, .. } if !fields.is_empty() => {
                let service = self.master.registry.service_named(name)?;
                Some(service.id)
            }
            ServiceChange::Changed { .. } | ServiceChange::Added(_) | ServiceChange::Removed(_) => {
                None
            }
        });
        changed.collect()
    }
}
