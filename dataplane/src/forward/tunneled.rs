//! ICMP errors about what the forwarder sent through tunnels: they come to its own addresses, and say
//! how long packets may be on the path to a backend (RFC 1191, RFC 8201; RFC 2003, section 5.1).
//!
//! Anybody can send them. They count where they come by the port to the backend and quote a packet of
//! its tunnel that is longer than they say it may be, for ten minutes. Clients are told with their next
//! packet that is too big.

use super::View;
use crate::{
    fate::Fate,
    parse::{Parsed, told4, told6},
    tables::id::PortId,
};

/// What becomes of an error about a packet of a tunnel; `None` where it is none.
#[cold]
pub(super) fn hear_of_path(
    frame: &[u8],
    parsed: Parsed,
    came_by: PortId,
    view: View<'_>,
) -> Option<Fate> {
    let told = match parsed {
        Parsed::Icmp4(message) => told4(frame, message, came_by)?,
        Parsed::Icmp6(message) => told6(frame, message, came_by)?,
        Parsed::V4(_)
        | Parsed::V6(_)
        | Parsed::First4(_)
        | Parsed::First6(_)
        | Parsed::Later(_)
        | Parsed::Arp { .. } => return None,
    };
    let tunnels = &view.tables.tunnels;
    if !tunnels.sent(&told.quote) {
        return None;
    }
    let learned = |mtu| tunnels.learn(&told.quote, mtu, view.now);
    Some(match told.mtu.map(learned) {
        Some(true) => Fate::PathMtu,
        Some(false) | None => Fate::TunnelError,
    })
}
