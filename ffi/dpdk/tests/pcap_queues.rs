//! Frames from files to files: each queue has its own, so a test decides which queue sees what.

#[path = "support/files.rs"]
mod files;
#[path = "support/rig.rs"]
mod rig;

use std::fmt::Write;
use std::path::PathBuf;

use dpdk::Queue;
use rig::Burst;

#[test]
fn each_queue_carries_the_frames_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    let inputs: [Vec<Vec<u8>>; 2] = [
        (0..100)
            .map(|mark| vec![mark; 60 + usize::from(mark)])
            .collect(),
        (0..50)
            .map(|mark| vec![200 - mark; 1514 - usize::from(mark)])
            .collect(),
    ];
    let mut device = "net_pcap0".to_owned();
    for (index, frames) in inputs.iter().enumerate() {
        let (input, output) = (path(&format!("in{index}")), path(&format!("out{index}")));
        files::write(&input, frames);
        let (input, output) = (input.display(), output.display());
        write!(device, ",rx_pcap={input},tx_pcap={output}").unwrap();
    }
    let eal = rig::start(&[&device]);
    let pool = rig::pool(&eal, "pcap");
    let (port, mut queues) = rig::start_port(&eal, "net_pcap0", 2, &pool);
    for (queue, frames) in queues.iter_mut().zip(&inputs) {
        echo(queue, frames);
    }
    let counted = port.statistics().unwrap();
    assert_eq!(
        (counted.received_packets, counted.transmitted_packets),
        (150, 150)
    );
    let bytes: usize = inputs.iter().flatten().map(Vec::len).sum();
    assert_eq!(
        (counted.received_bytes, counted.transmitted_bytes),
        (bytes as u64, bytes as u64)
    );
    drop((port, queues));
    assert_eq!(pool.in_use(), 0);
    for (index, frames) in inputs.iter().enumerate() {
        assert_eq!(files::read(&path(&format!("out{index}"))), *frames);
    }
}

/// Receives the frames in order and sends them out of the same queue.
fn echo(queue: &mut Queue, mut expected: &[Vec<u8>]) {
    let mut burst = Burst::new();
    while !expected.is_empty() {
        let received = queue.receive(&mut burst);
        assert!(received > 0, "{} frames did not come", expected.len());
        let (now, later) = expected.split_at(received);
        assert!(
            burst
                .iter()
                .map(dpdk::Mbuf::data)
                .eq(now.iter().map(Vec::as_slice))
        );
        assert_eq!(queue.transmit(&mut burst), received);
        expected = later;
    }
    assert_eq!(queue.receive(&mut burst), 0);
}
