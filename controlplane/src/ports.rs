//! What the control thread needs to know of the NICs, without knowing what they are made of.

use tether_api::operator::PortCounters;
use tether_dataplane::{Mac, tables::spread::Spread};

/// One port, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortView {
    /// The name DPDK knows it by.
    pub device: String,
    /// The name of its driver.
    pub driver: String,
    /// Its MAC address.
    pub mac: Mac,
    /// The offloads that it uses, by DPDK's names.
    pub offloads: Vec<&'static str>,
    /// Whether its link is up.
    pub link_up: bool,
    /// What it carried since the start.
    pub counters: PortCounters,
}

/// The NICs that the workers poll.
pub trait Ports: Send {
    /// Every port, in the order of the configuration. Called by the control thread a few times a
    /// second at most; must not block.
    fn view(&self) -> Vec<PortView>;

    /// How each port spreads frames over the workers' queues, where that is known. Asked once.
    fn spreads(&self) -> Vec<Option<Spread>> {
        Vec::new()
    }

    /// The link of a port, by its place, went up or down: what the kernel has of the port follows.
    fn follow_link(&self, _port: usize, _up: bool) {}

    /// The frequency of the time-stamp counter, in cycles a second.
    fn cycles_per_second(&self) -> u64;
}
