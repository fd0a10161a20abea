//! From what a program wants of a port to what its device can do.

use std::ptr;

use dpdk_sys::rte_eth_conf;

use super::{Claim, Device, Offloads, OpenPort};
use crate::error::{self, Error};
use crate::mempool::Mempool;

/// What a port shall be. Start from [`PortConfig::new`]:
///
/// ```no_run
/// # fn main() -> Result<(), dpdk::Error> {
/// # let eal = dpdk::Eal::init(&["--no-pci", "--vdev=net_null0"])?;
/// use dpdk::{Mempool, MempoolConfig, Port, PortConfig};
///
/// let pools = [Mempool::new(&eal, "frames", MempoolConfig::default())?];
/// let config = PortConfig { queues: 2, promiscuous: true, ..PortConfig::new(&pools) };
/// let (port, queues) = Port::open(&eal, "net_null0")?.configure(&config)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PortConfig<'a> {
    /// Receive queues, and as many transmit queues.
    pub queues: u16,
    /// Frames that a receive queue holds; rounded to what the device can do.
    pub rx_descriptors: u16,
    /// Frames that a transmit queue holds; rounded to what the device can do.
    pub tx_descriptors: u16,
    /// Where received frames go: one pool for all queues, or one per queue.
    pub pools: &'a [Mempool],
    /// Receive frames for every MAC address?
    pub promiscuous: bool,
    /// Largest packet in bytes, Ethernet header not counted; `None` for the device's own choice.
    pub mtu: Option<u16>,
    /// Spread frames over the queues by a hash of addresses and ports, where the device can?
    pub rss: bool,
    /// Have IPv4 header checksums looked at, where the device can? What it found is told by
    /// [`Mbuf::take_ipv4_checksum`](crate::Mbuf::take_ipv4_checksum).
    pub ipv4_checksums: bool,
    /// Which frames the queues will send.
    pub outgoing: Outgoing,
}

/// Which frames a port will send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outgoing {
    /// Those of any pool.
    #[default]
    AnyPool,
    /// Nothing but frames in single buffers of the one pool that the port has. A device that can puts them
    /// back without a look at them; then [`Queue::transmit`](crate::Queue::transmit) takes no others.
    OwnPool,
}

impl<'a> PortConfig<'a> {
    /// One queue of 1024 descriptors each way, RSS and IPv4 checksums where there are any, frames of any
    /// pool, not promiscuous.
    #[must_use]
    pub fn new(pools: &'a [Mempool]) -> Self {
        Self {
            queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            pools,
            promiscuous: false,
            mtu: None,
            rss: true,
            ipv4_checksums: true,
            outgoing: Outgoing::AnyPool,
        }
    }
}

/// What can be said before the device is touched.
pub(super) fn check(claim: &Claim, device: &Device, config: &PortConfig<'_>) -> Result<(), Error> {
    let port = claim.name.clone();
    let (queues, pools) = (config.queues, config.pools.len());
    if queues == 0 || queues > device.max_queues {
        let driver = device.driver.clone();
        return Err(Error::QueueCount {
            port,
            driver,
            asked: queues,
            most: device.max_queues,
        });
    }
    if pools != 1 && pools != usize::from(queues) {
        return Err(Error::PoolCount {
            port,
            queues,
            pools,
        });
    }
    Ok(())
}

/// Configures and starts the device; returns its MTU.
pub(super) fn start(
    port: &OpenPort,
    offloads: &Offloads,
    config: &PortConfig<'_>,
) -> Result<u16, Error> {
    configure_device(port, offloads, config)?;
    set_up_queues(port, config)?;
    // SAFETY: the port is ours, configured, and its queues are set up.
    let result = unsafe { dpdk_sys::rte_eth_dev_start(port.id()) };
    error::check("rte_eth_dev_start", port.name(), result, MORE_BUFFERS)?;
    if config.promiscuous {
        enable_promiscuous(port)?;
    }
    mtu(port)
}

const MORE_BUFFERS: &str = "if memory is short: pools need more buffers than rx_descriptors × queues \
                            (or than an rx_pcap file with infinite_rx has frames)";
const MTU: &str = "leave the MTU out or choose one that the device and, for a kernel interface, \
                   `ip link set mtu` allow";
const ENOTSUP: i32 = 95;

fn configure_device(
    port: &OpenPort,
    offloads: &Offloads,
    config: &PortConfig<'_>,
) -> Result<(), Error> {
    let conf = device_conf(offloads, config);
    let queues = config.queues;
    // SAFETY: the port is ours and not started; `conf` is read during the call only.
    let result =
        unsafe { dpdk_sys::rte_eth_dev_configure(port.id(), queues, queues, &raw const conf) };
    error::check("rte_eth_dev_configure", port.name(), result, MTU)?;
    match config.mtu {
        Some(wanted) if wanted != mtu(port)? => set_mtu(port, wanted),
        _ => Ok(()),
    }
}

fn device_conf(offloads: &Offloads, config: &PortConfig<'_>) -> rte_eth_conf {
    let mut conf = rte_eth_conf::default();
    conf.rxmode.mtu = config.mtu.map_or(0, u32::from);
    if offloads.rss != 0 {
        conf.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = offloads.rss;
    }
    conf.rxmode.offloads = offloads.receive;
    conf.txmode.offloads = offloads.transmit;
    conf
}

fn set_up_queues(port: &OpenPort, config: &PortConfig<'_>) -> Result<(), Error> {
    let (mut receive, mut transmit) = (config.rx_descriptors, config.tx_descriptors);
    // SAFETY: the port is ours and configured; both counts are written to.
    let result = unsafe {
        dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(port.id(), &raw mut receive, &raw mut transmit)
    };
    error::check("rte_eth_dev_adjust_nb_rx_tx_desc", port.name(), result, "")?;
    for (queue, pool) in (0..config.queues).zip(port.pools.iter().cycle()) {
        set_up_receive(port, queue, receive, pool)?;
        set_up_transmit(port, queue, transmit)?;
    }
    Ok(())
}

fn set_up_receive(
    port: &OpenPort,
    queue: u16,
    descriptors: u16,
    pool: &Mempool,
) -> Result<(), Error> {
    // SAFETY: the port is ours, configured and not started; null asks for the driver's defaults; the
    // pool lives as long as the device is open, as it is in `OpenPort::pools`.
    let result = unsafe {
        dpdk_sys::rte_eth_rx_queue_setup(
            port.id(),
            queue,
            descriptors,
            socket(port),
            ptr::null(),
            pool.as_ptr(),
        )
    };
    let subject = format!("queue {queue} of {}", port.name());
    error::check("rte_eth_rx_queue_setup", &subject, result, MORE_BUFFERS).map(drop)
}

fn set_up_transmit(port: &OpenPort, queue: u16, descriptors: u16) -> Result<(), Error> {
    // SAFETY: the port is ours, configured and not started; null asks for the driver's defaults.
    let result = unsafe {
        dpdk_sys::rte_eth_tx_queue_setup(port.id(), queue, descriptors, socket(port), ptr::null())
    };
    let subject = format!("queue {queue} of {}", port.name());
    error::check("rte_eth_tx_queue_setup", &subject, result, "").map(drop)
}

/// NUMA node of the device as DPDK wants it back: the number of `SOCKET_ID_ANY` is that of "unknown".
#[expect(
    clippy::cast_sign_loss,
    reason = "SOCKET_ID_ANY is -1 and passed as unsigned by DPDK too"
)]
fn socket(port: &OpenPort) -> u32 {
    // SAFETY: the port exists.
    unsafe { dpdk_sys::rte_eth_dev_socket_id(port.id()) as u32 }
}

/// A device that cannot be promiscuous (a ring, a file) filters nothing.
fn enable_promiscuous(port: &OpenPort) -> Result<(), Error> {
    // SAFETY: the port is ours and started.
    let result = unsafe { dpdk_sys::rte_eth_promiscuous_enable(port.id()) };
    if result == -ENOTSUP {
        return Ok(());
    }
    error::check("rte_eth_promiscuous_enable", port.name(), result, "").map(drop)
}

fn mtu(port: &OpenPort) -> Result<u16, Error> {
    let mut mtu = 0;
    // SAFETY: the port exists, and `mtu` is written to.
    let result = unsafe { dpdk_sys::rte_eth_dev_get_mtu(port.id(), &raw mut mtu) };
    error::check("rte_eth_dev_get_mtu", port.name(), result, "")?;
    Ok(mtu)
}

fn set_mtu(port: &OpenPort, mtu: u16) -> Result<(), Error> {
    // SAFETY: the port is ours and not started.
    let result = unsafe { dpdk_sys::rte_eth_dev_set_mtu(port.id(), mtu) };
    let subject = format!("{} with {mtu} bytes", port.name());
    error::check("rte_eth_dev_set_mtu", &subject, result, MTU).map(drop)
}
