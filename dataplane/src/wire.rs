//! Headers as they stand on the wire: views that a length check turns bytes into.
//!
//! Multi-byte fields are big-endian types of `zerocopy`, without alignment, so a view costs one
//! comparison. What a field may hold is decided by the stage that reads it, not here.

pub(crate) mod arp;
pub(crate) mod checksum;
pub(crate) mod ethernet;
pub(crate) mod gre;
pub(crate) mod gue;
pub(crate) mod icmp;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
pub(crate) mod ndp;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod vlan;
