//! The index of services against a map.

use super::*;
use crate::schedule::Slots;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Protocol, first address, prefix length, port.
type Address = (Protocol, IpAddr, u8, u16);

fn address() -> impl Strategy<Value = Address> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    let ip = prop_oneof![
        (0_u32..6, prop_oneof![3 => Just(32_u8), 1 => 28_u8..32])
            .prop_map(|(it, length)| (IpAddr::from(Ipv4Addr::from_bits(it)), length)),
        (0_u128..6, prop_oneof![3 => Just(128_u8), 1 => 124_u8..128])
            .prop_map(|(it, length)| (IpAddr::from(Ipv6Addr::from_bits(it)), length)),
    ];
    (protocol, ip, 0_u16..5).prop_map(|(protocol, (ip, length), port)| {
        let first = Prefix::new(ip, length).unwrap().address();
        (protocol, first, length, port)
    })
}

fn service(id: u16, (protocol, address, prefix_length, port): Address) -> Service {
    Service {
        spec: ServiceSpec {
            id: ServiceId(id),
            protocol,
            address,
            prefix_length,
            port,
            scheduler: Scheduler::Maglev,
            forward: Forward::Dsr,
            proxy_protocol: false,
            flow_timeout_s: 1,
            affinity: true,
            refresh: Refresh::Packet,
            on_backend_down: OnBackendDown::Balance,
            clients: ClientLists::default(),
            limits: FlowLimits::default(),
        },
        slots: Arc::new(Slots::new(Scheduler::RoundRobin, Vec::new())),
        clients: None,
    }
}

/// The index has a place for each number below the largest: many take Miri long to fill, as do many services.
const MOST_IDS: u16 = if cfg!(miri) { 40 } else { 4000 };
const MOST: usize = if cfg!(miri) { 8 } else { 60 };
const ASKED: usize = if cfg!(miri) { 8 } else { 50 };

proptest! {
    #![proptest_config(crate::models::cases(128))]
    #[test]
    fn it_finds_what_a_map_finds(
        addresses in prop::collection::btree_set(address(), 0..MOST),
        first in 0..MOST_IDS,
        asked in prop::collection::vec(address(), ASKED),
    ) {
        let list: Vec<_> = (first..).zip(addresses).collect();
        let map: BTreeMap<Address, u16> = list.iter().map(|(id, address)| (*address, *id)).collect();
        let all = list.iter().map(|(id, address)| service(*id, *address));
        let services = Services::new(all.collect());
        for (protocol, address, _, port) in asked.into_iter().chain(map.keys().copied()) {
            let found = services.find(protocol, address, port).map(|it| it.spec.id.0);
            prop_assert_eq!(found, oracle(&map, protocol, address, port));
        }
        for (id, (protocol, address, _, port)) in list {
            let spec = &services.get(ServiceId(id)).unwrap().spec;
            prop_assert_eq!((spec.protocol, spec.address, spec.port), (protocol, address, port));
        }
    }
}

/// The service of the longest prefix that holds the address; there of the port before every port.
fn oracle(
    map: &BTreeMap<Address, u16>,
    protocol: Protocol,
    address: IpAddr,
    port: u16,
) -> Option<u16> {
    let holds = |(of, first, length, at): &Address| {
        let prefix = Prefix::new(*first, *length).unwrap();
        *of == protocol && prefix.holds(address) && (*at == port || *at == 0)
    };
    let matching = map.iter().filter(|(key, _)| holds(key));
    let best = matching.max_by_key(|((_, _, length, at), _)| (*length, *at == port));
    best.map(|(_, id)| *id)
}
