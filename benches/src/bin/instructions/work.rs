//! What is counted: the whole step of a worker, over packets of known flows and of new ones.

use crate::ring::{LEN, Ring, Slot};
use clap::ValueEnum;
use etherparse::PacketBuilder;
use std::{error::Error, net::Ipv4Addr};
use tether_dataplane::{
    Mac,
    clock::Millis,
    key::Protocol,
    plane::{Writer, data_plane},
    port::BURST,
    tables::{
        PortSpec, TablesSpec,
        affinity::{AffinityKey, Grant, Source},
        backend::{BackendSpec, BackendState},
        clients::ClientLists,
        id::{BackendId, ServiceId},
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
    worker::Worker,
};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const BACKEND: Mac = Mac([2, 0, 0, 0, 0, 2]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const BACKENDS: u16 = 10;
/// Clients, and so frames: a multiple of a burst.
const CLIENTS: u32 = 1024;
const _: () = assert!((CLIENTS as usize).is_multiple_of(BURST));
const SYN: u8 = 2;
const ACK: u8 = 16;
const NOW: Millis = Millis(1_000_000);
const HOUR_MS: u32 = 3_600_000;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Packets of established flows.
    Known,
    /// The same by a port whose device has looked at their IPv4 header checksums.
    KnownChecked,
    /// Packets that open flows, which the scheduler places.
    New,
    /// Packets that open flows, which affinities place.
    NewByAffinity,
}

impl Work {
    pub(crate) const ALL: [Self; 4] = [
        Self::Known,
        Self::KnownChecked,
        Self::New,
        Self::NewByAffinity,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::KnownChecked => "known-checked",
            Self::New => "new",
            Self::NewByAffinity => "new-by-affinity",
        }
    }

    /// Takes so many bursts through a worker.
    pub(crate) fn run(self, bursts: usize) -> Result<(), Box<dyn Error>> {
        let (mut writer, seats) = data_plane(&tables(), 1, 2 * CLIENTS as usize)?;
        if self == Self::NewByAffinity {
            start_affinities(&mut writer)?;
        }
        let seat = seats.into_iter().next().ok_or("no seat")?;
        let is_known = matches!(self, Self::Known | Self::KnownChecked);
        let ring = Ring {
            frames: frames(if is_known { ACK } else { SYN })?,
            mac: OURS,
            counts_on: !is_known,
            checks_ipv4: self == Self::KnownChecked,
        };
        let mut worker = Worker::new(seat, vec![ring], CLIENTS as usize);
        for _ in 0..bursts {
            worker.step(NOW);
        }
        let counters = &writer.workers()[0].counters;
        let (received, placed) = (counters.received, counters.flows_by_affinity);
        let by_affinity = self == Self::NewByAffinity;
        if received != (bursts * BURST) as u64 || (placed > 0) != by_affinity || !counters.adds_up()
        {
            return Err(format!("this is not the work that was to be done: {counters:?}").into());
        }
        Ok(())
    }
}

fn frames(flags: u8) -> Result<std::collections::VecDeque<Slot>, Box<dyn Error>> {
    (0..CLIENTS)
        .map(|number| {
            let client = Ipv4Addr::from_bits(0x0a40_0000 + number).octets();
            let tcp = PacketBuilder::ethernet2(BACKEND.0, OURS.0)
                .ipv4(client, VIP.octets(), 64)
                .tcp(1024, 80, 1, 65_535);
            let tcp = if flags == SYN { tcp.syn() } else { tcp.ack(1) };
            let mut frame = Vec::new();
            tcp.write(&mut frame, &[])?;
            frame.resize(LEN, 0);
            let frame: &[u8; LEN] = frame.first_chunk().ok_or("60 bytes")?;
            Ok(Slot::new(frame))
        })
        .collect()
}

fn start_affinities(writer: &mut Writer) -> Result<(), Box<dyn Error>> {
    for number in 0..CLIENTS {
        let key = AffinityKey {
            service: ServiceId(0),
            source: Source::host(Ipv4Addr::from_bits(0x0a40_0000 + number).into())?,
        };
        let grant = Grant {
            deadline: NOW + u64::from(HOUR_MS),
            duration_ms: HOUR_MS,
            limit: None,
        };
        let owner = BackendId(u16::try_from(number % u32::from(BACKENDS))?);
        writer.affinities_mut().start(&key, owner, 1, grant, None)?;
    }
    writer.publish();
    Ok(())
}

/// One service by direct server return.
fn tables() -> TablesSpec {
    let addresses: Vec<_> = (0..BACKENDS)
        .map(|id| Ipv4Addr::new(10, 9, 1, u8::try_from(id + 1).unwrap_or(1)).into())
        .collect();
    let backends = (0..BACKENDS)
        .zip(&addresses)
        .map(|(id, address)| BackendSpec {
            id: BackendId(id),
            name: format!("backend-{id}"),
            service: ServiceId(0),
            address: *address,
            port: 0,
            weight: 1,
            nominal_weight: 1,
            state: BackendState::Up,
        });
    TablesSpec {
        ports: vec![PortSpec {
            mac: OURS,
            vlan: None,
            addresses: vec![(Ipv4Addr::new(10, 9, 0, 2).into(), 16)],
            gateways: Vec::new(),
            mtu: 1500,
            neighbours: addresses.iter().map(|it| (*it, BACKEND)).collect(),
            spread: None,
        }],
        services: vec![ServiceSpec {
            id: ServiceId(0),
            protocol: Protocol::Tcp,
            address: VIP.into(),
            prefix_length: 32,
            port: 80,
            scheduler: Scheduler::Maglev,
            forward: Forward::Dsr,
            flow_timeout_s: 300,
            affinity: true,
            refresh: Refresh::Packet,
            on_backend_down: OnBackendDown::Balance,
            clients: ClientLists::default(),
            limits: FlowLimits::default(),
            proxy_protocol: false,
        }],
        backends: backends.collect(),
        pools: Vec::new(),
    }
}
