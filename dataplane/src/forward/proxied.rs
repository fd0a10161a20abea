//! Services with the PROXY protocol: before a packet is translated, its numbers are moved for the header
//! that their connection begins with. Sessions keep how the stream stands, so that a connection goes on
//! as it began when the service changes.

use crate::{
    fate::Fate,
    port::Frame,
    rewrite::{Stream, Unfit, header_len, to_backend, to_client},
    sessions::{SessionId, Sessions},
    tables::Translation,
    wire::{ipv4::Ipv4, ipv6::Ipv6},
};
use std::net::SocketAddr;

/// What an IPv6 header is longer than one of IPv4.
const GROWTH: u16 = Ipv6::LEN - Ipv4::LEN;

/// Prepares a client's packet for a link to its backend of this MTU.
pub(super) fn introduce<F: Frame>(
    frame: &mut F,
    id: SessionId,
    translation: &Translation,
    mtu: u16,
    sessions: &Sessions,
) -> Result<(), Unfit> {
    let session = sessions.get(id).ok_or(Unfit::Dropped(Fate::NoSession))?;
    let stream = Stream::of(session.stream);
    if stream.is_none() && !translation.proxied {
        return Ok(());
    }
    let client = session.client();
    let service = SocketAddr::new(translation.vip.ip(), session.vip_port());
    let longest = match (client.is_ipv4(), translation.backend.is_ipv4()) {
        (true, false) => mtu.saturating_sub(GROWTH),
        (false, true) => mtu.saturating_add(GROWTH),
        (true, true) | (false, false) => mtu,
    };
    to_backend(frame, (client, service), stream, longest)
}

/// Prepares a backend's packet for its client.
pub(super) fn answer<F: Frame>(
    frame: &mut F,
    id: SessionId,
    translation: &Translation,
    sessions: &mut Sessions,
) {
    let Some(session) = sessions.get(id) else {
        return;
    };
    let len = translation.proxied.then(|| header_len(session.client()));
    let before = Stream::of(session.stream);
    let after = to_client(frame, before, len);
    if after != before {
        sessions.set_stream(id, after.map(Stream::kept).unwrap_or_default());
    }
}
