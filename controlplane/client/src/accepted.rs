//! The two addresses of an accepted socket, which are all that an affinity needs (contract rule S5).

use std::{
    io,
    net::{SocketAddr, TcpStream},
};

/// A connection that the server has accepted.
pub trait Accepted {
    /// What the client addressed: VIP and port, or the server's own address and port.
    fn local(&self) -> io::Result<SocketAddr>;
    /// The client's address and port.
    fn peer(&self) -> io::Result<SocketAddr>;
}

impl Accepted for TcpStream {
    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

impl Accepted for tokio::net::TcpStream {
    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

/// Local, then peer: for servers that keep the addresses and not the socket.
impl Accepted for (SocketAddr, SocketAddr) {
    fn local(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        Ok(self.1)
    }
}
