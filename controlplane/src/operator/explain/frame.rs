//! The frame that would leave, as operators see it.

use crate::control::Control;
use tether_api::operator::{ExplainedFrame, HexBytes, OuterHeaders};
use tether_dataplane::{
    explain::{Leaving, Outer},
    tables::id::PortId,
};

pub(super) fn explained(control: &Control, leaving: Leaving) -> ExplainedFrame {
    ExplainedFrame {
        comes_by: device(control, leaving.comes_by),
        port: device(control, leaving.leaves_by),
        source_mac: leaving.source_mac.to_string(),
        destination_mac: leaving.destination_mac.map(|mac| mac.to_string()),
        next_hop: leaving.next_hop,
        vlan: leaving.vlan,
        outer: leaving.outer.map(outer),
        source: leaving.source,
        destination: leaving.destination,
        mtu: leaving.mtu,
        came: HexBytes(leaving.came),
        bytes: HexBytes(leaving.frame),
    }
}

fn outer(outer: Outer) -> OuterHeaders {
    OuterHeaders {
        source: outer.source,
        destination: outer.destination,
        protocol: outer.protocol,
        source_port: outer.ports.map(|(source, _)| source),
        destination_port: outer.ports.map(|(_, destination)| destination),
    }
}

/// The name of a port in the configuration.
fn device(control: &Control, port: PortId) -> String {
    let port = control.config.ports.get(port.index());
    port.map_or_else(String::new, |it| it.device.clone())
}
