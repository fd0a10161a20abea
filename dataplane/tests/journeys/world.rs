//! The bench: tables, workers on memory ports, and the stations at the other ends.

use crate::frames::{INSIDE, OUTSIDE, arp, ndp, rewritten};
use etherparse::ArpOperation;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tether_dataplane::{
    Exchange, Mac,
    clock::Millis,
    key::Protocol,
    plane::{Writer, data_plane},
    port::{
        Frame,
        memory::{MemoryPeer, MemoryPort},
    },
    tables::{
        PortSpec, TablesSpec,
        affinity::{AffinityKey, CellId, CellView, Grant, Source},
        backend::{BackendSpec, BackendState},
        clients::ClientLists,
        id::{BackendId, ServiceId},
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
    worker::Worker,
};

pub(crate) const VIP4: &str = "203.0.113.80";
pub(crate) const VIP6: &str = "2001:db8:80::80";
pub(crate) const WEB4: &str = "203.0.113.80:80";
pub(crate) const WEB6: &str = "[2001:db8:80::80]:80";
pub(crate) const DNS4: &str = "203.0.113.80:53";

/// TCP to [`WEB4`], with backends 1 to 3.
pub(crate) const WEB: ServiceId = ServiceId(0);
/// TCP to [`WEB6`], with backends 4 to 6.
pub(crate) const WEB_6: ServiceId = ServiceId(1);
/// UDP to [`DNS4`], with backends 7 and 8.
pub(crate) const DNS: ServiceId = ServiceId(2);

pub(crate) const B1: BackendId = BackendId(1);
pub(crate) const B2: BackendId = BackendId(2);
pub(crate) const B3: BackendId = BackendId(3);

pub(crate) const OUTSIDE_PORT: usize = 0;
pub(crate) const INSIDE_PORT: usize = 1;
pub(crate) const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const INSIDE4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 250);
pub(crate) const INSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xfa);

/// Counters by name: fates and the others.
pub(crate) type Counts = BTreeMap<&'static str, i64>;

/// A frame that left, and the port that it left by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) port: usize,
    pub(crate) frame: Vec<u8>,
}

impl std::fmt::Debug for Left {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "by {}: {:02x?}", self.port, self.frame)
    }
}

pub(crate) struct World {
    pub(crate) spec: TablesSpec,
    pub(crate) writer: Writer,
    pub(crate) now: Millis,
    pub(crate) workers: Vec<Worker<MemoryPort>>,
    pub(crate) peers: Vec<Vec<MemoryPeer>>,
    generation: u32,
}

/// How large a world is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) workers: usize,
    pub(crate) flows: usize,
    pub(crate) affinities: usize,
    pub(crate) transmit_frames: usize,
    /// Whether the ports' devices look at IPv4 header checksums.
    pub(crate) checks_ipv4: bool,
}

pub(crate) const USUAL: Size = Size {
    workers: 1,
    flows: 1024,
    affinities: 1024,
    transmit_frames: 512,
    checks_ipv4: false,
};

pub(crate) fn service(id: ServiceId, protocol: Protocol, address: &str, port: u16) -> ServiceSpec {
    let address: IpAddr = address.parse().unwrap();
    ServiceSpec {
        id,
        protocol,
        address,
        prefix_length: if address.is_ipv4() { 32 } else { 128 },
        port,
        scheduler: Scheduler::RoundRobin,
        forward: Forward::Dsr,
        proxy_protocol: false,
        flow_timeout_s: 300,
        affinity: true,
        refresh: Refresh::Packet,
        on_backend_down: OnBackendDown::Balance,
        clients: ClientLists::default(),
        limits: FlowLimits::default(),
    }
}

pub(crate) fn backend(id: u16, service: ServiceId, address: &str) -> BackendSpec {
    BackendSpec {
        id: BackendId(id),
        name: format!("b{id}"),
        service,
        address: address.parse().unwrap(),
        port: 0,
        weight: 1,
        nominal_weight: 1,
        state: BackendState::Up,
    }
}

/// Where the backend or neighbour with this address answers.
pub(crate) fn mac_at(address: IpAddr) -> Mac {
    let last = match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    Mac([2, 0, 0, 0, 1, last])
}

/// Two ports, three services, eight backends.
pub(crate) fn usual() -> TablesSpec {
    let port = |mac, addresses: &[(&str, u8)]| PortSpec {
        mac,
        vlan: None,
        addresses: addresses
            .iter()
            .map(|(address, prefix)| (address.parse().unwrap(), *prefix))
            .collect(),
        gateways: Vec::new(),
        mtu: 1500,
        neighbours: Vec::new(),
        spread: None,
    };
    let v4 = |id: u16, service| backend(id, service, &format!("10.0.0.{id}"));
    let v6 = |id: u16, service| backend(id, service, &format!("fd00::{id}"));
    TablesSpec {
        ports: vec![
            port(OUTSIDE, &[("192.0.2.2", 24), ("2001:db8::2", 64)]),
            port(INSIDE, &[("10.0.0.250", 24), ("fd00::fa", 64)]),
        ],
        services: vec![
            service(WEB, Protocol::Tcp, VIP4, 80),
            service(WEB_6, Protocol::Tcp, VIP6, 80),
            service(DNS, Protocol::Udp, VIP4, 53),
        ],
        backends: vec![
            v4(1, WEB),
            v4(2, WEB),
            v4(3, WEB),
            v6(4, WEB_6),
            v6(5, WEB_6),
            v6(6, WEB_6),
            v4(7, DNS),
            v4(8, DNS),
        ],
        pools: Vec::new(),
    }
}

impl World {
    /// The usual tables and one worker, as [`World::of`] makes it.
    pub(crate) fn new() -> Self {
        Self::of(usual(), USUAL)
    }

    /// These tables; every backend's MAC address is given, and all is announced.
    pub(crate) fn of(mut spec: TablesSpec, size: Size) -> Self {
        let backends = spec.backends.iter();
        spec.ports[INSIDE_PORT].neighbours = backends
            .map(|backend| (backend.address, mac_at(backend.address)))
            .collect();
        Self::settled(spec, size)
    }

    /// These tables; every neighbour has answered.
    pub(crate) fn settled(spec: TablesSpec, size: Size) -> Self {
        let mut world = Self::unsettled(spec, size);
        world.settle();
        world
    }

    /// Nothing has happened yet: no neighbour is known.
    pub(crate) fn unsettled(spec: TablesSpec, size: Size) -> Self {
        let (writer, seats) = data_plane(&spec, size.workers, size.affinities).unwrap();
        let (mut workers, mut peers) = (Vec::new(), Vec::new());
        let exchange = Exchange::new(size.workers, spec.ports.len());
        for seat in seats {
            let (ports, ends) = spec
                .ports
                .iter()
                .map(|_| {
                    let (port, peer) = MemoryPort::new(1024, size.transmit_frames);
                    let checking = size.checks_ipv4;
                    (if checking { port.checking_ipv4() } else { port }, peer)
                })
                .unzip();
            workers.push(Worker::new(seat, ports, size.flows).join(&exchange));
            peers.push(ends);
        }
        Self {
            spec,
            writer,
            now: Millis(100_000),
            workers,
            peers,
            generation: 0,
        }
    }

    /// Answers every question of the forwarder until it has none and has announced all.
    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            self.pass(1);
            for left in self.step_all() {
                if let Some(reply) = answer_to(&left.frame) {
                    self.put(0, left.port, &reply);
                }
            }
        }
        self.step_all();
        let unknown = self.writer.tables().neighbours();
        assert!(unknown.iter().all(|it| it.mac.is_some()), "{unknown:?}");
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = self.now + ms;
    }

    /// Gives worker `worker` a frame by its port `port`.
    pub(crate) fn put(&mut self, worker: usize, port: usize, frame: &[u8]) {
        assert!(self.peers[worker][port].send(frame), "room for a frame");
    }

    /// The same, of whose IPv4 header checksum the port's device says that it is right or wrong.
    pub(crate) fn put_checked(&mut self, worker: usize, port: usize, frame: &[u8], is_right: bool) {
        let sent = self.peers[worker][port].send_checked(frame, is_right);
        assert!(sent, "room for a frame");
    }

    /// One step of one worker; what left.
    pub(crate) fn step(&mut self, worker: usize) -> Vec<Left> {
        self.workers[worker].step(self.now);
        let counters = &self.writer.workers()[worker].counters;
        assert!(counters.adds_up(), "{counters:?}");
        self.left(worker)
    }

    pub(crate) fn left(&self, worker: usize) -> Vec<Left> {
        let mut left = Vec::new();
        for (port, peer) in self.peers[worker].iter().enumerate() {
            while let Some(mut frame) = peer.receive() {
                let found = frame.take_ipv4_checksum();
                assert_eq!(found, None, "what a device found stays in the worker");
                let frame = frame.bytes().to_vec();
                left.push(Left { port, frame });
            }
        }
        left
    }

    /// A step of every worker, and what left of all.
    pub(crate) fn step_all(&mut self) -> Vec<Left> {
        (0..self.workers.len())
            .flat_map(|worker| self.step(worker))
            .collect()
    }

    /// Frames by the outside port to worker 0, all in one burst, one millisecond later.
    pub(crate) fn send_all(&mut self, frames: &[Vec<u8>]) -> Vec<Left> {
        for frame in frames {
            self.put(0, OUTSIDE_PORT, frame);
        }
        self.pass(1);
        self.step(0)
    }

    pub(crate) fn send(&mut self, frame: &[u8]) -> Vec<Left> {
        self.send_all(&[frame.to_vec()])
    }

    /// The backend that gets the frame, untouched but for its MAC addresses; none if nobody does.
    pub(crate) fn receiver(&mut self, frame: &[u8]) -> Option<BackendId> {
        let left = self.send(frame);
        self.receiver_among(&left, frame)
    }

    pub(crate) fn receiver_among(&self, left: &[Left], frame: &[u8]) -> Option<BackendId> {
        let to_backends = left.iter().find_map(|it| {
            let to = self
                .spec
                .backends
                .iter()
                .find(|backend| it.frame == rewritten(frame, INSIDE, mac_at(backend.address)));
            to.map(|backend| (backend.id, it.port))
        });
        to_backends.map(|(backend, port)| {
            assert_eq!(port, INSIDE_PORT);
            backend
        })
    }

    /// Every counter of worker `worker`.
    pub(crate) fn counts(&self, worker: usize) -> Counts {
        let view = self.writer.workers()[worker].counters.clone();
        let fates = tether_dataplane::fate::Fate::ALL.iter();
        fates
            .map(|fate| (fate.name(), view.fate(*fate)))
            .chain(view.named())
            .map(|(name, count)| (name, i64::try_from(count).unwrap()))
            .collect()
    }

    /// What a step of worker 0 with these frames sends, and how every counter moves by it, without
    /// what any step with frames moves.
    pub(crate) fn observed(&mut self, frames: &[Vec<u8>]) -> (Vec<Left>, Counts) {
        let before = self.counts(0);
        let left = self.send_all(frames);
        let mut moved = moved(&before, &self.counts(0));
        let bytes: usize = frames.iter().map(Vec::len).sum();
        for (name, expected) in [
            ("steps", 1),
            ("busy_steps", 1),
            ("received", frames.len()),
            ("received_bytes", bytes),
        ] {
            let expected = i64::try_from(expected).unwrap();
            assert_eq!(moved.remove(name), Some(expected), "{name}");
        }
        (left, moved)
    }

    // ---- the control plane ----

    pub(crate) fn publish_tables(&mut self) {
        self.writer.set_tables(&self.spec).unwrap();
        self.writer.publish();
    }

    pub(crate) fn set_state(&mut self, backend: BackendId, state: BackendState) {
        let spec = self.spec.backends.iter_mut();
        spec.filter(|it| it.id == backend)
            .for_each(|it| it.state = state);
        self.publish_tables();
    }

    pub(crate) fn remove(&mut self, backend: BackendId) {
        self.spec.backends.retain(|it| it.id != backend);
        self.publish_tables();
    }

    /// Starts an affinity that lasts so long from now, and publishes it.
    pub(crate) fn start(
        &mut self,
        service: ServiceId,
        source: &str,
        owner: BackendId,
        duration_ms: u32,
    ) -> Affinity {
        let grant = Grant {
            deadline: self.now + u64::from(duration_ms),
            duration_ms,
            limit: None,
        };
        self.start_with(service, source, owner, grant, None)
    }

    pub(crate) fn start_with(
        &mut self,
        service: ServiceId,
        source: &str,
        owner: BackendId,
        grant: Grant,
        instead: Option<Affinity>,
    ) -> Affinity {
        self.generation += 1;
        let key = AffinityKey {
            service,
            source: source_of(source),
        };
        let generation = self.generation;
        let instead = instead.map(|it| it.cell);
        let affinities = self.writer.affinities_mut();
        let cell = affinities
            .start(&key, owner, generation, grant, instead)
            .unwrap();
        self.writer.publish();
        Affinity { key, cell }
    }

    pub(crate) fn end(&mut self, affinity: Affinity) {
        self.writer
            .affinities_mut()
            .end(&affinity.key, affinity.cell);
        self.writer.publish();
    }

    pub(crate) fn view(&self, affinity: Affinity) -> CellView {
        self.writer.affinities().view(affinity.cell)
    }
}

/// A started affinity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affinity {
    pub(crate) key: AffinityKey,
    pub(crate) cell: CellId,
}

/// `address:port`, `address/prefix` or `address`.
pub(crate) fn source_of(text: &str) -> Source {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Source::host_port(socket.ip(), socket.port().try_into().unwrap()).unwrap();
    }
    match text.split_once('/') {
        Some((address, prefix)) => {
            Source::subnet(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
        }
        None => Source::host(text.parse().unwrap()).unwrap(),
    }
}

/// The counters that differ, by how much.
pub(crate) fn moved(before: &Counts, after: &Counts) -> Counts {
    after
        .iter()
        .map(|(name, count)| (*name, count - before[name]))
        .filter(|(_, difference)| *difference != 0)
        .collect()
}

/// What the neighbour that a frame asks for replies, if it is a question for a neighbour.
pub(crate) fn answer_to(frame: &[u8]) -> Option<Vec<u8>> {
    answer_from(frame, mac_at)
}

/// The same, where neighbours are at these MAC addresses.
pub(crate) fn answer_from(frame: &[u8], mac_of: impl Fn(IpAddr) -> Mac) -> Option<Vec<u8>> {
    let tag = if frame[12..14] == [0x81, 0] { 4 } else { 0 };
    let asks = Mac(*frame[6..].first_chunk()?);
    let packet = &frame[14 + tag..];
    let address4 = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
    let address6 = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
    let reply = match frame[12 + tag..14 + tag] {
        [8, 6] if packet[7] == 1 && address4(14)? != address4(24)? => {
            let mac = mac_of(address4(24)?.into());
            let (us, them) = ((mac, address4(24)?), (asks, address4(14)?));
            arp((mac, asks), ArpOperation::REPLY, us, them)
        }
        [0x86, 0xdd] if packet[6] == 58 && packet[40] == 135 => {
            let target = address6(48)?;
            let mac = mac_of(target.into());
            ndp((mac, target), (asks, address6(8)?), (136, 0x60, 2), target)
        }
        _ => return None,
    };
    Some(if tag == 0 {
        reply
    } else {
        let mut reply = reply;
        reply.splice(12..12, frame[12..16].iter().copied());
        reply
    })
}
