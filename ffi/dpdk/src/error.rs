//! What can go wrong, where, and what to do about it.

use std::ffi::{CStr, c_int};

/// An error of DPDK or of how it was asked. The text says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `Eal::init` was called before in this process, with success or without.
    #[error(
        "EAL starts only once per process and was started (or failed to) before: \
         call Eal::init once and clone the Eal"
    )]
    AlreadyInitialised,

    /// A text that C cannot take.
    #[error("{text:?} has a NUL byte in it: remove it")]
    NulByte {
        /// The text as given.
        text: String,
    },

    /// EAL has no port of that name.
    #[error(
        "no port is called {name:?} (there are: {}){}",
        list(known),
        suffix(advice)
    )]
    UnknownPort {
        /// The name as given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
        /// What to do about it.
        advice: String,
    },

    /// The port is open in this process.
    #[error("port {name} is open already: drop the other handle first")]
    PortInUse {
        /// Device name.
        name: String,
    },

    /// More queues than the device has, or none.
    #[error(
        "port {port} cannot have {asked} queues: its driver {driver} offers 1 to {most} here; \
         use as many workers, or ask the driver for more queues (e.g. qpairs=, queue_count=)"
    )]
    QueueCount {
        /// Device name.
        port: String,
        /// Driver name.
        driver: String,
        /// Queues as asked for.
        asked: u16,
        /// The most that there can be.
        most: u16,
    },

    /// The number of pools fits neither "one for all queues" nor "one per queue".
    #[error(
        "port {port} has {queues} queues and was given {pools} pools: give it one, or one per queue"
    )]
    PoolCount {
        /// Device name.
        port: String,
        /// Queues as asked for.
        queues: u16,
        /// Pools as given.
        pools: usize,
    },

    /// The thread has an lcore id already.
    #[error("this thread is registered with EAL already: keep the one LcoreGuard")]
    ThreadRegistered,

    /// A call into DPDK failed.
    #[error("{call} failed for {subject}: {reason}{}", suffix(advice))]
    Call {
        /// The function of DPDK.
        call: &'static str,
        /// What it was about: a port, a pool, EAL's arguments.
        subject: String,
        /// `errno` as DPDK reported it, positive.
        errno: i32,
        /// The text for `errno`.
        reason: String,
        /// What to do about it; may be empty.
        advice: String,
    },
}

impl Error {
    /// The error of a call, with what to do about it.
    pub(crate) fn call(call: &'static str, subject: &str, errno: i32, advice: &str) -> Self {
        Self::Call {
            call,
            subject: subject.to_owned(),
            errno,
            reason: errno_text(errno),
            advice: advice.to_owned(),
        }
    }

    /// `errno`, where a call into DPDK failed.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

/// Turns DPDK's "negative errno or a count" into a result.
pub(crate) fn check(
    call: &'static str,
    subject: &str,
    returned: c_int,
    advice: &str,
) -> Result<c_int, Error> {
    if returned < 0 {
        Err(Error::call(call, subject, -returned, advice))
    } else {
        Ok(returned)
    }
}

/// `rte_errno` of this thread.
pub(crate) fn last_errno() -> i32 {
    // SAFETY: reads a thread-local integer.
    unsafe { dpdk_sys::tether_errno() }
}

fn errno_text(errno: i32) -> String {
    // SAFETY: accepts every integer; returns a static or thread-local string, never null.
    let text = unsafe { dpdk_sys::rte_strerror(errno) };
    // SAFETY: the string ends with NUL and stays as it is until this thread calls the function again.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

fn suffix(advice: &str) -> String {
    if advice.is_empty() {
        String::new()
    } else {
        format!("; {advice}")
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_what_to_do() {
        let error = check("rte_eth_dev_start", "net_null0", -12, "give it more").unwrap_err();
        assert_eq!(
            error.to_string(),
            "rte_eth_dev_start failed for net_null0: Cannot allocate memory; give it more"
        );
        assert_eq!(error.errno(), Some(12));
    }

    #[test]
    fn a_count_is_not_an_error() {
        assert_eq!(check("rte_eth_xstats_get", "net_null0", 3, ""), Ok(3));
    }
}
