//! Why a connection has no PROXY header that can be used. Such a connection is to be closed.

use std::{io, time::Duration};

use super::{HEADER_LEN_MAX, line::LEN_MAX};

/// How much of what came instead of a header is shown.
const SHOWN: usize = 60;

/// Why there is no header. Close the connection: who its client is cannot be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection begins with something else.
    #[error(
        "no PROXY protocol header, but \"{0}\": set `proxy_protocol = true` for the service, and let only \
         the forwarder connect here"
    )]
    NotProxy(String),
    /// A binary header of a version that is none.
    #[error("PROXY protocol version {0}: only 1 and 2 are known; have the sender use 2")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("PROXY protocol command {0:#x}: only 0 (LOCAL) and 1 (PROXY) are known")]
    Command(u8),
    /// An address family that is not assigned.
    #[error("PROXY protocol address family {0:#x}: only 0 to 3 (none, IPv4, IPv6, UNIX) are known")]
    Family(u8),
    /// A transport that is not assigned.
    #[error("PROXY protocol transport {0:#x}: only 0 to 2 (none, stream, datagram) are known")]
    Transport(u8),
    /// The addresses do not fit into the length.
    #[error("a PROXY header with {len} bytes after the first 16, but its addresses take {needed}")]
    Short {
        /// As announced.
        len: usize,
        /// For the addresses and ports of the family.
        needed: usize,
    },
    /// Longer than is read.
    #[error(
        "a PROXY header of {0} bytes: at most {HEADER_LEN_MAX} are read; have the sender add less (TLVs)"
    )]
    TooLong(usize),
    /// A line of version 1 that is not as it has to be.
    #[error(
        "the PROXY line \"{line}\": {reason}; as in \"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\" and CR LF, \
         within {LEN_MAX} bytes"
    )]
    Line {
        /// Its beginning.
        line: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The sender closed the connection before the header was whole.
    #[error("the connection ended after {0} bytes, before its PROXY header was whole")]
    Ended(usize),
    /// The header did not come in time.
    #[error(
        "no whole PROXY header within {0:?}: set `proxy_protocol = true` for the service, or wait longer"
    )]
    Timeout(Duration),
    /// The socket failed.
    #[error("cannot read the PROXY header: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    pub(super) fn not_proxy(bytes: &[u8]) -> Self {
        Self::NotProxy(shown(bytes))
    }

    pub(super) fn line(line: &[u8], reason: &'static str) -> Self {
        let line = shown(line);
        Self::Line { line, reason }
    }
}

/// Printable, whatever it was.
fn shown(bytes: &[u8]) -> String {
    let (begin, rest) = bytes.split_at(bytes.len().min(SHOWN));
    let more = if rest.is_empty() { "" } else { ".." };
    format!("{}{more}", begin.escape_ascii())
}
