//! Our view of `struct rte_mbuf`: the fields that are read or written per packet.
//!
//! bindgen would name them by the anonymous unions they sit in, which differ between releases.
//! `shim.h` has the table of offsets; C asserts it against the real structure and the assertions
//! below hold this view to it, so a DPDK with another layout does not compile.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use crate::bindings;

/// The hot fields of a packet buffer segment. See <https://doc.dpdk.org/api/structrte__mbuf.html>.
#[repr(C, align(64))]
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "DPDK's name")]
pub struct rte_mbuf {
    /// Start of the buffer of this segment.
    pub buf_addr: *mut c_void,
    iova: u64,
    /// Bytes from `buf_addr` to the data.
    pub data_off: u16,
    /// Owners of this segment.
    pub refcnt: u16,
    /// Segments of this packet; valid in the first one.
    pub nb_segs: u16,
    /// Port that it was received on.
    pub port: u16,
    /// `RTE_MBUF_F_*`.
    pub ol_flags: u64,
    /// `RTE_PTYPE_*` as the device saw it.
    pub packet_type: u32,
    /// Bytes in the packet: the sum of all segments; valid in the first one.
    pub pkt_len: u32,
    /// Bytes in this segment.
    pub data_len: u16,
    /// VLAN tag that the device stripped.
    pub vlan_tci: u16,
    /// RSS hash, where `ol_flags` says that there is one.
    pub hash_rss: u32,
    hash_rest: u32,
    vlan_tci_outer: u16,
    /// Bytes from `buf_addr` to the end of the buffer.
    pub buf_len: u16,
    /// Pool that this segment goes back to.
    pub pool: *mut bindings::rte_mempool,
    /// The next segment of this packet.
    pub next: *mut rte_mbuf,
}

macro_rules! assert_offset {
    ($($field:ident = $offset:ident),+ $(,)?) => {
        $(const _: () = assert!(offset_of!(rte_mbuf, $field) == bindings::$offset as usize);)+
    };
}

assert_offset! {
    buf_addr = TETHER_MBUF_OFFSET_BUF_ADDR,
    data_off = TETHER_MBUF_OFFSET_DATA_OFF,
    refcnt = TETHER_MBUF_OFFSET_REFCNT,
    nb_segs = TETHER_MBUF_OFFSET_NB_SEGS,
    port = TETHER_MBUF_OFFSET_PORT,
    ol_flags = TETHER_MBUF_OFFSET_OL_FLAGS,
    packet_type = TETHER_MBUF_OFFSET_PACKET_TYPE,
    pkt_len = TETHER_MBUF_OFFSET_PKT_LEN,
    data_len = TETHER_MBUF_OFFSET_DATA_LEN,
    vlan_tci = TETHER_MBUF_OFFSET_VLAN_TCI,
    hash_rss = TETHER_MBUF_OFFSET_HASH_RSS,
    buf_len = TETHER_MBUF_OFFSET_BUF_LEN,
    pool = TETHER_MBUF_OFFSET_POOL,
    next = TETHER_MBUF_OFFSET_NEXT,
}

const _: () = assert!(size_of::<rte_mbuf>() == bindings::TETHER_MBUF_SIZE as usize);
