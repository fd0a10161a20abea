//! What a server links so that its clients stick to it.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tether = tether_client::Client::builder("http://10.8.0.2:7470").connect()?;
//! let listener = std::net::TcpListener::bind("0.0.0.0:80")?;
//! let (stream, _) = listener.accept()?;
//! let affinity = tether.start(&stream); // from now on this client comes back to this process
//! affinity.wait(std::time::Duration::from_millis(50)).ok(); // optional: until it is effective
//! drop(affinity); // it is balanced again
//! # Ok(()) }
//! ```
//!
//! Nothing here blocks the application or fails it: one background thread holds the connection,
//! batches the signals, re-connects, and asserts again what is held when the forwarder's table may
//! miss some of it (contract rule L3). While the forwarder is away, calls answer with an error and
//! the application goes on; what it holds is asserted when the forwarder is back. A forwarder that
//! knows its servers by certificate is shown one: see [`Tls`]. Where the forwarder connects in the
//! client's stead, it says who that is: see [`proxy`].
//!
//! It costs a thread, some hundred bytes for each affinity held, and a short lock for each call.

mod accepted;
mod affinity;
mod backoff;
mod batch;
mod client;
mod config;
mod dial;
mod driver;
mod error;
mod ledger;
mod options;
mod outcome;
mod pending;
pub mod proxy;
mod session;
mod tls;

pub use accepted::Accepted;
pub use affinity::Affinity;
pub use client::Client;
pub use config::Config;
pub use error::Error;
pub use options::{Destination, Key, Options};
pub use outcome::Outcome;
pub use pending::Pending;
pub use tether_api::{BadSource, Source, v1::OutcomeCode};
pub use tls::{Pem, Tls};
