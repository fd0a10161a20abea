//! Taps: the kernel's interfaces beside ports. Each is made at start with the MAC address of its port, its
//! MTU and its addresses, and is gone with the process.
//!
//! A worker has one queue of each (DPDK `net_tap`), so none shares one.

use super::{CACHE, Hand};
use crate::config;
use dpdk::{Eal, Mempool, MempoolConfig, Port, PortConfig};
use rtnetlink::{
    LinkUnspec,
    packet_route::address::{AddressAttribute, AddressFlags},
};
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use std::{
    fs::{self, File},
    io,
};
use tether_dataplane::{Mac, TapSpec, port::BURST, port::dpdk::DpdkPort, tables::id::PortId};

/// Why a port has no tap.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Another interface has its name.
    #[error(
        "an interface of that name is there already: choose another name, or remove it \
         (`ip link delete {0}`) if it is of no use"
    )]
    Taken(String),
    /// The system makes no taps here.
    #[error(
        "no tap can be made, as /dev/net/tun cannot be opened: {0}; `modprobe tun`, give a container the \
         device (--device /dev/net/tun), and run as root or with CAP_NET_ADMIN; or leave `kernel` out"
    )]
    NoTun(io::Error),
    /// DPDK cannot make or start it.
    #[error("{0}; a tap needs root or CAP_NET_ADMIN; or leave `kernel` out")]
    Dpdk(#[from] dpdk::Error),
    /// The kernel refuses what it is told of its interface.
    #[error("cannot {what}: {error}; run as root or with CAP_NET_ADMIN")]
    SetUp {
        /// What was tried.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

/// An open tap.
#[derive(Debug)]
pub(super) struct Tap {
    interface: String,
    /// Closed, and the interface gone, with this and the last queue.
    _device: Port,
}

impl Tap {
    /// Whether its interface has a link: routing daemons look at that.
    pub(super) fn set_carrier(&self, up: bool) {
        let path = format!("/sys/class/net/{}/carrier", self.interface);
        let word = if up { "1" } else { "0" };
        if let Err(error) = fs::write(&path, word) {
            log::warn!(
                "{}: does not follow the link of its port: {path}: {error}",
                self.interface
            );
        }
    }
}

/// Ethernet's own MTU, which every tap takes.
const USUAL_MTU: u16 = 1500;
/// Frames that the kernel's queue hands over at once.
const DESCRIPTORS: u16 = 256;

/// Makes the tap of a port, which is the `index`th and open, and gives each worker its queue.
pub(super) fn open(
    eal: &Eal,
    (index, port): (u8, &config::Port),
    kernel: &config::Kernel,
    nic: &Port,
    hands: &mut [Hand],
) -> Result<Tap, TapError> {
    let interface = &kernel.interface;
    check(interface)?;
    let options = format!("iface={interface},mac={}", Mac(nic.mac()));
    let found = Port::create(eal, &format!("net_tap_tether{index}"), &options)?;
    let mtu = usable_mtu(port.mtu.unwrap_or(nic.mtu()), found.max_mtu(), interface);
    let queues = u16::try_from(hands.len()).unwrap_or(u16::MAX);
    let pool = MempoolConfig {
        count: buffers(queues),
        cache: CACHE,
        socket: found.socket(),
        data_room: super::data_room(Some(mtu)),
    };
    let pool = Mempool::new(eal, &format!("tether_tap{index}"), pool)?;
    let pools = [pool.clone()];
    let settings = PortConfig {
        queues,
        rx_descriptors: DESCRIPTORS,
        tx_descriptors: DESCRIPTORS,
        mtu: Some(mtu),
        rss: false,
        // Nobody parses what the kernel sends, and DPDK's tap would make the sums itself.
        ipv4_checksums: false,
        ..PortConfig::new(&pools)
    };
    let (tap, queues) = found.configure(&settings)?;
    let spec = TapSpec {
        per_second: kernel.rate,
        mtu,
    };
    for (hand, queue) in hands.iter_mut().zip(queues) {
        let queue = DpdkPort::new(queue, pool.clone());
        hand.taps.push((PortId(index), queue, spec));
    }
    set_up(interface, mtu, &port.addresses)?;
    log::info!("port {}: the kernel has it as {interface}", nic.name());
    Ok(Tap {
        interface: interface.clone(),
        _device: tap,
    })
}

/// Each worker can have out at once: the queue's, its cache, and a burst each way.
fn buffers(queues: u16) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
    const OWN: u32 = 2 * BURST as u32;
    (u32::from(DESCRIPTORS) + CACHE * 3 / 2 + OWN) * u32::from(queues)
}

/// DPDK's tap (22.11) knows no long frames: what is longer than Ethernet's usual ones is not for the kernel.
fn usable_mtu(wanted: u16, most: u16, interface: &str) -> u16 {
    if wanted <= most {
        return wanted;
    }
    log::warn!(
        "{interface}: has an MTU of {USUAL_MTU}, as DPDK's tap takes none of {wanted}: \
         longer packets to this host's kernel are dropped (kernel_refused)"
    );
    USUAL_MTU
}

/// What would fail in words that nobody understands.
fn check(interface: &str) -> Result<(), TapError> {
    if index_of(interface).is_ok() {
        return Err(TapError::Taken(interface.to_owned()));
    }
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    tun.map(drop).map_err(TapError::NoTun)
}

fn index_of(interface: &str) -> io::Result<u32> {
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    Ok(name_to_index(&any, interface)?)
}

/// Gives the interface its MTU and its addresses. Tether answers for them already, so the kernel need not look
/// for others that have them.
fn set_up(interface: &str, mtu: u16, addresses: &[config::PortAddress]) -> Result<(), TapError> {
    let index = trying(interface, "find it", index_of(interface))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let runtime = trying(interface, "talk to the kernel (netlink)", runtime)?;
    runtime.block_on(async {
        let (connection, handle, _) = trying(
            interface,
            "talk to the kernel (netlink)",
            rtnetlink::new_connection(),
        )?;
        let connection = tokio::spawn(connection);
        let link = LinkUnspec::new_with_index(index).mtu(mtu.into()).up();
        let done = handle.link().set(link.build()).execute().await;
        trying(
            interface,
            &format!("set an MTU of {mtu}"),
            done.map_err(told),
        )?;
        for own in addresses {
            let mut request = handle.address().add(index, own.address, own.prefix_length);
            let flags = AddressAttribute::Flags(AddressFlags::Nodad);
            request.message_mut().attributes.push(flags);
            let done = request.execute().await.map_err(told);
            trying(interface, &format!("add the address {}", own.address), done)?;
        }
        connection.abort();
        Ok(())
    })
}

fn trying<T>(interface: &str, what: &str, done: io::Result<T>) -> Result<T, TapError> {
    done.map_err(|error| TapError::SetUp {
        what: format!("{what} for {interface}"),
        error,
    })
}

/// What the kernel says, without the message that it says it about.
fn told(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_refused_before_anything_is_made() {
        let error = check("lo").unwrap_err().to_string();
        assert!(error.contains("ip link delete lo"), "{error}");
    }

    #[test]
    fn a_tap_has_the_mtu_of_its_port_where_it_can() {
        assert_eq!(usable_mtu(1400, 1504, "tether0"), 1400);
        assert_eq!(usable_mtu(9000, 1504, "tether0"), 1500);
    }
}
