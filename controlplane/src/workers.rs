//! From a configuration to threads that forward: EAL, a pool and queues for every port, and one
//! pinned thread per worker with the queue of its number on each port.
//!
//! ```text
//!              port 0    port 1          nics ─▶ the control thread asks them for link and counters
//! worker 0 ─── queue 0   queue 0
//! worker 1 ─── queue 1   queue 1         crew ─▶ started once the tables are there
//! ```
//!
//! To stop: `Writer::stop`, then [`Team::join`]. A port is closed when its last queue and its place
//! in [`Nics`] are gone, EAL stops with the last of all; the handles of `dpdk` hold to that order.

mod cores;
mod nics;
mod tap;

pub use cores::Cores;
pub use nics::Nics;
use tap::Tap;
pub use tap::TapError;

use crate::{
    command::Command,
    config::{self, Config},
};
use crossbeam_channel::Sender;
use dpdk::{
    Eal, Mbuf, Mempool, MempoolConfig, Outgoing, Port, PortConfig, Queue, UnconfiguredPort,
};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tether_dataplane::{
    Exchange, TapSpec,
    clock::Clock,
    limits::{HANDED_OVER, HELD},
    plane::Seat,
    port::{BURST, dpdk::DpdkPort},
    tables::id::PortId,
    worker::{Idle, Worker},
};

/// Why there are no workers.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// A core that this process may not use.
    #[error(
        "workers.cores: {core} is no core that this process may run on ({allowed}): \
         choose among those, or widen its cpuset (`taskset -p`, AllowedCPUs=)"
    )]
    Core {
        /// The core.
        core: u16,
        /// Those it may run on.
        allowed: String,
    },
    /// The system says no to a core or a thread.
    #[error("cannot {what}: {error}; the limits of this process or its container are too tight")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// DPDK does not start, or a thread cannot be registered.
    #[error("DPDK: {0}")]
    Dpdk(#[from] dpdk::Error),
    /// A port that cannot be opened.
    #[error("port {device}: {error}")]
    Port {
        /// Its name in the configuration.
        device: String,
        /// Why not, and what to do.
        error: dpdk::Error,
    },
    /// A port whose driver takes no packets as long as they shall be.
    #[error(
        "port {device}: mtu = {wanted} is more than its driver {driver} takes, which is {most}: choose {most} or \
         less, there and on the link, or another device"
    )]
    Mtu {
        /// Its name in the configuration.
        device: String,
        /// Its driver.
        driver: String,
        /// As it is configured.
        wanted: u16,
        /// What can be had.
        most: u16,
    },
    /// A port without the kernel's part of it.
    #[error("port {device}: kernel = \"{interface}\": {error}")]
    Tap {
        /// Its name in the configuration.
        device: String,
        /// The interface that the kernel should have.
        interface: String,
        /// Why not, and what to do.
        error: Box<TapError>,
    },
    /// A worker has died.
    #[error(
        "the worker on core {core} has panicked, so tetherd stopped: \
         report the lines above as a bug and start it again"
    )]
    Panicked {
        /// Its core.
        core: u16,
    },
}

/// What the workers will need, open and not yet polled.
#[derive(Debug)]
pub struct Crew {
    eal: Eal,
    hands: Vec<Hand>,
    flows: usize,
    idle: Idle,
}

/// One worker to be: its core, and its queue on every port.
#[derive(Debug)]
struct Hand {
    core: u16,
    ports: Vec<DpdkPort>,
    /// Its queue of every tap, with the port that the tap is beside.
    taps: Vec<(PortId, DpdkPort, TapSpec)>,
}

/// Workers at work.
#[derive(Debug)]
pub struct Team {
    threads: Vec<(u16, JoinHandle<()>)>,
}

/// Starts EAL and the ports of a configuration. Call it from a thread that runs on the cores that
/// are not the workers' ([`Cores::keep_off`]): EAL's own threads stay there.
///
/// # Errors
/// DPDK does not start, there is no such port, or it has fewer queues than there are workers.
pub fn open(config: &Config, cores: &Cores) -> Result<(Nics, Crew), WorkersError> {
    let mut arguments = config.dpdk.args.clone();
    arguments.push(cores.lcores_argument());
    let eal = Eal::init(&arguments)?;
    log::info!("{} with {arguments:?}", dpdk::version());
    let mut hands: Vec<Hand> = cores
        .workers()
        .iter()
        .map(|core| Hand::new(*core))
        .collect();
    let (mut ports, mut taps) = (Vec::new(), Vec::new());
    let outgoing = outgoing(config);
    for (index, port) in (0..).zip(&config.ports) {
        let nic = open_port(&eal, (index, port), outgoing, &mut hands)?;
        taps.push(open_tap(&eal, (index, port), &nic, &mut hands)?);
        ports.push(nic);
    }
    let nics = Nics::new(ports, taps, dpdk::cycles_per_second(&eal));
    let crew = Crew {
        eal,
        hands,
        flows: usize::try_from(config.workers.flows).unwrap_or(usize::MAX),
        idle: idle(config.workers.idle),
    };
    Ok((nics, crew))
}

/// Which frames the ports send. Each has a pool of its own: what one has received another may send, and
/// what the kernel sends comes from its tap. Only a port that is alone sends its own frames and no others.
fn outgoing(config: &Config) -> Outgoing {
    match &config.ports[..] {
        [port] if port.kernel.is_none() => Outgoing::OwnPool,
        _ => Outgoing::AnyPool,
    }
}

fn idle(idle: config::Idle) -> Idle {
    match idle {
        config::Idle::Poll => Idle::Poll,
        config::Idle::Yield => Idle::Yield,
    }
}

/// Opens a port and gives each worker its queue there.
fn open_port(
    eal: &Eal,
    (index, port): (u8, &config::Port),
    outgoing: Outgoing,
    hands: &mut [Hand],
) -> Result<Port, WorkersError> {
    let device = port.device.clone();
    let refused = |error| WorkersError::Port { device, error };
    let found = Port::open(eal, &port.device).map_err(refused.clone())?;
    let mtu = settable_mtu(&found, port.mtu)?;
    let queues = u16::try_from(hands.len()).unwrap_or(u16::MAX);
    let pool = MempoolConfig {
        count: buffers(queues),
        cache: CACHE,
        socket: found.socket(),
        data_room: data_room(port.mtu),
    };
    let pool = Mempool::new(eal, &format!("tether_port{index}"), pool).map_err(refused.clone())?;
    let pools = [pool.clone()];
    let settings = PortConfig {
        queues,
        rx_descriptors: DESCRIPTORS,
        tx_descriptors: DESCRIPTORS,
        // Neighbour solicitations go to multicast addresses (RFC 4861, section 7.2.1).
        promiscuous: true,
        mtu,
        outgoing,
        ..PortConfig::new(&pools)
    };
    let (port, queues) = found.configure(&settings).map_err(refused)?;
    for (hand, queue) in hands.iter_mut().zip(queues) {
        hand.take(queue, &pool);
    }
    log::info!(
        "port {}: {}, {} queues, offloads: {}",
        port.name(),
        port.driver_name(),
        hands.len(),
        port.offloads().join(" ")
    );
    Ok(port)
}

/// Opens the kernel's part of a port, where it shall have one.
fn open_tap(
    eal: &Eal,
    (index, port): (u8, &config::Port),
    nic: &Port,
    hands: &mut [Hand],
) -> Result<Option<Tap>, WorkersError> {
    let Some(kernel) = &port.kernel else {
        return Ok(None);
    };
    let opened = tap::open(eal, (index, port), kernel, nic, hands);
    opened.map(Some).map_err(|error| WorkersError::Tap {
        device: port.device.clone(),
        interface: kernel.interface.clone(),
        error: Box::new(error),
    })
}

/// Frames that each queue holds, each way.
const DESCRIPTORS: u16 = 2048;
/// Buffers that each worker keeps for itself; DPDK lets it keep half as many again.
const CACHE: u32 = 256;
/// Frames in rings that a driver keeps beside its queues. `AF_XDP` has the most: a fill ring of 4096
/// and a completion ring of 2048 frames for each queue (DPDK `rte_eth_af_xdp.c`).
const DRIVER_RINGS: u32 = 6144;

/// Buffers of a port's pool, for as many workers as it has queues. Each worker can have out at once:
/// both its queues full, the driver's rings full, its cache full, one burst in its hands and one on
/// the way out, every frame that it may hold for a neighbour, and those that wait for it from other
/// workers. 11328 at present, 27 MB.
fn buffers(queues: u16) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
    const OWN: u32 = (2 * BURST + HELD + HANDED_OVER) as u32;
    const EACH: u32 = 2 * DESCRIPTORS as u32 + DRIVER_RINGS + CACHE * 3 / 2 + OWN;
    EACH * u32::from(queues)
}

/// The MTU that the device is to be told. `net_af_packet` cannot be told one that its interface may have all the
/// same: that is left to the operator.
fn settable_mtu(port: &UnconfiguredPort, wanted: Option<u16>) -> Result<Option<u16>, WorkersError> {
    let most = port.max_mtu();
    match wanted {
        Some(wanted) if wanted > most && port.driver_name() == "net_af_packet" => {
            log::warn!(
                "port {}: net_af_packet cannot be told an MTU of {wanted}: see that its interface has it \
                 (`ip link set mtu`)",
                port.name(),
            );
            Ok(None)
        }
        Some(wanted) if wanted > most => Err(WorkersError::Mtu {
            device: port.name().to_owned(),
            driver: port.driver_name().to_owned(),
            wanted,
            most,
        }),
        other => Ok(other),
    }
}

/// Bytes of a buffer: a whole frame of this MTU with two tags and its check sequence, in whole KiB as drivers'
/// rings have them, after the headroom that tunnels' headers take.
fn data_room(mtu: Option<u16>) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "it is 128")]
    const HEADROOM: u16 = Mbuf::HEADROOM as u16;
    const AROUND: u16 = 14 + 8 + 4;
    let frame = mtu.map_or(0, |mtu| mtu.saturating_add(AROUND).div_ceil(1024));
    let room = frame.saturating_mul(1024).saturating_add(HEADROOM);
    room.max(MempoolConfig::DATA_ROOM)
}

impl Hand {
    fn new(core: u16) -> Self {
        Self {
            core,
            ports: Vec::new(),
            taps: Vec::new(),
        }
    }

    fn take(&mut self, queue: Queue, pool: &Mempool) {
        self.ports.push(DpdkPort::new(queue, pool.clone()));
    }
}

impl Crew {
    /// Seats every worker on a thread of its own, and returns when all of them poll. One that
    /// panics later sends [`Command::Stop`]: its clients are better off with another forwarder.
    ///
    /// # Errors
    /// A thread cannot be made, pinned or registered; those that run are then left to the process,
    /// which is to end.
    pub fn start(
        self,
        seats: Vec<Seat>,
        clock: Clock,
        control: &Sender<Command>,
    ) -> Result<Team, WorkersError> {
        let mut threads = Vec::new();
        let ports = self.hands.first().map_or(0, |hand| hand.ports.len());
        // Gone with the last worker, in its thread: there may be frames in it.
        let exchange = Exchange::new(self.hands.len(), ports);
        for (hand, seat) in self.hands.into_iter().zip(seats) {
            let alarm = Alarm {
                core: hand.core,
                control: control.clone(),
            };
            let (eal, flows, idle) = (self.eal.clone(), self.flows, self.idle);
            let exchange = Arc::clone(&exchange);
            let (started, outcome) = crossbeam_channel::bounded(1);
            let core = hand.core;
            let life = move || {
                let alarm = alarm;
                match prepare(&eal, core) {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(lcore) => {
                        let mut worker = Worker::new(seat, hand.ports, flows).join(&exchange);
                        drop(exchange);
                        for (port, tap, spec) in hand.taps {
                            worker = worker.with_tap(port, tap, spec);
                        }
                        drop(started.send(Ok(())));
                        worker.run(&clock, idle);
                        // Buffers go back through the thread's cache, so before its lcore id.
                        drop(worker);
                        drop(lcore);
                    }
                }
                drop(alarm);
            };
            let thread = thread::Builder::new()
                .name(format!("tether-{core}"))
                .spawn(life)
                .map_err(|error| WorkersError::System {
                    what: "start a worker's thread",
                    error,
                })?;
            threads.push((core, thread));
            outcome
                .recv()
                .map_err(|_| WorkersError::Panicked { core })??;
        }
        Ok(Team { threads })
    }
}

/// Makes the current thread a worker's: on its core, with a cache in every pool.
fn prepare(eal: &Eal, core: u16) -> Result<dpdk::LcoreGuard, WorkersError> {
    cores::pin(&[core])?;
    Ok(dpdk::register_thread(eal)?)
}

/// Stops the daemon when the thread that holds it panics.
struct Alarm {
    core: u16,
    control: Sender<Command>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("the worker on core {} has panicked", self.core);
            // Err: the control thread has stopped already.
            let _ = self.control.send(Command::Stop);
        }
    }
}

impl Team {
    /// Waits for every worker to end, which is after `Writer::stop`.
    ///
    /// # Errors
    /// One has panicked, now or before.
    pub fn join(self) -> Result<(), WorkersError> {
        let ended = self.threads.into_iter().map(|(core, thread)| {
            let ended = thread.join();
            ended.map_err(|_| WorkersError::Panicked { core })
        });
        // All of them, whatever the first one says.
        ended.collect::<Vec<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u8, more: &str) -> String {
        format!(
            "[[port]]\ndevice = \"0000:0{number}:00.0\"\naddresses = [\"10.{number}.0.2/24\"]\n{more}\n"
        )
    }

    #[test]
    fn only_a_port_that_is_alone_sends_its_own_frames_and_no_others() {
        for (ports, expected) in [
            (port(1, ""), Outgoing::OwnPool),
            (port(1, "kernel = \"tether0\""), Outgoing::AnyPool),
            (port(1, "") + &port(2, ""), Outgoing::AnyPool),
        ] {
            let text = format!("[workers]\ncores = [0]\n[control]\n{ports}");
            let config = Config::parse("t.toml", &text).unwrap();
            assert_eq!(outgoing(&config), expected, "{ports}");
        }
    }
}
