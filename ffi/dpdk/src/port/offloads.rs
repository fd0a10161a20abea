//! Offloads: what a port uses of what its device can do.
//!
//! Asked for is only what saves work here. A forwarder updates checksums by what it changes, and sends
//! frames as long as they came: the device need neither make a sum nor cut or join packets.

use super::{Device, Outgoing, PortConfig};

/// What a device is configured with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offloads {
    /// Functions of RSS (`RTE_ETH_RSS_*`); none: frames are not spread.
    pub(super) rss: u64,
    /// `RTE_ETH_RX_OFFLOAD_*`.
    pub(super) receive: u64,
    /// `RTE_ETH_TX_OFFLOAD_*`.
    pub(super) transmit: u64,
}

const RECEIVE: [(u64, &str); 3] = [
    (dpdk_sys::TETHER_ETH_RX_OFFLOAD_RSS_HASH, "rx_rss_hash"),
    (dpdk_sys::TETHER_ETH_RX_OFFLOAD_IPV4_CKSUM, "rx_ipv4_cksum"),
    (dpdk_sys::TETHER_ETH_RX_OFFLOAD_SCATTER, "rx_scatter"),
];
const TRANSMIT: [(u64, &str); 2] = [
    (dpdk_sys::TETHER_ETH_TX_OFFLOAD_MULTI_SEGS, "tx_multi_segs"),
    (
        dpdk_sys::TETHER_ETH_TX_OFFLOAD_MBUF_FAST_FREE,
        "tx_mbuf_fast_free",
    ),
];

impl Offloads {
    /// What is wanted, as far as the device has it.
    pub(super) fn new(device: &Device, config: &PortConfig<'_>) -> Self {
        let mut wanted = Self::default();
        if config.rss {
            wanted.rss = dpdk_sys::TETHER_ETH_RSS_IP
                | dpdk_sys::TETHER_ETH_RSS_TCP
                | dpdk_sys::TETHER_ETH_RSS_UDP;
            if device.rss_functions & wanted.rss != 0 {
                wanted.receive |= dpdk_sys::TETHER_ETH_RX_OFFLOAD_RSS_HASH;
            }
        }
        if config.ipv4_checksums {
            wanted.receive |= dpdk_sys::TETHER_ETH_RX_OFFLOAD_IPV4_CKSUM;
        }
        if frames_exceed_buffers(config) {
            wanted.receive |= dpdk_sys::TETHER_ETH_RX_OFFLOAD_SCATTER;
            wanted.transmit |= dpdk_sys::TETHER_ETH_TX_OFFLOAD_MULTI_SEGS;
        } else if config.outgoing == Outgoing::OwnPool
            && config.pools.len() == 1
            && !is_stacked(&device.driver)
        {
            wanted.transmit |= dpdk_sys::TETHER_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
        }
        Self {
            rss: wanted.rss & device.rss_functions,
            receive: wanted.receive & device.rx_offloads,
            transmit: wanted.transmit & device.tx_offloads,
        }
    }

    /// Whether received frames say what the device has found about their IPv4 headers.
    pub(crate) fn tell_of_ipv4(self) -> bool {
        self.receive & dpdk_sys::TETHER_ETH_RX_OFFLOAD_IPV4_CKSUM != 0
    }

    /// Whether the device puts back what it has sent without a look at it.
    pub(crate) fn free_unseen(self) -> bool {
        self.transmit & dpdk_sys::TETHER_ETH_TX_OFFLOAD_MBUF_FAST_FREE != 0
    }

    /// Their names, after DPDK's.
    pub(super) fn names(self) -> Vec<&'static str> {
        let named = |bits: u64| move |(bit, name): (u64, _)| (bits & bit != 0).then_some(name);
        let rss = (self.rss != 0).then_some("rss").into_iter();
        rss.chain(RECEIVE.into_iter().filter_map(named(self.receive)))
            .chain(TRANSMIT.into_iter().filter_map(named(self.transmit)))
            .collect()
    }
}

/// Whether the driver passes frames on to other devices, and may send some of its own among them, or one
/// by several: a bond in mode 4 sends LACP from a pool of small buffers, one in mode 3 shares each frame.
fn is_stacked(driver: &str) -> bool {
    ["net_bonding", "net_failsafe"].contains(&driver)
}

/// May a frame need more than one buffer? Only then are offloads asked for that slow some drivers down.
fn frames_exceed_buffers(config: &PortConfig<'_>) -> bool {
    const ETHERNET_MTU: u16 = 1500;
    const VLAN_TAGS: u32 = 8;
    let overhead = dpdk_sys::RTE_ETHER_HDR_LEN + dpdk_sys::RTE_ETHER_CRC_LEN + VLAN_TAGS;
    let frame = u32::from(config.mtu.unwrap_or(ETHERNET_MTU)) + overhead;
    let rooms = config.pools.iter().map(|pool| u32::from(pool.data_room()));
    rooms
        .min()
        .is_some_and(|room| frame > room.saturating_sub(dpdk_sys::RTE_PKTMBUF_HEADROOM))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use arrayvec::ArrayVec;

    use super::*;
    use crate::{Eal, Mbuf, Mempool, MempoolConfig, Port, Queue};

    fn eal() -> &'static Eal {
        static EAL: OnceLock<Eal> = OnceLock::new();
        let args = "--no-huge -m 64 --no-pci --no-shconf --no-telemetry --file-prefix=tether-test \
                    --log-level=error -l 0 --vdev=net_ring_free";
        EAL.get_or_init(|| Eal::init(&args.split_whitespace().collect::<Vec<_>>()).unwrap())
    }

    fn pool(name: &str) -> Mempool {
        let config = MempoolConfig {
            count: 63,
            cache: 0,
            ..MempoolConfig::default()
        };
        Mempool::new(eal(), name, config).unwrap()
    }

    /// A device that has these offloads.
    fn device(offloads: u64) -> Device {
        Device {
            driver: String::new(),
            mac: [0; 6],
            socket: None,
            max_queues: 1,
            max_mtu: 9000,
            rx_offloads: offloads,
            tx_offloads: offloads,
            rss_functions: offloads,
            rss_table: 0,
        }
    }

    #[test]
    fn what_saves_work_is_used_where_the_device_has_it() {
        let one = [pool("one")];
        let config = PortConfig {
            outgoing: Outgoing::OwnPool,
            ..PortConfig::new(&one)
        };
        let everything = Offloads::new(&device(u64::MAX), &config);
        let names = ["rss", "rx_rss_hash", "rx_ipv4_cksum", "tx_mbuf_fast_free"];
        assert_eq!(everything.names(), names);
        assert!(everything.tell_of_ipv4() && everything.free_unseen());
        let nothing = Offloads::new(&device(0), &config);
        assert_eq!((nothing, nothing.names()), (Offloads::default(), vec![]));
        let config = PortConfig {
            rss: false,
            ipv4_checksums: false,
            ..PortConfig::new(&one)
        };
        let unwanted = Offloads::new(&device(u64::MAX), &config);
        assert_eq!(unwanted, Offloads::default());
    }

    #[test]
    fn buffers_are_put_back_unseen_only_where_all_are_single_and_of_one_pool() {
        let pools = [pool("first"), pool("second")];
        let free_unseen = |config: PortConfig<'_>| {
            let offloads = Offloads::new(&device(u64::MAX), &config);
            (
                offloads.free_unseen(),
                offloads.names().contains(&"tx_multi_segs"),
            )
        };
        let one = PortConfig {
            outgoing: Outgoing::OwnPool,
            ..PortConfig::new(&pools[..1])
        };
        assert_eq!(free_unseen(one), (true, false));
        let many = PortConfig {
            outgoing: Outgoing::AnyPool,
            ..one
        };
        assert_eq!(free_unseen(many), (false, false));
        let two = PortConfig {
            pools: &pools,
            ..one
        };
        assert_eq!(free_unseen(two), (false, false));
        for stacked in ["net_bonding", "net_failsafe"] {
            let device = Device {
                driver: stacked.to_owned(),
                ..device(u64::MAX)
            };
            assert!(!Offloads::new(&device, &one).free_unseen(), "{stacked}");
        }
        let long = PortConfig {
            mtu: Some(9000),
            ..one
        };
        assert_eq!(free_unseen(long), (false, true));
    }

    #[test]
    fn what_a_device_must_see_before_it_is_put_back_is_never_handed_to_it() {
        let [ours, other] = ["ours", "other"].map(pool);
        let pools = [ours.clone()];
        let port = Port::open(eal(), "net_ring_free").unwrap();
        let (port, queues) = port.configure(&PortConfig::new(&pools)).unwrap();
        drop(queues);
        let free_unseen = Offloads {
            transmit: dpdk_sys::TETHER_ETH_TX_OFFLOAD_MBUF_FAST_FREE,
            ..Offloads::default()
        };
        let mut queue = Queue::new(port.open.clone(), 0, free_unseen);
        let frame = |pool: &Mempool| pool.allocate().unwrap();
        let mut burst: ArrayVec<Mbuf, 8> = [&ours, &ours, &other, &ours]
            .map(frame)
            .into_iter()
            .collect();
        assert_eq!((queue.transmit(&mut burst), burst.len()), (2, 2));
        assert_eq!((queue.transmit(&mut burst), burst.len()), (0, 2));
        drop(burst.remove(0));
        assert_eq!((queue.transmit(&mut burst), burst.len()), (1, 0));
        assert_eq!((ours.in_use(), other.in_use()), (3, 0));
        assert_eq!(queue.receive(&mut burst), 3);
    }
}
