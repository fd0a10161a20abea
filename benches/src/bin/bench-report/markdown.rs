//! The page of the documentation.

use crate::{bar::Bar, html::about, plots::path_table, results::Results};
use std::fmt::Write as _;

/// What is not met, what was tried, what remains.
const REMAINS: &str = include_str!("remains.md");

const HOW: &str = "\
## How it was measured

`scripts/bench` did all of it. Both programs had the same DPDK ports and the same file of 60-byte packets,
in turn: frames come from a `net_pcap` port that repeats the file and go to a `net_null` port, one worker on
one core. A ratio is the median over rounds of what was measured in the same minute; a figure by itself
is the median of its rounds. `table-bench` asks all tables in windows of 50 ms in turn. The load
generator of V8 and V9 runs on the core that is not forwarding, beside the control thread and the gRPC
server. Stages are timed in a phase of their own: the marks between them cost one or two cycles a packet.

## On real NICs

    target/release/tether-bench -l 0 -a 0000:17:00.0 -a 0000:17:00.1 -- --mode balance --cores 1 \\
        --service tcp/10.9.0.100:80 --seconds 30
    dpdk-testpmd -l 0-1 -a 0000:17:00.0 -a 0000:17:00.1 -- --forward-mode=macswap --nb-cores=1 --stats-period=1

with a generator (TRex, pktgen) that sends to the first port's MAC address. What to expect to change:

- `net_pcap` copies each frame from its file and takes most of the cycles of `macswap` here; a NIC writes
  frames by itself. The forwarder's own cycles (all stages but receive and transmit) stay; the ratio to
  `macswap` falls, because the driver's share does.
- Line rate may be reached before the core is busy: compare cycles per packet, not packets per second.
- Frames lie in the cache where the NIC puts them there (DDIO); parse is faster then.
- With several workers RSS spreads flows; V12 is then a matter of its evenness too.
";

/// The page.
pub(crate) fn page(results: &Results, bars: &[Bar]) -> String {
    let mut page = format!(
        "# Measurements\n\n{}\n\nWritten by `scripts/bench --rounds {} --seconds {}` (five of five are the default); run it \
         again for another machine. Bars and their reasons were set before; where one is not met, this page says so.\n\n| | what | measured | bar | |\n\
         |---|---|---|---|---|\n",
        about(results),
        results.about("rounds"),
        results.about("seconds"),
    );
    for bar in bars {
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            bar.name,
            bar.what,
            bar.measured,
            bar.limit,
            bar.verdict()
        );
    }
    page + "\n" + &path_table(results) + "\n" + &instructions(results) + REMAINS + "\n" + HOW
}

/// Instructions a packet, which another commit can be compared by on any machine.
fn instructions(results: &Results) -> String {
    let mut table = String::from("| instructions a packet (valgrind) | |\n|---|---|\n");
    for (work, what) in [
        ("known", "of a known flow"),
        (
            "known-checked",
            "of a known flow, whose IPv4 header the NIC found right",
        ),
        ("new", "that opens a flow, through Maglev"),
        ("new-by-affinity", "that opens a flow, through an affinity"),
    ] {
        let counted = results.of("instructions").with("work", work);
        if let Some(count) = counted.median("instructions_per_packet") {
            // Writing to a string does not fail.
            let _ = writeln!(table, "| {what} | {count:.0} |");
        }
    }
    table + "\n"
}
