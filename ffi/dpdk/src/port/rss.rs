//! How a device spreads frames over its queues, as it says itself: key, table of queues, and of which
//! packets it hashes the ports.

use dpdk_sys::{rte_eth_rss_conf, rte_eth_rss_reta_entry64};

/// The longest key that a device may have, in bytes.
const KEY_MAX: u8 = 64;
/// Queues in one entry of what is asked for (`RTE_ETH_RETA_GROUP_SIZE`).
const GROUP: usize = 64;

/// How a device spreads frames: by the Toeplitz hash of addresses and, where it says so, ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The key of the hash.
    pub key: Vec<u8>,
    /// The queue of each value of the hash's low bits.
    pub queues: Vec<u16>,
    /// Whether ports are hashed too: of TCP and UDP over IPv4, of TCP and UDP over IPv6.
    pub hashes_ports: [bool; 4],
}

/// Asks a started port; a driver without these answers has no RSS that could be counted on.
pub(super) fn read(port: u16, table: u16) -> Option<Rss> {
    let mut key = [0; KEY_MAX as usize];
    let mut conf = rte_eth_rss_conf {
        rss_key: key.as_mut_ptr(),
        rss_key_len: KEY_MAX,
        ..rte_eth_rss_conf::default()
    };
    // SAFETY: the port is open; a driver writes a key of at most `rss_key_len` bytes, for which there
    // is room, and the other fields.
    let result = unsafe { dpdk_sys::rte_eth_dev_rss_hash_conf_get(port, &raw mut conf) };
    let (len, functions) = (conf.rss_key_len, conf.rss_hf);
    if result != 0 || functions == 0 {
        return None;
    }
    let kinds = [
        dpdk_sys::TETHER_ETH_RSS_IPV4_TCP,
        dpdk_sys::TETHER_ETH_RSS_IPV4_UDP,
        dpdk_sys::TETHER_ETH_RSS_IPV6_TCP,
        dpdk_sys::TETHER_ETH_RSS_IPV6_UDP,
    ];
    Some(Rss {
        // A driver that does not say how long its key is has one of 40 bytes.
        key: key[..usize::from(if len == KEY_MAX { 40 } else { len.min(KEY_MAX) })].to_vec(),
        queues: queues(port, table)?,
        hashes_ports: kinds.map(|kind| functions & kind != 0),
    })
}

fn queues(port: u16, table: u16) -> Option<Vec<u16>> {
    let count = usize::from(table);
    let group = rte_eth_rss_reta_entry64 {
        mask: u64::MAX,
        ..rte_eth_rss_reta_entry64::default()
    };
    let mut groups = vec![group; count.div_ceil(GROUP)];
    // SAFETY: the port is open; the driver writes the `table` queues that the masks ask for, in
    // groups of 64, for which there is room.
    let result = unsafe { dpdk_sys::rte_eth_dev_rss_reta_query(port, groups.as_mut_ptr(), table) };
    if result != 0 || count == 0 {
        return None;
    }
    let queues = groups.iter().flat_map(|group| group.reta).take(count);
    Some(queues.collect())
}
