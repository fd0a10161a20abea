//! A client: a kernel's TCP and UDP from one of its addresses.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tether_api::operator::Protocol;

use super::{namespace::Namespace, vip::Vip, wait::SOON};

/// A client, by the address that it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub host: &'a Namespace,
    pub address: IpAddr,
}

/// How many new flows each server got.
pub type Spread = BTreeMap<String, usize>;

impl Client<'_> {
    /// Opens a connection and waits for the server to say its name.
    #[track_caller]
    pub fn connect(&self, vip: Vip) -> Connection {
        self.connect_from(0, vip)
    }

    /// As `connect`, from this port; 0: any.
    #[track_caller]
    pub fn connect_from(&self, port: u16, vip: Vip) -> Connection {
        let greeted = self.open(port, vip).greet();
        greeted.unwrap_or_else(|error| panic!("{}:{port} to {vip:?}: {error}", self.address))
    }

    /// Sends the SYN, and waits for nothing.
    pub fn open(&self, port: u16, vip: Vip) -> Opening {
        self.prepare(port, vip).open()
    }

    /// Has everything ready for a SYN.
    pub fn prepare(&self, port: u16, vip: Vip) -> Prepared {
        Prepared(self.socket(Type::STREAM, port, vip), vip.address)
    }

    /// Sends a datagram of a new flow and waits for the server to say its name.
    #[track_caller]
    pub fn ask(&self, port: u16, vip: Vip, text: &str) -> Result<String, io::Error> {
        let socket = UdpSocket::from(self.socket(Type::DGRAM, port, vip));
        socket.connect(vip.address)?;
        ask(&socket, text)
    }

    /// A socket that goes on with one UDP flow.
    pub fn datagrams(&self, vip: Vip) -> UdpSocket {
        let socket = UdpSocket::from(self.socket(Type::DGRAM, 0, vip));
        socket.connect(vip.address).unwrap();
        socket
    }

    /// The server that a new flow reaches.
    #[track_caller]
    pub fn reach(&self, vip: Vip) -> String {
        self.reach_from(0, vip)
    }

    /// As `reach`, from this port; 0: any.
    #[track_caller]
    pub fn reach_from(&self, port: u16, vip: Vip) -> String {
        match vip.protocol {
            Protocol::Tcp => self.connect_from(port, vip).server.clone(),
            Protocol::Udp => self.ask(port, vip, "who").unwrap(),
        }
    }

    /// The servers that so many new flows reach, one after another.
    #[track_caller]
    pub fn spread(&self, vip: Vip, flows: usize) -> Spread {
        let mut spread = Spread::new();
        for _ in 0..flows {
            *spread.entry(self.reach(vip)).or_default() += 1;
        }
        spread
    }

    /// Whether the kernel at this address answers pings.
    pub fn ping(&self, address: &str) -> bool {
        let mut ping = std::process::Command::new("ping");
        ping.args(["-c", "3", "-i", "0.2", "-W", "2", "-I"]);
        ping.arg(self.address.to_string()).arg(address);
        let output = self.host.inside(|| ping.output().unwrap());
        output.status.success()
    }

    /// A socket at this port; at 0: at one that the test has not used yet.
    fn socket(&self, kind: Type, port: u16, vip: Vip) -> Socket {
        loop {
            let socket = self.bound(kind, port, vip);
            let local = socket.local_addr().unwrap().as_socket().unwrap();
            if self.host.is_new(local) || port != 0 {
                return socket;
            }
        }
    }

    fn bound(&self, kind: Type, port: u16, vip: Vip) -> Socket {
        let domain = Domain::for_address(vip.address);
        let socket = self
            .host
            .inside(|| Socket::new(domain, kind, None).unwrap());
        socket.set_reuse_address(true).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        let local = SocketAddr::new(self.address, port);
        socket.bind(&local.into()).unwrap();
        socket
    }
}

/// Asks on a UDP flow that is open already.
pub fn ask(socket: &UdpSocket, text: &str) -> Result<String, io::Error> {
    socket.send(text.as_bytes())?;
    let mut reply = [0; 2048];
    let bytes = socket.recv(&mut reply)?;
    let reply = String::from_utf8_lossy(&reply[..bytes]).into_owned();
    match reply.split_once('\n') {
        Some((server, echo)) if echo == text => Ok(server.to_owned()),
        _ => Err(io::Error::other(format!("not an answer: {reply:?}"))),
    }
}

/// A connection whose SYN is yet to be sent.
#[derive(Debug)]
pub struct Prepared(Socket, SocketAddr);

impl Prepared {
    /// Sends the SYN, and waits for nothing.
    pub fn open(self) -> Opening {
        let Self(socket, address) = self;
        socket.set_nonblocking(true).unwrap();
        // EINPROGRESS, as it should be; what else may go wrong, `greet` tells.
        drop(socket.connect(&address.into()));
        socket.set_nonblocking(false).unwrap();
        Opening(socket.into())
    }
}

/// A connection whose SYN was sent.
#[derive(Debug)]
pub struct Opening(TcpStream);

impl Opening {
    /// Waits until the server has said its name.
    pub fn greet(self) -> Result<Connection, io::Error> {
        let mut reader = BufReader::new(self.0);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(server) => Ok(Connection {
                server: server.to_owned(),
                stream: reader,
            }),
            None => Err(io::Error::other("closed before the server said its name")),
        }
    }
}

/// A connection with a server; aborted when dropped, so that its port is free at once.
#[derive(Debug)]
pub struct Connection {
    /// Who is there.
    pub server: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// The client's side.
    pub fn local(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// Sends bytes while it receives them back, and asserts that none changed.
    #[track_caller]
    pub fn echo(&mut self, bytes: &[u8]) {
        let back = self.try_echo(bytes);
        let back = back.unwrap_or_else(|error| panic!("echo of {}: {error}", self.server));
        assert!(back == bytes, "{} bytes came back changed", bytes.len());
    }

    /// Sends bytes while it receives them back.
    pub fn try_echo(&mut self, bytes: &[u8]) -> Result<Vec<u8>, io::Error> {
        let mut writer = self.stream.get_ref().try_clone()?;
        let mut back = vec![0; bytes.len()];
        thread::scope(|scope| {
            let sent = scope.spawn(move || writer.write_all(bytes));
            self.stream.read_exact(&mut back)?;
            sent.join().unwrap()
        })?;
        Ok(back)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // std has no stable SO_LINGER.
        let socket = socket2::SockRef::from(self.stream.get_ref());
        drop(socket.set_linger(Some(Duration::ZERO)));
    }
}
