//! `balance` and `affinity`: the workers themselves, their tables filled, the control plane's changes
//! beside them if asked for.

use crate::{
    arguments::{Arguments, Mode},
    churn::{self, Churn, Tally},
    crew::{Done, Parts, Phase, with_crew},
    fill::fill,
    ports::Ports,
    report::{Changes, Report, Sizes},
    survey::{Survey, survey},
    tables::tables,
    watch::Watcher,
};
use dpdk::{Eal, register_thread};
use std::error::Error;
use tether_dataplane::{
    CountersView,
    clock::Clock,
    fate::Fate,
    measure,
    plane::{Writer, data_plane},
};

/// Room for affinities besides those that are asked for.
const SPARE: usize = 65_536;

/// Runs the workers over the ports.
pub(crate) fn measure(
    eal: &Eal,
    mut ports: Ports,
    arguments: &Arguments,
) -> Result<Report, Box<dyn Error>> {
    let seen = look(eal, &mut ports, arguments)?;
    let wanted = match arguments.mode {
        Mode::Affinity => arguments.affinities.max(seen.sources.len()),
        _ => arguments.affinities,
    };
    let spec = tables(&seen, &ports.macs, arguments)?;
    let capacity = wanted + churn::room(arguments) + SPARE;
    let (writer, seats) = data_plane(&spec, arguments.workers(), capacity)?;
    let clock = Clock::start();
    let queues = std::mem::take(&mut ports.workers);
    let crew = seats.into_iter().zip(queues);
    let crew = crew.map(|(seat, queues)| Parts { seat, queues }).collect();
    let mut churn = Churn::new(writer, spec, arguments, &clock);
    with_crew(eal, crew, arguments, &clock, |crew| {
        let writer = churn.writer_mut();
        crew.rest(|| fill(writer, &seen, wanted, arguments, clock.now()))?;
        let sizes = sizes(churn.writer(), arguments);
        let watcher = Watcher::new(churn.writer(), arguments)?;
        let turn = |churn: &mut Churn<'_>| {
            watcher.turn();
            churn.turn()
        };
        crew.run(Phase::Steps(arguments.warmup), || turn(&mut churn))?;
        let before = (counted(&churn), churn.done);
        let done = crew.run(Phase::Steps(arguments.seconds), || turn(&mut churn))?;
        let after = (counted(&churn), churn.done);
        let mut report = report(&done, &before, &after, sizes);
        if arguments.stage_seconds > 0.0 {
            let seconds = arguments.stage_seconds;
            let done = crew.run(Phase::Stages(seconds), || turn(&mut churn))?;
            report.tell_stages(&done, counted(&churn).received - after.0.received);
        }
        Ok(report)
    })
}

/// What the first frames tell.
fn look(eal: &Eal, ports: &mut Ports, arguments: &Arguments) -> Result<Survey, Box<dyn Error>> {
    let _lcore = register_thread(eal)?;
    let mut seen = Survey::new(arguments);
    for queues in &mut ports.workers {
        survey(&mut queues[0], arguments, &mut seen);
    }
    if seen.services.is_empty() {
        return Err(
            "the first frames address no TCP or UDP service: name one with --service".into(),
        );
    }
    Ok(seen)
}

/// The counters of all workers.
fn counted(churn: &Churn<'_>) -> CountersView {
    let mut sum = CountersView {
        fates: vec![0; Fate::ALL.len()],
        ..CountersView::default()
    };
    for worker in churn.writer().workers() {
        let counters = worker.counters;
        for (sum, fate) in sum.fates.iter_mut().zip(&counters.fates) {
            *sum += fate;
        }
        sum.received += counters.received;
        sum.flows_by_affinity += counters.flows_by_affinity;
        sum.flows_by_scheduler += counters.flows_by_scheduler;
    }
    sum
}

fn report(
    done: &[Done],
    (before, tally_before): &(CountersView, Tally),
    (after, tally): &(CountersView, Tally),
    sizes: Sizes,
) -> Report {
    let fates = Fate::ALL.iter();
    let fates = fates.map(|fate| (fate.name(), after.fate(*fate) - before.fate(*fate)));
    let placed = |it: &CountersView| it.flows_by_affinity + it.flows_by_scheduler;
    let changes = Changes {
        new_flows: placed(after) - placed(before),
        control: tally.since(*tally_before),
    };
    let meters: Vec<_> = done.iter().map(|done| done.meter.clone()).collect();
    let packets = after.received - before.received;
    let mut report = Report::new(&meters, packets, fates);
    report.tell_changes(&meters, changes);
    report.tell_sizes(sizes);
    report
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a table fit")]
fn sizes(writer: &Writer, arguments: &Arguments) -> Sizes {
    let flows = arguments.flows.max(1);
    let (v4, v6) = measure::flow_table_bytes(flows);
    let affinities = writer.affinities();
    Sizes {
        flow_v4: v4 as f64 / flows as f64,
        flow_v6: v6 as f64 / (flows / 2).max(1) as f64,
        affinity: (!affinities.is_empty())
            .then(|| affinities.bytes() as f64 / affinities.len() as f64),
    }
}
