//! What is plotted.

use crate::{
    bars::path,
    chart::{Axis, Bars, Lines, Series, short},
    results::Results,
};
use std::error::Error;
use tether_benches::meter::median;
use tether_dataplane::measure::Stage;

/// Every plot that there are measurements for, as SVG.
pub(crate) fn all(results: &Results) -> Result<Vec<String>, Box<dyn Error>> {
    let plots = [
        throughput(results),
        stages(results),
        churn(results),
        steps(results),
        latencies(results),
        tables(results),
    ];
    plots.into_iter().filter_map(Result::transpose).collect()
}

type Plot = Result<Option<String>, Box<dyn Error>>;

const MODES: [(&str, &str, &str); 4] = [
    ("testpmd", "io", "testpmd io"),
    ("testpmd", "macswap", "testpmd macswap"),
    ("tether", "balance", "Tether, scheduler"),
    ("tether", "affinity", "Tether, affinities"),
];

fn throughput(results: &Results) -> Plot {
    let flows = results.of("path").conditions("flows");
    let series = MODES.map(|(program, mode, name)| {
        let values = flows.iter().filter_map(|flows| {
            let rate = path(results, program, mode, *flows).median("packets_per_second")?;
            Some((number(*flows), rate / 1e6))
        });
        Series {
            name: name.to_owned(),
            values: values.collect(),
        }
    });
    let chart = Lines {
        title: "Throughput on one core against the number of flows",
        x: Axis::logarithmic("flows"),
        y: Axis::plain("million packets a second"),
        series: present(series.into(), |it| !it.is_empty()),
    };
    unless(flows.is_empty(), || chart.svg())
}

fn stages(results: &Results) -> Plot {
    let all = results.of("path").with("program", "tether");
    let mut runs = Vec::new();
    for flows in all.conditions("flows") {
        for mode in ["balance", "affinity"] {
            let run = path(results, "tether", mode, flows);
            if run.median("cycles_per_packet").is_some() {
                runs.push((format!("{}, {mode}", short(number(flows))), run));
            }
        }
    }
    let series = Stage::ALL.map(|stage| Series {
        name: stage.name().to_owned(),
        values: runs
            .iter()
            .map(|(_, run)| run.median(&format!("stages.{}", stage.name())))
            .collect(),
    });
    let chart = Bars {
        title: "Where the cycles of a packet go",
        x_label: "flows, and who places them",
        y: Axis::plain("cycles per packet"),
        categories: runs.iter().map(|(name, _)| name.clone()).collect(),
        series: present(series.into(), |it| it.iter().any(Option::is_some)),
        is_stacked: true,
    };
    unless(runs.is_empty(), || chart.svg())
}

fn churn(results: &Results) -> Plot {
    let churn = results.of("churn");
    let rates = churn.conditions("signals");
    let values = rates.iter().filter_map(|signals| {
        let rate = churn
            .with("signals", *signals)
            .median("packets_per_second")?;
        Some((number(*signals) / 1e3, rate / 1e6))
    });
    let chart = Lines {
        title: "Throughput while affinities start and expire (1 M flows, 1 M affinities)",
        x: Axis::plain("thousand signals a second; as many expire"),
        y: Axis::plain("million packets a second"),
        series: vec![Series {
            name: "Tether, affinities".to_owned(),
            values: values.collect(),
        }],
    };
    unless(rates.is_empty(), || chart.svg())
}

const PERCENTILES: [(&str, &str); 4] = [
    ("p50", "p50"),
    ("p99", "p99"),
    ("p9999", "p99.99"),
    ("max", "longest"),
];

fn percentiles(name: &str, values: impl Fn(&str) -> Vec<f64>) -> Series<Option<f64>> {
    let values = PERCENTILES.map(|(key, _)| Some(median(&values(key))? / 1e3));
    Series {
        name: name.to_owned(),
        values: values.into(),
    }
}

fn steps(results: &Results) -> Plot {
    let churn = results.of("churn");
    let runs = [
        ("idle control plane", churn.with("signals", 0)),
        ("200 k signals a second", churn.with("signals", 200_000)),
        ("reloads, 1000 backends", results.of("reload")),
    ];
    let series =
        runs.map(|(name, run)| percentiles(name, |key| run.numbers(&format!("step_ns.{key}"))));
    by_percentile(
        "How long a worker's step takes (up to 64 packets)",
        series.into(),
    )
}

fn latencies(results: &Results) -> Plot {
    let runs = [
        ("one by one, 10 k/s beside", "latency"),
        ("64 calls at once", "unary"),
    ];
    let series = runs.map(|(name, what)| {
        let run = results.of(what);
        percentiles(name, |key| run.numbers(&format!("latency_ns.{key}")))
    });
    by_percentile(
        "From a unary start to its outcome, which means effective",
        series.into(),
    )
}

fn by_percentile(title: &'static str, series: Vec<Series<Option<f64>>>) -> Plot {
    let series = present(series, |it| it.iter().any(Option::is_some));
    let chart = Bars {
        title,
        x_label: "percentile",
        y: Axis::logarithmic("microseconds"),
        categories: PERCENTILES.map(|(_, name)| name.to_owned()).into(),
        series,
        is_stacked: false,
    };
    unless(chart.series.is_empty(), || chart.svg())
}

fn tables(results: &Results) -> Plot {
    let all = results.of("table").with("changes_per_second", 0);
    let all = all.with("hits_percent", 100);
    let entries = all.conditions("entries");
    let names = ["affinity", "rte_hash", "hashbrown", "papaya", "arc_swap"];
    let series = names.map(|name| {
        let table = all.with("table", name);
        let values = entries
            .iter()
            .map(|entries| table.with("entries", *entries).median("cycles_per_lookup"));
        Series {
            name: name.to_owned(),
            values: values.collect(),
        }
    });
    let chart = Bars {
        title: "Lookups that hit, nobody writing",
        x_label: "entries in the table",
        y: Axis::plain("cycles per lookup"),
        categories: entries.iter().map(|it| short(number(*it))).collect(),
        series: present(series.into(), |it| it.iter().any(Option::is_some)),
        is_stacked: false,
    };
    unless(entries.is_empty(), || chart.svg())
}

fn present<T>(series: Vec<Series<T>>, is_there: impl Fn(&[T]) -> bool) -> Vec<Series<T>> {
    let series = series.into_iter();
    series.filter(|it| is_there(&it.values)).collect()
}

fn unless(absent: bool, draw: impl FnOnce() -> Result<String, Box<dyn Error>>) -> Plot {
    if absent { Ok(None) } else { draw().map(Some) }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of entries and signals fit"
)]
fn number(count: u64) -> f64 {
    count as f64
}

/// Packets per second of every program and mode, as a table in Markdown.
pub(crate) fn path_table(results: &Results) -> String {
    let flows = results.of("path").conditions("flows");
    let head = flows
        .iter()
        .map(|it| format!("{} flows", short(number(*it))));
    let mut rows = vec![row("million packets a second", head)];
    rows.push(row("---", flows.iter().map(|_| "---".to_owned())));
    for (program, mode, name) in MODES {
        let rates = flows.iter().map(|flows| {
            let rate = path(results, program, mode, *flows).median("packets_per_second");
            rate.map_or("–".to_owned(), |rate| format!("{:.2}", rate / 1e6))
        });
        rows.push(row(name, rates));
    }
    rows.join("\n") + "\n"
}

fn row(first: &str, rest: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = std::iter::once(first.to_owned()).chain(rest).collect();
    format!("| {} |", cells.join(" | "))
}
