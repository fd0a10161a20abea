//! The index of services against a map.

use super::*;
use crate::schedule::Slots;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

type Address = (Protocol, IpAddr, u16);

fn address() -> impl Strategy<Value = Address> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    let ip = prop_oneof![
        (0_u32..6).prop_map(|it| IpAddr::from(Ipv4Addr::from_bits(it))),
        (0_u128..6).prop_map(|it| IpAddr::from(Ipv6Addr::from_bits(it))),
    ];
    (protocol, ip, 0_u16..5)
}

fn service(id: u16, (protocol, address, port): Address) -> Service {
    Service {
        spec: ServiceSpec {
            id: ServiceId(id),
            protocol,
            address,
            port,
            scheduler: Scheduler::Maglev,
            forward: Forward::Dsr,
            flow_timeout_s: 1,
            affinity: true,
            refresh: Refresh::Packet,
            on_backend_down: OnBackendDown::Balance,
            clients: ClientLists::default(),
            limits: FlowLimits::default(),
        },
        slots: Arc::new(Slots::new(Scheduler::Maglev, Vec::new())),
        clients: Arc::new(Clients::new(&ClientLists::default())),
    }
}

proptest! {
    #![proptest_config(crate::models::cases(128))]
    #[test]
    fn it_finds_what_a_map_finds(
        addresses in prop::collection::btree_set(address(), 0..60),
        first in 0_u16..4000,
        asked in prop::collection::vec(address(), 50),
    ) {
        let list: Vec<_> = (first..).zip(addresses).collect();
        let map: BTreeMap<Address, u16> = list.iter().map(|(id, address)| (*address, *id)).collect();
        let all = list.iter().map(|(id, address)| service(*id, *address));
        let services = Services::new(all.collect());
        for (protocol, address, port) in asked.into_iter().chain(map.keys().copied()) {
            let found = services.find(protocol, address, port).map(|it| it.spec.id.0);
            let exact = map.get(&(protocol, address, port));
            let expected = exact.or_else(|| map.get(&(protocol, address, 0)));
            prop_assert_eq!(found, expected.copied());
        }
        for (id, (protocol, address, port)) in list {
            let spec = &services.get(ServiceId(id)).unwrap().spec;
            prop_assert_eq!((spec.protocol, spec.address, spec.port), (protocol, address, port));
        }
    }
}
