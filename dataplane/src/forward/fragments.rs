//! Fragments: later ones go where the first one of their packet went, by which the flow or the
//! affinity decides (contract rule R8).

use super::{
    Verdict, View,
    leave::{Door, Left, send_alone},
};
use crate::{
    fate::Fate,
    fragments::Waiting,
    held,
    parse::{FragmentId, Later, fragment_id},
    port::{Burst, Frame, Port},
    tables::id::PortId,
    worker::Own,
};
use std::net::IpAddr;

/// Remembers where first fragments go, then decides the later ones.
pub(crate) fn settle<F: Frame>(
    burst: &Burst<F>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
    firsts: &[(u8, u16)],
    later: &[(u8, Later)],
) {
    for (index, l3) in firsts {
        let id = fragment_id(burst[usize::from(*index)].bytes(), *l3);
        if let (Verdict::To(toward), Some(id)) = (own.findings.verdict(*index), id) {
            own.fragments.learn(id, toward, view.now);
        }
    }
    for (index, Later { l3 }) in later {
        let verdict = match fragment_id(burst[usize::from(*index)].bytes(), *l3) {
            Some(id) => match own.fragments.find(&id, view.now) {
                Some(toward) => Verdict::To(toward),
                None if is_for_us(&id, own.taps.is_on(port), view) => Verdict::Early(*l3),
                None => Verdict::Done(Fate::NoService),
            },
            None => Verdict::Done(Fate::FragmentMalformed),
        };
        own.findings.decide(*index, verdict);
    }
}

/// Lets a fragment that came before the first one of its packet wait for it.
pub(crate) fn hold<F: Frame>(
    frame: F,
    l3: u16,
    came_by: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) -> Verdict {
    let Some(id) = fragment_id(frame.bytes(), l3) else {
        return Verdict::Done(Fate::FragmentMalformed);
    };
    let waiting = Waiting {
        frame,
        id,
        came_by,
        since: view.now,
    };
    match own.fragments.hold(waiting) {
        Ok(()) => Verdict::Held,
        Err(_) => Verdict::Done(Fate::HoldFull),
    }
}

/// Sends those whose first fragment has come, and drops those that waited too long.
pub(crate) fn release<P: Port>(view: View<'_>, own: &mut Own<P::Frame>, ports: &mut [P]) {
    let (counters, held) = (&own.counters, &mut own.held);
    let mut door = Door {
        alone: &mut own.alone,
        counters,
        sessions: &mut own.sessions,
        exchange: own.exchange.as_deref(),
    };
    own.fragments.release(view.now, |it, toward| {
        let Some(toward) = toward else {
            return counters.fate(Fate::FragmentUnknown, 1);
        };
        match send_alone(it.frame, toward, it.came_by, view, &mut door, ports) {
            Left::Met(fate) => counters.fate(fate, 1),
            Left::Handed => {}
            Left::Unresolved(frame) => {
                let waiting = held::Waiting {
                    frame,
                    toward,
                    came_by: it.came_by,
                    extends: None,
                    since: view.now,
                };
                if held.hold(waiting).is_err() {
                    counters.fate(Fate::HoldFull, 1);
                }
            }
        }
    });
    own.count_held();
}

/// Whether a packet is addressed to the forwarder or a VIP, or a backend answers by it. Where the kernel has the
/// port too, it puts together itself what is addressed to the forwarder alone.
fn is_for_us(id: &FragmentId, has_kernel: bool, view: View<'_>) -> bool {
    let [source, destination] = id.addresses.map(|address| match (id.protocol, address) {
        (0, v6) => IpAddr::from(v6),
        (_, [a, b, c, d, ..]) => IpAddr::from([a, b, c, d]),
    });
    let stations = &view.tables.stations;
    if has_kernel && stations.is_own(destination) {
        return stations.is_vip(destination);
    }
    stations.is_ours(destination) || view.tables.answering.has(source)
}
