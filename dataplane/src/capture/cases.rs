//! For tests: frames of all kinds among a few addresses and ports, and filters that ask for those.

use super::{Direction, Filter, Term, Test};
use crate::{samples::*, wire::ethernet};
use etherparse::Ipv6Extensions;
use proptest::{collection::vec, prelude::*, sample::Index};

/// They differ from the first one in their first bytes, in their last ones, and in all.
pub(crate) const ADDRESSES4: [[u8; 4]; 4] = [CLIENT4, [193, 0, 2, 11], [192, 0, 2, 10], OURS4];
pub(crate) const ADDRESSES6: [[u8; 16]; 5] = [
    CLIENT6,
    with(CLIENT6, 0, 0x21),
    with(CLIENT6, 7, 1),
    with(CLIENT6, 15, 0x10),
    OURS6,
];
/// The last one is the one before in the other order of bytes.
const PORTS: [u16; 4] = [40000, 53, 80, 80 << 8];

const fn with(mut address: [u8; 16], place: usize, byte: u8) -> [u8; 16] {
    address[place] = byte;
    address
}

/// A filter of a few terms.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let term = (test(), prop::bool::weighted(0.3));
    let term = term.prop_map(|(test, negated)| Term { negated, test });
    vec(term, 0..4).prop_map(Filter::new)
}

fn test() -> impl Strategy<Value = Test> {
    let address = || {
        prop_oneof![
            prop::sample::select(&ADDRESSES4[..]).prop_map(Into::into),
            prop::sample::select(&ADDRESSES6[..]).prop_map(Into::into),
        ]
    };
    // Where the addresses differ, and anywhere.
    let edges = prop::sample::select(vec![0, 7, 8, 31, 32, 63, 64, 127, 128]);
    let length = prop_oneof![3 => edges, 1 => any::<u8>()];
    prop_oneof![
        2 => Just(Test::Tcp),
        2 => Just(Test::Udp),
        1 => Just(Test::Icmp),
        1 => Just(Test::Arp),
        3 => address().prop_map(Test::Host),
        2 => address().prop_map(Test::Source),
        2 => address().prop_map(Test::Destination),
        3 => (address(), length).prop_map(|(address, length)| Test::Net(address, length)),
        3 => prop::sample::select(&PORTS[..]).prop_map(Test::Port),
        1 => Just(Test::Dropped),
        1 => Just(Test::Direction(Direction::In)),
    ]
}

/// Addresses by their numbers, and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) from: Index,
    pub(crate) to: Index,
    pub(crate) ports: (u16, u16),
}

pub(crate) fn ends() -> impl Strategy<Value = Ends> {
    let port = || prop::sample::select(&PORTS[..]);
    let ends = (any::<Index>(), any::<Index>(), (port(), port()));
    ends.prop_map(|(from, to, ports)| Ends { from, to, ports })
}

/// A frame as it should be, or a spoilt one: with bytes written over, padded, cut, tagged.
pub(crate) fn frame() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop_oneof![2 => Just(Vec::new()), 1 => vec(any::<(Index, u8)>(), 1..4)];
    let tag = prop::option::weighted(0.3, prop::sample::select(vec![0, VLAN, 7]));
    let cut = prop::option::weighted(0.1, any::<Index>());
    let whole = prop_oneof![8 => sound(), 1 => garbage()];
    (whole, changes, any::<bool>(), 0..20_usize, tag, cut).prop_map(
        |(mut frame, changes, sums, padding, tag, cut)| {
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            if sums && frame[12..14] == ethernet::IPV4.to_be_bytes() && frame[14] >> 4 == 4 {
                frame = summed(frame);
            }
            frame.resize(frame.len() + padding, 0);
            if let Some(vid) = tag {
                frame = tagged(frame, vid);
            }
            if let Some(at) = cut {
                frame.truncate(at.index(frame.len()));
            }
            frame
        },
    )
}

/// A frame as nearly all are, or the same of IPv6.
pub(crate) fn usual(is_v4: bool) -> impl Strategy<Value = Vec<u8>> {
    ends().prop_map(move |ends| {
        if is_v4 {
            ends.write4(tcp4(), Some(34))
        } else {
            ends.write6(tcp6(), Some(54))
        }
    })
}

/// With the checksum of its header right, if it has a whole one.
fn summed(frame: Vec<u8>) -> Vec<u8> {
    let header_len = usize::from(frame[14] & 15) * 4;
    if header_len < 20 || frame.len() < 14 + header_len {
        return frame;
    }
    summed4(frame)
}

fn sound() -> impl Strategy<Value = Vec<u8>> {
    (0..15_u8, ends()).prop_map(|(kind, ends)| match kind {
        0..=2 => ends.write4(tcp4(), Some(34)),
        3 => ends.write4(udp4(), Some(34)),
        4 => ends.write4(options4(), Some(42)),
        5 => ends.write4(part4(true), Some(34)),
        6 => ends.write4(part4(false), None),
        7 => ends.write4(error4(), None),
        8 => ends.write6(tcp6(), Some(54)),
        9 => ends.write6(udp6(), Some(54)),
        10 => ends.write6(extensions6(), Some(78)),
        11 => ends.write6(part6(0), Some(62)),
        12 => ends.write6(part6(1), None),
        13 => ends.write6(error6(), None),
        _ => ends.arp(),
    })
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let ethertypes = [ethernet::IPV4, ethernet::IPV6, ethernet::ARP, 0x88cc];
    let ethertype = prop::sample::select(ethertypes.map(u16::to_be_bytes).to_vec());
    let first = prop_oneof![Just(0x45), Just(0x60), any::<u8>()];
    (ethertype, first, vec(any::<u8>(), 0..80)).prop_map(|(ethertype, first, rest)| {
        [&OUR_MAC.0[..], &[2; 6], &ethertype, &[first], &rest].concat()
    })
}

/// The first or the last part of a UDP packet over IPv4.
fn part4(is_first: bool) -> Vec<u8> {
    let frame = written(|out| ip4().udp(40000, 53).write(out, &[0; 16]));
    let fragment = if is_first { [0x20, 0] } else { [0, 3] };
    // A first part is shorter than its packet.
    patched(patched(frame, 20, &fragment), 38, &[0, 99])
}

/// The part of a UDP packet over IPv6 at so many times eight bytes.
fn part6(offset: u16) -> Vec<u8> {
    let extensions = Ipv6Extensions {
        fragment: Some(fragment6(offset, offset == 0)),
        ..Default::default()
    };
    let frame = written(|out| ip6(extensions).udp(40000, 53).write(out, &[0; 16]));
    patched(frame, 66, &[0, 99])
}

/// A port is unreachable.
fn error4() -> Vec<u8> {
    written(|out| ip4().icmpv4_raw(3, 3, [0; 4]).write(out, &tcp4()[14..]))
}

fn error6() -> Vec<u8> {
    let network = ip6(Ipv6Extensions::default());
    written(|out| network.icmpv6_raw(1, 4, [0; 4]).write(out, &tcp6()[14..]))
}

impl Ends {
    /// Writes them into a frame of IPv4, the ports where they are to be.
    pub(crate) fn write4(self, frame: Vec<u8>, ports: Option<usize>) -> Vec<u8> {
        let [from, to] = [self.from, self.to].map(|it| *it.get(&ADDRESSES4));
        let frame = patched(frame, 26, &[from, to].concat());
        summed4(self.write_ports(frame, ports))
    }

    /// The same of IPv6.
    pub(crate) fn write6(self, frame: Vec<u8>, ports: Option<usize>) -> Vec<u8> {
        let [from, to] = [self.from, self.to].map(|it| *it.get(&ADDRESSES6));
        self.write_ports(patched(frame, 22, &[from, to].concat()), ports)
    }

    fn write_ports(self, frame: Vec<u8>, at: Option<usize>) -> Vec<u8> {
        let bytes = [self.ports.0, self.ports.1].map(u16::to_be_bytes).concat();
        at.map_or(frame.clone(), |at| patched(frame, at, &bytes))
    }

    /// One asks for the MAC address of the other.
    fn arp(self) -> Vec<u8> {
        let [from, to] = [self.from, self.to].map(|it| *it.get(&ADDRESSES4));
        let link = [&[0xff; 6][..], &NEIGHBOUR_MAC.0, &[8, 6]];
        let head = [0, 1, 8, 0, 6, 4, 0, 1];
        let rest = [&head[..], &NEIGHBOUR_MAC.0, &from, &[0; 6], &to];
        [link.concat(), rest.concat()].concat()
    }
}
