//! A server: says its name, echoes, remembers whom it has accepted, and signals.

use std::{
    collections::HashMap,
    fmt,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::net::{Shutdown, shutdown};
use tether_api::operator::Protocol;
use tether_client::{Affinity, Client, Options, Outcome, OutcomeCode};

use super::{
    namespace::Namespace,
    vip::{VIPS, Vip},
    wait::{SOON, wait_for},
};

/// Where the forwarder takes signals.
pub const FORWARDER: &str = "http://10.8.0.2:7470";

/// How often a datagram socket looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// What is known of a flow on the server's side.
#[derive(Debug)]
enum Accepted {
    Stream(TcpStream),
    /// Local and peer address.
    Datagram(SocketAddr, SocketAddr),
}

/// By the client's address and port, IPv4 as IPv4.
type Book = HashMap<(SocketAddr, Vip), Accepted>;

#[derive(Debug, Default)]
struct Shared {
    name: String,
    stopped: AtomicBool,
    accepted: Mutex<Book>,
}

/// A server on a host of its own.
pub struct Server<'a> {
    pub name: String,
    pub host: &'a Namespace,
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    threads: Vec<JoinHandle<()>>,
    tether: Mutex<Option<Client>>,
}

impl fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<'a> Server<'a> {
    /// Server `number`, 1 or more: serves every VIP, by the VIP's address and by its own.
    pub fn start(number: usize, host: &'a Namespace) -> Self {
        let name = format!("server-{number}");
        let shared = Arc::new(Shared {
            name: name.clone(),
            ..Shared::default()
        });
        let mut server = Self {
            name,
            host,
            shared,
            listeners: Vec::new(),
            threads: Vec::new(),
            tether: Mutex::new(None),
        };
        for vip in VIPS {
            match vip.protocol {
                Protocol::Tcp => {
                    server.listen(vip.address.port());
                    server.listen(vip.port_at_servers());
                }
                Protocol::Udp => {
                    server.receive(vip, vip.address);
                    server.receive(vip, vip.at_server(number));
                }
            }
        }
        server
    }

    /// A socket for both families takes IPv4 clients by mapped addresses (S4), as many servers do.
    fn listen(&mut self, port: u16) {
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        if self
            .listeners
            .iter()
            .any(|it| it.local_addr().unwrap() == any)
        {
            return;
        }
        let listener = self.host.inside(|| TcpListener::bind(any)).unwrap();
        let shared = Arc::clone(&self.shared);
        let waiting = listener.try_clone().unwrap();
        self.threads
            .push(std::thread::spawn(move || accept(&waiting, &shared)));
        self.listeners.push(listener);
    }

    /// Bound to an address, so that answers come from it.
    fn receive(&mut self, vip: Vip, at: SocketAddr) {
        let socket = self.host.inside(|| UdpSocket::bind(at)).unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || {
            answer(&socket, at, vip, &shared);
        }));
    }

    /// The library, on this host.
    pub fn tether(&self) -> Client {
        let connect = || self.host.inside(|| Client::builder(FORWARDER).connect());
        let mut tether = self.tether.lock().unwrap();
        tether.get_or_insert_with(|| connect().unwrap()).clone()
    }

    /// Leaves the forwarder without a word; guards must be gone or detached.
    pub fn forget_tether(&self) {
        self.tether.lock().unwrap().take();
    }

    /// Starts an affinity with the client of a flow, from what the accepted socket says alone.
    #[track_caller]
    pub fn start_affinity(&self, vip: Vip, peer: SocketAddr, options: Options) -> Affinity {
        let what = format!("{} to have accepted {peer} at {vip:?}", self.name);
        wait_for(&what, SOON, || {
            let accepted = self.shared.accepted();
            Some(match accepted.get(&(peer, vip))? {
                Accepted::Stream(stream) => self.tether().start_with(stream, options),
                Accepted::Datagram(local, peer) => {
                    self.tether().start_with(&(*local, *peer), options)
                }
            })
        })
    }

    /// As `start_affinity`, and waits until it is effective (S1).
    #[track_caller]
    pub fn bind_peer(&self, vip: Vip, peer: SocketAddr, options: Options) -> (Affinity, Outcome) {
        let affinity = self.start_affinity(vip, peer, options);
        let outcome = affinity.wait(SOON).unwrap();
        assert!(outcome.is_effective(), "{outcome:?}");
        (affinity, outcome)
    }

    /// Starts an affinity of any source with this server, and waits until it is effective (S1).
    #[track_caller]
    pub fn bind_source(&self, vip: Vip, source: &str, options: Options) -> (Affinity, Outcome) {
        let source = source.parse().unwrap();
        let affinity = self.tether().start_source(vip.address, source, options);
        let outcome = affinity.wait(SOON).unwrap();
        assert!(outcome.is_effective(), "{outcome:?}");
        (affinity, outcome)
    }

    /// Ends as a killed process does: nobody listens, every connection is closed.
    pub fn kill(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        for listener in self.listeners.drain(..) {
            // It ends the `accept` that waits on it, which `close` does not.
            let _ = shutdown(&listener, Shutdown::Both);
        }
        for accepted in self.shared.accepted().values() {
            if let Accepted::Stream(stream) = accepted {
                drop(stream.shutdown(std::net::Shutdown::Both));
            }
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        self.shared.accepted().clear();
        self.forget_tether();
    }
}

/// Ends an affinity, and waits until it is so.
#[track_caller]
pub fn end(affinity: Affinity) {
    let outcome = affinity.end().wait(SOON).unwrap();
    assert_eq!(outcome.code, OutcomeCode::Ended, "{outcome:?}");
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn accepted(&self) -> MutexGuard<'_, Book> {
        self.accepted.lock().unwrap()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::Acquire) {
            return;
        }
        remember(&stream, shared);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || drop(serve(stream, &shared)));
    }
}

fn remember(stream: &TcpStream, shared: &Shared) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return;
    };
    let local = plain(local);
    let serves = |vip: &Vip| {
        let by_own = vip.protocol == Protocol::Tcp
            && vip.port_at_servers() == local.port()
            && vip.address.is_ipv4() == local.is_ipv4();
        vip.address == local || by_own
    };
    let vip = VIPS.into_iter().find(serves);
    if let (Some(vip), Ok(stream)) = (vip, stream.try_clone()) {
        let accepted = Accepted::Stream(stream);
        shared.accepted().insert((plain(peer), vip), accepted);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.write_all(format!("{}\n", shared.name).as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            bytes => stream.write_all(&buffer[..bytes])?,
        }
    }
}

fn answer(socket: &UdpSocket, at: SocketAddr, vip: Vip, shared: &Shared) {
    let mut buffer = [0; 2048];
    while !shared.stopped.load(Ordering::Acquire) {
        let Ok((bytes, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let accepted = Accepted::Datagram(at, peer);
        shared.accepted().insert((peer, vip), accepted);
        let reply = [shared.name.as_bytes(), b"\n", &buffer[..bytes]].concat();
        drop(socket.send_to(&reply, peer));
    }
}

/// Without flow label and scope, and IPv4 as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
