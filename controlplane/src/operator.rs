//! What operators ask, answered out of what the control thread knows.
//!
//! Short answers are made at once and go out when the turn is published; those that walk through
//! all affinities or ask the workers go on over later turns.

mod capture;
mod explain;
mod flows;
pub(crate) mod forwarder;
pub(crate) mod rows;

pub(crate) use capture::{Capturing, Place, capture};
pub(crate) use explain::Explaining;
pub(crate) use flows::Flows;

use crate::{
    control::{Act, Answer, Control, Filter, HINT, Scan},
    journal::NotRecorded,
    master::{Backend, Service, stored},
    signal::{Asked, Destination, Identity, Operation, Signal},
};
use hashbrown::HashSet;
use tether_api::operator::{
    AffinityCount, AffinityFilter, AffinityKey, AffinitySwitch, Payload, Request, Response,
};
use tether_dataplane::{
    clock::Millis,
    tables::{affinity, id::BackendId},
};
use tokio::sync::mpsc::Sender;

type Lines = Sender<Response>;

/// Why not, and what to do about it.
type Refused = (String, Option<String>);

/// What an operator is told where nothing can be recorded: nothing was done.
fn check_recorded(control: &Control) -> Result<(), Refused> {
    control.check_recorded().map_err(|why| not_recorded(&why))
}

fn not_recorded(why: &NotRecorded) -> Refused {
    (why.to_string(), Some(HINT.to_owned()))
}

/// Begins to answer a request of the operator with this user id.
pub(crate) fn answer(
    control: &mut Control,
    uid: u32,
    request: Request,
    lines: Lines,
    now: Millis,
) -> Answer {
    match begin(control, uid, request, &lines, now) {
        Ok(answer) => answer,
        Err((message, hint)) => Answer::error(lines, message, hint),
    }
}

fn begin(
    control: &mut Control,
    uid: u32,
    request: Request,
    lines: &Lines,
    now: Millis,
) -> Result<Answer, Refused> {
    let lines = lines.clone();
    let payload = match request {
        Request::ConfigCheck(_)
        | Request::ConfigDiff(_)
        | Request::ConfigApply(_)
        | Request::ConfigShow => {
            return Err(("the edge answers for the configuration".to_owned(), None));
        }
        Request::AffinityList(filter) => return scan(control, &filter, Act::Tell(lines, 0)),
        Request::AffinityCount(filter) => {
            let nothing = AffinityCount::default();
            return scan(control, &filter, Act::Count(lines, nothing));
        }
        Request::AffinityFlush(filter) => {
            check_recorded(control)?;
            return scan(control, &filter, Act::Flush(lines, 0, uid));
        }
        Request::Explain(packet) => return explain::begin(control, &packet, lines, now),
        // The edge makes it a command of its own.
        Request::AffinityWatch(_) | Request::Capture(_) => {
            return Err(("a watch is no question".to_owned(), None));
        }
        Request::FlowList(filter) => return flows::begin(control, &filter, lines, now),
        Request::Status => Payload::Status(forwarder::status(control, now)),
        Request::Stats => Payload::Stats(forwarder::stats(control, now)),
        Request::ServiceList => {
            let services = control.master.registry.services();
            Payload::Services(services.map(|it| rows::service(control, it)).collect())
        }
        Request::ServiceShow { service } => {
            let service = service_named(control, &service)?;
            Payload::Service(rows::service(control, service))
        }
        Request::BackendList { service } => backend_list(control, service.as_deref())?,
        Request::BackendSet {
            service,
            backend,
            state,
        } => {
            log::info!("operator {uid}: {state:?} backend {service}/{backend}");
            set_backend(control, &service, &backend, |it| it.admin = state)?
        }
        Request::BackendWeight {
            service,
            backend,
            weight,
        } => {
            check_weight(weight)?;
            log::info!("operator {uid}: backend {service}/{backend} has weight {weight}");
            set_backend(control, &service, &backend, |it| it.weight = weight)?
        }
        Request::AffinitySwitch { on, service } => {
            log::info!("operator {uid}: affinity routing of {service:?} is on: {on}");
            switch(control, on, service.as_deref())?
        }
        Request::AffinityShow(key) => show(control, &key, now)?,
        Request::AffinityStart(start) => {
            let duration = match start.duration_ms {
                _ if start.until_ended => Asked::UntilEnded,
                duration_ms => asked(duration_ms),
            };
            let operation = Operation::Start {
                duration,
                remaining_ms: 0,
                keep_on_reboot: start.keep_on_reboot,
                session: None,
            };
            let signal = signal(start.key, start.backend, operation);
            return decide(control, uid, signal, lines, now);
        }
        Request::AffinityExtend {
            key,
            duration_ms,
            generation,
        } => {
            let duration = asked(duration_ms);
            let operation = Operation::Extend {
                duration,
                generation,
            };
            let signal = signal(key, String::new(), operation);
            return decide(control, uid, signal, lines, now);
        }
        Request::AffinityEnd { key, generation } => {
            let operation = Operation::End { generation };
            let signal = signal(key, String::new(), operation);
            return decide(control, uid, signal, lines, now);
        }
    };
    Ok(Answer::ok(lines, payload))
}

fn asked(duration_ms: Option<u64>) -> Asked {
    duration_ms.map_or(Asked::Default, Asked::Milliseconds)
}

fn signal(key: AffinityKey, backend: String, operation: Operation) -> Signal {
    Signal {
        destination: Destination::Service(key.service.into()),
        source: Ok(key.source),
        operation,
        backend: (!backend.is_empty()).then(|| backend.into()),
        boot_id: 0,
    }
}

/// Sends a signal in the name of whom it concerns (contract rule P3).
fn decide(
    control: &mut Control,
    uid: u32,
    signal: Signal,
    lines: Lines,
    now: Millis,
) -> Result<Answer, Refused> {
    let identity = Identity::Operator { uid };
    if let Err(why) = control.check_recorded() {
        control.audit_not_recorded(&identity, &[signal], &why, now);
        return Err(not_recorded(&why));
    }
    let outcome = control.decide(&identity, &signal, now);
    let outcome = rows::outcome(control, outcome);
    log::info!("operator {uid}: {outcome:?}");
    Ok(Answer::decided(lines, Payload::Outcome(outcome)))
}

/// The load balancer's slots are of 16-bit weights, as in the configuration.
fn check_weight(weight: u32) -> Result<(), Refused> {
    match u16::try_from(weight) {
        Ok(_) => Ok(()),
        Err(_) => Err((
            format!("weight {weight} is above 65535"),
            Some("weights are relative to those of the service's other backends".to_owned()),
        )),
    }
}

fn set_backend(
    control: &mut Control,
    service: &str,
    backend: &str,
    set: impl FnOnce(&mut Backend),
) -> Result<Payload, Refused> {
    let service = service_named(control, service)?;
    let id = backend_named(control, service, backend)?.id;
    if let Some(backend) = control.master.registry.backend_mut(id) {
        set(backend);
        control.needs_tables = true;
        control.states_have_changed();
    }
    let service = service_of(control, id);
    let backend = control.master.registry.backend(id);
    let row = backend
        .zip(service)
        .map(|(it, service)| rows::backend(control, service, it));
    row.map(Payload::Backend)
        .ok_or_else(|| (format!("backend {backend:?} is gone"), None))
}

fn switch(control: &mut Control, on: bool, service: Option<&str>) -> Result<Payload, Refused> {
    match service {
        None => control.master.affinity = on,
        Some(name) => {
            let id = service_named(control, name)?.id;
            if let Some(service) = control.master.registry.service_mut(id) {
                service.affinity = on;
            }
        }
    }
    control.needs_tables = true;
    let services = control.master.registry.services();
    Ok(Payload::AffinitySwitch(AffinitySwitch {
        global: control.master.affinity,
        services: services
            .map(|it| (it.settings.name.clone(), it.affinity))
            .collect(),
    }))
}

fn show(control: &Control, key: &AffinityKey, now: Millis) -> Result<Payload, Refused> {
    let service = service_named(control, &key.service)?;
    let source = stored(key.source).map_err(|why| (format!("source: {why}"), None))?;
    let key = affinity::AffinityKey {
        service: service.id,
        source,
    };
    let record = control.master.records.get(&key);
    let record = record.filter(|it| control.writer.affinities().view(it.cell).deadline > now);
    let Some(record) = record else {
        let name = &service.settings.name;
        let message = format!("service {name} has no affinity of {source}");
        let hint = "an address, an address and port, and a subnet are three affinities: tetherctl affinity list";
        return Err((message, Some(hint.to_owned())));
    };
    Ok(Payload::Affinity(rows::affinity(control, record, now)))
}

fn backend_list(control: &Control, service: Option<&str>) -> Result<Payload, Refused> {
    let services: Vec<_> = match service {
        Some(name) => vec![service_named(control, name)?],
        None => control.master.registry.services().collect(),
    };
    let services = services.into_iter();
    let backends = services.flat_map(|it| rows::backends(control, it));
    Ok(Payload::Backends(backends.collect()))
}

fn scan(control: &Control, filter: &AffinityFilter, act: Act) -> Result<Answer, Refused> {
    let filter = Filter {
        service: match &filter.service {
            Some(name) => Some(service_named(control, name)?.id),
            None => None,
        },
        owners: match &filter.backend {
            Some(name) => Some(backends_named(control, filter.service.as_deref(), name)?),
            None => None,
        },
        source: filter.source,
        state: filter.state,
        expiring_within_ms: filter.expiring_within_ms,
    };
    Ok(Answer::Scan(Scan {
        filter,
        act,
        cursor: 0,
    }))
}

/// The backends of a name in one service or in all.
fn backends_named(
    control: &Control,
    service: Option<&str>,
    name: &str,
) -> Result<HashSet<BackendId>, Refused> {
    if let Some(service) = service {
        let service = service_named(control, service)?;
        return Ok(HashSet::from([backend_named(control, service, name)?.id]));
    }
    let backends = control.master.registry.backends();
    let found: HashSet<_> = backends
        .filter(|it| it.name() == name)
        .map(|it| it.id)
        .collect();
    if found.is_empty() {
        let hint = "tetherctl backend list shows what there is";
        return Err((
            format!("there is no backend {name:?}"),
            Some(hint.to_owned()),
        ));
    }
    Ok(found)
}

fn service_named<'a>(control: &'a Control, name: &str) -> Result<&'a Service, Refused> {
    let registry = &control.master.registry;
    registry.service_named(name).ok_or_else(|| {
        let names = registry.services().map(|it| it.settings.name.as_str());
        let names: Vec<_> = names.take(8).collect();
        let hint = format!("there are: {}", names.join(", "));
        (format!("there is no service {name:?}"), Some(hint))
    })
}

fn backend_named<'a>(
    control: &'a Control,
    service: &'a Service,
    name: &str,
) -> Result<&'a Backend, Refused> {
    let registry = &control.master.registry;
    registry.backend_named(service, name).ok_or_else(|| {
        let names = registry.backends_of(service).map(Backend::name);
        let names: Vec<_> = names.take(8).collect();
        let message = format!("service {} has no backend {name:?}", service.settings.name);
        (message, Some(format!("it has: {}", names.join(", "))))
    })
}

/// The service of a backend, unless it was removed.
fn service_of(control: &Control, backend: BackendId) -> Option<&Service> {
    let registry = &control.master.registry;
    registry.service(registry.backend(backend)?.service)
}
