//! What becomes of a packet: every packet has exactly one fate.
//!
//! One list makes the enum, the counter's index, the metric's name and the text that an operator
//! reads. Received = the sum of fates + the packets still held, always.

macro_rules! fates {
    ($($variant:ident $name:literal $text:literal;)+) => {
        /// The one fate of a received packet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Fate {
            $(#[doc = $text] $variant,)+
        }

        impl Fate {
            /// Every fate, in the order of its counter.
            pub const ALL: &'static [Fate] = &[$(Fate::$variant,)+];
            /// How many fates there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in counters, metrics and JSON: lower case with underscores.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Fate::$variant => $name,)+ }
            }

            /// One sentence for the operator.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Fate::$variant => $text,)+ }
            }
        }
    };
}

fates! {
    Forwarded "forwarded" "sent to a backend";
    Returned "returned" "a backend's answer through NAT or full NAT, sent to its client";
    Answered "answered" "answered by the forwarder itself (ARP, NDP, ping)";
    Learned "learned" "an answer to the forwarder's own ARP or NDP question";
    ToKernel "to_kernel" "not for the forwarder, passed on to the kernel of this host";
    FromKernel "from_kernel" "sent by the kernel of this host, out by its port";
    FrameTruncated "frame_truncated" "shorter than its Ethernet header";
    FrameSegmented "frame_segmented" "a frame in several segments, which this path does not take";
    OtherMac "other_mac" "addressed to another station's MAC address";
    BadVlan "bad_vlan" "not tagged with the VLAN of the port";
    UnknownEthertype "unknown_ethertype" "neither IPv4, IPv6 nor ARP";
    ArpMalformed "arp_malformed" "ARP that is truncated, from no station or not for IPv4 over Ethernet";
    ArpNotOurs "arp_not_ours" "ARP about an address that is not the forwarder's";
    Ipv4Malformed "ipv4_malformed" "IPv4 header truncated, or its version or lengths wrong";
    Ipv4Checksum "ipv4_checksum" "IPv4 header checksum wrong";
    Ipv4Options "ipv4_options" "IPv4 options that are malformed, or name the route of the packet";
    Ipv6Malformed "ipv6_malformed" "IPv6 header truncated, or its version or lengths wrong";
    Ipv6Extensions "ipv6_extensions" "IPv6 extension headers malformed, or more than are followed";
    Fragment "fragment" "a fragment of neither TCP nor UDP";
    FragmentMalformed "fragment_malformed" "a fragment that no stack makes: empty, too long, or over the TCP header";
    FragmentUnknown "fragment_unknown" "a later fragment whose first fragment did not come in time";
    UnknownProtocol "unknown_protocol" "neither TCP, UDP nor ICMP";
    TcpMalformed "tcp_malformed" "TCP header truncated or its data offset wrong";
    TcpFlags "tcp_flags" "TCP flags that no stack sends together";
    UdpMalformed "udp_malformed" "UDP header truncated or its length wrong";
    IcmpMalformed "icmp_malformed" "ICMP message truncated or its checksum wrong";
    IcmpUnhandled "icmp_unhandled" "an ICMP message that the forwarder has no use for";
    IcmpNoFlow "icmp_no_flow" "an ICMP error about a packet of no flow or affinity that is known";
    PathMtu "path_mtu" "an ICMP error that says how long packets through a tunnel may be";
    TunnelError "tunnel_error" "another ICMP error about a packet through a tunnel, which did not arrive";
    NdpMalformed "ndp_malformed" "NDP message truncated, off-link or with bad options";
    NdpNotOurs "ndp_not_ours" "NDP about an address that is not the forwarder's";
    AddressConflict "address_conflict" "ARP or NDP of a station that claims an address of the forwarder";
    BadSource "bad_source" "a source address or port that nobody may send from";
    NoService "no_service" "no service at this protocol, address and port";
    DeniedSource "denied_source" "a client that the service's allow and deny lists refuse";
    ServiceRate "service_rate" "more new flows than the service takes in a second";
    SourceRate "source_rate" "more new flows than the service takes of one source in a second";
    NoBackend "no_backend" "the service has no backend that takes new flows";
    BackendDown "backend_down" "its backend is down and the service says drop";
    NoLocalPort "no_local_port" "a new flow through full NAT, and no local port of the pool is free";
    NoSession "no_session" "to or from a backend through full NAT, of no flow that is known and none that could begin with it";
    FamilyFragment "family_fragment" "a fragment between IPv4 and IPv6, which full NAT does not translate";
    FamilyIcmp "family_icmp" "an ICMP error that means nothing in the other family, between IPv4 and IPv6";
    HandoffFull "handoff_full" "of another worker's flow, and too many packets wait for that worker";
    NeighbourUnresolved "neighbour_unresolved" "the backend's MAC address could not be resolved in time";
    HoldFull "hold_full" "too many packets already wait, for that MAC address or for their first fragments";
    NoRoom "no_room" "no room in the frame's buffer for what had to be added";
    PacketTooBig "packet_too_big" "too big for the MTU of the port, with its tunnel's header or through NAT; its sender is told";
    OutOfHops "out_of_hops" "its time to live ended on the way through NAT";
    ProxySegment "proxy_segment" "a fragment that needs a PROXY header before it, or a segment that would stand in its place";
    TransmitFull "transmit_full" "the port's transmit queue was full";
    KernelRateLimited "kernel_rate_limited" "for the kernel of this host, more than the port lets pass in a second";
    KernelRefused "kernel_refused" "for the kernel of this host, whose interface is down or has a smaller MTU";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_indexed_in_order() {
        for (index, fate) in Fate::ALL.iter().enumerate() {
            assert_eq!(*fate as usize, index);
            let same = Fate::ALL.iter().filter(|f| f.name() == fate.name());
            assert_eq!(same.count(), 1, "{}", fate.name());
        }
    }
}
