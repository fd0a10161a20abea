//! One probe of one backend: a fresh connection, one question, closed again.

use crate::config::Check;
use http_body_util::Empty;
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use std::{io, net::SocketAddr, pin::pin, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

/// A PROXY header of version 2 without addresses: the connection is the forwarder's own (LOCAL).
pub(super) const OWN: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Why a backend did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("HTTP status {0}")]
    Status(StatusCode),
    #[error("no HTTP request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
}

/// Asks once; `proxied`: by a connection that says first that it is nobody else's.
pub(super) async fn probe(
    check: &Check,
    address: SocketAddr,
    proxied: bool,
    patience: Duration,
) -> Result<(), Failed> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        if proxied {
            stream.write_all(&OWN).await?;
        }
        match check {
            Check::Tcp => Ok(()),
            Check::Http { path } => http(stream, address, path).await,
        }
    };
    let asked = timeout(patience, asked).await;
    asked.unwrap_or(Err(Failed::Silent(patience)))
}

/// 2xx and 3xx pass. The body is not waited for.
async fn http(stream: TcpStream, address: SocketAddr, path: &str) -> Result<(), Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "tether-health")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let mut answered = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answered => answer,
        // The connection is done; its answer, if there was one, is there.
        _ = connection => answered.await,
    };
    let status = answer?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Failed::Status(status))
    }
}
