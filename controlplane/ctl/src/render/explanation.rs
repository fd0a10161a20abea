//! Where a packet would go, why, and the frame that would leave.

use tether_api::operator::{ExplainedFrame, Explanation, OuterHeaders, PlacedBy};

use super::{affinities, or_dash};

pub(super) fn explanation(explanation: &Explanation) -> String {
    let decided = match explanation.by {
        PlacedBy::Flow => "by its flow",
        PlacedBy::Affinity => "by an affinity",
        PlacedBy::Scheduler => "by the scheduler",
        PlacedBy::None => "nothing decides",
    };
    let forward = explanation
        .forward
        .iter()
        .map(|how| format!("  forwarded by {how}\n"));
    let affinity = explanation.affinity.iter();
    let affinity = affinity.map(|found| format!("\n{}", affinities::affinity(found)));
    let leaving = explanation.frame.iter().map(|it| leaving(it));
    let details: String = forward.chain(leaving).chain(affinity).collect();
    format!(
        "service {}, backend {}, {decided}\n  {}\n{details}",
        or_dash(explanation.service.as_deref()),
        or_dash(explanation.backend.as_deref()),
        explanation.reason,
    )
}

fn leaving(frame: &ExplainedFrame) -> String {
    let to = match &frame.destination_mac {
        Some(mac) => format!("to {mac} of {}", frame.next_hop),
        None => format!(
            "to {}, whose MAC address is not resolved yet",
            frame.next_hop
        ),
    };
    let vlan = frame
        .vlan
        .map_or(String::new(), |it| format!(", VLAN {it}"));
    let outer = frame.outer.as_ref().map_or(String::new(), outer);
    format!(
        "  leaves by {} from {} {to}{vlan}\n{outer}  packet {} -> {}, of at most {} bytes\n",
        frame.port, frame.source_mac, frame.source, frame.destination, frame.mtu,
    )
}

fn outer(outer: &OuterHeaders) -> String {
    let (source, destination) = (outer.source, outer.destination);
    let protocol = match outer.protocol {
        4 | 41 => "IP in IP".to_owned(),
        17 => "UDP".to_owned(),
        47 => "GRE".to_owned(),
        other => format!("IP protocol {other}"),
    };
    match outer.source_port.zip(outer.destination_port) {
        None => format!("  outer header {source} -> {destination}, {protocol}\n"),
        Some((from, to)) => format!(
            "  outer header {source} -> {destination}, {protocol} from port {from} to port {to}\n"
        ),
    }
}
