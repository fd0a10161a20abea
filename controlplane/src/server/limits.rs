//! Every limit of the edge, in one place.

use std::time::Duration;

/// Commands that may wait for the control thread. A batch of signals is one command, so this bounds
/// memory too: 256 batches of 4096 signals are about 150 MB.
pub(crate) const COMMANDS: usize = 256;
/// How long a call waits for room in that queue before it is refused (contract rule S10).
pub(crate) const COMMAND_WAIT: Duration = Duration::from_secs(1);
/// The first and the longest pause between two tries to find room there.
pub(crate) const BACK_OFF: (Duration, Duration) =
    (Duration::from_micros(200), Duration::from_millis(10));

/// Connections of servers at once; further ones wait in the kernel's backlog.
pub(crate) const SIGNAL_CONNECTIONS: usize = 4096;
/// Calls at once on one connection (HTTP/2 `SETTINGS_MAX_CONCURRENT_STREAMS`).
pub(crate) const CALLS_PER_CONNECTION: u32 = 256;
/// Batches of one stream that are decided or wait to be; the next one waits in the window.
pub(crate) const BATCHES_IN_FLIGHT: usize = 8;
/// Bytes of one message: 4096 signals of at most 95 bytes, and as many names of 64.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;
/// Bytes of a service's or a backend's name at most, as in the configuration.
pub(crate) const NAME_BYTES: usize = 64;
/// Bytes of an address at most, with port, prefix and scope, or of a listing's cursor.
pub(crate) const ADDRESS_BYTES: usize = 64;
/// Bytes that a peer may send ahead on one call. The default of 64 KiB stalls streams of batches.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that a peer may send ahead on one connection.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// A silent connection is asked for a sign of life so often, and closed where none comes for as long.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(20);
/// A TLS handshake is done by then.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes at once: the oldest gives way to one more, so that peers that prove nothing do not
/// take up the places of those that would.
pub(crate) const HANDSHAKES: usize = 1024;
/// A peer has begun to speak HTTP/2 by then, from the accept or the end of the handshake on.
pub(crate) const PREFACE_WAIT: Duration = Duration::from_secs(5);
/// Questions of operators about the configuration that wait for the ones before.
pub(crate) const CONFIG_QUESTIONS: usize = 8;
/// Entries of a listing that wait for its receiver.
pub(crate) const LISTED_AHEAD: usize = 256;
/// Events that wait for a watcher; what comes while they do is lost to it, and counted.
pub(crate) const EVENTS_AHEAD: usize = 4096;

/// Operators at once; a further one is refused.
pub(crate) const OPERATORS: usize = 64;
/// Lines of an answer that wait for the operator.
pub(crate) const LINES_AHEAD: usize = 256;
/// Bytes of lines that are written at once.
pub(crate) const LINES_BYTES: usize = 32 << 10;
/// An operator who reads nothing for so long is hung up on.
pub(crate) const WRITE_WAIT: Duration = Duration::from_secs(30);

/// Scrapers at once; further ones wait in the kernel's backlog.
pub(crate) const SCRAPERS: usize = 64;
/// The control thread answers a question for metrics or readiness by then.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// A scraper has sent its request by then.
pub(crate) const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// Open calls and answers are given so long to finish when the daemon stops.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(2);

const _: () = assert!(tether_api::BATCH_SIGNALS_MAX * (95 + 66) < MESSAGE_BYTES);
const _: () = assert!(HANDSHAKES < SIGNAL_CONNECTIONS);
const _: () = assert!(MESSAGE_BYTES <= STREAM_WINDOW_BYTES as usize);
const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);
