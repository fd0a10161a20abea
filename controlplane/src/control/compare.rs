//! What a configuration would change, with the flows and affinities that each change is about.

use super::Control;
use crate::{
    command::Comparison,
    config::{
        self, Config,
        diff::{BackendChange, Diff, FieldChange, ServiceChange},
    },
    master::{Backend, Service},
};
use tether_api::operator::{self, ChangeKind, ConfigChange};

impl Control {
    /// What a configuration would change, and what keeps it from being taken over.
    pub(super) fn compare(&self, config: &Config) -> Comparison {
        let diff = Diff::between(&self.config, config);
        Comparison {
            changes: self.changes(&diff),
            refused: self.obstacles(config, &diff),
        }
    }

    /// The changes, one row each; to be asked for before they are made.
    pub(super) fn changes(&self, diff: &Diff) -> Vec<ConfigChange> {
        let host = [("control.tls.", &diff.tls), ("limits.", &diff.limits)];
        let host = host.into_iter().filter(|(_, fields)| !fields.is_empty());
        let host = host.map(|(table, fields)| changed(rows(table, fields)));
        let services = diff.services.iter().flat_map(|it| self.service_changes(it));
        host.chain(services).collect()
    }

    fn service_changes(&self, change: &ServiceChange) -> Vec<ConfigChange> {
        match change {
            ServiceChange::Added(service) => {
                let backends = service.backends.iter();
                let backends = backends.map(|it| added(&service.name, Some(&it.name)));
                std::iter::once(added(&service.name, None))
                    .chain(backends)
                    .collect()
            }
            ServiceChange::Removed(service) => {
                let change = of(ChangeKind::Removed, &service.name, None, Vec::new());
                vec![self.counted(change)]
            }
            ServiceChange::Changed {
                name,
                fields,
                backends,
            } => {
                let own = of(ChangeKind::Changed, name, None, rows("", fields));
                let own = (!fields.is_empty()).then_some(own);
                let backends = backends.iter().map(|it| backend_change(name, it));
                let all = own.into_iter().chain(backends);
                all.map(|change| self.counted(change)).collect()
            }
        }
    }

    /// The change with what its service or backend has now.
    fn counted(&self, change: ConfigChange) -> ConfigChange {
        let registry = &self.master.registry;
        let service = change.service.as_deref();
        let Some(service) = service.and_then(|name| registry.service_named(name)) else {
            return change;
        };
        let backends: Vec<_> = match change.backend.as_deref() {
            Some(name) => registry.backend_named(service, name).into_iter().collect(),
            None => registry.backends_of(service).collect(),
        };
        ConfigChange {
            flows: backends.iter().map(|it| self.flows_of(it)).sum(),
            affinities: self.affinities_of(service, &backends, change.backend.is_some()),
            ..change
        }
    }

    fn flows_of(&self, backend: &Backend) -> u64 {
        self.writer.backend_flows(backend.id)
    }

    fn affinities_of(&self, service: &Service, backends: &[&Backend], of_backend: bool) -> u64 {
        let records = &self.master.records;
        let count = if of_backend {
            backends.iter().map(|it| records.owned_count(it.id)).sum()
        } else {
            records.service_count(service.id)
        };
        count.into()
    }
}

fn backend_change(service: &str, change: &BackendChange) -> ConfigChange {
    let (kind, name, fields) = match change {
        BackendChange::Added(backend) => return added(service, Some(&backend.name)),
        BackendChange::Removed(config::Backend { name, .. }) => {
            (ChangeKind::Removed, name, Vec::new())
        }
        BackendChange::Reweighted { name, from, to } => {
            let weight = operator::FieldChange {
                field: "weight".to_owned(),
                from: from.to_string(),
                to: to.to_string(),
            };
            (ChangeKind::Changed, name, vec![weight])
        }
        BackendChange::Changed { name, fields } => (ChangeKind::Changed, name, rows("", fields)),
    };
    of(kind, service, Some(name), fields)
}

fn rows(table: &str, fields: &[FieldChange]) -> Vec<operator::FieldChange> {
    let row = |change: &FieldChange| operator::FieldChange {
        field: format!("{table}{}", change.field),
        from: change.from.clone(),
        to: change.to.clone(),
    };
    fields.iter().map(row).collect()
}

/// A change of what belongs to no service.
fn changed(fields: Vec<operator::FieldChange>) -> ConfigChange {
    ConfigChange {
        fields,
        ..ConfigChange::default()
    }
}

fn added(service: &str, backend: Option<&str>) -> ConfigChange {
    of(ChangeKind::Added, service, backend, Vec::new())
}

fn of(
    kind: ChangeKind,
    service: &str,
    backend: Option<&str>,
    fields: Vec<operator::FieldChange>,
) -> ConfigChange {
    ConfigChange {
        kind,
        service: Some(service.to_owned()),
        backend: backend.map(str::to_owned),
        fields,
        ..ConfigChange::default()
    }
}
