//! `balance` and `affinity`: the worker itself, its tables filled, signals beside it if asked for.

use crate::{
    arguments::{Arguments, Mode, Service},
    ports::Lanes,
    report::{Meter, Report},
    survey::{Survey, survey},
};
use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use tether_dataplane::{
    Mac,
    clock::{Clock, Millis},
    fate::Fate,
    plane::{Writer, data_plane},
    tables::{
        PortSpec, TablesSpec,
        affinity::{AffinityKey, CellId, Grant, Source},
        backend::{BackendSpec, BackendState},
        id::{BackendId, ServiceId},
        service::{Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
    worker::Worker,
};

/// Signals that are applied before one publication.
const TURN: u64 = 256;
/// The backends' MAC address; nobody is there.
const BACKEND_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 2]);

/// Runs one worker over the ports.
pub(crate) fn measure(mut lanes: Lanes, arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let seen = survey(&mut lanes.queues[0], arguments);
    if seen.services.is_empty() {
        return Err(
            "the first frames address no TCP or UDP service: name one with --service".into(),
        );
    }
    let wanted = match arguments.mode {
        Mode::Affinity => arguments.affinities.max(seen.sources.len()),
        _ => arguments.affinities,
    };
    let spec = tables(&seen, &lanes, arguments)?;
    let (mut writer, mut seats) = data_plane(&spec, 1, wanted + wanted / 4 + 65_536)?;
    let clock = Clock::start();
    let started = fill(&mut writer, &seen, wanted, arguments, clock.now())?;
    let seat = seats.pop().ok_or("one worker has one seat")?;
    let queues = std::mem::take(&mut lanes.queues);
    let mut worker = Worker::new(seat, queues, arguments.flows);
    Meter::run(arguments.warmup, || {
        worker.step(clock.now());
    });
    let before = writer.workers()[0].counters.clone();
    let (meter, writer, signals) = run(writer, arguments, &clock, &started, &mut worker);
    let after = writer.workers()[0].counters.clone();
    let fates: Vec<_> = Fate::ALL
        .iter()
        .map(|fate| (fate.name(), after.fate(*fate) - before.fate(*fate)))
        .collect();
    let mut report = Report::new(&meter, after.received - before.received, &fates);
    let placed = |it: &tether_dataplane::CountersView| it.flows_by_affinity + it.flows_by_scheduler;
    report.new_flows_per_second = Some(Report::rate(&meter, placed(&after) - placed(&before)));
    report.signals_per_second = (signals > 0).then(|| Report::rate(&meter, signals));
    #[expect(clippy::cast_precision_loss, reason = "bytes of a table fit")]
    let bytes = writer.affinities().bytes() as f64 / writer.affinities().len().max(1) as f64;
    report.bytes_per_affinity = (wanted > 0).then_some(bytes);
    Ok(report)
}

/// The services that were seen, each with backends of its own behind the last port.
fn tables(
    seen: &Survey,
    lanes: &Lanes,
    arguments: &Arguments,
) -> Result<TablesSpec, Box<dyn Error>> {
    let mut spec = TablesSpec::default();
    let last = lanes.macs.len() - 1;
    for (place, mac) in lanes.macs.iter().enumerate() {
        spec.ports.push(PortSpec {
            mac: if place == 0 {
                seen.mac.unwrap_or(*mac)
            } else {
                *mac
            },
            vlan: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            mtu: 1500,
            neighbours: Vec::new(),
        });
    }
    let (v4, v6) = (
        Ipv4Addr::new(172, 16, 0, 1),
        Ipv6Addr::new(0xfd00, 0x16, 0, 0, 0, 0, 0, 1),
    );
    spec.ports[last].addresses = vec![(v4.into(), 12), (v6.into(), 32)];
    for (id, service) in (0_u16..).zip(&seen.services) {
        spec.services.push(service_spec(ServiceId(id), service));
        for _ in 0..arguments.backends {
            let id = BackendId(u16::try_from(spec.backends.len())?);
            let address = match service.address {
                IpAddr::V4(_) => Ipv4Addr::from_bits(v4.to_bits() + 1 + u32::from(id.0)).into(),
                IpAddr::V6(_) => Ipv6Addr::from_bits(v6.to_bits() + 1 + u128::from(id.0)).into(),
            };
            spec.ports[last].neighbours.push((address, BACKEND_MAC));
            spec.backends.push(BackendSpec {
                id,
                name: format!("backend-{}", id.0),
                service: spec.services[spec.services.len() - 1].id,
                address,
                port: 0,
                weight: 1,
                state: BackendState::Up,
            });
        }
    }
    Ok(spec)
}

fn service_spec(id: ServiceId, service: &Service) -> ServiceSpec {
    ServiceSpec {
        id,
        protocol: service.protocol,
        address: service.address,
        port: service.port,
        scheduler: Scheduler::Maglev,
        forward: Forward::Dsr,
        flow_timeout_s: 300,
        affinity: true,
        refresh: Refresh::Packet,
        on_backend_down: OnBackendDown::Balance,
    }
}

/// Starts affinities: for the sources that were seen, then for made-up ones.
fn fill(
    writer: &mut Writer,
    seen: &Survey,
    wanted: usize,
    arguments: &Arguments,
    now: Millis,
) -> Result<Vec<(AffinityKey, CellId)>, Box<dyn Error>> {
    let services: Vec<&Service> = seen.services.iter().collect();
    let real = seen.sources.iter().filter_map(|(service, address)| {
        let place = services.iter().position(|it| *it == service)?;
        Some((place, *address))
    });
    let made_up = (0_u32..).map(|number| {
        let address = Ipv4Addr::from_bits(0x6440_0000 + number).into();
        (number as usize % services.len(), address)
    });
    let mut started = Vec::with_capacity(wanted);
    for (place, address) in real.chain(made_up).take(wanted) {
        let key = AffinityKey {
            service: ServiceId(u16::try_from(place)?),
            source: Source::host(address)?,
        };
        let owner = place * usize::from(arguments.backends)
            + started.len() % usize::from(arguments.backends);
        let owner = BackendId(u16::try_from(owner)?);
        let cell = writer
            .affinities_mut()
            .start(&key, owner, 1, grant(now), None)?;
        started.push((key, cell));
        if started.len() % 256 == 0 {
            writer.publish();
        }
    }
    writer.publish();
    Ok(started)
}

fn grant(now: Millis) -> Grant {
    Grant {
        deadline: now + 3_600_000,
        duration_ms: 3_600_000,
        limit: None,
    }
}

/// Steps the worker for the measured time, with the writer on a thread beside it.
fn run<P: tether_dataplane::port::Port>(
    writer: Writer,
    arguments: &Arguments,
    clock: &Clock,
    started: &[(AffinityKey, CellId)],
    worker: &mut Worker<P>,
) -> (Meter, Writer, u64) {
    let (stop, signals) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut writer = writer;
            churn(
                &mut writer,
                arguments.signals_per_second,
                clock,
                started,
                &stop,
                &signals,
            );
            writer
        });
        let meter = Meter::run(arguments.seconds, || {
            worker.step(clock.now());
        });
        stop.store(true, Ordering::Relaxed);
        let writer = beside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (meter, writer, signals.load(Ordering::Relaxed))
    })
}

/// Ends and starts affinities at a rate, until told to stop.
fn churn(
    writer: &mut Writer,
    per_second: u64,
    clock: &Clock,
    started: &[(AffinityKey, CellId)],
    stop: &AtomicBool,
    signals: &AtomicU64,
) {
    if per_second == 0 || started.is_empty() {
        return;
    }
    let mut entries = started.to_vec();
    let pause = Duration::from_nanos(TURN * 1_000_000_000 / per_second);
    let (mut due, mut next) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..TURN / 2 {
            let (key, cell) = &mut entries[next];
            next = (next + 1) % started.len();
            writer.affinities_mut().end(key, *cell);
            if let Ok(new) =
                writer
                    .affinities_mut()
                    .start(key, BackendId(0), 2, grant(clock.now()), None)
            {
                *cell = new;
            }
        }
        writer.publish();
        signals.fetch_add(TURN, Ordering::Relaxed);
        due += pause;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
