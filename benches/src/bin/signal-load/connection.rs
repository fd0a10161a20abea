//! A connection to the forwarder, as a server has it.

use crate::{Target, certificates::FORWARDER};
use std::{error::Error, fs};
use tether_api::v1::affinity_client::AffinityClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Room for the outcomes of all batches under way.
const WINDOW_BYTES: u32 = 4 << 20;

/// Connects, with the server's certificate.
pub(crate) async fn connect(target: &Target) -> Result<AffinityClient<Channel>, Box<dyn Error>> {
    let read = |name: &str| fs::read_to_string(target.certificates.join(name));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")?))
        .domain_name(FORWARDER)
        .identity(Identity::from_pem(read("server.pem")?, read("server.key")?));
    let endpoint = Endpoint::from_shared(target.to.clone())?
        .tls_config(tls)?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    Ok(AffinityClient::new(endpoint.connect().await?))
}
