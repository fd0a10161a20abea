//! `io` and `macswap`: what the ports themselves can do, by the worker's own port code, on one core.

use crate::{
    arguments::{Arguments, Mode},
    ports::Ports,
    report::Report,
};
use dpdk::{Eal, register_thread};
use std::error::Error;
use tether_benches::{cores, meter::Meter};
use tether_dataplane::port::{Burst, Frame, Port};

/// Sends what the first port receives out of the last one.
pub(crate) fn measure(
    eal: &Eal,
    mut ports: Ports,
    arguments: &Arguments,
) -> Result<Report, Box<dyn Error>> {
    if let Some(core) = arguments.cores.first() {
        cores::pin(*core)?;
    }
    let _lcore = register_thread(eal)?;
    let mut queues = ports.workers.swap_remove(0);
    let mut burst = Burst::new();
    let last = queues.len() - 1;
    let mut step = |received: &mut u64, sent: &mut u64| {
        queues[0].receive(&mut burst);
        let count = burst.len();
        if arguments.mode == Mode::Macswap {
            burst.iter_mut().for_each(swap);
        }
        queues[last].transmit(&mut burst);
        *received += count as u64;
        *sent += (count - burst.len()) as u64;
        burst.clear();
    };
    let (mut received, mut sent) = (0, 0);
    Meter::run(arguments.warmup, || step(&mut received, &mut sent));
    (received, sent) = (0, 0);
    let meter = Meter::run(arguments.seconds, || step(&mut received, &mut sent));
    let fates = [("forwarded", sent), ("transmit_full", received - sent)];
    Ok(Report::new(&[meter], received, fates.into_iter()))
}

fn swap<F: Frame>(frame: &mut F) {
    if let Some(addresses) = frame.bytes_mut().first_chunk_mut::<12>() {
        addresses.rotate_left(6);
    }
}
