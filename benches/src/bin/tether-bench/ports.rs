//! DPDK ports as the benchmark uses them: one queue for each worker on each port, a pool for each
//! queue.

use crate::arguments::Arguments;
use dpdk::{Eal, Mempool, MempoolConfig, Port, PortConfig};
use std::error::Error;
use tether_dataplane::{Mac, port::dpdk::DpdkPort};

/// Frames of a pool whose queue repeats no file.
const SMALL_POOL: u32 = 8191;

/// The queues of one worker, on every port in DPDK's order.
pub(crate) type Queues = Vec<DpdkPort>;

/// What EAL has.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Each worker's.
    pub(crate) workers: Vec<Queues>,
    pub(crate) macs: Vec<Mac>,
    // Dropped after the queues: fields are dropped in order.
    open: Vec<Port>,
}

/// Opens every port that EAL knows, with as many queues as there are workers.
pub(crate) fn open(eal: &Eal, arguments: &Arguments) -> Result<Ports, Box<dyn Error>> {
    let names = Port::names(eal);
    if names.is_empty() {
        return Err("no ports: name some, as in --vdev=net_null0,no-rx=1".into());
    }
    let count = arguments.workers();
    let mut all = Ports {
        workers: (0..count).map(|_| Queues::new()).collect(),
        macs: Vec::new(),
        open: Vec::new(),
    };
    for (place, name) in names.iter().enumerate() {
        let pools = pools(eal, place, count, arguments)?;
        let config = PortConfig {
            promiscuous: true,
            queues: u16::try_from(count)?,
            ..PortConfig::new(&pools)
        };
        let (port, queues) = Port::open(eal, name)?.configure(&config)?;
        all.macs.push(Mac(port.mac()));
        all.open.push(port);
        let queues = queues.into_iter().zip(&pools);
        for (worker, (queue, pool)) in all.workers.iter_mut().zip(queues) {
            worker.push(DpdkPort::new(queue, pool.clone()));
        }
    }
    Ok(all)
}

fn pools(
    eal: &Eal,
    port: usize,
    queues: usize,
    arguments: &Arguments,
) -> Result<Vec<Mempool>, dpdk::Error> {
    let config = MempoolConfig {
        count: if port == 0 {
            arguments.mbufs
        } else {
            SMALL_POOL
        },
        data_room: arguments.mbuf_size,
        ..MempoolConfig::default()
    };
    (0..queues)
        .map(|queue| Mempool::new(eal, &format!("bench{port}_{queue}"), config))
        .collect()
}
