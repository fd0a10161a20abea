//! The control plane's side of a hostile network: tables and affinities that change under the frames.

use super::{
    input::Input,
    network::{Layout, SOURCES4, SOURCES6, most_clients, network},
};
use std::net::IpAddr;
use tether_dataplane::{
    clock::Millis,
    plane::{Seat, Writer, data_plane},
    tables::{
        TablesSpec,
        affinity::{AffinityKey, CellId, Grant, Source},
        backend::BackendState,
        clients::ClientLists,
        id::BackendId,
        service::{FlowLimits, OnBackendDown, Refresh, Scheduler},
    },
};

const AFFINITIES: usize = 64;

pub(crate) struct Plane {
    pub(crate) spec: TablesSpec,
    pub(crate) layout: Layout,
    pub(crate) writer: Writer,
    pub(crate) now: Millis,
    pub(crate) affinities: Vec<(AffinityKey, CellId)>,
    generation: u32,
}

impl Plane {
    /// The whole network, and the seats of its workers.
    pub(crate) fn new(layout: Layout) -> (Self, Vec<Seat>) {
        let spec = network(layout);
        let workers = 1 + usize::from(layout.has_two_workers);
        let (writer, seats) = data_plane(&spec, workers, AFFINITIES).unwrap();
        let plane = Self {
            spec,
            layout,
            writer,
            now: Millis(1_000_000),
            affinities: Vec::new(),
            generation: 0,
        };
        (plane, seats)
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = self.now + ms;
    }

    /// How many flows all backends have.
    pub(crate) fn flows(&self) -> u64 {
        let ids = (0..64).map(BackendId);
        ids.map(|id| self.writer.backend_flows(id)).sum()
    }

    /// Does what an input says, of nine kinds.
    pub(crate) fn change(&mut self, kind: u8, input: &mut Input<'_>) {
        match kind % 9 {
            0..=2 => self.start(input),
            3 => self.end(input.byte().into()),
            4 => self.change_backend(input),
            5 | 6 => self.change_service(input),
            7 => self.remove(input),
            _ => self.reload(|_| ()),
        }
    }

    /// New tables, if they can be.
    fn reload(&mut self, change: impl FnOnce(&mut TablesSpec)) {
        let before = self.spec.clone();
        change(&mut self.spec);
        if self.writer.set_tables(&self.spec).is_err() {
            self.spec = before;
        }
        self.writer.publish();
    }

    fn start(&mut self, input: &mut Input<'_>) {
        let place = input.below(self.spec.services.len());
        let service = &self.spec.services[place];
        let source = source(service.address.is_ipv4(), input);
        let owners = self.spec.backends.iter();
        let owners: Vec<_> = owners
            .filter(|it| it.service == service.id)
            .map(|it| it.id)
            .collect();
        let ms = 1_u32 << (input.byte() % 20);
        let grant = Grant {
            deadline: self.now + u64::from(ms),
            duration_ms: if input.is_set() { ms } else { 0 },
            limit: None,
        };
        if let (Some(source), false) = (source, owners.is_empty()) {
            let service = service.id;
            self.store(
                AffinityKey { service, source },
                input.one_of(&owners),
                grant,
            );
        }
    }

    fn store(&mut self, key: AffinityKey, owner: BackendId, grant: Grant) {
        let place = self.affinities.iter().position(|(it, _)| *it == key);
        let instead = place.map(|place| self.affinities[place].1);
        self.generation += 1;
        let affinities = self.writer.affinities_mut();
        let started = affinities.start(&key, owner, self.generation, grant, instead);
        if let Ok(cell) = started {
            if let Some(place) = place {
                self.affinities.remove(place);
            }
            self.affinities.push((key, cell));
        }
        self.writer.publish();
    }

    fn end(&mut self, place: usize) {
        if !self.affinities.is_empty() {
            let (key, cell) = self.affinities.remove(place % self.affinities.len());
            self.writer.affinities_mut().end(&key, cell);
            self.writer.publish();
        }
    }

    fn change_backend(&mut self, input: &mut Input<'_>) {
        let (which, what) = (input.byte(), input.byte());
        self.reload(|spec| {
            let count = spec.backends.len().max(1);
            if let Some(backend) = spec.backends.get_mut(usize::from(which) % count) {
                match what % 8 {
                    0 | 1 => backend.state = BackendState::Up,
                    2 => backend.state = BackendState::Draining,
                    3 => backend.state = BackendState::Disabled,
                    4 => backend.state = BackendState::Down,
                    5 => backend.weight = 0,
                    6 => backend.weight = 3,
                    _ => backend.port = what.into(),
                }
            }
        });
    }

    fn change_service(&mut self, input: &mut Input<'_>) {
        let (which, what) = (input.byte(), input.byte());
        self.reload(|spec| {
            let count = spec.services.len();
            let service = &mut spec.services[usize::from(which) % count];
            match what % 16 {
                0 => service.affinity = !service.affinity,
                1 => service.refresh = Refresh::Connection,
                2 => service.refresh = Refresh::Never,
                3 => service.refresh = Refresh::Packet,
                4 => service.on_backend_down = OnBackendDown::Drop,
                5 => service.on_backend_down = OnBackendDown::Balance,
                6 => service.clients = most_clients(service.address.is_ipv4()),
                7 => service.clients = ClientLists::default(),
                8 => service.limits.per_second = Some(3),
                9 => service.limits.per_second_per_source = Some(2),
                10 => service.limits = FlowLimits::default(),
                11 => service.flow_timeout_s = 1 + u32::from(what),
                12 => service.scheduler = Scheduler::Maglev,
                13 => service.scheduler = Scheduler::LeastConnections,
                14 => service.scheduler = Scheduler::PowerOfTwo,
                _ => service.scheduler = Scheduler::WeightedRoundRobin,
            }
        });
    }

    /// A backend goes, or all is as it was in the beginning.
    fn remove(&mut self, input: &mut Input<'_>) {
        let which = usize::from(input.byte());
        let layout = self.layout;
        self.reload(|spec| {
            if which.is_multiple_of(4) || spec.backends.len() < 4 {
                *spec = network(layout);
            } else if which.is_multiple_of(7) {
                spec.pools
                    .iter_mut()
                    .for_each(|it| it.addresses.truncate(1));
            } else {
                spec.backends.remove(which % spec.backends.len());
            }
        });
    }
}

/// A client, with a port, without, or with all of its subnet.
fn source(is_ipv4: bool, input: &mut Input<'_>) -> Option<Source> {
    let texts: &[&str] = if is_ipv4 { &SOURCES4 } else { &SOURCES6 };
    let address: IpAddr = input.one_of(texts).parse().ok()?;
    let port = u16::from(input.byte() % 32);
    let bits = input.byte() % if is_ipv4 { 33 } else { 129 };
    let source = match (input.byte() % 3, port.try_into()) {
        (0, Ok(port)) => Source::host_port(address, port),
        (1, _) => Source::subnet(address, bits),
        _ => Source::host(address),
    };
    source.ok()
}
