//! A live flow of either protocol.

use std::net::{SocketAddr, UdpSocket};

use tether_api::operator::Protocol;

use super::{
    client::{Client, Connection, ask},
    vip::Vip,
};

/// A flow that goes on.
#[derive(Debug)]
pub enum Flow {
    Tcp(Connection),
    Udp(UdpSocket, String),
}

impl Client<'_> {
    /// Opens a flow that goes on.
    #[track_caller]
    pub fn flow(&self, vip: Vip) -> Flow {
        match vip.protocol {
            Protocol::Tcp => Flow::Tcp(self.connect(vip)),
            Protocol::Udp => {
                let socket = self.datagrams(vip);
                let server = ask(&socket, "hello").unwrap();
                Flow::Udp(socket, server)
            }
        }
    }

    /// Opens flows until one reaches a server that is not this one.
    #[track_caller]
    pub fn flow_elsewhere(&self, vip: Vip, server: &str) -> Flow {
        let mut flows = (0..200).map(|_| self.flow(vip));
        flows
            .find(|flow| flow.server() != server)
            .unwrap_or_else(|| panic!("200 flows reached {server}"))
    }
}

impl Flow {
    /// The server that it began with.
    pub fn server(&self) -> &str {
        match self {
            Self::Tcp(connection) => &connection.server,
            Self::Udp(_, server) => server,
        }
    }

    /// The client's side.
    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Tcp(connection) => connection.local(),
            Self::Udp(socket, _) => socket.local_addr().unwrap(),
        }
    }

    /// Asserts that it lives, with the server that it began with (R1).
    #[track_caller]
    pub fn goes_on(&mut self) {
        match self {
            // A connection that came to another server would have been reset.
            Self::Tcp(connection) => connection.echo(b"still there?"),
            Self::Udp(socket, server) => assert_eq!(ask(socket, "still there?").unwrap(), *server),
        }
    }
}
