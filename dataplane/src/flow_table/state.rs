//! What a worker remembers of one flow, in 32 bits, and how TCP changes it.
//!
//! ```text
//! [ state:3 | placement:2 | last seen, in seconds:13 | backend:14 ]
//! ```
//!
//! Only the client's side passes here (direct server return), so the states are what a client's
//! packets show (after RFC 9293 section 3.3.2).

use crate::{
    clock::Millis,
    key::Protocol,
    limits,
    tables::id::BackendId,
    wire::tcp::{ACK, FIN, RST, SYN},
};

const BACKEND_BITS: u32 = 14;
const TICK_BITS: u32 = 13;
const PLACEMENT_SHIFT: u32 = BACKEND_BITS + TICK_BITS;
const STATE_SHIFT: u32 = PLACEMENT_SHIFT + 2;
const BACKEND_MASK: u32 = (1 << BACKEND_BITS) - 1;
const TICK_MASK: u32 = (1 << TICK_BITS) - 1;

const _: () = assert!(limits::BACKENDS == 1 << BACKEND_BITS);
const _: () = assert!(STATE_SHIFT + 3 == 32);
const _: () = assert!(State::UdpHalfOpen as u32 & 3 == State::TcpHalfOpen as u32);

/// The shortest time for which any flow is remembered, in seconds.
pub(crate) const SHORTEST_S: u32 = 1;
/// How long a half-open flow is remembered, in seconds: longer than the pause between a client's
/// first SYNs (1, 2, 4, 8, 16 s: RFC 6298).
const HALF_OPEN_S: u32 = 30;
/// After the client's FIN.
const CLOSING_S: u32 = 60;
/// After the client's RST.
const CLOSED_S: u32 = 10;

/// Seconds, modulo 2^13: a flow is swept away long before its age is ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to 13 bits")]
    pub(crate) fn at(now: Millis) -> Self {
        Self((now.0 / 1000) as u32 & TICK_MASK)
    }

    /// Seconds since `earlier`.
    #[inline]
    pub(crate) fn since(self, earlier: Tick) -> u32 {
        self.0.wrapping_sub(earlier.0) & TICK_MASK
    }
}

/// Who chose the flow's backend, and whether its packets extend an affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Placement {
    /// The scheduler.
    Scheduler = 0,
    /// An affinity that packets do not extend.
    Affinity = 1,
    /// An affinity that packets extend, looked at when the second changes.
    AffinityRefreshed = 2,
    /// An affinity so short that every packet looks.
    AffinityRefreshedOften = 3,
}

impl Placement {
    pub(crate) fn by_affinity(self) -> bool {
        self != Self::Scheduler
    }
}

/// The state bits. TCP's are 1 to 4, UDP's 5 and 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum State {
    Free = 0,
    /// A SYN was seen, or a first packet from the middle of a connection.
    TcpHalfOpen = 1,
    TcpEstablished = 2,
    TcpClosing = 3,
    TcpClosed = 4,
    /// One datagram was seen.
    UdpHalfOpen = 5,
    UdpEstablished = 6,
}

/// What nearly all flows are at a tick: established, and seen in it already. Another packet that neither
/// opens nor ends a connection changes nothing of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    tcp: u32,
    udp: u32,
}

impl Settled {
    pub(crate) fn at(now: Tick) -> Self {
        let seen = now.0 << BACKEND_BITS;
        Self {
            tcp: (State::TcpEstablished as u32) << STATE_SHIFT | seen,
            udp: (State::UdpEstablished as u32) << STATE_SHIFT | seen,
        }
    }
}

/// What a TCP header's flags mean for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpEvent {
    /// SYN without ACK: opens a connection.
    Syn,
    Fin,
    Rst,
    /// Anything else.
    Other,
}

impl TcpEvent {
    /// Whether flags open or end nothing, for sure; not of UDP, which has none, either.
    #[inline]
    pub(crate) fn is_other(flags: u8) -> bool {
        flags & (FIN | SYN | RST) == 0
    }

    /// From the flags octet (RFC 9293 section 3.1).
    #[inline]
    pub(crate) fn of(flags: u8) -> Self {
        if flags & RST != 0 {
            Self::Rst
        } else if flags & (SYN | ACK) == SYN {
            Self::Syn
        } else if flags & FIN != 0 {
            Self::Fin
        } else {
            Self::Other
        }
    }
}

/// One flow, or the mark of a free place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow(u32);

impl Flow {
    /// No flow.
    pub(crate) const FREE: Self = Self(0);

    /// A flow of which one packet was seen.
    pub(crate) fn opened(
        protocol: Protocol,
        backend: BackendId,
        placement: Placement,
        seen: Tick,
    ) -> Self {
        let state = match protocol {
            Protocol::Tcp => State::TcpHalfOpen,
            Protocol::Udp => State::UdpHalfOpen,
        };
        Self(
            (state as u32) << STATE_SHIFT
                | (placement as u32) << PLACEMENT_SHIFT
                | seen.0 << BACKEND_BITS
                | u32::from(backend.0),
        )
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The states of a protocol as a range of the whole word: its start and its length.
    #[inline]
    pub(crate) fn bits_of(protocol: Protocol) -> (u32, u32) {
        match protocol {
            Protocol::Tcp => ((State::TcpHalfOpen as u32) << STATE_SHIFT, 4 << STATE_SHIFT),
            Protocol::Udp => ((State::UdpHalfOpen as u32) << STATE_SHIFT, 2 << STATE_SHIFT),
        }
    }

    #[inline]
    fn state(self) -> State {
        match self.0 >> STATE_SHIFT {
            1 => State::TcpHalfOpen,
            2 => State::TcpEstablished,
            3 => State::TcpClosing,
            4 => State::TcpClosed,
            5 => State::UdpHalfOpen,
            6 => State::UdpEstablished,
            _ => State::Free,
        }
    }

    fn with(self, state: State) -> Self {
        Self(self.0 & !(7 << STATE_SHIFT) | (state as u32) << STATE_SHIFT)
    }

    #[inline]
    pub(crate) fn is_free(self) -> bool {
        self.0 >> STATE_SHIFT == 0
    }

    /// Whether it may be pushed out by a new flow.
    #[inline]
    pub(crate) fn is_half_open(self) -> bool {
        // The low bits of both half-open states, and of no other.
        self.0 >> STATE_SHIFT & 3 == State::TcpHalfOpen as u32
    }

    /// Whether it was seen so lately that it cannot have timed out.
    #[inline]
    pub(crate) fn is_fresh(self, now: Tick) -> bool {
        now.since(self.seen()) <= SHORTEST_S
    }

    /// Whether its place is free, or the flow may have timed out.
    #[inline]
    pub(crate) fn is_doubtful(self, now: Tick) -> bool {
        self.is_free() | !self.is_fresh(now)
    }

    /// How readily the flow in one of sixteen seats gives way to a new one: 0 for never, else the more the
    /// longer it was not seen, and then the lower the seat is: new flows are to be near home.
    #[inline]
    pub(crate) fn eviction(self, now: Tick, seat: i32) -> i32 {
        let rank = (now.since(self.seen()).cast_signed() << 4 | (15 - seat)) + 1;
        if self.is_half_open() { rank } else { 0 }
    }

    /// The seat in such a rank, if it is not that of one which never gives way.
    pub(crate) fn seat_of(rank: i32) -> Option<usize> {
        let seat = usize::try_from(rank - 1).ok()?;
        Some(15 - (seat & 15))
    }

    /// Whether a SYN would open another connection with the same 5-tuple.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        matches!(self.state(), State::TcpClosing | State::TcpClosed)
    }

    /// TCP or UDP; a free place has neither.
    pub(crate) fn protocol(self) -> Option<Protocol> {
        match self.state() {
            State::Free => None,
            State::UdpHalfOpen | State::UdpEstablished => Some(Protocol::Udp),
            _ => Some(Protocol::Tcp),
        }
    }

    /// The state's name for an operator.
    pub(crate) fn state_name(self) -> &'static str {
        match self.state() {
            State::Free => "free",
            State::TcpHalfOpen | State::UdpHalfOpen => "half_open",
            State::TcpEstablished | State::UdpEstablished => "established",
            State::TcpClosing => "closing",
            State::TcpClosed => "closed",
        }
    }

    #[inline]
    pub(crate) fn backend(self) -> BackendId {
        BackendId((self.0 & BACKEND_MASK) as u16)
    }

    #[inline]
    pub(crate) fn seen(self) -> Tick {
        Tick(self.0 >> BACKEND_BITS & TICK_MASK)
    }

    #[inline]
    pub(crate) fn placement(self) -> Placement {
        match self.0 >> PLACEMENT_SHIFT & 3 {
            0 => Placement::Scheduler,
            1 => Placement::Affinity,
            2 => Placement::AffinityRefreshed,
            _ => Placement::AffinityRefreshedOften,
        }
    }

    /// Whether an ordinary packet of this protocol leaves it as it is, and has no affinity to extend.
    #[inline]
    pub(crate) fn is_settled(self, protocol: Protocol, at: Settled) -> bool {
        const MASK: u32 = 7 << STATE_SHIFT | TICK_MASK << BACKEND_BITS;
        const OFTEN: u32 = (Placement::AffinityRefreshedOften as u32) << PLACEMENT_SHIFT;
        let settled = match protocol {
            Protocol::Tcp => at.tcp,
            Protocol::Udp => at.udp,
        };
        (self.0 ^ settled) & MASK == 0 && self.0 & OFTEN != OFTEN
    }

    /// The flow after another packet.
    #[inline]
    pub(crate) fn after(self, event: TcpEvent, now: Tick) -> Self {
        let is_steady = matches!(self.state(), State::TcpEstablished | State::UdpEstablished);
        if is_steady && event == TcpEvent::Other && self.seen() == now {
            return self;
        }
        self.after_change(event, now)
    }

    /// As [`Self::after`], of a flow that goes over into something else.
    fn after_change(self, event: TcpEvent, now: Tick) -> Self {
        let seen = Self(self.0 & !(TICK_MASK << BACKEND_BITS) | now.0 << BACKEND_BITS);
        seen.with(next(self.state(), event))
    }

    /// How long it is remembered after its last packet, in seconds.
    pub(crate) fn timeout_s(self, flow_timeout_s: u32) -> u32 {
        match self.state() {
            State::Free => 0,
            State::TcpHalfOpen | State::UdpHalfOpen => HALF_OPEN_S.min(flow_timeout_s),
            State::TcpEstablished | State::UdpEstablished => flow_timeout_s,
            State::TcpClosing => CLOSING_S.min(flow_timeout_s),
            State::TcpClosed => CLOSED_S.min(flow_timeout_s),
        }
    }
}

/// A client that goes on after its RST did not send it: a forged one ends nothing.
fn next(state: State, event: TcpEvent) -> State {
    match (state, event) {
        (State::Free, _) => State::Free,
        (State::UdpHalfOpen | State::UdpEstablished, _) => State::UdpEstablished,
        (_, TcpEvent::Rst) => State::TcpClosed,
        (_, TcpEvent::Fin) | (State::TcpClosing, TcpEvent::Other) => State::TcpClosing,
        (state, TcpEvent::Syn) => state,
        (State::TcpHalfOpen | State::TcpEstablished | State::TcpClosed, TcpEvent::Other) => {
            State::TcpEstablished
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Flow {
        Flow::opened(
            Protocol::Tcp,
            BackendId(16_383),
            Placement::AffinityRefreshed,
            Tick(8191),
        )
    }

    #[test]
    fn every_field_keeps_its_own() {
        let flow = tcp().after(TcpEvent::Other, Tick(5));
        assert_eq!(flow.backend(), BackendId(16_383));
        assert_eq!(flow.placement(), Placement::AffinityRefreshed);
        assert_eq!(flow.seen(), Tick(5));
        assert_eq!(flow.state_name(), "established");
        assert_eq!(flow.protocol(), Some(Protocol::Tcp));
    }

    /// What is settled is what `after` leaves as it is, but where every packet extends an affinity.
    #[test]
    fn of_a_settled_flow_an_ordinary_packet_changes_nothing() {
        use Placement::{Affinity, AffinityRefreshed, AffinityRefreshedOften, Scheduler};
        let placements = [
            Scheduler,
            Affinity,
            AffinityRefreshed,
            AffinityRefreshedOften,
        ];
        let (now, later) = (Settled::at(Tick(9)), Settled::at(Tick(10)));
        for (state, placement) in (0..=7).flat_map(|it| placements.map(|by| (it, by))) {
            let bits = (placement as u32) << PLACEMENT_SHIFT | 9 << BACKEND_BITS | 5;
            let flow = Flow::from_bits(state << STATE_SHIFT | bits);
            for (protocol, established) in [
                (Protocol::Tcp, State::TcpEstablished),
                (Protocol::Udp, State::UdpEstablished),
            ] {
                let expected = flow.state() == established && placement != AffinityRefreshedOften;
                assert_eq!(flow.is_settled(protocol, now), expected, "{flow:?}");
                assert!(!flow.is_settled(protocol, later));
                assert!(!expected || flow.after(TcpEvent::Other, Tick(9)) == flow);
            }
        }
    }

    #[test]
    fn two_of_the_states_are_half_open() {
        for state in 0..=7 {
            let flow = Flow::from_bits(state << STATE_SHIFT | 0x1234);
            let expected = matches!(flow.state(), State::TcpHalfOpen | State::UdpHalfOpen);
            assert_eq!(flow.is_half_open(), expected, "{state}");
        }
    }

    #[test]
    fn a_connection_from_its_syn_to_its_end() {
        let names = [
            TcpEvent::Syn,
            TcpEvent::Other,
            TcpEvent::Syn,
            TcpEvent::Fin,
            TcpEvent::Other,
        ]
        .into_iter()
        .scan(tcp(), |flow, event| {
            *flow = flow.after(event, Tick(0));
            Some(flow.state_name())
        });
        let expected = [
            "half_open",
            "established",
            "established",
            "closing",
            "closing",
        ];
        assert!(names.eq(expected));
    }

    #[test]
    fn a_forged_rst_ends_nothing() {
        let reset = tcp()
            .after(TcpEvent::Other, Tick(0))
            .after(TcpEvent::Rst, Tick(0));
        assert_eq!(reset.state_name(), "closed");
        assert_eq!(
            reset.after(TcpEvent::Other, Tick(0)).state_name(),
            "established"
        );
    }

    #[test]
    fn age_is_counted_over_the_wrap() {
        assert_eq!(Tick(3).since(Tick(8190)), 5);
        assert_eq!(Tick::at(Millis(8192 * 1000 + 7_999)), Tick(7));
    }

    #[test]
    fn timeouts_are_by_state_and_never_above_the_service() {
        let flow = tcp();
        assert_eq!(flow.timeout_s(300), 30);
        assert_eq!(flow.timeout_s(5), 5);
        assert_eq!(flow.after(TcpEvent::Other, Tick(0)).timeout_s(300), 300);
        assert_eq!(flow.after(TcpEvent::Fin, Tick(0)).timeout_s(300), 60);
        assert_eq!(flow.after(TcpEvent::Rst, Tick(0)).timeout_s(300), 10);
    }

    #[test]
    fn flags_tell_the_event() {
        assert_eq!(TcpEvent::of(0x02), TcpEvent::Syn);
        assert_eq!(TcpEvent::of(0xc2), TcpEvent::Syn);
        assert_eq!(TcpEvent::of(0x12), TcpEvent::Other);
        assert_eq!(TcpEvent::of(0x14), TcpEvent::Rst);
        assert_eq!(TcpEvent::of(0x11), TcpEvent::Fin);
        assert_eq!(TcpEvent::of(0x18), TcpEvent::Other);
    }
}
