//! The listener for servers: its socket, its TLS, its limits.

use super::{Credentials, Proof, Signals, tls};
use crate::{
    config::{Auth, SignalListener},
    server::{
        accept,
        commands::Commands,
        error::{self, StartError},
        limits,
        preface::Awaited,
        stopped,
    },
};
use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
};
use tether_api::{FILE_DESCRIPTOR_SET, v1::affinity_server::AffinityServer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{
    Server,
    server::{Connected, Router},
};
use tonic_reflection::server::Builder;

/// A bound listener, not yet served.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    credentials: Option<Credentials>,
}

impl Listener {
    /// Binds the address and reads the TLS files.
    ///
    /// # Errors
    /// The address cannot be bound, or a file is not what it should be.
    pub(crate) fn bind(config: &SignalListener) -> Result<Self, StartError> {
        let credentials = match &config.auth {
            Auth::Address => None,
            Auth::Mtls(files) => Some(Credentials::new(tls::read_files(files)?)),
        };
        Ok(Self {
            socket: error::bind("control.signal", config.address)?,
            credentials,
        })
    }

    /// The address that is bound, also where port 0 was asked for.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// The certificates, to be replaced while it is at work; none where servers are known by their
    /// address.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.credentials.clone()
    }

    /// The listener at work, until `stop`. To be called within the runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket, or the reflection service cannot be built.
    pub(crate) fn serve(
        self,
        commands: Commands,
        stop: watch::Receiver<bool>,
    ) -> Result<impl Future<Output = Result<(), tonic::transport::Error>>, StartError> {
        let address = self.address();
        let failed = |what: &dyn std::fmt::Display| StartError::listen(address, what);
        let proof = self.proof();
        let connections = accept::connections(self.socket, limits::SIGNAL_CONNECTIONS)
            .map_err(|error| failed(&error))?;
        let signals = Signals::new(commands, proof, stop.clone());
        let router = with_limits(Server::builder()).add_service(limited(signals));
        let router = with_reflection(router).map_err(|error| failed(&error))?;
        Ok(async move {
            match self.credentials {
                None => {
                    let begun = connections.map(|it| it.map(Awaited::new));
                    serve(router, begun, stop).await
                }
                Some(credentials) => {
                    serve(router, tls::secured(connections, credentials), stop).await
                }
            }
        })
    }

    fn proof(&self) -> Proof {
        match self.credentials {
            None => Proof::Address,
            Some(_) => Proof::Certificate,
        }
    }
}

async fn serve<S: Connected + AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    router: Router,
    connections: impl Stream<Item = io::Result<S>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let stopped = async move { stopped(&mut stop).await };
    router
        .serve_with_incoming_shutdown(connections, stopped)
        .await
}

fn with_limits(server: Server) -> Server {
    server
        .max_concurrent_streams(limits::CALLS_PER_CONNECTION)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(limits::KEEPALIVE))
        .http2_keepalive_timeout(Some(limits::KEEPALIVE))
}

fn limited(signals: Signals) -> AffinityServer<Signals> {
    AffinityServer::new(signals).max_decoding_message_size(limits::MESSAGE_BYTES)
}

fn with_reflection(router: Router) -> Result<Router, tonic_reflection::server::Error> {
    Ok(router
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

fn reflection() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
}
