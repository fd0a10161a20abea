//! Ports: open one, configure it, get its queues.
//!
//! ```text
//! Port::open, create ─ UnconfiguredPort::configure ──▶ Port         asked about: link, MAC, counters
//!                                                  └─▶ Vec<Queue>   given to workers, one each
//! ```
//!
//! The device is started when `configure` returns, and stopped and closed when the `Port` and all
//! its `Queue`s are gone. A closed device does not come back in this process.

mod configure;
mod create;
mod offloads;
mod rss;
mod statistics;

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys::{rte_eth_dev_info, rte_ether_addr, tether_link};

pub use self::configure::{Outgoing, PortConfig};
pub(crate) use self::offloads::Offloads;
pub use self::rss::Rss;
pub use self::statistics::PortStatistics;
use crate::advice;
use crate::eal::Eal;
use crate::error::{Error, check};
use crate::mempool::Mempool;
use crate::queue::Queue;

/// A port that EAL has found and nobody else has opened. Dropping it leaves the device as it is.
#[derive(Debug)]
pub struct UnconfiguredPort {
    claim: Claim,
    device: Device,
}

/// A started port. It stays started until it and all its queues are dropped.
#[derive(Debug)]
pub struct Port {
    open: Arc<OpenPort>,
    device: Device,
    offloads: Offloads,
    mtu: u16,
    /// Questions to one port are asked by one thread at a time, as DPDK wants it.
    not_sync: PhantomData<Cell<()>>,
}

/// The link of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Can frames pass?
    pub up: bool,
    /// Speed in Mbit/s; `None` if the driver does not know.
    pub speed_mbps: Option<u32>,
    /// Both directions at once?
    pub full_duplex: bool,
}

/// What a driver says about its device, once.
#[derive(Clone, Debug)]
struct Device {
    driver: String,
    mac: [u8; 6],
    socket: Option<u32>,
    max_queues: u16,
    max_mtu: u16,
    rx_offloads: u64,
    tx_offloads: u64,
    rss_functions: u64,
    /// Entries of the table of queues.
    rss_table: u16,
}

/// The right to use a port; one per port and process.
#[derive(Debug)]
struct Claim {
    id: u16,
    name: String,
    eal: Eal,
}

/// A device that has been configured, or partly so. Closing it gives its buffers back to their pools.
#[derive(Debug)]
pub(crate) struct OpenPort {
    claim: Claim,
    // Invariant: each pool that a queue was set up with is in here, so that none is freed before.
    pools: Vec<Mempool>,
}

impl Port {
    /// The device names of all ports that EAL has found, in its order.
    #[must_use]
    pub fn names(eal: &Eal) -> Vec<String> {
        let _ports_stay = eal.state();
        ports(eal).map(|(_, name)| name).collect()
    }

    /// Opens the port of that device name: a vdev (`net_af_packet0`) or a PCI address (`0000:03:00.0`).
    ///
    /// # Errors
    /// [`Error::UnknownPort`] with the known ones, [`Error::PortInUse`], or [`Error::Call`].
    pub fn open(eal: &Eal, name: &str) -> Result<UnconfiguredPort, Error> {
        let claim = Claim::new(eal, name)?;
        let device = Device::new(&claim)?;
        Ok(UnconfiguredPort { claim, device })
    }

    /// Makes a virtual device with these options, as `--vdev=NAME,OPTIONS` does at start, and opens it.
    ///
    /// # Errors
    /// [`Error::Call`] with advice: there is no such driver, or it refuses the options; what it says is logged.
    pub fn create(eal: &Eal, name: &str, options: &str) -> Result<UnconfiguredPort, Error> {
        create::plug(eal, name, options)?;
        Self::open(eal, name)
    }

    /// Device name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.open.name()
    }

    /// Driver name, e.g. `net_af_packet`.
    #[must_use]
    pub fn driver_name(&self) -> &str {
        &self.device.driver
    }

    /// The MAC address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.device.mac
    }

    /// The largest packet in bytes that a frame may carry, Ethernet header not counted.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Queues that the device could have.
    #[must_use]
    pub fn max_queues(&self) -> u16 {
        self.device.max_queues
    }

    /// The offloads that it uses, by DPDK's names: `rx_ipv4_cksum` is `RTE_ETH_RX_OFFLOAD_IPV4_CKSUM`, `rss`
    /// is that frames are spread over the queues.
    #[must_use]
    pub fn offloads(&self) -> Vec<&'static str> {
        self.offloads.names()
    }

    /// The link as it is now; does not wait for it to settle (DPDK `rte_eth_link_get_nowait`).
    ///
    /// # Errors
    /// [`Error::Call`] if the device is gone or its driver knows no link.
    pub fn link(&self) -> Result<Link, Error> {
        let mut link = tether_link::default();
        // SAFETY: the port is open, and `link` is written to.
        let result = unsafe { dpdk_sys::tether_eth_link_get_nowait(self.open.id(), &raw mut link) };
        check("rte_eth_link_get_nowait", self.name(), result, "")?;
        let known = link.speed_mbps != dpdk_sys::TETHER_ETH_SPEED_NUM_UNKNOWN;
        Ok(Link {
            up: link.up != 0,
            speed_mbps: known.then_some(link.speed_mbps),
            full_duplex: link.full_duplex != 0,
        })
    }

    /// How it spreads frames over its queues, where it does and says so.
    #[must_use]
    pub fn rss(&self) -> Option<Rss> {
        rss::read(self.open.id(), self.device.rss_table)
    }

    /// The counters that every device has, since it started.
    ///
    /// # Errors
    /// [`Error::Call`] if the device is gone or its driver does not count.
    pub fn statistics(&self) -> Result<PortStatistics, Error> {
        statistics::basic(self.open.id(), self.name())
    }

    /// All counters of the device, by the driver's names. Allocates; not for every second of a busy
    /// control thread.
    ///
    /// # Errors
    /// [`Error::Call`] if the device is gone.
    pub fn extended_statistics(&self) -> Result<Vec<(String, u64)>, Error> {
        statistics::extended(self.open.id(), self.name())
    }
}

impl UnconfiguredPort {
    /// Device name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.claim.name
    }

    /// Driver name, e.g. `net_af_packet`.
    #[must_use]
    pub fn driver_name(&self) -> &str {
        &self.device.driver
    }

    /// The MAC address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.device.mac
    }

    /// Queues that the device can have: the smaller of its receive and transmit queues.
    #[must_use]
    pub fn max_queues(&self) -> u16 {
        self.device.max_queues
    }

    /// The largest MTU that it can be configured with. Some drivers of kernel interfaces (`net_af_packet`)
    /// say 1500 and carry what the interface does.
    #[must_use]
    pub fn max_mtu(&self) -> u16 {
        self.device.max_mtu
    }

    /// NUMA node of the device, for its pools; `None` if it has none.
    #[must_use]
    pub fn socket(&self) -> Option<u32> {
        self.device.socket
    }

    /// Configures and starts the device; returns it and its queues, index 0 first.
    ///
    /// What the device does not offer is left out where the program works without (offloads, promiscuous
    /// mode on a device that filters nothing) and an error where it was asked for by number (queues,
    /// MTU). Descriptor counts are rounded to what the device can do.
    ///
    /// # Errors
    /// [`Error::QueueCount`] and [`Error::PoolCount`] leave the device as it was. After
    /// [`Error::Call`] it is closed.
    pub fn configure(self, config: &PortConfig<'_>) -> Result<(Port, Vec<Queue>), Error> {
        configure::check(&self.claim, &self.device, config)?;
        let open = OpenPort {
            claim: self.claim,
            pools: config.pools.to_vec(),
        };
        let offloads = Offloads::new(&self.device, config);
        let mtu = configure::start(&open, &offloads, config)?;
        let open = Arc::new(open);
        let queues = (0..config.queues)
            .map(|index| Queue::new(open.clone(), index, offloads))
            .collect();
        Ok((
            Port {
                open,
                device: self.device,
                offloads,
                mtu,
                not_sync: PhantomData,
            },
            queues,
        ))
    }
}

impl Device {
    fn new(claim: &Claim) -> Result<Self, Error> {
        let mut info = rte_eth_dev_info::default();
        // SAFETY: the port exists, and `info` is written to.
        let result = unsafe { dpdk_sys::rte_eth_dev_info_get(claim.id, &raw mut info) };
        check("rte_eth_dev_info_get", &claim.name, result, "")?;
        let mut mac = rte_ether_addr::default();
        // SAFETY: the port exists, and `mac` is written to.
        let result = unsafe { dpdk_sys::rte_eth_macaddr_get(claim.id, &raw mut mac) };
        check("rte_eth_macaddr_get", &claim.name, result, "")?;
        // SAFETY: the port exists.
        let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(claim.id) };
        Ok(Self {
            driver: driver_name(&info),
            mac: mac.addr_bytes,
            socket: u32::try_from(socket).ok(),
            max_mtu: max_mtu(&info),
            max_queues: info.max_rx_queues.min(info.max_tx_queues),
            rx_offloads: info.rx_offload_capa,
            tx_offloads: info.tx_offload_capa,
            rss_functions: info.flow_type_rss_offloads,
            rss_table: info.reta_size,
        })
    }
}

/// As `eth_dev_validate_mtu` of DPDK has it: the frame that the device takes, less what is around a packet.
fn max_mtu(info: &rte_eth_dev_info) -> u16 {
    let known = info.max_mtu != u16::MAX && info.max_rx_pktlen > u32::from(info.max_mtu);
    let around = if known {
        info.max_rx_pktlen - u32::from(info.max_mtu)
    } else {
        dpdk_sys::RTE_ETHER_HDR_LEN + dpdk_sys::RTE_ETHER_CRC_LEN
    };
    let of_frame = info.max_rx_pktlen.saturating_sub(around);
    info.max_mtu
        .min(u16::try_from(of_frame).unwrap_or(u16::MAX))
}

fn driver_name(info: &rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: a driver's name is a static string.
    let name = unsafe { CStr::from_ptr(info.driver_name) };
    name.to_string_lossy().into_owned()
}

impl Claim {
    fn new(eal: &Eal, name: &str) -> Result<Self, Error> {
        let mut state = eal.state();
        let Some((id, name)) = ports(eal).find(|(_, known)| known == name) else {
            let known = ports(eal).map(|(_, known)| known).collect();
            let advice = advice::for_port(name);
            return Err(Error::UnknownPort {
                name: name.to_owned(),
                known,
                advice,
            });
        };
        if state.open_ports.contains(&id) {
            return Err(Error::PortInUse { name });
        }
        state.open_ports.push(id);
        drop(state);
        Ok(Self {
            id,
            name,
            eal: eal.clone(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.eal.state().open_ports.retain(|id| *id != self.id);
    }
}

/// Index and name of all ports that no other port (bonding, failsafe) has taken over. The caller holds
/// EAL's state, so that none is closed meanwhile.
fn ports(_started: &Eal) -> impl Iterator<Item = (u16, String)> {
    let next = |from: u16| {
        // SAFETY: EAL is up, as there is an `Eal`.
        let found = unsafe {
            dpdk_sys::rte_eth_find_next_owned_by(from, u64::from(dpdk_sys::RTE_ETH_DEV_NO_OWNER))
        };
        u16::try_from(found)
            .ok()
            .filter(|id| u32::from(*id) < dpdk_sys::RTE_MAX_ETHPORTS)
    };
    std::iter::successors(next(0), move |id| next(id + 1))
        .filter_map(|id| port_name(id).map(|name| (id, name)))
}

fn port_name(id: u16) -> Option<String> {
    let mut name: [c_char; dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize] =
        [0; dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the function writes at most `RTE_ETH_NAME_MAX_LEN` bytes, NUL included.
    let result = unsafe { dpdk_sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: the function has written a string.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

impl OpenPort {
    pub(crate) fn id(&self) -> u16 {
        self.claim.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.claim.name
    }

    /// What its queues receive into: one pool for all, or one for each.
    pub(crate) fn pools(&self) -> &[Mempool] {
        &self.pools
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        let _nobody_lists_ports = self.claim.eal.state();
        // SAFETY: the port is ours and no queue of it is left to be polled. Stopping a device that is
        // not started does nothing.
        unsafe { dpdk_sys::rte_eth_dev_stop(self.id()) };
        // SAFETY: it is stopped. A driver that cannot close has nothing to close.
        unsafe { dpdk_sys::rte_eth_dev_close(self.id()) };
    }
}
