//! What a backend assembles, whatever the client's segments go through; checksums by `etherparse`.

use super::*;
use crate::{
    port::memory::{MemoryFrame, Pool},
    samples::{ip4, ip6},
};
use etherparse::{
    Ipv6Extensions, NetHeaders, PacketBuilderStep, PacketHeaders, TcpHeader, TcpOptionElement,
    TransportHeader,
};
use proptest::{collection::vec, prelude::*};
use std::sync::Arc;

const MTU: u16 = 1500;

fn network(is_v4: bool) -> PacketBuilderStep<etherparse::IpHeaders> {
    if is_v4 {
        ip4()
    } else {
        ip6(Ipv6Extensions::default())
    }
}

fn ends_of(is_v4: bool) -> (SocketAddr, SocketAddr) {
    let (client, service) = if is_v4 {
        ("192.0.2.11:40000", "203.0.113.80:80")
    } else {
        ("[2001:db8::11]:40000", "[2001:db8::8080]:80")
    };
    (client.parse().unwrap(), service.parse().unwrap())
}

fn header_of(is_v4: bool) -> Vec<u8> {
    let (client, service) = ends_of(is_v4);
    proxy_header(client, service).to_vec()
}

fn frame(is_v4: bool, tcp: &TcpHeader, payload: &[u8]) -> MemoryFrame {
    let mut bytes = Vec::new();
    let written = network(is_v4).tcp_header(tcp.clone());
    written.write(&mut bytes, payload).unwrap();
    MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes).unwrap()
}

/// Header and payload of a frame that is whole.
fn read(frame: &MemoryFrame) -> (TcpHeader, Vec<u8>) {
    let packet = PacketHeaders::from_ethernet_slice(frame.bytes()).unwrap();
    let (payload, Some(TransportHeader::Tcp(tcp))) = (packet.payload.slice(), packet.transport)
    else {
        panic!("no TCP")
    };
    let sum = match packet.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            tcp.calc_checksum_ipv4(&ip, payload)
        }
        NetHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(&ip, payload),
        NetHeaders::Arp(_) => panic!("no IP"),
    };
    let sum = sum.unwrap();
    // 0 and all ones are the same sum.
    assert_eq!(tcp.checksum % 0xffff, sum % 0xffff);
    (tcp, payload.to_vec())
}

fn segment(sequence: u32) -> TcpHeader {
    let mut tcp = TcpHeader::new(40000, 80, sequence, 512);
    (tcp.ack, tcp.acknowledgment_number) = (true, 77);
    tcp
}

/// One connection between a client, the forwarder and a backend.
struct Connection {
    is_v4: bool,
    syn: u32,
    header: Vec<u8>,
    data: Vec<u8>,
    stream: Option<Stream>,
    /// What the backend has, by its place after the SYN.
    received: Vec<bool>,
}

impl Connection {
    /// After the backend's SYN-ACK.
    fn new(is_v4: bool, syn: u32, data: Vec<u8>) -> Self {
        let header = header_of(is_v4);
        let mut connection = Self {
            is_v4,
            syn,
            received: vec![false; header.len() + data.len()],
            header,
            data,
            stream: None,
        };
        connection.syn_acks();
        connection
    }

    fn len(&self) -> u16 {
        u16::try_from(self.header.len()).unwrap()
    }

    fn taken(&self) -> bool {
        self.stream.is_some_and(|it| it.taken)
    }

    /// The backend answers the SYN, perhaps again.
    fn syn_acks(&mut self) {
        let mut tcp = segment(7);
        (tcp.syn, tcp.acknowledgment_number) = (true, self.number(0));
        let mut answer = frame(self.is_v4, &tcp, b"");
        let before = answer.bytes().to_vec();
        self.stream = self.relayed(&mut answer);
        assert_eq!(answer.bytes(), before);
    }

    fn relayed(&self, answer: &mut MemoryFrame) -> Option<Stream> {
        to_client(answer, self.stream, Some(self.len()))
    }

    fn number(&self, place: usize) -> u32 {
        let place = u32::try_from(place).unwrap();
        self.syn.wrapping_add(1).wrapping_add(place)
    }

    /// The client sends so many bytes of its data from there, with its SYN or later.
    fn sends(&mut self, from: usize, len: usize, is_syn: bool) {
        let from = if is_syn { 0 } else { from.min(self.data.len()) };
        let payload = self.data[from..(from + len).min(self.data.len())].to_vec();
        let mut tcp = segment(self.number(from));
        if is_syn {
            (tcp.syn, tcp.ack, tcp.sequence_number) = (true, false, self.syn);
        }
        let mut sent = frame(self.is_v4, &tcp, &payload);
        to_backend(&mut sent, ends_of(self.is_v4), self.stream, MTU).unwrap();
        self.receives(&sent);
    }

    fn receives(&mut self, sent: &MemoryFrame) {
        let (tcp, payload) = read(sent);
        let first = tcp.sequence_number.wrapping_add(tcp.syn.into());
        let at = first.wrapping_sub(self.number(0)) as usize;
        let all = [&self.header[..], &self.data].concat();
        assert_eq!(payload[..], all[at..at + payload.len()]);
        self.received[at..at + payload.len()].fill(true);
    }

    /// The backend acknowledges what it has: the client takes it for what it has sent.
    fn answers(&mut self) {
        let all = self.received.iter();
        let next = all.take_while(|it| **it).count();
        let mut beyond = (next + 1..self.received.len()).filter(|at| self.received[*at]);
        let block = beyond.next().map(|at| (at, at + 1));
        let mut tcp = segment(1);
        tcp.acknowledgment_number = self.number(next);
        if let Some((from, to)) = block {
            let sack = (self.number(from), self.number(to));
            let options = [
                TcpOptionElement::Noop,
                TcpOptionElement::SelectiveAcknowledgement(sack, [None; 3]),
            ];
            tcp.set_options(&options).unwrap();
        }
        let mut answer = frame(self.is_v4, &tcp, b"answer");
        let was_taken = self.taken();
        self.stream = self.relayed(&mut answer);
        let has_header = next >= self.header.len();
        assert_eq!(self.taken(), was_taken || has_header);
        let (tcp, payload) = read(&answer);
        assert_eq!(payload, b"answer");
        let len = self.header.len();
        let back = |place: usize| self.number(place.saturating_sub(len));
        assert_eq!(tcp.acknowledgment_number, back(next));
        let sacks = tcp.options_iterator().find_map(|option| match option {
            Ok(TcpOptionElement::SelectiveAcknowledgement(sack, _)) => Some(sack),
            _ => None,
        });
        assert_eq!(sacks, block.map(|(from, to)| (back(from), back(to))));
    }
}

fn syns() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), u32::MAX - 300..=u32::MAX, Just(0)]
}

proptest! {
    /// Lost, repeated, cut anew, in any order, with data in the SYN or without: what the backend has is
    /// the header and then what the client sent, and the client sees its own bytes acknowledged.
    #[test]
    fn the_stream_is_the_header_and_the_clients_bytes(
        is_v4: bool, syn in syns(), data in vec(any::<u8>(), 0..200),
        steps in vec((0_usize..200, 0_usize..100, 0..20, any::<bool>()), 0..40),
    ) {
        let mut connection = Connection::new(is_v4, syn, data);
        for (from, len, kind, answers) in steps {
            connection.sends(from, len, kind == 0);
            if kind == 1 {
                connection.syn_acks();
            }
            if answers {
                connection.answers();
            }
        }
        let len = connection.data.len();
        connection.sends(0, len, false);
        connection.answers();
        prop_assert!(connection.taken());
        prop_assert!(connection.received.iter().all(|it| *it));
    }

    /// What no stack sends cannot stand where the header does, whatever its number.
    #[test]
    fn no_client_writes_the_header_itself(
        syn in syns(), before in prop_oneof![1_u32..220, 1..1_u32 << 31], payload in vec(any::<u8>(), 0..200), flags in 0..8_u8,
    ) {
        let connection = Connection::new(true, syn, Vec::new());
        let mut tcp = segment(connection.number(0).wrapping_sub(before));
        (tcp.fin, tcp.rst, tcp.psh) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        let mut sent = frame(true, &tcp, &payload);
        let untouched = sent.bytes().to_vec();
        let reaches = payload.len() > before as usize;
        match to_backend(&mut sent, ends_of(true), connection.stream, MTU) {
            Ok(()) => prop_assert!(!reaches && sent.bytes() == untouched),
            Err(unfit) => prop_assert_eq!((unfit, reaches), (NO_PLACE, true)),
        }
    }

    /// Only what was parsed comes here; whatever comes, nothing panics.
    #[test]
    fn any_bytes_are_moved_or_refused(
        mut bytes in vec(any::<u8>(), 0..200), version in prop::sample::select(vec![0x45_u8, 0x60]),
        start: u32, taken: bool, begun: bool, mtu in 0..1500_u16,
    ) {
        if let Some(packet) = bytes.get_mut(14..24) {
            packet[0] = version;
            packet[if version == 0x60 { 6 } else { 9 }] = 6;
        }
        let ends = ends_of(version == 0x45);
        let len = header_len(ends.0);
        let stream = begun.then_some(Stream { start, len, taken });
        let mut sent = MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes).unwrap();
        let done = to_backend(&mut sent, ends, stream, mtu);
        let grown = sent.bytes().len() - bytes.len();
        prop_assert!(grown == 0 || grown == usize::from(len) && done.is_ok());
        prop_assert!(done.is_ok() || sent.bytes() == bytes);
        let mut back = MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes).unwrap();
        let _ = to_client(&mut back, stream, Some(len));
        prop_assert_eq!(back.bytes().len(), bytes.len());
    }
}

/// The first segment, with these flags and urgent data, as the backend gets it.
fn first(change: impl FnOnce(&mut TcpHeader), payload: &[u8]) -> (TcpHeader, Vec<u8>) {
    let connection = Connection::new(true, 41, Vec::new());
    let mut tcp = segment(42);
    change(&mut tcp);
    let mut sent = frame(true, &tcp, payload);
    to_backend(&mut sent, ends_of(true), connection.stream, MTU).unwrap();
    read(&sent)
}

#[test]
fn a_fin_and_urgent_data_come_after_the_header() {
    let header = header_of(true);
    let (tcp, payload) = first(|tcp| tcp.fin = true, b"");
    assert_eq!(
        (tcp.fin, tcp.sequence_number, payload),
        (true, 42, header.clone())
    );
    let (tcp, payload) = first(|tcp| (tcp.urg, tcp.urgent_pointer) = (true, 1), b"!");
    assert_eq!(
        (tcp.urgent_pointer, payload),
        (29, [&header[..], b"!"].concat())
    );
}

#[test]
fn a_reset_is_where_the_backend_expects_it() {
    let rst = |ack: bool| move |tcp: &mut TcpHeader| (tcp.rst, tcp.ack) = (true, ack);
    // The client aborts, after the handshake that brought the header; or it refuses the SYN-ACK.
    assert_eq!(first(rst(true), b"").0.sequence_number, 42 + 28);
    assert_eq!(first(rst(false), b"").0.sequence_number, 42);
    let mut tcp = segment(42);
    rst(false)(&mut tcp);
    let mut sent = frame(true, &tcp, b"");
    to_backend(&mut sent, ends_of(true), Some(TAKEN), MTU).unwrap();
    assert_eq!(read(&sent).0.sequence_number, 42 + 28);
}

/// A stream from 42 on whose header has arrived.
const TAKEN: Stream = Stream {
    start: 42,
    len: 28,
    taken: true,
};

#[test]
fn numbers_wrap_as_often_as_they_like_once_the_header_is_taken() {
    for number in [42, 1 << 31, u32::MAX, 41, 0] {
        let mut sent = frame(true, &segment(number), b"data");
        to_backend(&mut sent, ends_of(true), Some(TAKEN), MTU).unwrap();
        let (tcp, payload) = read(&sent);
        assert_eq!(
            (tcp.sequence_number, payload),
            (number.wrapping_add(28), b"data".to_vec())
        );
        assert_eq!(TAKEN.back(number.wrapping_add(28)), number);
    }
}

#[test]
fn a_syn_ack_offers_room_for_the_header_and_acknowledges_the_syn() {
    for (mss, lowered) in [(1460, 1432), (536, 508), (70, 64), (50, 50)] {
        let connection = Connection::new(true, 41, Vec::new());
        let mut tcp = segment(7);
        (tcp.syn, tcp.acknowledgment_number) = (true, 42);
        tcp.set_options(&[TcpOptionElement::MaximumSegmentSize(mss)])
            .unwrap();
        let mut answer = frame(true, &tcp, b"");
        assert_eq!(connection.relayed(&mut answer), connection.stream);
        let (tcp, _) = read(&answer);
        assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (7, 42));
        let offered = tcp.options_iterator().next().unwrap().unwrap();
        assert_eq!(offered, TcpOptionElement::MaximumSegmentSize(lowered));
    }
}

#[test]
fn an_abort_acknowledges_what_the_client_sent() {
    let connection = Connection::new(true, 41, Vec::new());
    for (acknowledged, seen) in [
        (42, 42),
        (43, 42),
        (42 + 27, 42),
        (42 + 28, 42),
        (42 + 29, 43),
    ] {
        let mut tcp = segment(8);
        (tcp.rst, tcp.acknowledgment_number) = (true, acknowledged);
        let mut answer = frame(true, &tcp, b"");
        connection.relayed(&mut answer).unwrap();
        assert_eq!(
            read(&answer).0.acknowledgment_number,
            seen,
            "{acknowledged}"
        );
    }
}

/// A client that comes again by the same port, before the flow is forgotten.
#[test]
fn another_connection_begins_with_its_own_syn_ack() {
    let mut connection = Connection::new(true, 41, Vec::new());
    connection.stream = Some(TAKEN);
    // Refused: the reset acknowledges the new SYN.
    let mut tcp = segment(0);
    (tcp.rst, tcp.acknowledgment_number) = (true, 9001);
    let mut answer = frame(true, &tcp, b"");
    assert_eq!(connection.relayed(&mut answer), Some(TAKEN));
    assert_eq!(read(&answer).0.acknowledgment_number, 9001);
    // Taken: numbers are counted from there. The same again may be another connection's, whose client has
    // chosen the same number: nothing of it is taken until its backend says so.
    (connection.syn, connection.stream) = (9000, Some(TAKEN));
    connection.syn_acks();
    let fresh = Stream {
        start: 9001,
        taken: false,
        ..TAKEN
    };
    assert_eq!(connection.stream, Some(fresh));
    connection.stream = Some(Stream {
        taken: true,
        ..fresh
    });
    connection.syn_acks();
    assert_eq!(connection.stream, Some(fresh));
    let mut tcp = segment(0);
    tcp.acknowledgment_number = 9001 + u32::from(TAKEN.len);
    let mut answer = frame(true, &tcp, b"");
    let taken = connection.relayed(&mut answer);
    assert_eq!(
        taken,
        Some(Stream {
            taken: true,
            ..fresh
        })
    );
}

#[test]
fn a_syn_goes_on_without_data_and_without_the_option_for_it() {
    use TcpOptionElement::{MaximumSegmentSize, Noop, Timestamp};
    let mut tcp = segment(41);
    (tcp.syn, tcp.ack) = (true, false);
    tcp.set_options(&[MaximumSegmentSize(1460), Noop, Noop, Timestamp(1, 2)])
        .unwrap();
    let plain = frame(true, &tcp, b"");
    // The same with a cookie of eight bytes, and with data.
    let mut bytes = Vec::new();
    let mut options = tcp.options.as_slice().to_vec();
    options.extend([34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]);
    tcp.set_options_raw(&options).unwrap();
    let fast = ip4().tcp_header(tcp);
    fast.write(&mut bytes, b"odd data!").unwrap();
    let mut sent = MemoryFrame::copied(&Arc::new(Pool::new(1)), &bytes).unwrap();
    to_backend(&mut sent, ends_of(true), Some(TAKEN), MTU).unwrap();
    let (tcp, payload) = read(&sent);
    assert_eq!((tcp.sequence_number, payload), (41, Vec::new()));
    let mut left = tcp.options_iterator().map(Result::unwrap);
    assert!(left.all(|it| matches!(it, MaximumSegmentSize(1460) | Timestamp(1, 2) | Noop)));
    // One that has neither stays as it is.
    let mut sent = plain;
    let before = sent.bytes().to_vec();
    to_backend(&mut sent, ends_of(true), None, MTU).unwrap();
    assert_eq!(sent.bytes(), before);
}

#[test]
fn what_cannot_grow_is_refused() {
    let connection = Connection::new(true, 41, Vec::new());
    let refused = |mut sent: MemoryFrame, mtu| {
        let before = sent.bytes().to_vec();
        let done = to_backend(&mut sent, ends_of(true), connection.stream, mtu);
        assert_eq!(sent.bytes(), before);
        done.unwrap_err()
    };
    let whole = || frame(true, &segment(42), b"data");
    assert_eq!(refused(whole(), 44 + 27), Unfit::TooBig(43));
    assert_eq!(refused(whole().at_the_front(), MTU), Unfit::NoRoom);
    let mut part = whole();
    // More fragments.
    part.bytes_mut()[20] = 0x20;
    assert_eq!(refused(part, MTU), NO_PLACE);
}
