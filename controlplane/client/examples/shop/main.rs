//! A shop that keeps its carts in memory and its customers by Tether.
//!
//!     shop --listen 10.9.0.100:80 --name shop-1 --tether http://10.8.0.2:7470 --duration 30s
//!
//! `POST /login` opens a session and binds the customer's address to this process; from then on the
//! forwarder brings the customer back to the process that has the cart. Without a forwarder the shop
//! goes on to sell. Where the forwarder has `auth = "mtls"`, the shop shows a certificate:
//!
//!     shop ... --tether https://forwarder.example:7470 \
//!         --tls-ca ca.pem --tls-certificate shop-1.pem --tls-key shop-1.key
//!
//! Behind a service with `proxy_protocol = true`, where connections come from the forwarder, it reads
//! from each whose it is: `shop ... --proxy-protocol`.

mod routes;
mod sessions;

use std::{error::Error, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tether_client::{
    Client, Options, Tls,
    proxy::{self, Connection},
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

use routes::Shop;

#[derive(Debug, Parser)]
#[command(
    name = "shop",
    about = "A shop with carts in memory, which keeps its customers by Tether"
)]
struct Arguments {
    /// Address and port to serve; may be given several times
    #[arg(long, required = true, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// Name of this server, which every answer carries
    #[arg(long)]
    name: String,
    /// The forwarder's signal address
    #[arg(long, value_name = "URI", default_value = "http://10.8.0.2:7470")]
    tether: String,
    #[command(flatten)]
    tls: TlsArguments,
    /// How long a customer may be silent, e.g. 30s; default: as the forwarder is configured
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Each connection begins with a PROXY protocol header, which says who the customer is. Only the
    /// forwarder may reach such a server
    #[arg(long)]
    proxy_protocol: bool,
}

/// Files in PEM form; all of them, for a forwarder with `auth = "mtls"`.
#[derive(Debug, clap::Args)]
struct TlsArguments {
    /// The authority that signs the forwarder's certificate
    #[arg(long = "tls-ca", value_name = "FILE", requires_all = ["certificate", "key"])]
    ca: Option<PathBuf>,
    /// This server's certificate
    #[arg(long = "tls-certificate", value_name = "FILE", requires = "ca")]
    certificate: Option<PathBuf>,
    /// The key of this server's certificate
    #[arg(long = "tls-key", value_name = "FILE", requires = "ca")]
    key: Option<PathBuf>,
    /// The name in the forwarder's certificate; default: the host of --tether
    #[arg(long = "tls-server-name", value_name = "NAME", requires = "ca")]
    server_name: Option<String>,
}

impl TlsArguments {
    fn tls(self) -> Option<Tls> {
        let tls = Tls::new(self.ca?, self.certificate?, self.key?);
        Some(match self.server_name {
            Some(name) => tls.server_name(name),
            None => tls,
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut config = Client::builder(arguments.tether);
    config.tls = arguments.tls.tls();
    let tether = config.connect()?;
    let options = arguments
        .duration
        .map_or_else(Options::new, |span| Options::new().duration(span));
    let shop = Arc::new(Shop::new(arguments.name, tether, options));
    for address in arguments.listen {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        log::info!("{} listens on {}", shop.name(), listener.local_addr()?);
        tokio::spawn(accept(
            listener,
            arguments.proxy_protocol,
            Arc::clone(&shop),
        ));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    shop.close().await;
    Ok(())
}

async fn accept(listener: TcpListener, is_proxied: bool, shop: Arc<Shop>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, is_proxied, Arc::clone(&shop)));
            }
            Err(error) => {
                // Out of file descriptors, most likely: some will be closed.
                log::warn!("cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, is_proxied: bool, shop: Arc<Shop>) {
    if let Err(error) = try_serve(stream, is_proxied, shop).await {
        log::debug!("connection ended: {error}");
    }
}

async fn try_serve(
    mut stream: TcpStream,
    is_proxied: bool,
    shop: Arc<Shop>,
) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let addresses = if is_proxied {
        let Some(connection) = introduced(&mut stream).await else {
            return Ok(());
        };
        (connection.destination(), connection.client())
    } else {
        (stream.local_addr()?, stream.peer_addr()?)
    };
    let service = service_fn(move |request| {
        let shop = Arc::clone(&shop);
        async move { shop.answer(addresses, request).await }
    });
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

/// The connection with the customer that its header names. Health checks that only connect are no
/// news, all else without a header is.
async fn introduced(stream: &mut TcpStream) -> Option<Connection> {
    match proxy::accept_async(stream, proxy::PATIENCE).await {
        Ok(connection) => Some(connection),
        Err(proxy::Error::Ended(0)) => None,
        Err(error) => {
            log::warn!("connection refused: {error}");
            None
        }
    }
}
