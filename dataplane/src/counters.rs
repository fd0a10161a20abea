//! What a worker counts: plain additions to counters of its own, committed once a step to those that
//! are read from elsewhere at any time.

use crate::{fate::Fate, limits, tables::id::BackendId};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering, fence},
};

/// A count with one writer: an addition is a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn subtract(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_sub(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident $text:literal;)+) => {
        /// A worker's counters, with their fates.
        #[derive(Debug)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            /// Odd while they are being changed.
            sequence: AtomicU64,
            fates: [Counter; Fate::COUNT],
            backend_flows: Arc<[Counter]>,
            $(#[doc = $text] pub(crate) $name: Counter,)+
        }

        /// All of a worker's counters at one moment between two steps.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct CountersView {
            /// Packets by fate, in the order of [`Fate::ALL`].
            pub fates: Vec<u64>,
            $(#[doc = $text] pub $name: u64,)+
        }

        impl Counters {
            /// The counters that others read.
            pub(crate) fn new() -> Self {
                Self::with((0..limits::BACKENDS).map(|_| Counter::default()).collect())
            }

            fn with(backend_flows: Arc<[Counter]>) -> Self {
                Self {
                    sequence: AtomicU64::new(0),
                    fates: std::array::from_fn(|_| Counter::default()),
                    backend_flows,
                    $($name: Counter::default(),)+
                }
            }

            /// Makes `shared` the same as these, in one short piece of work: whoever reads them sees
            /// all of a step or none of it. Flows of backends are shared at once.
            pub(crate) fn commit(&self, shared: &Self) {
                shared.begin();
                for (shared, own) in shared.fates.iter().zip(&self.fates) {
                    shared.set(own.get());
                }
                $(shared.$name.set(self.$name.get());)+
                shared.end();
            }

            fn read(&self) -> CountersView {
                CountersView {
                    fates: self.fates.iter().map(Counter::get).collect(),
                    $($name: self.$name.get(),)+
                }
            }
        }

        impl CountersView {
            /// The counters other than fates, by name.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

counters! {
    received "packets taken from the ports";
    held "packets that wait now, for a MAC address or for their first fragment";
    originated "packets made by the forwarder itself: ARP, NDP, and answers sent in place of a request";
    told_too_big "ICMP errors to clients whose packets were too big for a tunnel; also originated";
    received_bytes "bytes of the packets taken from the ports";
    forwarded_bytes "bytes of the packets rewritten for backends, and through NAT for their clients";
    flows_by_affinity "new flows placed by an affinity";
    flows_by_scheduler "new flows placed by the scheduler";
    fallback_down "new flows whose affinity's owner was down";
    fallback_disabled "new flows whose affinity's owner was disabled";
    fallback_removed "new flows whose affinity's owner was removed";
    flows_moved "flows whose backend went down or away, placed again";
    flows_unremembered "new flows for which the table had no place";
    flows_evicted "half-open flows that gave their place to a new one";
    flows_expired "flows that timed out";
    flows "flows that are remembered now";
    flow_places "flows that there is room for";
    local_ports_used "local ports of full NAT that flows have now";
    local_ports "local ports of full NAT that there are";
    taken_over "packets that another worker had received, counted where they were taken over";
    refreshes "times that a packet of a flow looked to extend its affinity";
    neighbours_learned "answers of neighbours that were of use";
    busy_cycles "cycles of the time-stamp counter in turns in which packets were received";
    idle_cycles "cycles of the time-stamp counter in the other turns";
    steps "turns of the loop";
    busy_steps "turns in which packets were received";
}

/// How often a reader tries for a moment between two steps before it takes what it has.
const TRIES: usize = 10_000;

impl Counters {
    /// Counters of a worker's own, to be committed to these.
    pub(crate) fn of_worker(&self) -> Self {
        Self::with(Arc::clone(&self.backend_flows))
    }

    /// They begin to change.
    fn begin(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// They have changed: received is the sum of fates and held again.
    fn end(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Release);
    }

    #[inline]
    pub(crate) fn fate(&self, fate: Fate, packets: u64) {
        self.fates[fate as usize].add(packets);
    }

    /// Live flows of one backend.
    #[inline]
    pub(crate) fn backend_flows(&self, backend: BackendId) -> &Counter {
        &self.backend_flows[backend.index() & (limits::BACKENDS - 1)]
    }

    /// The counters at a moment between two steps.
    pub(crate) fn view(&self) -> CountersView {
        for _ in 0..TRIES {
            let before = self.sequence.load(Ordering::Acquire);
            let view = self.read();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.sequence.load(Ordering::Relaxed) {
                return view;
            }
            std::hint::spin_loop();
        }
        self.read()
    }
}

impl CountersView {
    /// Packets of one fate.
    #[must_use]
    pub fn fate(&self, fate: Fate) -> u64 {
        self.fates.get(fate as usize).copied().unwrap_or_default()
    }

    /// Whether every packet is accounted for: received = the sum of fates + held.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.received == self.fates.iter().sum::<u64>() + self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_counter_has_the_name_of_a_fate() {
        for (name, _) in CountersView::default().named() {
            assert!(Fate::ALL.iter().all(|fate| fate.name() != name), "{name}");
        }
    }
}
