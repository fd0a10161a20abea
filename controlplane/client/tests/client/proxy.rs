//! The PROXY header of real connections: in pieces, late, never; and the affinity of who it names.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tether_client::{
    Accepted as _, Options, OutcomeCode,
    proxy::{Connection, Error, Header, PATIENCE, accept, accept_async},
};

use crate::{connect, forwarder::Forwarder};

/// 10.1.2.3:5000 to 10.9.0.100:80 by TCP, as section 2.2 of the specification has it.
const HEADER: [u8; 28] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0,
    12, //
    10, 1, 2, 3, 10, 9, 0, 100, 0x13, 0x88, 0, 80,
];
const LINE: &[u8] = b"PROXY TCP4 10.1.2.3 10.9.0.100 5000 80\r\n";

/// What the forwarder writes to, and what the server has accepted.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    there.set_nodelay(true).unwrap();
    (there, listener.accept().unwrap().0)
}

fn assert_relayed(connection: &Connection) {
    let ends = (connection.client(), connection.destination());
    let expected: (SocketAddr, SocketAddr) = (
        "10.1.2.3:5000".parse().unwrap(),
        "10.9.0.100:80".parse().unwrap(),
    );
    assert_eq!(ends, expected);
}

#[test]
fn the_header_is_read_in_any_pieces_and_the_rest_is_left() {
    for header in [&HEADER[..], LINE] {
        let (mut there, here) = connected();
        let all = [header, b"hello"].concat();
        let writer = thread::spawn(move || {
            for byte in all {
                there.write_all(&[byte]).unwrap();
            }
        });
        let before = Some(Duration::from_secs(77));
        here.set_read_timeout(before).unwrap();
        assert_relayed(&accept(&here, PATIENCE).unwrap());
        assert_eq!(here.read_timeout().unwrap(), before);
        let mut rest = String::new();
        (&here).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hello");
        writer.join().unwrap();
    }
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let (mut there, here) = connected();
    there.write_all(&HEADER[..20]).unwrap();
    let (span, began) = (Duration::from_millis(50), Instant::now());
    let late = accept(&here, span).unwrap_err();
    assert!(matches!(late, Error::Timeout(it) if it == span), "{late}");
    assert!((span..PATIENCE).contains(&began.elapsed()));
    assert_eq!(here.read_timeout().unwrap(), None);

    let (mut there, here) = connected();
    there.write_all(&HEADER[..20]).unwrap();
    drop(there);
    let ended = accept(&here, PATIENCE).unwrap_err();
    assert!(matches!(ended, Error::Ended(20)), "{ended}");

    let (mut there, here) = connected();
    there.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let plain = accept(&here, PATIENCE).unwrap_err();
    assert!(
        plain.to_string().contains("proxy_protocol = true"),
        "{plain}"
    );
}

#[test]
fn a_tokio_stream_reads_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        for (sent, waits) in [
            ([&HEADER[..], b"hello"].concat(), PATIENCE),
            ([LINE, b"hello"].concat(), PATIENCE),
            (HEADER[..27].to_vec(), Duration::from_millis(50)),
        ] {
            let (mut there, here) = connected();
            there.write_all(&sent).unwrap();
            here.set_nonblocking(true).unwrap();
            let mut here = tokio::net::TcpStream::from_std(here).unwrap();
            let connection = accept_async(&mut here, waits).await;
            if waits < PATIENCE {
                assert!(
                    matches!(connection, Err(Error::Timeout(_))),
                    "{connection:?}"
                );
                continue;
            }
            assert_relayed(&connection.unwrap());
            let mut rest = [0; 5];
            tokio::io::AsyncReadExt::read_exact(&mut here, &mut rest)
                .await
                .unwrap();
            assert_eq!(&rest, b"hello");
        }
    });
}

#[test]
fn the_affinity_is_of_the_client_that_the_header_names() {
    let forwarder = Forwarder::start(1);
    let client = connect(&forwarder);
    let (mut there, here) = connected();
    there.write_all(&HEADER).unwrap();
    let connection = accept(&here, PATIENCE).unwrap();
    let by_address = client.start(&connection);
    let by_port = client.start_with(&connection, Options::new().ip_port());
    for affinity in [&by_address, &by_port] {
        let started = affinity.wait(PATIENCE).unwrap();
        assert_eq!(started.code, OutcomeCode::Created);
    }
    let heard = forwarder.heard();
    assert_eq!(heard.said(), ["start 10.1.2.3", "start 10.1.2.3:5000"]);
    for signal in heard.signals() {
        assert_eq!(signal.destination.as_ref(), [10, 9, 0, 100]);
        assert_eq!(signal.destination_port, 80);
    }
}

#[test]
fn a_connection_of_the_forwarder_itself_has_the_sockets_addresses() {
    let (mut there, here) = connected();
    let mut local = HEADER[..16].to_vec();
    (local[12], local[15]) = (0x20, 0);
    there.write_all(&local).unwrap();
    let connection = accept(&here, PATIENCE).unwrap();
    assert_eq!(connection.header(), Header::Local);
    assert_eq!(connection.client(), there.local_addr().unwrap());
    assert_eq!(connection.local().unwrap(), here.local_addr().unwrap());
}
