//! Pools: the local addresses behind which full NAT puts clients, and whose ports are which worker's.
//!
//! An address keeps its place for the life of the process, in use or not: sessions name it by that
//! place, and the memory for its ports stays with the workers.

use super::{
    TablesError,
    id::{LocalId, ServiceId},
};
use crate::limits;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

/// The pool of a service with full NAT, as the control plane describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The service.
    pub service: ServiceId,
    /// Its local addresses, of the families of its backends. Services may share them.
    pub addresses: Vec<IpAddr>,
    /// The lowest and the highest of the ports that flows get; not 0.
    pub ports: (u16, u16),
}

/// A local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) address: IpAddr,
    /// The lowest and the highest port.
    pub(crate) ports: (u16, u16),
    /// Whether a service has it.
    pub(crate) in_use: bool,
}

/// Which local addresses the flows to a backend may get: a part of [`Pools::listed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    from: u32,
    to: u32,
}

/// All local addresses.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    locals: Vec<Local>,
    /// Those in use, sorted.
    by_address: Box<[(IpAddr, LocalId)]>,
    lists: Vec<LocalId>,
    of_service: BTreeMap<(ServiceId, bool), Listed>,
}

impl Pools {
    /// The pools of a description; addresses that were there before keep their places.
    pub(crate) fn new(specs: &[PoolSpec], before: Option<&Self>) -> Result<Self, TablesError> {
        let mut pools = Self::default();
        if let Some(before) = before {
            let unused = |local: &Local| Local {
                in_use: false,
                ..*local
            };
            pools.locals = before.locals.iter().map(unused).collect();
        }
        for spec in specs {
            for is_ipv4 in [true, false] {
                pools.add(spec, is_ipv4)?;
            }
        }
        let in_use = pools.numbered().filter(|(_, local)| local.in_use);
        let mut by_address: Vec<_> = in_use.map(|(id, local)| (local.address, id)).collect();
        by_address.sort_unstable();
        pools.by_address = by_address.into_boxed_slice();
        Ok(pools)
    }

    fn add(&mut self, spec: &PoolSpec, is_ipv4: bool) -> Result<(), TablesError> {
        let from = self.lists.len();
        for address in &spec.addresses {
            if address.is_ipv4() == is_ipv4 {
                let id = self.intern(*address, spec.ports)?;
                self.lists.push(id);
            }
        }
        let listed = Listed {
            from: u32::try_from(from).unwrap_or(u32::MAX),
            to: u32::try_from(self.lists.len()).unwrap_or(u32::MAX),
        };
        self.of_service.insert((spec.service, is_ipv4), listed);
        Ok(())
    }

    fn intern(&mut self, address: IpAddr, ports: (u16, u16)) -> Result<LocalId, TablesError> {
        let known = self.numbered().find(|(_, it)| it.address == address);
        if let Some((id, known)) = known {
            if known.ports != ports {
                return Err(TablesError::PoolPorts {
                    address,
                    now: ports,
                    before: known.ports,
                });
            }
            self.locals[id.index()].in_use = true;
            return Ok(id);
        }
        let limit = limits::LOCAL_ADDRESSES;
        let place = self.locals.len();
        let id = u8::try_from(place).map_err(|_| TablesError::BeyondLimit {
            what: "local addresses of full NAT since the start",
            place,
            limit,
        })?;
        self.locals.push(Local {
            address,
            ports,
            in_use: true,
        });
        Ok(LocalId(id))
    }

    /// Whether there is no local address.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Every address that there was, with its place.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (LocalId, Local)> {
        let numbers = (0..=u8::MAX).map(LocalId);
        numbers.zip(self.locals.iter().copied())
    }

    /// The addresses in use.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.iter().map(|(address, _)| *address)
    }

    /// The local address that this is.
    #[inline]
    pub(crate) fn find(&self, address: IpAddr) -> Option<LocalId> {
        let found = self.by_address.binary_search_by_key(&address, |it| it.0);
        found.ok().map(|place| self.by_address[place].1)
    }

    /// A local address that is in use.
    #[inline]
    pub(crate) fn local(&self, id: LocalId) -> Option<&Local> {
        self.locals.get(id.index()).filter(|local| local.in_use)
    }

    /// A port of a local address that is in use.
    #[inline]
    pub(crate) fn socket(&self, id: LocalId, port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.local(id)?.address, port))
    }

    /// The addresses of a service of the family of a backend.
    pub(super) fn of(&self, service: ServiceId, is_ipv4: bool) -> Option<Listed> {
        let listed = self.of_service.get(&(service, is_ipv4)).copied();
        listed.filter(|it| it.from < it.to)
    }

    /// The places of listed addresses.
    #[inline]
    pub(crate) fn listed(&self, listed: Listed) -> &[LocalId] {
        &self.lists[listed.range()]
    }
}

impl Listed {
    fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

impl Local {
    /// The place of the worker whose port this is, of so many workers.
    #[inline]
    pub(crate) fn owner(&self, port: u16, workers: u16) -> Option<u8> {
        let (first, last) = self.ports;
        if port < first || port > last {
            return None;
        }
        u8::try_from((port - first) % workers.max(1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(service: u16, addresses: &[&str]) -> PoolSpec {
        PoolSpec {
            service: ServiceId(service),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            ports: (1024, 65_535),
        }
    }

    fn place(pools: &Pools, address: &str) -> Option<LocalId> {
        pools.find(address.parse().unwrap())
    }

    #[test]
    fn an_address_keeps_its_place_and_is_found_while_it_is_in_use() {
        let first = Pools::new(&[spec(1, &["10.0.0.9", "fd00::9"])], None).unwrap();
        assert_eq!(place(&first, "10.0.0.9"), Some(LocalId(0)));
        assert_eq!(place(&first, "fd00::9"), Some(LocalId(1)));
        let second = Pools::new(&[spec(1, &["10.0.0.8"])], Some(&first)).unwrap();
        assert_eq!(place(&second, "10.0.0.8"), Some(LocalId(2)));
        assert_eq!(place(&second, "10.0.0.9"), None);
        assert!(second.local(LocalId(0)).is_none());
        let third = Pools::new(&[spec(1, &["10.0.0.9"])], Some(&second)).unwrap();
        assert_eq!(place(&third, "10.0.0.9"), Some(LocalId(0)));
        assert_eq!(third.addresses().count(), 1);
    }

    #[test]
    fn services_share_addresses_and_have_those_of_each_family() {
        let specs = [spec(1, &["10.0.0.9", "fd00::9"]), spec(2, &["10.0.0.9"])];
        let pools = Pools::new(&specs, None).unwrap();
        let of = |service, is_ipv4| {
            let listed = pools.of(ServiceId(service), is_ipv4)?;
            Some(pools.listed(listed).to_vec())
        };
        assert_eq!(of(1, true), Some(vec![LocalId(0)]));
        assert_eq!(of(1, false), Some(vec![LocalId(1)]));
        assert_eq!(of(2, true), Some(vec![LocalId(0)]));
        assert_eq!(of(2, false), None);
        assert_eq!(of(3, true), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "65,536 ports take minutes there")]
    fn other_ports_of_an_address_and_one_too_many_are_refused() {
        let other = PoolSpec {
            ports: (2000, 3000),
            ..spec(2, &["10.0.0.9"])
        };
        let refused = Pools::new(&[spec(1, &["10.0.0.9"]), other], None).unwrap_err();
        assert!(matches!(refused, TablesError::PoolPorts { .. }));
        let many = |count: u32| PoolSpec {
            addresses: (0..count)
                .map(|it| std::net::Ipv4Addr::from_bits(it).into())
                .collect(),
            ..spec(1, &[])
        };
        assert!(Pools::new(&[many(256)], None).is_ok());
        let refused = Pools::new(&[many(257)], None).unwrap_err();
        assert!(matches!(refused, TablesError::BeyondLimit { .. }));
    }

    #[test]
    fn every_port_is_one_workers() {
        let pools = Pools::new(&[spec(1, &["10.0.0.9"])], None).unwrap();
        let local = pools.local(LocalId(0)).unwrap();
        assert_eq!(local.owner(1023, 3), None);
        assert_eq!(local.owner(1024, 3), Some(0));
        assert_eq!(local.owner(1026, 3), Some(2));
        assert_eq!(local.owner(65_535, 3), Some(((65_535 - 1024) % 3) as u8));
    }
}
