//! The header of an accepted connection, and not a byte of what follows it.

use std::{
    io::{self, Read as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use tokio::io::AsyncReadExt as _;

use super::{Connection, Error, Header, missing, parse};

/// Reads the PROXY header of a connection that was accepted; what follows can be read then.
///
/// It blocks for at most `timeout`, which should be more than the 3 s that a lost segment may take
/// ([`PATIENCE`](super::PATIENCE) is), and leaves the socket's read timeout as it was.
pub fn accept(stream: &TcpStream, timeout: Duration) -> Result<Connection, Error> {
    let before = stream.read_timeout()?;
    let header = read_header(stream, timeout);
    stream.set_read_timeout(before)?;
    Ok(Connection::new(header?, stream)?)
}

fn read_header(mut stream: &TcpStream, timeout: Duration) -> Result<Header, Error> {
    let began = Instant::now();
    let mut bytes = Vec::new();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Error::Timeout(timeout));
        }
        stream.set_read_timeout(Some(left))?;
        let mut room = vec![0; missing(&bytes)];
        match stream.read(&mut room) {
            Ok(read) => {
                if let Some(header) = take(&mut bytes, &room[..read])? {
                    return Ok(header);
                }
            }
            Err(error) if may_wait(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether it may be tried again while there is time.
fn may_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// The same for a tokio stream.
pub async fn accept_async(
    stream: &mut tokio::net::TcpStream,
    timeout: Duration,
) -> Result<Connection, Error> {
    let reading = tokio::time::timeout(timeout, read_header_async(stream));
    let header = reading.await.unwrap_or(Err(Error::Timeout(timeout)))?;
    Ok(Connection::new(header, stream)?)
}

async fn read_header_async(stream: &mut tokio::net::TcpStream) -> Result<Header, Error> {
    let mut bytes = Vec::new();
    loop {
        let mut room = vec![0; missing(&bytes)];
        let read = stream.read(&mut room).await?;
        if let Some(header) = take(&mut bytes, &room[..read])? {
            return Ok(header);
        }
    }
}

/// Adds what was read, and says what the header is if it is whole.
fn take(bytes: &mut Vec<u8>, read: &[u8]) -> Result<Option<Header>, Error> {
    if read.is_empty() {
        return Err(Error::Ended(bytes.len()));
    }
    bytes.extend_from_slice(read);
    let found = parse(bytes)?;
    debug_assert!(found.is_none_or(|(_, len)| len == bytes.len()));
    Ok(found.map(|(header, _)| header))
}
