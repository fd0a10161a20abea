//! The settings that are one word of a few: each enum with its words in the file, in one place.

use std::fmt;

/// An enum whose variants are words of the configuration file.
pub(super) trait Word: Copy + 'static {
    /// Every variant, in the order they are offered.
    const ALL: &'static [Self];
    /// The variant as the file writes it.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($(#[$doc:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.word())
            }
        }
    )+};
}

words! {
    /// `workers.idle`: what a worker does when its queues are empty.
    pub enum Idle {
        /// Polls on: the lowest latency, a whole core.
        Poll = "poll",
        /// Yields to other threads: for machines with fewer cores than threads.
        Yield = "yield",
    }

    /// `service.protocol`: the transport protocol of a service.
    pub enum Protocol {
        /// TCP (RFC 9293).
        Tcp = "tcp",
        /// UDP (RFC 768).
        Udp = "udp",
    }

    /// `service.scheduler`: who gets a new flow that no affinity decides.
    pub enum Scheduler {
        /// Maglev's consistent hash of the 5-tuple (NSDI 2016, section 3.4).
        Maglev = "maglev",
        /// One after another.
        RoundRobin = "round-robin",
        /// One after another, in proportion to the weights.
        WeightedRoundRobin = "weighted-round-robin",
        /// The one with the fewest flows for its weight.
        LeastConnections = "least-connections",
        /// The one with fewer flows of two taken at random.
        PowerOfTwo = "power-of-two",
        /// A hash of the source address.
        SourceHash = "source-hash",
    }

    /// `service.forward`: how packets reach backends.
    pub enum Forward {
        /// Direct server return: only the MAC addresses change.
        Dsr = "dsr",
        /// IP in IP (RFC 2003, RFC 2473).
        Ipip = "ipip",
        /// Generic UDP encapsulation (draft-ietf-intarea-gue).
        Gue = "gue",
        /// Generic routing encapsulation (RFC 2784).
        Gre = "gre",
        /// The destination is rewritten; replies come back through here.
        Nat = "nat",
        /// Source and destination are rewritten.
        Fullnat = "fullnat",
    }

    /// `service.affinity.refresh`: what extends an affinity automatically (contract rule T2).
    pub enum Refresh {
        /// Every matching packet.
        Packet = "packet",
        /// Every matching new connection.
        Connection = "connection",
        /// Nothing.
        Never = "never",
    }

    /// `service.affinity.on_conflict`: what a start on another live backend's key does.
    pub enum OnConflict {
        /// It is refused.
        Reject = "reject",
        /// It takes the key over.
        Replace = "replace",
    }

    /// `service.affinity.on_backend_down`: what clients of a backend that is down get.
    pub enum OnBackendDown {
        /// The scheduler's choice.
        Balance = "balance",
        /// Nothing, until it is back.
        Drop = "drop",
    }

    /// `control.auth` as written; [`super::Auth`] when checked.
    pub(super) enum AuthWord {
        /// By certificate name.
        Mtls = "mtls",
        /// By source address.
        Address = "address",
    }

    /// `service.health.check` as written; [`super::Check`] when checked.
    pub(super) enum CheckWord {
        /// Connect.
        Tcp = "tcp",
        /// Connect and ask.
        Http = "http",
        /// No probes.
        None = "none",
    }
}
