//! The listener for servers: its socket, its TLS, its limits.

use super::{Proof, Signals};
use crate::{
    config::{Auth, SignalListener, Tls},
    server::{
        accept::{self, Connection},
        commands::Commands,
        error::{self, StartError},
        limits, stopped,
    },
};
use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::Path,
};
use tether_api::{FILE_DESCRIPTOR_SET, v1::affinity_server::AffinityServer};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig, server::Router};
use tonic_reflection::server::Builder;

/// A bound listener, not yet served.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    server: Server,
    proof: Proof,
}

impl Listener {
    /// Binds the address and reads the TLS files.
    ///
    /// # Errors
    /// The address cannot be bound, or a file is not what it should be.
    pub(crate) fn bind(config: &SignalListener) -> Result<Self, StartError> {
        let (proof, server) = match &config.auth {
            Auth::Address => (Proof::Address, Server::builder()),
            Auth::Mtls(tls) => (Proof::Certificate, with_tls(tls)?),
        };
        Ok(Self {
            socket: error::bind("control.signal", config.address)?,
            server: with_limits(server),
            proof,
        })
    }

    /// The address that is bound, also where port 0 was asked for.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// The listener at work, until `stop`. To be called within the runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket, or the reflection service cannot be built.
    pub(crate) fn serve(
        mut self,
        commands: Commands,
        stop: watch::Receiver<bool>,
    ) -> Result<impl Future<Output = Result<(), tonic::transport::Error>>, StartError> {
        let address = self.address();
        let failed = |what: &dyn std::fmt::Display| StartError::listen(address, what);
        let connections = accept::connections(self.socket, limits::SIGNAL_CONNECTIONS)
            .map_err(|error| failed(&error))?;
        let signals = Signals::new(commands, self.proof, stop.clone());
        let router = self.server.add_service(limited(signals));
        let router = with_reflection(router).map_err(|error| failed(&error))?;
        Ok(serve(router, connections, stop))
    }
}

async fn serve(
    router: Router,
    connections: ReceiverStream<std::io::Result<Connection>>,
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

/// A server that only clients with a certificate of the authority get a word with.
fn with_tls(tls: &Tls) -> Result<Server, StartError> {
    // Err: there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let identity = Identity::from_pem(pem("certificate", &tls.certificate)?, pem("key", &tls.key)?);
    let config = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(pem("client_ca", &tls.client_ca)?))
        .timeout(limits::HANDSHAKE);
    Server::builder()
        .tls_config(config)
        .map_err(|error| StartError::tls(&error))
}

fn pem(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::TlsFile {
        key,
        path: path.to_owned(),
        error,
    })
}
