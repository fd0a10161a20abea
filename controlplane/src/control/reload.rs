//! A new configuration: whole or not at all (contract rule L2).

use super::Control;
use crate::{
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
    /// Takes over a configuration; a refusal is logged and has changed nothing.
    pub(super) fn reload(&mut self, config: Config) {
        let diff = Diff::between(&self.config, &config);
        match self.adopt(config, &diff) {
            Ok(ended) => log::info!(
                "the configuration is reloaded: {} services changed, {ended} affinities of removed backends have ended",
                diff.services.len()
            ),
            Err(why) => log::error!("the configuration stays as it was: {why}"),
        }
    }

    fn adopt(&mut self, config: Config, diff: &Diff) -> Result<usize, String> {
        self.check_reload(&config, diff)?;
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

    /// What only a restart can change, or what this version does not have.
    fn check_reload(&self, config: &Config, diff: &Diff) -> Result<(), String> {
        let mut restart = diff.restart.clone();
        if publish::cells(&config.limits) > self.writer.affinities().capacity() {
            restart.push("limits.affinities (above what it was at start)");
        }
        if !restart.is_empty() {
            let names = restart.join(", ");
            return Err(format!("a restart is needed to change {names}"));
        }
        match publish::unsupported(config) {
            unsupported if unsupported.is_empty() => Ok(()),
            unsupported => Err(unsupported.join("; ")),
        }
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
        self.master.limits = config.limits;
        self.config = config;
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
