//! The ports as the control thread asks about them.

use super::tap::Tap;
use crate::ports::{PortView, Ports};
use dpdk::{Port, PortStatistics, Rss};
use tether_api::operator::PortCounters;
use tether_dataplane::{Mac, key::Protocol, tables::spread::Spread};

/// The ports, in the order of the configuration.
#[derive(Debug)]
pub struct Nics {
    ports: Vec<Port>,
    /// The kernel's part of each, if it has one.
    taps: Vec<Option<Tap>>,
    cycles_per_second: u64,
}

impl Nics {
    pub(super) fn new(ports: Vec<Port>, taps: Vec<Option<Tap>>, cycles_per_second: u64) -> Self {
        Self {
            ports,
            taps,
            cycles_per_second,
        }
    }
}

impl Ports for Nics {
    fn view(&self) -> Vec<PortView> {
        self.ports.iter().map(view).collect()
    }

    fn spreads(&self) -> Vec<Option<Spread>> {
        let ports = self.ports.iter();
        ports.map(|port| port.rss().map(spread)).collect()
    }

    fn follow_link(&self, port: usize, up: bool) {
        if let Some(Some(tap)) = self.taps.get(port) {
            tap.set_carrier(up);
        }
    }

    fn cycles_per_second(&self) -> u64 {
        self.cycles_per_second
    }
}

/// A device that does not answer has no link and counts nothing.
fn view(port: &Port) -> PortView {
    PortView {
        device: port.name().to_owned(),
        driver: port.driver_name().to_owned(),
        mac: Mac(port.mac()),
        offloads: port.offloads(),
        link_up: port.link().is_ok_and(|link| link.up),
        counters: counters(port.statistics().unwrap_or_default()),
    }
}

fn spread(rss: Rss) -> Spread {
    let kinds = [true, false].map(|is_ipv4| [(Protocol::Tcp, is_ipv4), (Protocol::Udp, is_ipv4)]);
    let kinds = kinds.into_iter().flatten().zip(rss.hashes_ports);
    Spread {
        key: rss.key,
        queues: rss.queues,
        kinds: kinds
            .filter(|(_, hashes)| *hashes)
            .map(|(kind, _)| kind)
            .collect(),
    }
}

fn counters(statistics: PortStatistics) -> PortCounters {
    PortCounters {
        received_packets: statistics.received_packets,
        received_bytes: statistics.received_bytes,
        transmitted_packets: statistics.transmitted_packets,
        transmitted_bytes: statistics.transmitted_bytes,
        received_missed: statistics.missed_packets,
        received_errors: statistics.receive_errors,
        received_no_buffer: statistics.allocation_failures,
        transmitted_errors: statistics.transmit_errors,
    }
}
