//! The counters of a device. They are the device's own: since it started, never set back by us.

use std::ffi::CStr;
use std::ptr;

use dpdk_sys::{rte_eth_stats, rte_eth_xstat, rte_eth_xstat_name};

use crate::error::{Error, check};

/// What every device counts (DPDK `rte_eth_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Frames received.
    pub received_packets: u64,
    /// Bytes in them.
    pub received_bytes: u64,
    /// Frames transmitted.
    pub transmitted_packets: u64,
    /// Bytes in them.
    pub transmitted_bytes: u64,
    /// Frames that the device dropped since nobody took them off its queues in time.
    pub missed_packets: u64,
    /// Frames received with an error.
    pub receive_errors: u64,
    /// Frames that could not be transmitted.
    pub transmit_errors: u64,
    /// Times that the pool had no buffer for a frame.
    pub allocation_failures: u64,
}

pub(super) fn basic(id: u16, name: &str) -> Result<PortStatistics, Error> {
    let mut stats = rte_eth_stats::default();
    // SAFETY: the port is open, and `stats` is written to.
    let result = unsafe { dpdk_sys::rte_eth_stats_get(id, &raw mut stats) };
    check("rte_eth_stats_get", name, result, "")?;
    Ok(PortStatistics {
        received_packets: stats.ipackets,
        received_bytes: stats.ibytes,
        transmitted_packets: stats.opackets,
        transmitted_bytes: stats.obytes,
        missed_packets: stats.imissed,
        receive_errors: stats.ierrors,
        transmit_errors: stats.oerrors,
        allocation_failures: stats.rx_nombuf,
    })
}

pub(super) fn extended(id: u16, name: &str) -> Result<Vec<(String, u64)>, Error> {
    let names = names(id, name)?;
    let mut values = vec![rte_eth_xstat::default(); names.len()];
    let room = u32::try_from(values.len()).unwrap_or(0);
    // SAFETY: the port is open, and there is room for that many counters.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get(id, values.as_mut_ptr(), room) };
    let count = check("rte_eth_xstats_get", name, count, "")?;
    values.truncate(usize::try_from(count).unwrap_or(0));
    Ok(values
        .iter()
        .filter_map(|counter| {
            let index = usize::try_from(counter.id).ok()?;
            Some((text(names.get(index)?), counter.value))
        })
        .collect())
}

fn names(id: u16, name: &str) -> Result<Vec<rte_eth_xstat_name>, Error> {
    const CALL: &str = "rte_eth_xstats_get_names";
    // SAFETY: the port is open; without an array the function counts.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get_names(id, ptr::null_mut(), 0) };
    let room = u32::try_from(check(CALL, name, count, "")?).unwrap_or(0);
    let mut names = vec![rte_eth_xstat_name::default(); room as usize];
    // SAFETY: the port is open, and there is room for that many names.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), room) };
    check(CALL, name, count, "")?;
    Ok(names)
}

fn text(name: &rte_eth_xstat_name) -> String {
    // SAFETY: DPDK ends the name with NUL within the array, which came zeroed.
    let name = unsafe { CStr::from_ptr(name.name.as_ptr()) };
    name.to_string_lossy().into_owned()
}
