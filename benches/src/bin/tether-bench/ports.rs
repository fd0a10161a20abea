//! DPDK ports as the benchmark uses them: one queue each, a pool for each.

use crate::arguments::Arguments;
use dpdk::{Eal, LcoreGuard, Mempool, MempoolConfig, Port, PortConfig, register_thread};
use std::error::Error;
use tether_dataplane::{Mac, port::dpdk::DpdkPort};

/// The queues of every port, in DPDK's order, on a thread that has a pool cache.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) queues: Vec<DpdkPort>,
    pub(crate) macs: Vec<Mac>,
    // Dropped after the queues: fields are dropped in order.
    _ports: Vec<Port>,
    _lcore: LcoreGuard,
}

/// Starts EAL and every port that it knows.
pub(crate) fn open(eal: &[String], arguments: &Arguments) -> Result<(Eal, Lanes), Box<dyn Error>> {
    let eal = Eal::init(eal)?;
    let lcore = register_thread(&eal)?;
    let names = Port::names(&eal);
    if names.is_empty() {
        return Err("no ports: name some, as in --vdev=net_null0,no-rx=1".into());
    }
    let (mut queues, mut ports, mut macs) = (Vec::new(), Vec::new(), Vec::new());
    for (place, name) in names.iter().enumerate() {
        let count = if place == 0 { arguments.mbufs } else { 8191 };
        let pool = Mempool::new(
            &eal,
            &format!("bench{place}"),
            MempoolConfig {
                count,
                ..MempoolConfig::default()
            },
        )?;
        let pools = [pool.clone()];
        let config = PortConfig {
            promiscuous: true,
            ..PortConfig::new(&pools)
        };
        let (port, queue) = Port::open(&eal, name)?.configure(&config)?;
        macs.push(Mac(port.mac()));
        ports.push(port);
        queues.extend(
            queue
                .into_iter()
                .map(|queue| DpdkPort::new(queue, pool.clone())),
        );
    }
    let lanes = Lanes {
        queues,
        macs,
        _ports: ports,
        _lcore: lcore,
    };
    Ok((eal, lanes))
}
