//! Headers written out by hand from the specification, byte by byte, and any bytes at all.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*};

use super::*;

/// Section 2.2: "the protocol signature".
const SIGNED: [u8; 12] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
];

/// Version and command, family and transport, length, and what follows.
fn binary(head: [u8; 4], rest: &[u8]) -> Vec<u8> {
    [&SIGNED[..], &head, rest].concat()
}

/// 192.0.2.1:56324 to 203.0.113.80:443.
const V4: [u8; 12] = [192, 0, 2, 1, 203, 0, 113, 80, 0xdc, 0x04, 0x01, 0xbb];
/// `[2001:db8:7::7]:5000` to `[2001:db8:80::80]:80`.
const V6: [u8; 36] = [
    0x20, 0x01, 0x0d, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, //
    0x20, 0x01, 0x0d, 0xb8, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, //
    0x13, 0x88, 0, 80,
];

fn proxied(transport: Transport, source: &str, destination: &str) -> Header {
    Header::Proxied {
        transport,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn v4(transport: Transport) -> Header {
    proxied(transport, "192.0.2.1:56324", "203.0.113.80:443")
}

fn v6(transport: Transport) -> Header {
    proxied(transport, "[2001:db8:7::7]:5000", "[2001:db8:80::80]:80")
}

/// What the bytes say, followed by the client's own.
fn read(header: &[u8]) -> Result<Header, Error> {
    let with_more = [header, b"\r\n\r\nPROXY"].concat();
    let (read, len) = parse(&with_more)?.expect("a whole header");
    assert_eq!(len, header.len());
    Ok(read)
}

fn refused(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn every_family_and_transport_of_the_specification() {
    use Transport::{Datagram, Stream};
    for (head, rest, says) in [
        ([0x21, 0x11, 0, 12], &V4[..], v4(Stream)),
        ([0x21, 0x12, 0, 12], &V4[..], v4(Datagram)),
        ([0x21, 0x21, 0, 36], &V6[..], v6(Stream)),
        ([0x21, 0x22, 0, 36], &V6[..], v6(Datagram)),
        // UNSPEC, and what is not said of UNIX sockets.
        ([0x21, 0x00, 0, 0], &[], Header::Local),
        ([0x21, 0x10, 0, 12], &V4[..], Header::Local),
        ([0x21, 0x01, 0, 0], &[], Header::Local),
        ([0x21, 0x31, 0, 216], &[7; 216], Header::Local),
        ([0x21, 0x32, 0, 216], &[7; 216], Header::Local),
        // LOCAL: whatever follows is skipped, "including the family which is ignored".
        ([0x20, 0x00, 0, 0], &[], Header::Local),
        ([0x20, 0x11, 0, 12], &V4[..], Header::Local),
        ([0x20, 0xff, 0, 3], &[1, 2, 3], Header::Local),
    ] {
        assert_eq!(read(&binary(head, rest)).unwrap(), says, "{head:02x?}");
    }
}

#[test]
fn what_is_added_is_skipped() {
    // PP2_TYPE_NOOP of 3 bytes, and PP2_TYPE_AUTHORITY "shop".
    let added = [&V4[..], &[4, 0, 3, 0, 0, 0], &[2, 0, 4], b"shop"].concat();
    let header = binary([0x21, 0x11, 0, 12 + 13], &added);
    assert_eq!(read(&header).unwrap(), v4(Transport::Stream));
    let most = vec![0; HEADER_LEN_MAX - HEAD_LEN];
    let [high, low] = u16::try_from(most.len()).unwrap().to_be_bytes();
    assert_eq!(
        read(&binary([0x21, 0x00, high, low], &most)).unwrap(),
        Header::Local
    );
}

#[test]
fn what_is_wrong_is_said() {
    for (bytes, says) in [
        (&b"GET / HTTP/1.1\r\n"[..], "but \"GET / HTTP/1.1\\r\\n\""),
        (&binary([0x11, 0x11, 0, 12], &V4), "version 1"),
        (&binary([0x31, 0x11, 0, 12], &V4), "version 3"),
        (&binary([0x22, 0x11, 0, 12], &V4), "command 0x2"),
        (&binary([0x21, 0x41, 0, 12], &V4), "family 0x4"),
        (&binary([0x21, 0x13, 0, 12], &V4), "transport 0x3"),
        (
            &binary([0x21, 0x11, 0, 11], &V4),
            "11 bytes after the first 16, but its addresses take 12",
        ),
        (&binary([0x21, 0x21, 0, 12], &V6), "take 36"),
        (
            &binary([0x21, 0x11, 0xff, 0xff], &V4),
            "65551 bytes: at most 4096",
        ),
        (&binary([0x20, 0x00, 0x0f, 0xf1], &[]), "4097 bytes"),
        (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "neither TCP4"),
        (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "one space"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "two ports"),
        (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "address"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "address"),
        (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "address"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "LF alone"),
        (b"PROXY UNKNOWN\r\r\n", "a CR within"),
        (b"PROXY UNKNOWN\xff\r\n", "not ASCII"),
        (
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat(),
            "no CR LF",
        ),
    ] {
        let text = refused(bytes);
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn lines_of_version_1() {
    let line = b"PROXY TCP4 192.0.2.1 203.0.113.80 56324 443\r\n";
    assert_eq!(read(line).unwrap(), v4(Transport::Stream));
    let line = b"PROXY TCP6 2001:db8:7::7 2001:DB8:80::80 5000 80\r\n";
    assert_eq!(read(line).unwrap(), v6(Transport::Stream));
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), line::LEN_MAX);
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN  any thing\r\n",
        &longest,
    ] {
        assert_eq!(read(line.as_bytes()).unwrap(), Header::Local);
    }
    assert!(parse(b"PROXY TCP4 192.0.2.1 20").unwrap().is_none());
}

#[test]
fn the_client_is_the_one_of_the_header_or_of_the_socket() {
    let socket: (SocketAddr, SocketAddr) = (
        "10.0.0.1:8080".parse().unwrap(),
        "10.9.0.2:3000".parse().unwrap(),
    );
    let of = |header| Connection::new(header, &socket).unwrap();
    let local = of(Header::Local);
    assert_eq!((local.destination(), local.client()), socket);
    let relayed = of(v6(Transport::Stream));
    assert_eq!(relayed.local().unwrap().to_string(), "[2001:db8:80::80]:80");
    assert_eq!(relayed.peer().unwrap().to_string(), "[2001:db8:7::7]:5000");
}

/// A header as a sender writes it, and what it says.
fn headers() -> impl Strategy<Value = (Vec<u8>, Header)> {
    let local = prop_oneof![
        Just(b"PROXY UNKNOWN\r\n".to_vec()),
        Just(binary([0x20, 0, 0, 0], &[])),
    ];
    prop_oneof![
        4 => proxied_headers(),
        1 => local.prop_map(|bytes| (bytes, Header::Local)),
    ]
}

fn proxied_headers() -> impl Strategy<Value = (Vec<u8>, Header)> {
    let addresses = prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
    ];
    let ports = any::<(u16, u16)>();
    let added = vec(any::<u8>(), 0..100);
    (addresses, ports, added, any::<bool>()).prop_map(|((a, b), (from, to), added, is_line)| {
        let says = Header::Proxied {
            transport: Transport::Stream,
            source: SocketAddr::new(a, from),
            destination: SocketAddr::new(b, to),
        };
        let bytes = if is_line {
            text(a, b, from, to)
        } else {
            packed(a, b, from, to, &added)
        };
        (bytes, says)
    })
}

fn text(a: IpAddr, b: IpAddr, from: u16, to: u16) -> Vec<u8> {
    let family = if a.is_ipv4() { 4 } else { 6 };
    format!("PROXY TCP{family} {a} {b} {from} {to}\r\n").into_bytes()
}

fn packed(a: IpAddr, b: IpAddr, from: u16, to: u16, added: &[u8]) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V4(v4) => Ipv4Addr::octets(&v4).to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let rest = [octets(a), octets(b), ports, added.to_vec()].concat();
    let family = if a.is_ipv4() { 0x11 } else { 0x21 };
    binary([0x21, family, 0, u8::try_from(rest.len()).unwrap()], &rest)
}

proptest! {
    /// It is read whole, never sooner, and no byte beyond it is asked for.
    #[test]
    fn a_header_is_read_by_any_pieces((header, says) in headers(), more in vec(any::<u8>(), 0..50)) {
        for end in 0..header.len() {
            let part = &header[..end];
            prop_assert_eq!(parse(part).unwrap(), None);
            let missing = missing(part);
            prop_assert!((1..=header.len() - end).contains(&missing), "{missing} at {end}");
        }
        let all = [&header[..], &more].concat();
        prop_assert_eq!(parse(&all).unwrap(), Some((says, header.len())));
    }

    /// Any bytes, and any that begin well: no panic, and no more consumed than there is.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), begin in 0_usize..4) {
        let begins: [&[u8]; 4] = [b"", &SIGNED, b"PROXY ", b"PROXY TCP4 1.2.3.4 "];
        let bytes = [begins[begin], &bytes].concat();
        match parse(&bytes) {
            Ok(Some((_, len))) => prop_assert!(len <= bytes.len()),
            Ok(None) => prop_assert!(bytes.len() < HEADER_LEN_MAX),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    /// A flipped bit makes another header, an error or a longer one.
    #[test]
    fn a_flipped_bit_is_no_panic((mut header, _) in headers(), at: prop::sample::Index, bit in 0..8) {
        let at = at.index(header.len());
        header[at] ^= 1_u8 << bit;
        if let Ok(Some((_, len))) = parse(&header) {
            prop_assert!(len <= header.len());
        }
    }
}
