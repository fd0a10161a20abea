//! A connection whose peer has to begin. HTTP/2 begins with a preface (RFC 9113, section 3.4), and
//! the server waits for it without a limit of its own: whoever connects and says nothing would keep
//! a place for ever. After the preface, pings ask for signs of life.

use super::limits;
use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

/// Bytes of the preface.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// A connection that fails to be read where its peer has not begun in time.
#[derive(Debug)]
pub(super) struct Awaited<S> {
    stream: S,
    /// Bytes of the preface that are yet to come.
    missing: usize,
    /// `None` once they have come.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Awaited<S> {
    /// Waits from now on. To be called within the runtime.
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            missing: PREFACE,
            deadline: Some(Box::pin(sleep(limits::PREFACE_WAIT))),
        }
    }

    fn has_come(&mut self, bytes: usize) {
        self.missing = self.missing.saturating_sub(bytes);
        if self.missing == 0 {
            self.deadline = None;
        }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(context).map(|()| {
                let message = "the peer has not begun to speak HTTP/2 in time";
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            }),
            None => Poll::Pending,
        }
    }
}

impl<S: Connected> Connected for Awaited<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Awaited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.poll_deadline(context),
            Poll::Ready(read) => {
                self.has_come(buffer.filled().len() - before);
                Poll::Ready(read)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Awaited<S> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::{Duration, Instant, advance},
    };

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_begin_is_given_up_however_slowly_it_drips() {
        let (mut peer, own) = duplex(64);
        let mut own = Awaited::new(own);
        let begun = Instant::now();
        for _ in 0..PREFACE - 1 {
            advance(limits::PREFACE_WAIT / 32).await;
            peer.write_all(b"P").await.unwrap();
            own.read_u8().await.unwrap();
        }
        let error = own.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let waited = begun.elapsed();
        let most = limits::PREFACE_WAIT + Duration::from_millis(10);
        assert!(waited <= most, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_begun_may_be_silent() {
        let (mut peer, own) = duplex(64);
        let mut own = Awaited::new(own);
        peer.write_all(&[0; PREFACE]).await.unwrap();
        own.read_exact(&mut [0; PREFACE]).await.unwrap();
        let silence = tokio::spawn(async move { own.read_u8().await.unwrap() });
        advance(limits::PREFACE_WAIT + Duration::from_hours(1)).await;
        peer.write_all(&[7]).await.unwrap();
        assert_eq!(silence.await.unwrap(), 7);
    }
}
