//! Replies: what a backend answers through NAT goes on to its client, in the VIP's name.
//!
//! Asked about packets of no known flow and no service. They touch no flow and extend no affinity: a
//! matching packet is one of the client (contract rule T2).

use super::View;
use crate::{
    fate::Fate,
    key::FlowKey,
    tables::{Toward, id::PortId},
};
use std::net::IpAddr;

/// To whose client a packet goes, if it comes from a backend by the port to it.
pub(crate) fn answers<K: FlowKey>(
    key: &K,
    came_by: PortId,
    view: View<'_>,
) -> Result<Toward, Fate> {
    let tables = view.tables;
    let sender = tables.answering.find(key).ok_or(Fate::NoService)?;
    let client = key.destination();
    let by_its_port = tables.backend(sender).is_some_and(|it| it.port == came_by);
    let is_here = is_link_local(client);
    if !by_its_port || is_here || !tables.stations.may_send(client) {
        return Err(Fate::NoService);
    }
    Ok(Toward::Client(sender))
}

/// No gateway leads to such a client: it is this host, where a port's link is its own too.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
