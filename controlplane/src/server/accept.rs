//! Accepting TCP connections, no more than so many at once.

use super::limits::BACK_OFF;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long to pause where the process has no file descriptor left.
const STARVED: Duration = Duration::from_millis(100);

/// A connection and its place among those there may be.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

/// The connections to `listener` as they come, at most `most` at once: further ones wait in the
/// kernel's backlog. To be called within the runtime; ends when the stream is dropped.
pub(super) fn connections(
    listener: std::net::TcpListener,
    most: usize,
) -> io::Result<ReceiverStream<io::Result<Connection>>> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (accepted, connections) = mpsc::channel(1);
    tokio::spawn(accept(listener, Arc::new(Semaphore::new(most)), accepted));
    Ok(ReceiverStream::new(connections))
}

async fn accept(
    listener: TcpListener,
    places: Arc<Semaphore>,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let connection = tokio::select! {
            () = accepted.closed() => return,
            incoming = listener.accept() => incoming,
        };
        match connection {
            Ok(incoming) => {
                let connection = Connection::new(incoming, place);
                if accepted.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// A connection that broke before it was accepted says nothing of the next one; anything else is a
/// shortage.
async fn pause(error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return tokio::time::sleep(BACK_OFF.0).await;
    }
    log::warn!("cannot accept a connection: {error}; `ulimit -n` may be too low");
    tokio::time::sleep(STARVED).await;
}

impl Connection {
    fn new((stream, peer): (TcpStream, SocketAddr), place: OwnedSemaphorePermit) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("{peer}: TCP_NODELAY: {error}");
        }
        Self {
            stream,
            _place: place,
        }
    }

    /// Where it comes from, as far as that is known.
    pub(super) fn peer(&self) -> String {
        let peer = self.stream.peer_addr();
        peer.map_or_else(|error| error.to_string(), |peer| peer.to_string())
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
