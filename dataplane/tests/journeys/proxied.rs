//! The PROXY protocol: a connection through full NAT begins with a header that names its client;
//! checksums by `etherparse`, from scratch.

use crate::{
    frames::{Conversation, INSIDE, from_to},
    fullnat::{by_one_port, fullnat, mixed},
    nat::{answered, inside, read},
    world::{INSIDE_PORT, Left, OUTSIDE_PORT, Size, USUAL, WEB4, WEB6, World, mac_at},
};
use etherparse::{PacketBuilder, PacketHeaders, TcpHeader, TcpOptionElement, TransportHeader};
use std::net::{IpAddr, SocketAddr};
use tether_dataplane::tables::TablesSpec;

const CLIENT: &str = "198.51.100.7:4000";
const CLIENT6: &str = "[2001:db8:7::7]:4000";
/// The number of the client's SYN.
const SYN: u32 = 100;

/// Section 2.2 of the specification.
const SIGNATURE: [u8; 12] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
];

fn proxied(mut spec: TablesSpec) -> TablesSpec {
    for service in &mut spec.services {
        service.proxy_protocol = true;
    }
    spec
}

/// What has to stand before a client's first byte.
fn header(flow: Conversation) -> Vec<u8> {
    let octets = |ip| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ends = [flow.client, flow.service];
    let head = match flow.client {
        SocketAddr::V4(_) => [0x21, 0x11, 0, 12],
        SocketAddr::V6(_) => [0x21, 0x21, 0, 36],
    };
    let addresses = ends.map(|it| octets(it.ip())).concat();
    let ports = ends.map(|it| it.port().to_be_bytes()).concat();
    [&SIGNATURE[..], &head, &addresses, &ports].concat()
}

/// A segment that left, whose checksums are right.
struct Seen {
    between: Conversation,
    tcp: TcpHeader,
    payload: Vec<u8>,
}

fn seen(left: &[Left]) -> Seen {
    let left: Vec<_> = left.iter().filter(|it| it.frame[0] & 1 == 0).collect();
    let [Left { frame, .. }] = left[..] else {
        panic!("one frame: {left:?}")
    };
    let (client, service) = read(frame);
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = packet.payload.slice().to_vec();
    let Some(TransportHeader::Tcp(tcp)) = packet.transport else {
        panic!("no TCP")
    };
    Seen {
        between: Conversation { client, service },
        tcp,
        payload,
    }
}

/// A client, and the backend that it gets.
struct Connection {
    world: World,
    flow: Conversation,
    /// As the backend has it.
    there: Conversation,
}

/// What leaves when a worker gets a frame, which may be for another.
fn passed(world: &mut World, worker: usize, port: usize, frame: &[u8]) -> Vec<Left> {
    world.put(worker, port, frame);
    world.pass(1);
    let left = world.step_all();
    [left, world.step_all()].concat()
}

impl Connection {
    /// After the SYN.
    fn open(spec: TablesSpec, size: Size, client: &str, vip: &str) -> Self {
        let mut world = World::of(proxied(spec), size);
        let flow = from_to(client, vip);
        let syn = flow.segment(b"", |tcp| (tcp.syn, tcp.sequence_number) = (true, SYN));
        let Seen {
            between,
            tcp,
            payload,
        } = seen(&passed(&mut world, 0, OUTSIDE_PORT, &syn));
        assert_eq!(
            (tcp.syn, tcp.sequence_number, payload.len()),
            (true, SYN, 0)
        );
        Self {
            world,
            flow,
            there: between,
        }
    }

    /// What the backend gets when the client sends this at this place after its SYN.
    fn sends(&mut self, place: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        let frame = self.flow.segment(payload, |tcp| {
            (tcp.ack, tcp.sequence_number) = (true, SYN + 1 + place);
        });
        let seen = seen(&passed(&mut self.world, 0, OUTSIDE_PORT, &frame));
        assert_eq!(seen.between.client, self.there.client);
        assert_eq!(seen.between.service, self.there.service);
        (seen.tcp.sequence_number - SYN - 1, seen.payload)
    }

    /// What the client gets when the backend acknowledges up to this place, by this worker's queue.
    fn acknowledges(
        &mut self,
        worker: usize,
        place: u32,
        change: impl FnOnce(&mut TcpHeader),
    ) -> TcpHeader {
        let frame = self.there.reversed().segment(b"", |tcp| {
            (tcp.ack, tcp.acknowledgment_number) = (true, SYN + 1 + place);
            change(tcp);
        });
        let frame = inside(&frame, self.there.service.ip());
        let seen = seen(&passed(&mut self.world, worker, INSIDE_PORT, &frame));
        assert_eq!(seen.between.client, self.flow.service);
        assert_eq!(seen.between.service, self.flow.client);
        seen.tcp
    }

    fn syn_acks(&mut self, worker: usize) -> u32 {
        let answer = self.acknowledges(worker, 0, |tcp| {
            tcp.syn = true;
            let mss = TcpOptionElement::MaximumSegmentSize(1460);
            tcp.set_options(&[mss]).unwrap();
        });
        assert!(answer.syn);
        assert_eq!(answer.acknowledgment_number, SYN + 1);
        let option = answer.options_iterator().next();
        match option {
            Some(Ok(TcpOptionElement::MaximumSegmentSize(mss))) => mss.into(),
            other => panic!("{other:?}"),
        }
    }
}

/// A world by one port, and a segment in it that would stand in the header's place.
pub(crate) fn across() -> (World, Vec<u8>) {
    let mut world = World::settled(proxied(by_one_port()), USUAL);
    let flow = from_to(CLIENT, WEB4);
    let syn = flow.segment(b"", |tcp| (tcp.syn, tcp.sequence_number) = (true, SYN));
    let there = seen(&world.send(&syn)).between;
    let answer = there.reversed().segment(b"", |tcp| {
        (tcp.syn, tcp.ack, tcp.acknowledgment_number) = (true, true, SYN + 1);
    });
    assert_eq!(world.send(&answer).len(), 1);
    let across = flow.segment(b"not a header", |tcp| {
        (tcp.ack, tcp.sequence_number) = (true, SYN);
    });
    (world, across)
}

/// A whole life; answers come by this worker.
fn lives(mut connection: Connection, worker: usize, mss: u32) {
    let header = header(connection.flow);
    let len = u32::try_from(header.len()).unwrap();
    assert_eq!(connection.syn_acks(worker), mss - len);
    // The handshake is complete: a server that speaks first knows its client.
    assert_eq!(connection.sends(0, b""), (0, header.clone()));
    // It was lost: the first bytes bring it again.
    let with_get = [&header[..], b"GET /"].concat();
    assert_eq!(connection.sends(0, b"GET /"), (0, with_get.clone()));
    assert_eq!(connection.sends(5, b"shop"), (5 + len, b"shop".to_vec()));
    let answer = connection.acknowledges(worker, 0, |_| {});
    assert_eq!(answer.acknowledgment_number, SYN + 1);
    assert_eq!(connection.sends(0, b"GET /"), (0, with_get));
    // It has arrived, and all after it.
    let answer = connection.acknowledges(worker, len + 9, |_| {});
    assert_eq!(answer.acknowledgment_number, SYN + 1 + 9);
    assert_eq!(connection.sends(0, b"GET /"), (len, b"GET /".to_vec()));
    assert_eq!(connection.sends(9, b""), (9 + len, Vec::new()));
    let answer = connection.acknowledges(worker, len + 10, |tcp| tcp.fin = true);
    assert!(answer.fin);
    assert_eq!(answer.acknowledgment_number, SYN + 1 + 10);
}

#[test]
fn a_connection_begins_with_a_header_that_names_its_client() {
    for (client, vip) in [(CLIENT, WEB4), (CLIENT6, WEB6)] {
        lives(Connection::open(fullnat(), USUAL, client, vip), 0, 1460);
    }
}

#[test]
fn the_header_is_of_the_clients_family_whatever_the_backends_is() {
    // To a client over IPv6 no segment may be longer than its link's MTU leaves room for.
    for (client, vip, mss) in [(CLIENT, WEB4, 1460), (CLIENT6, WEB6, 1460)] {
        lives(Connection::open(mixed(), USUAL, client, vip), 0, mss);
    }
}

#[test]
fn answers_by_another_workers_queue_count_too() {
    let size = Size {
        workers: 2,
        ..USUAL
    };
    for worker in 0..2 {
        lives(
            Connection::open(fullnat(), size, CLIENT, WEB4),
            worker,
            1460,
        );
    }
}

#[test]
fn who_only_connects_and_goes_is_named_too() {
    let mut connection = Connection::open(fullnat(), USUAL, CLIENT, WEB4);
    connection.syn_acks(0);
    let flow = connection.flow;
    let fin = flow.segment(b"", |tcp| {
        (tcp.fin, tcp.ack, tcp.sequence_number) = (true, true, SYN + 1);
    });
    let fin = seen(&connection.world.send(&fin));
    assert_eq!((fin.tcp.fin, fin.payload), (true, header(flow)));
    let rst = flow.segment(b"", |tcp| {
        (tcp.rst, tcp.ack, tcp.sequence_number) = (true, true, SYN + 1);
    });
    let rst = seen(&connection.world.send(&rst));
    assert_eq!((rst.tcp.rst, rst.tcp.sequence_number), (true, SYN + 1 + 28));
}

/// A client that names another: before its first byte, or from a second SYN's number.
#[test]
fn a_client_cannot_write_the_header_itself() {
    let mut connection = Connection::open(fullnat(), USUAL, CLIENT, WEB4);
    connection.syn_acks(0);
    let flow = connection.flow;
    let forged = [&header(from_to("192.0.2.66:6", WEB4))[..], b"GET /"].concat();
    for other in [SYN - 28, SYN + 1000, SYN + (1 << 31)] {
        let syn = flow.segment(b"", |tcp| {
            (tcp.syn, tcp.sequence_number) = (true, other);
        });
        connection.world.send(&syn);
        let own = [&header(flow)[..], &forged].concat();
        assert_eq!(connection.sends(0, &forged), (0, own));
    }
    for before in 1..=u32::try_from(forged.len()).unwrap() {
        let across = flow.segment(&forged, |tcp| {
            (tcp.ack, tcp.sequence_number) = (true, SYN + 1 - before);
        });
        let world = &mut connection.world;
        let (dropped, left) = (world.counts(0)["proxy_segment"], world.send(&across));
        let dropped = world.counts(0)["proxy_segment"] - dropped;
        // What ends before the first byte is nothing new to the backend.
        let ends_before = usize::try_from(before).unwrap() == forged.len();
        let expected = if ends_before { (0, 1) } else { (1, 0) };
        assert_eq!((dropped, left.len()), expected, "{before}");
    }
}

/// Nor by a second connection from the same port that begins with the same number: what the first one's
/// backend has taken says nothing of the second one's.
#[test]
fn nor_by_beginning_again_with_the_same_number() {
    let mut connection = Connection::open(fullnat(), USUAL, CLIENT, WEB4);
    connection.syn_acks(0);
    let flow = connection.flow;
    let len = u32::try_from(header(flow).len()).unwrap();
    connection.sends(0, b"G");
    connection.acknowledges(0, len + 1, |_| ());
    let syn = flow.segment(b"", |tcp| (tcp.syn, tcp.sequence_number) = (true, SYN));
    connection.world.send(&syn);
    connection.syn_acks(0);
    let forged = header(from_to("192.0.2.66:6", WEB4));
    let across = flow.segment(&forged, |tcp| {
        (tcp.ack, tcp.sequence_number) = (true, SYN + 1 - len + 1);
    });
    assert!(connection.world.send(&across).is_empty());
    assert_eq!(connection.world.counts(0)["proxy_segment"], 1);
    let own = [&header(flow)[..], b"GET"].concat();
    assert_eq!(connection.sends(0, b"GET"), (0, own));
}

#[test]
fn a_first_segment_must_leave_room_for_the_header() {
    let mut connection = Connection::open(fullnat(), USUAL, CLIENT, WEB4);
    connection.syn_acks(0);
    let (at, payload) = connection.sends(0, &[7; 1460 - 28]);
    assert_eq!((at, payload.len()), (0, 1460));
    for (place, payload, fits) in [(0, 1460 - 27, 1500 - 28), (50, 1461, 1500)] {
        let frame = connection.flow.segment(&vec![7; payload], |tcp| {
            (tcp.ack, tcp.sequence_number) = (true, SYN + 1 + place);
        });
        let left = connection.world.send(&frame);
        assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
        // It is told so about what it has sent: its own packet, in full.
        assert_eq!(left[0].frame[34..36], [3, 4]);
        assert_eq!(left[0].frame[40..42], u16::to_be_bytes(fits));
        assert_eq!(left[0].frame[42..90], frame[14..62]);
    }
}

#[test]
fn between_families_as_much_fits_as_the_other_headers_leave() {
    for (client, vip, segment) in [(CLIENT, WEB4, 1412), (CLIENT6, WEB6, 1408)] {
        let mut connection = Connection::open(mixed(), USUAL, client, vip);
        connection.syn_acks(0);
        let whole = header(connection.flow).len() + segment;
        let (at, payload) = connection.sends(0, &vec![7; segment]);
        assert_eq!((at, payload.len()), (0, whole));
        let longer = connection.flow.segment(&vec![7; segment + 1], |tcp| {
            (tcp.ack, tcp.sequence_number) = (true, SYN + 1);
        });
        let left = connection.world.send(&longer);
        assert_eq!(left[0].port, OUTSIDE_PORT);
        let quote = if connection.flow.client.is_ipv4() {
            42
        } else {
            62
        };
        assert_eq!(left[0].frame[quote..quote + 64], longer[14..78]);
    }
}

/// What a router says of a packet to the backend, as its client gets it.
#[test]
fn r8_an_error_quotes_what_the_client_has_sent() {
    let mut connection = Connection::open(fullnat(), USUAL, CLIENT, WEB4);
    connection.syn_acks(0);
    let frame = connection.flow.segment(b"data", |tcp| {
        (tcp.ack, tcp.sequence_number) = (true, SYN + 1 + 50);
    });
    let left = connection.world.send(&frame);
    let sent = &left[0].frame[14..];
    assert_eq!(sent[24..28], (SYN + 1 + 50 + 28).to_be_bytes());
    let (IpAddr::V4(local), backend) = (connection.there.client.ip(), connection.there.service)
    else {
        panic!("IPv4")
    };
    for quoted in [28, 44] {
        let error = PacketBuilder::ethernet2(mac_at(backend.ip()).0, INSIDE.0)
            .ipv4([10, 0, 0, 254], local.octets(), 60)
            .icmpv4_raw(3, 4, [0, 0, 0x05, 0x14]);
        let error = crate::frames::written(|out| error.write(out, &sent[..quoted]));
        let left = answered(&mut connection.world, 0, &error);
        assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
        let told = &left[0].frame;
        assert!(crate::nat::is_whole4(&told[34..]));
        assert_eq!(told[40..42], (1300_u16 - 28).to_be_bytes());
        // Ports and number of the quoted segment.
        assert_eq!(told[62..70], frame[34..42]);
    }
}

/// Connections go on as they began.
#[test]
fn a_change_of_the_service_is_for_new_connections() {
    let mut connection = Connection::open(fullnat(), USUAL, CLIENT, WEB4);
    connection.syn_acks(0);
    connection.sends(0, b"GET /");
    connection.acknowledges(0, 28 + 5, |_| {});
    let turn = |connection: &mut Connection, on| {
        let services = connection.world.spec.services.iter_mut();
        services.for_each(|it| it.proxy_protocol = on);
        connection.world.publish_tables();
    };
    turn(&mut connection, false);
    assert_eq!(connection.sends(5, b"more"), (5 + 28, b"more".to_vec()));
    let answer = connection.acknowledges(0, 28 + 9, |_| {});
    assert_eq!(answer.acknowledgment_number, SYN + 1 + 9);
    // Another connection of the same flow.
    let answer = connection.acknowledges(0, 0, |tcp| tcp.syn = true);
    assert_eq!(answer.acknowledgment_number, SYN + 1);
    assert_eq!(connection.sends(0, b"GET /"), (0, b"GET /".to_vec()));
    turn(&mut connection, true);
    assert_eq!(connection.sends(5, b"more"), (5, b"more".to_vec()));
}

#[test]
fn a_service_without_it_gets_none() {
    let mut world = World::of(by_one_port(), USUAL);
    let flow = from_to(CLIENT, WEB4);
    world.send(&flow.syn());
    let seen = seen(&world.send(&flow.segment(b"GET /", |tcp| {
        (tcp.ack, tcp.sequence_number) = (true, 2);
    })));
    assert_eq!(
        (seen.tcp.sequence_number, &seen.payload[..]),
        (2, &b"GET /"[..])
    );
}
