//! The bars, V1 to V13.

use crate::{
    bar::{
        Bar,
        Limit::{Least, Most},
        Unit, Values,
    },
    results::{Results, Selection},
};

const RATE: &str = "packets_per_second";
const MILLION: u32 = 1_000_000;

/// All of them.
pub(crate) fn all(results: &Results) -> Vec<Bar> {
    vec![
        v1(results),
        v2(results),
        v3(results),
        v4(results),
        v5(results),
        v6(results),
        v7(results),
        v8(results),
        v9(results),
        v10(results),
        v11(results),
        v12(results),
        v13(results),
    ]
}

/// Lookups of one table without a writer.
fn lookups<'a>(results: &'a Results, table: &str, entries: u32, hits: u32) -> Selection<'a> {
    let tables = results.of("table").with("table", table);
    let tables = tables.with("entries", entries).with("hits_percent", hits);
    tables.with("changes_per_second", 0)
}

fn v1(results: &Results) -> Bar {
    let own = lookups(results, "affinity", MILLION, 100);
    let other = lookups(results, "rte_hash", MILLION, 100);
    let cycles = "cycles_per_lookup";
    Values::default()
        .value("a lookup", own.median(cycles), Unit::Cycles, Most(35.0))
        .value(
            "rte_hash takes",
            other.ratio(&own, cycles),
            Unit::Ratio,
            Least(3.0),
        )
        .bar(
            "V1",
            "affinity lookup, 1 M entries, all hits",
            "≤ 35 cycles; rte_hash_lookup_bulk (lock-free mode) takes ≥ 3×",
        )
}

fn v2(results: &Results) -> Bar {
    let at_10m = lookups(results, "affinity", 10 * MILLION, 100);
    let misses = lookups(results, "affinity", MILLION, 0);
    let cycles = "cycles_per_lookup";
    Values::default()
        .value("10 M hits", at_10m.median(cycles), Unit::Cycles, Most(60.0))
        .value(
            "1 M misses",
            misses.median(cycles),
            Unit::Cycles,
            Most(20.0),
        )
        .bar(
            "V2",
            "affinity lookup, 10 M entries; misses at 1 M",
            "≤ 60 cycles; ≤ 20 cycles",
        )
}

/// Tether's path and testpmd on the same ports and file.
pub(crate) fn path<'a>(
    results: &'a Results,
    program: &str,
    mode: &str,
    flows: u64,
) -> Selection<'a> {
    let path = results.of("path").with("program", program);
    path.with("mode", mode).with("flows", flows)
}

fn to_macswap(results: &Results, mode: &str, flows: u64) -> Option<f64> {
    let base = path(results, "testpmd", "macswap", flows);
    path(results, "tether", mode, flows).ratio(&base, RATE)
}

fn v3(results: &Results) -> Bar {
    let mut values = Values::default();
    for (flows, name) in [(1_000, "1 k"), (200_000, "200 k")] {
        for mode in ["balance", "affinity"] {
            let what = format!("{name} {mode}");
            let ratio = to_macswap(results, mode, flows);
            values = values.value(&what, ratio, Unit::Ratio, Least(0.75));
        }
    }
    values.bar(
        "V3",
        "whole path, established flows, 1 k and 200 k flows",
        "≥ 0.75 × testpmd macswap on the same ports",
    )
}

fn v4(results: &Results) -> Bar {
    let flows = u64::from(MILLION);
    let rate = path(results, "tether", "affinity", flows).median(RATE);
    Values::default()
        .value(
            "ratio",
            to_macswap(results, "affinity", flows),
            Unit::Ratio,
            Least(0.6),
        )
        .value("packets", rate, Unit::Millions, Least(0.0))
        .bar(
            "V4",
            "the same with 1 M flows in random order, 1 M affinities, 100 services, 1000 backends",
            "≥ 0.60 × testpmd macswap",
        )
}

fn churn(results: &Results, signals: u64) -> Selection<'_> {
    results.of("churn").with("signals", signals)
}

fn v5(results: &Results) -> Bar {
    let busy = churn(results, 200_000);
    let enough = Least(190_000.0);
    Values::default()
        .value(
            "ratio",
            busy.ratio(&churn(results, 0), RATE),
            Unit::Ratio,
            Least(0.9),
        )
        .value(
            "signals",
            busy.median("signals_per_second"),
            Unit::Thousands,
            enough,
        )
        .value(
            "expiries",
            busy.median("expiries_per_second"),
            Unit::Thousands,
            enough,
        )
        .bar(
            "V5",
            "V4 while 200 k signals a second are applied and as many expire",
            "≥ 0.9 × V4",
        )
}

fn v6(results: &Results) -> Bar {
    let rate = |mode| {
        results
            .of("flood")
            .with("mode", mode)
            .median("new_flows_per_second")
    };
    Values::default()
        .value("Maglev", rate("balance"), Unit::Millions, Least(8e6))
        .value("affinities", rate("affinity"), Unit::Millions, Least(8e6))
        .bar(
            "V6",
            "every packet opens a flow (SYN flood), through Maglev and through affinities",
            "≥ 8 M new flows a second and core",
        )
}

fn control(results: &Results, affinities_above: u64) -> Selection<'_> {
    let control = results.of("control");
    let sizes = control.conditions("affinities");
    let size = sizes.into_iter().find(|size| *size > affinities_above);
    control.with("affinities", size)
}

fn v7(results: &Results) -> Bar {
    let rate = |above| control(results, above).median("changes_per_second");
    let small = rate(900_000);
    let half = rate(9_000_000)
        .zip(small)
        .map(|(large, small)| large / small);
    Values::default()
        .value("1 M", small, Unit::Millions, Least(1.5e6))
        .value("10 M to 1 M", half, Unit::Ratio, Least(0.5))
        .bar(
            "V7",
            "signals applied and published, in process, by the control thread",
            "≥ 1.5 M a second at 1 M; at 10 M ≥ half of that",
        )
}

fn v8(results: &Results) -> Bar {
    let rate = |what| results.of(what).median("signals_per_second");
    let refused: f64 = ["batched", "unary"]
        .iter()
        .flat_map(|what| results.of(what).numbers("refused"))
        .fold(0.0, f64::max);
    Values::default()
        .value(
            "batched",
            rate("batched"),
            Unit::Thousands,
            Least(300_000.0),
        )
        .value("unary", rate("unary"), Unit::Thousands, Least(15_000.0))
        .value("refused", Some(refused), Unit::Count, Most(0.0))
        .bar(
            "V8",
            "signals over gRPC with mutual TLS on loopback, journal on, acknowledged; the load \
             generator is on the same core",
            "batched ≥ 300 k a second, unary ≥ 15 k",
        )
}

fn v9(results: &Results) -> Bar {
    let latency = results.of("latency");
    Values::default()
        .value(
            "p50",
            latency.median("latency_ns.p50"),
            Unit::Microseconds,
            Most(200e3),
        )
        .value(
            "p99",
            latency.median("latency_ns.p99"),
            Unit::Microseconds,
            Most(2e6),
        )
        .bar(
            "V9",
            "one unary start to effective, at 10 k signals a second in the background",
            "p50 ≤ 200 µs, p99 ≤ 2 ms",
        )
}

fn v10(results: &Results) -> Bar {
    let path = path(results, "tether", "affinity", u64::from(MILLION));
    let all_in = control(results, 900_000).median("bytes_per_affinity_all_in");
    Values::default()
        .value(
            "a flow",
            path.median("bytes_per_flow"),
            Unit::Bytes,
            Most(64.0),
        )
        .value(
            "(IPv6",
            path.median("bytes_per_flow_v6"),
            Unit::Bytes,
            Most(f64::MAX),
        )
        .value(
            "no bar); an affinity",
            path.median("bytes_per_affinity"),
            Unit::Bytes,
            Most(64.0),
        )
        .value("all in", all_in, Unit::Bytes, Most(200.0))
        .bar(
            "V10",
            "memory, per IPv4 flow that there is room for and per affinity",
            "≤ 64 B per flow; ≤ 64 B per affinity in what workers read, ≤ 200 B all in",
        )
}

fn v11(results: &Results) -> Bar {
    let (key, idle) = ("step_ns.p9999", churn(results, 0));
    let busy = churn(results, 200_000).ratio(&idle, key);
    let reload = results.of("reload").ratio(&idle, key);
    Values::default()
        .value("idle", idle.median(key), Unit::Microseconds, Most(f64::MAX))
        .value("during V5", busy, Unit::Ratio, Most(3.0))
        .value("during reloads", reload, Unit::Ratio, Most(3.0))
        .bar(
            "V11",
            "longest worker step (p99.99) during V5, and during reloads with 1000 backends",
            "≤ 3 × that of an idle control plane",
        )
}

fn v12(results: &Results) -> Bar {
    let workers = |count: u32| results.of("workers").with("workers", count);
    Values::default()
        .value(
            "ratio",
            workers(2).ratio(&workers(1), RATE),
            Unit::Ratio,
            Least(1.9),
        )
        .bar("V12", "two workers on two cores", "≥ 1.9 × one")
}

fn v13(results: &Results) -> Bar {
    let start = results.of("start");
    Values::default()
        .value(
            "forwarding after",
            start.median("forwarding_ms"),
            Unit::Seconds,
            Most(2000.0),
        )
        .value(
            "affinities",
            start.median("affinities"),
            Unit::Count,
            Least(f64::from(MILLION)),
        )
        .bar(
            "V13",
            "start with 1 M journalled affinities, from exec to the first forwarded packet",
            "≤ 2 s, with all affinities",
        )
}
