//! The PROXY protocol, version 2 and 1: whose connection it is that a forwarder in between has opened.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let tether = tether_client::Client::builder("http://10.8.0.2:7470").connect()?;
//! let listener = std::net::TcpListener::bind("0.0.0.0:8080")?;
//! let (stream, _) = listener.accept()?;
//! let connection = tether_client::proxy::accept(&stream, tether_client::proxy::PATIENCE)?;
//! let affinity = tether.start(&connection); // with the client that the header names
//! # Ok(()) }
//! ```
//!
//! The header says who the client is, and anybody can write one: let only the forwarder reach such a
//! listener. Whether there is a header is never guessed (section 2 of the specification,
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

mod error;
mod line;
mod read;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::Accepted;
pub use error::Error;
use line::parse_line;
pub use read::{accept, accept_async};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What a header of version 1 begins with.
const LINE_SIGNATURE: [u8; 6] = *b"PROXY ";
/// The part of a version 2 header that says how long it is.
const HEAD_LEN: usize = 16;
/// The longest version 2 header that is read, in bytes: addresses take 36, the rest is what senders add.
pub const HEADER_LEN_MAX: usize = 4096;

/// How long to wait for a header: a lost segment that is sent again has come by then.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Header {
    /// Nothing: the sender connects for itself, for a health check perhaps, or cannot say for whom.
    /// The addresses of the socket are right.
    Local,
    /// The connection of another.
    Proxied {
        /// How the client connected.
        transport: Transport,
        /// The client.
        source: SocketAddr,
        /// What the client addressed.
        destination: SocketAddr,
    },
}

/// What a client connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// Reads the header that `bytes`, the first ones of a connection, begin with; how many they are is
/// beside it, and the rest is the client's. `None`: there is more to come.
///
/// For servers that read by themselves. It looks at no more than [`HEADER_LEN_MAX`] bytes, and says
/// what is wrong as soon as that is known.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    if begins_like(bytes, &SIGNATURE) {
        parse_binary(bytes)
    } else if begins_like(bytes, &LINE_SIGNATURE) {
        parse_line(bytes)
    } else {
        Err(Error::not_proxy(bytes))
    }
}

/// As far as there are bytes.
fn begins_like(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}

/// How many bytes the header has at least beyond these, for which [`parse`] waits for more. So many
/// can be read without reading what is not the header's.
fn missing(bytes: &[u8]) -> usize {
    if bytes.is_empty() {
        return line::LEN_MIN.min(HEAD_LEN);
    }
    if bytes.first() == LINE_SIGNATURE.first() {
        return line::missing(bytes);
    }
    let announced = bytes.get(HEAD_LEN - 2..HEAD_LEN);
    let len = HEAD_LEN + announced.map_or(0, |it| number(it).into());
    len.saturating_sub(bytes.len()).max(1)
}

/// Two bytes in network order.
fn number(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |high, low| high << 8 | u16::from(*low))
}

/// Section 2.2 of the specification.
fn parse_binary(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_LEN) else {
        return Ok(None);
    };
    let (version, command) = (head[12] >> 4, head[12] & 0x0f);
    let (family, transport) = (head[13] >> 4, head[13] & 0x0f);
    let len = usize::from(number(&head[14..]));
    if version != 2 {
        return Err(Error::Version(version));
    }
    if HEAD_LEN + len > HEADER_LEN_MAX {
        return Err(Error::TooLong(HEAD_LEN + len));
    }
    let header = match command {
        0 => Some(Header::Local),
        1 => proxied(family, transport, len, rest)?,
        _ => return Err(Error::Command(command)),
    };
    let whole = rest.len() >= len;
    Ok(header.filter(|_| whole).map(|it| (it, HEAD_LEN + len)))
}

/// What `PROXY` says, with `len` bytes of addresses and additions; `None`: these are still to come.
fn proxied(family: u8, transport: u8, len: usize, rest: &[u8]) -> Result<Option<Header>, Error> {
    let transport = match transport {
        // Whatever it is, it is none of ours: as if the sender had not said.
        0 => None,
        1 => Some(Transport::Stream),
        2 => Some(Transport::Datagram),
        _ => return Err(Error::Transport(transport)),
    };
    let (needed, ends) = match family {
        1 => (2 * 4 + 4, ends::<4>(rest)),
        2 => (2 * 16 + 4, ends::<16>(rest)),
        0 | 3 => return Ok(Some(Header::Local)),
        _ => return Err(Error::Family(family)),
    };
    let Some(transport) = transport else {
        return Ok(Some(Header::Local));
    };
    if len < needed {
        return Err(Error::Short { len, needed });
    }
    Ok(ends.map(|[source, destination]| Header::Proxied {
        transport,
        source,
        destination,
    }))
}

/// Both addresses, of `N` bytes each, and both ports.
fn ends<const N: usize>(bytes: &[u8]) -> Option<[SocketAddr; 2]>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let [a, b, c, d] = *rest.first_chunk()?;
    let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some([(*source, from), (*destination, to)].map(|(ip, port)| SocketAddr::new(ip.into(), port)))
}

/// An accepted connection, whose client is the one that its header names. For
/// [`Client::start`](crate::Client::start).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    header: Header,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Connection {
    /// For servers that have read the header themselves: what it says, and the socket's own addresses.
    pub fn new(header: Header, socket: &impl Accepted) -> io::Result<Self> {
        Ok(Self {
            header,
            local: socket.local()?,
            peer: socket.peer()?,
        })
    }

    /// What the header says.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// The client's address and port.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        match self.header {
            Header::Local => self.peer,
            Header::Proxied { source, .. } => source,
        }
    }

    /// What the client addressed.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        match self.header {
            Header::Local => self.local,
            Header::Proxied { destination, .. } => destination,
        }
    }
}

impl Accepted for Connection {
    fn local(&self) -> io::Result<SocketAddr> {
        Ok(self.destination())
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        Ok(self.client())
    }
}

#[cfg(test)]
mod tests;
