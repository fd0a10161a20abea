//! The forwarder tells its links where its addresses are: once, and again what is new.

use crate::{
    frames::{ALL_NODES_MAC, INSIDE, OUTSIDE, arp, ndp, padded},
    world::{
        INSIDE_PORT, INSIDE4, INSIDE6, Left, OUTSIDE_PORT, OUTSIDE4, Size, USUAL, VIP4, VIP6,
        World, service, usual,
    },
};
use etherparse::ArpOperation;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tether_dataplane::{
    Mac,
    key::Protocol,
    tables::{backend::BackendState, id::ServiceId},
};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn announcement(port: usize, address: IpAddr) -> Left {
    let mac = [OUTSIDE, INSIDE][port];
    let frame = match address {
        IpAddr::V4(own) => padded(arp(
            (mac, Mac::BROADCAST),
            ArpOperation::REQUEST,
            (mac, own),
            (Mac([0; 6]), own),
        )),
        IpAddr::V6(own) => {
            let to = (ALL_NODES_MAC, ALL_NODES);
            ndp((mac, own), to, (136, 0x20, 2), own)
        }
    };
    Left { port, frame }
}

/// What is announced of itself in the next 20 ms.
fn announced(world: &mut World, worker: usize) -> Vec<Left> {
    let mut left = Vec::new();
    for _ in 0..20 {
        world.pass(1);
        left.extend(world.step(worker));
    }
    let to_all = |it: &Left| {
        let arp = it.frame[12..14] == [8, 6] && it.frame[28..32] == it.frame[38..42];
        arp || it.frame[..6] == ALL_NODES_MAC.0
    };
    left.retain(to_all);
    left.sort_by_key(|it| (it.port, it.frame.clone()));
    left
}

fn expected(list: &[(usize, IpAddr)]) -> Vec<Left> {
    let mut list: Vec<Left> = list
        .iter()
        .map(|(port, address)| announcement(*port, *address))
        .collect();
    list.sort_by_key(|it| (it.port, it.frame.clone()));
    list
}

#[test]
fn a_start_announces_own_addresses_on_their_ports_and_vips_on_all() {
    let mut world = World::unsettled(usual(), USUAL);
    let outside6: Ipv6Addr = "2001:db8::2".parse().unwrap();
    let mut list = vec![
        (OUTSIDE_PORT, OUTSIDE4.into()),
        (OUTSIDE_PORT, outside6.into()),
        (INSIDE_PORT, INSIDE4.into()),
        (INSIDE_PORT, INSIDE6.into()),
    ];
    for port in [OUTSIDE_PORT, INSIDE_PORT] {
        list.push((port, VIP4.parse().unwrap()));
        list.push((port, VIP6.parse().unwrap()));
    }
    assert_eq!(announced(&mut world, 0), expected(&list));
    assert_eq!(announced(&mut world, 0), []);
}

#[test]
fn only_one_worker_announces() {
    let size = Size {
        workers: 2,
        ..USUAL
    };
    let mut world = World::unsettled(usual(), size);
    assert_eq!(announced(&mut world, 1), []);
}

#[test]
fn a_new_vip_is_announced() {
    let mut world = World::new();
    let vip = Ipv4Addr::new(203, 0, 113, 99);
    let new = service(ServiceId(9), Protocol::Tcp, "203.0.113.99", 80);
    world.spec.services.push(new);
    world.publish_tables();
    let announced = announced(&mut world, 0);
    for port in [OUTSIDE_PORT, INSIDE_PORT] {
        assert!(announced.contains(&announcement(port, vip.into())));
    }
}

#[test]
fn a_change_of_backends_announces_nothing() {
    let mut world = World::new();
    world.set_state(crate::world::B1, BackendState::Draining);
    assert_eq!(announced(&mut world, 0), []);
}

/// Tables may be where tables before were: a new VIP is announced all the same.
#[test]
fn a_new_vip_is_announced_after_many_changes_in_one_millisecond() {
    for changes in 1..8 {
        let mut world = World::new();
        for _ in 0..changes {
            world.publish_tables();
            world.step(0);
            world.writer.reclaim();
        }
        let new = service(ServiceId(9), Protocol::Tcp, "203.0.113.99", 80);
        world.spec.services.push(new);
        world.publish_tables();
        world.step(0);
        let vip = Ipv4Addr::new(203, 0, 113, 99);
        let wanted = announcement(OUTSIDE_PORT, vip.into());
        assert!(announced(&mut world, 0).contains(&wanted), "{changes}");
    }
}
