//! One interval of `stats --interval`.

use comfy_table::Cell;

use super::{Style, table, text};
use crate::{rates::Rates, units::amount};

pub(crate) fn rates(rates: &Rates, style: Style) -> String {
    format!("{}{}\n", workers(rates, style), ports(rates, style))
}

fn workers(rates: &Rates, style: Style) -> String {
    let mut table = table(
        &["CORE", "RECEIVED", "CYCLES/PACKET", "BUSY", "FATES"],
        style,
    );
    for worker in &rates.workers {
        let happening = worker
            .fates_per_second
            .iter()
            .filter(|(_, rate)| **rate > 0.0);
        let fates: Vec<_> = happening
            .map(|(name, rate)| format!("{name} {}", amount(*rate, "/s")))
            .collect();
        table.add_row([
            Cell::new(worker.core),
            Cell::new(amount(worker.received_per_second, "packets/s")),
            Cell::new(
                worker
                    .cycles_per_packet
                    .map_or_else(|| "-".into(), |c| format!("{c:.0}")),
            ),
            Cell::new(
                worker
                    .busy
                    .map_or_else(|| "-".into(), |b| format!("{:.0} %", 100.0 * b)),
            ),
            Cell::new(fates.join(", ")),
        ]);
    }
    text(&mut table)
}

fn ports(rates: &Rates, style: Style) -> String {
    let mut table = table(&["PORT", "RECEIVED", "TRANSMITTED", "LOST"], style);
    for port in &rates.ports {
        let volume =
            |packets, bits| format!("{}, {}", amount(packets, "packets/s"), amount(bits, "b/s"));
        table.add_row([
            Cell::new(&port.device),
            Cell::new(volume(
                port.received_packets_per_second,
                port.received_bits_per_second,
            )),
            Cell::new(volume(
                port.transmitted_packets_per_second,
                port.transmitted_bits_per_second,
            )),
            Cell::new(amount(port.lost_per_second, "packets/s")),
        ]);
    }
    text(&mut table)
}
