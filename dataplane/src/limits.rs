//! Every limit of the data plane, in one place.

/// Affinities at most: a cell's index has 24 bits to spare in every layout.
pub const AFFINITIES: usize = 16_000_000;
/// Services at most.
pub const SERVICES: usize = 4096;
/// Backends at most, over all services: a flow's word and an affinity's entry have 14 bits for one.
pub const BACKENDS: usize = 1 << 14;
/// Ports at most.
pub const PORTS: usize = 16;
/// Workers at most.
pub const WORKERS: usize = 64;
/// The longest flow timeout, in seconds: a flow's last-seen tick has 13 bits and is compared
/// within half its range or swept away before.
pub const FLOW_TIMEOUT_S: u32 = 7200;
/// The longest duration that a matching packet extends by, in milliseconds (49.7 days).
pub const DURATION_MS: u64 = u32::MAX as u64 - 1;

/// Frames that one worker holds while MAC addresses are resolved.
pub const HELD: usize = 64;
/// Frames that one worker holds for one neighbour.
pub const HELD_PER_NEIGHBOUR: usize = 8;
/// How long a frame is held, in milliseconds.
pub const HOLD_MS: u64 = 3000;

/// Clients that one worker tells, in a second, that their packets are too big.
pub const ERRORS_PER_SECOND: u64 = 1000;
/// And at once.
pub const ERRORS_AT_ONCE: u64 = 64;

/// Fragmented packets that one worker knows the way of.
pub const FRAGMENTED_PACKETS: usize = 4096;
/// How long it knows it, in milliseconds.
pub const FRAGMENT_MS: u64 = 10_000;
/// Fragments that one worker lets wait for the first one of their packet.
pub const FRAGMENTS_WAITING: usize = 128;
/// How long one waits, in milliseconds.
pub const FRAGMENT_WAIT_MS: u64 = 1000;

/// Local addresses of full NAT at most, in the life of a process: a session's name has 8 bits for one.
pub const LOCAL_ADDRESSES: usize = 1 << 8;
/// Replies that wait for the worker whose flow they are of, from one port.
pub const HANDED_OVER: usize = 512;

/// Sources whose new flows one worker counts at a time.
pub const RATED_SOURCES: usize = 1 << 16;

/// Captured frames that wait for the control thread, of one worker; more are counted as missed.
pub const CAPTURED_FRAMES: usize = 2048;
/// How many bytes of a captured frame may be kept: at least its headers, at most what a frame of the
/// usual buffers has with a tunnel's header before it.
pub const CAPTURED_BYTES: std::ops::RangeInclusive<usize> = 64..=2048 + 128;

/// Cells of affinities that have ended or were replaced and that a worker may still look at: so many
/// changes a full table takes before every worker has passed them.
pub const LEAVING_AFFINITIES: usize = if cfg!(miri) { 64 } else { 1 << 16 };
/// Retired buckets that may wait for a worker before starts are refused.
pub const WAITING_BUCKETS: usize = 1 << 20;

const _: () = assert!(FLOW_TIMEOUT_S < 1 << 13);
const _: () = assert!(HELD_PER_NEIGHBOUR < HELD);
