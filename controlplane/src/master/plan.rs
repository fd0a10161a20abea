//! A signal and the state of things to what there is to do and to say (contract sections 3 and 4).
//! Pure: nothing changes here.

use super::{Backend, Change, Happened, Master, Record, Service, Why, duration};
use crate::{
    authorise::{Authorised, Speaker},
    config::OnConflict,
    signal::{Asked, Operation, Outcome, Signal},
};
use std::num::{NonZeroU16, NonZeroU64};
use tether_api::{Source, v1::OutcomeCode};
use tether_dataplane::{
    clock::Millis,
    tables::{
        affinity::{self, AffinityKey, AffinityWriter, CellId, Grant},
        backend::BackendState,
        id::{BackendId, ServiceId},
    },
};

/// What there is to do, and what to say once it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub change: Change,
    /// What to say.
    pub outcome: Outcome,
}

/// What a signal is decided upon.
struct Case<'a> {
    master: &'a Master,
    service: &'a Service,
    signal: &'a Signal,
    speaker: Speaker,
    key: AffinityKey,
    /// The affinity of the key that routes now, and its deadline.
    held: Option<(&'a Record, Millis)>,
    /// The key's affinity whose deadline has come and that was not collected.
    expired: Option<&'a Record>,
    now: Millis,
}

/// A refusal: its code and one sentence.
type Refusal = (OutcomeCode, String);

/// Decides a signal.
#[must_use]
pub fn plan(
    master: &Master,
    cells: &AffinityWriter,
    signal: &Authorised<&Signal>,
    now: Millis,
) -> Plan {
    let Some(service) = master.registry.service(signal.service()) else {
        return refused(signal.said(), None, (OutcomeCode::Invalid, String::new()));
    };
    let key = match key(service, signal.said()) {
        Ok(source) => AffinityKey {
            service: service.id,
            source,
        },
        Err(refusal) => return refused(signal.said(), Some(service.id), refusal),
    };
    let known = master.records.get(&key);
    let held = known.map(|record| (record, cells.view(record.cell).deadline));
    let held = held.filter(|(_, deadline)| *deadline > now);
    let case = Case {
        master,
        service,
        signal: signal.said(),
        speaker: signal.speaker(),
        key,
        held,
        expired: known.filter(|_| held.is_none()),
        now,
    };
    let decided = match signal.said().operation {
        Operation::Start { .. } => case.start(),
        Operation::Extend {
            duration,
            generation,
        } => case.extend(duration, generation),
        Operation::End { generation } => case.end(generation),
    };
    decided.unwrap_or_else(|(code, detail)| case.refusal(code, detail))
}

impl<'a> Case<'a> {
    fn start(&self) -> Result<Plan, Refusal> {
        let backend = self.starter()?;
        match self.held {
            None => self.create(backend, OutcomeCode::Created, None),
            Some((record, deadline)) if record.owner == backend.id => {
                Ok(self.refresh(record, deadline))
            }
            Some((record, _)) => {
                let owner = self.master.registry.backend(record.owner);
                if owner.is_some_and(Backend::is_live) && !self.gives_way() {
                    return Err((OutcomeCode::Conflict, self.conflict(owner)));
                }
                self.create(backend, OutcomeCode::Replaced, Some(record.cell))
            }
        }
    }

    /// The backend that an affinity is started for, if it may start one (contract section 6).
    fn starter(&self) -> Result<&'a Backend, Refusal> {
        let id = self.speaker.backend();
        let Some(backend) = id.and_then(|id| self.master.registry.backend(id)) else {
            let detail = "backend: name the backend that is to own the affinity";
            return Err((OutcomeCode::Invalid, detail.to_owned()));
        };
        let is = match backend.state() {
            BackendState::Up => return Ok(backend),
            BackendState::Draining => "is draining",
            BackendState::Disabled => "is disabled",
            BackendState::Down => "is down",
        };
        let detail = format!("backend {} {is}: it starts nothing", backend.settings.name);
        Err((OutcomeCode::Unavailable, detail))
    }

    /// A new affinity; `instead` of one that another backend holds.
    fn create(
        &self,
        backend: &Backend,
        code: OutcomeCode,
        instead: Option<CellId>,
    ) -> Result<Plan, Refusal> {
        self.check_quotas(backend)?;
        let (asked, remaining_ms) = self.asked();
        let duration_ms = duration::granted(&self.service.settings.affinity, asked);
        let record = self.stamped(Record {
            key: self.key,
            owner: backend.id,
            generation: self.master.generation + 1,
            duration_ms,
            created: self.now.into(),
            boot_id: 0,
            keep_on_reboot: false,
            session: None,
            cell: CellId::default(),
        });
        let deadline = duration::deadline(self.now, duration_ms, remaining_ms);
        let (extension_ms, limit) = duration::extension(&self.service.settings.affinity, &record);
        let grant = Grant {
            deadline,
            duration_ms: extension_ms,
            limit,
        };
        let outcome = self.outcome(code, &record, deadline, duration_ms);
        let instead = instead.or(self.expired.map(|it| it.cell));
        Ok(Plan {
            change: Change::Start {
                record,
                grant,
                instead,
            },
            outcome,
        })
    }

    /// The owner starts again what it holds.
    fn refresh(&self, held: &Record, deadline: Millis) -> Plan {
        let (asked, remaining_ms) = self.asked();
        let duration_ms = duration::granted(&self.service.settings.affinity, asked);
        let wanted = duration::deadline(self.now, duration_ms, remaining_ms);
        let record = self.stamped(Record {
            duration_ms,
            ..*held
        });
        let latest = duration::latest(&self.service.settings.affinity, self.now);
        let deadline = within(deadline.max(wanted), latest);
        Plan {
            outcome: self.outcome(OutcomeCode::Refreshed, &record, deadline, duration_ms),
            change: Change::Update {
                record,
                deadline,
                latest,
                what: Happened::Refreshed,
            },
        }
    }

    fn extend(&self, asked: Asked, generation: Option<u64>) -> Result<Plan, Refusal> {
        let (held, deadline) = self.own(generation)?;
        let policy = &self.service.settings.affinity;
        let record = Record {
            duration_ms: duration::capped(policy, held.duration_ms),
            ..*held
        };
        let granted = match asked {
            Asked::Default | Asked::Milliseconds(0) => record.duration_ms,
            asked => duration::granted(policy, asked),
        };
        let latest = duration::latest(policy, self.now);
        let wanted = duration::deadline(self.now, granted, 0);
        let deadline = within(deadline.max(wanted), latest);
        Ok(Plan {
            outcome: self.outcome(OutcomeCode::Extended, &record, deadline, granted),
            change: Change::Update {
                record,
                deadline,
                latest,
                what: Happened::Extended,
            },
        })
    }

    fn end(&self, generation: Option<u64>) -> Result<Plan, Refusal> {
        let (held, _) = self.own(generation)?;
        let why = match self.speaker {
            Speaker::Backend(_) => Why::Owner,
            Speaker::Operator(_) => Why::Operator,
        };
        Ok(Plan {
            change: Change::End(*held, why),
            outcome: self.blank(OutcomeCode::Ended),
        })
    }

    /// The affinity of the key, if the speaker owns it and means this one.
    fn own(&self, generation: Option<u64>) -> Result<(&'a Record, Millis), Refusal> {
        let Some((held, deadline)) = self.held else {
            let detail = format!("there is no affinity of {}", self.key.source);
            return Err((OutcomeCode::NotFound, detail));
        };
        if self.speaker.backend().is_some_and(|it| it != held.owner) {
            let detail = format!("backend {} owns it", self.name_of(held.owner));
            return Err((OutcomeCode::NotOwner, detail));
        }
        if let Some(stale) = generation.filter(|it| *it != held.generation) {
            let detail = format!(
                "generation: {stale} is over, the key's affinity is {} now",
                held.generation
            );
            return Err((OutcomeCode::Stale, detail));
        }
        Ok((held, deadline))
    }

    /// Contract rule P4; nothing is evicted (R7).
    fn check_quotas(&self, backend: &Backend) -> Result<(), Refusal> {
        let limits = &self.master.limits;
        let in_place_of = self.held.map(|(it, _)| it).or(self.expired);
        let owned = self.master.records.owned_count(backend.id);
        let is_one_more = in_place_of.is_none_or(|it| it.owner != backend.id);
        if is_one_more && owned >= limits.affinities_per_backend {
            let detail = format!(
                "backend {} has {owned} affinities, the limit of affinities_per_backend",
                backend.settings.name
            );
            return Err((OutcomeCode::Quota, detail));
        }
        let of_service = self.master.records.service_count(self.service.id);
        if in_place_of.is_none() && of_service >= limits.affinities_per_service {
            let detail = format!(
                "service {} has {of_service} affinities, the limit of affinities_per_service",
                self.service.settings.name
            );
            return Err((OutcomeCode::Quota, detail));
        }
        let all = self.master.records.len();
        if in_place_of.is_none() && all >= usize::try_from(limits.affinities).unwrap_or(usize::MAX)
        {
            let detail = format!("the table is full: {all} affinities, the limit of affinities");
            return Err((OutcomeCode::Full, detail));
        }
        Ok(())
    }

    /// The record with what the start says about the life of its owner.
    fn stamped(&self, record: Record) -> Record {
        let Operation::Start {
            keep_on_reboot,
            session,
            ..
        } = self.signal.operation
        else {
            return record;
        };
        Record {
            boot_id: self.signal.boot_id,
            keep_on_reboot,
            session: session.and_then(NonZeroU64::new),
            ..record
        }
    }

    fn asked(&self) -> (Asked, u64) {
        match self.signal.operation {
            Operation::Start {
                duration,
                remaining_ms,
                ..
            } => (duration, remaining_ms),
            Operation::Extend { duration, .. } => (duration, 0),
            Operation::End { .. } => (Asked::Default, 0),
        }
    }

    fn gives_way(&self) -> bool {
        self.service.settings.affinity.on_conflict == OnConflict::Replace
    }

    fn conflict(&self, owner: Option<&Backend>) -> String {
        let owner = owner.map_or("another backend", |it| it.settings.name.as_str());
        format!("backend {owner} owns {}", self.key.source)
    }

    fn outcome(
        &self,
        code: OutcomeCode,
        record: &Record,
        deadline: Millis,
        granted_ms: Option<u64>,
    ) -> Outcome {
        let until_ended = deadline == Millis::NEVER;
        Outcome {
            granted_ms: granted_ms.filter(|_| !until_ended).unwrap_or_default(),
            remaining_ms: if until_ended {
                0
            } else {
                deadline.since(self.now)
            },
            until_ended,
            generation: record.generation,
            owner: Some(record.owner),
            ..self.blank(code)
        }
    }

    /// A refusal, with what is known of the key's affinity.
    fn refusal(&self, code: OutcomeCode, detail: String) -> Plan {
        let outcome = match self.held {
            Some((held, deadline)) => self.outcome(code, held, deadline, None),
            None => self.blank(code),
        };
        Plan {
            change: Change::Nothing,
            outcome: Outcome { detail, ..outcome },
        }
    }

    fn blank(&self, code: OutcomeCode) -> Outcome {
        Outcome {
            code,
            key: self.signal.source.as_ref().ok().copied(),
            service: Some(self.service.id),
            ..Outcome::default()
        }
    }

    fn name_of(&self, backend: BackendId) -> &'a str {
        let backend = self.master.registry.backend(backend);
        backend.map_or("", |it| it.settings.name.as_str())
    }
}

fn within(deadline: Millis, latest: Option<Millis>) -> Millis {
    latest.map_or(deadline, |latest| deadline.min(latest))
}

/// The source of a signal, if a client of the service can have it (contract rule S4).
fn key(service: &Service, signal: &Signal) -> Result<affinity::Source, Refusal> {
    let invalid = |detail: String| (OutcomeCode::Invalid, detail);
    let source = signal.source.as_ref().map_err(|why| invalid(why.clone()))?;
    let settings = &service.settings;
    if settings
        .fullnat
        .pool
        .iter()
        .any(|it| it.holds(source.address()))
    {
        return Err(invalid(format!(
            "source: {source} is a local address of full NAT, not a client: name the address that the \
             client has, which a server learns from it or from the PROXY protocol"
        )));
    }
    if source.address().is_ipv4() != settings.address.is_ipv4() {
        return Err(invalid(format!(
            "source: {source} is not of the family of the service's address {}",
            settings.address
        )));
    }
    source
        .check_unicast()
        .map_err(|why| invalid(why.to_string()))?;
    let widest = if settings.address.is_ipv4() {
        settings.affinity.widest_prefix_v4
    } else {
        settings.affinity.widest_prefix_v6
    };
    if source.prefix_length() < widest {
        let detail = format!("source: {source} is broader than /{widest}, the service's limit");
        return Err((OutcomeCode::TooBroad, detail));
    }
    stored(*source).map_err(|why| invalid(format!("source: {why}")))
}

/// A source as the affinity table has it.
pub(crate) fn stored(source: Source) -> Result<affinity::Source, affinity::SourceError> {
    match NonZeroU16::new(source.port()) {
        Some(port) => affinity::Source::host_port(source.address(), port),
        None => affinity::Source::subnet(source.address(), source.prefix_length()),
    }
}

fn refused(signal: &Signal, service: Option<ServiceId>, (code, detail): Refusal) -> Plan {
    Plan {
        change: Change::Nothing,
        outcome: Outcome {
            code,
            key: signal.source.as_ref().ok().copied(),
            service,
            detail,
            ..Outcome::default()
        },
    }
}
