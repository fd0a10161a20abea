//! Frames larger than a buffer span several; they are told apart, carried, and freed whole.

#[path = "support/files.rs"]
mod files;
#[path = "support/rig.rs"]
mod rig;

use dpdk::{Mbuf, Mempool, MempoolConfig, Port, PortConfig};
use rig::Burst;

const ROOM: usize = 256;

#[test]
fn a_frame_of_several_buffers_is_carried_and_freed_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    let frames: Vec<Vec<u8>> = [60, ROOM, ROOM + 1, 1000, 1514]
        .map(|length| {
            (0..length)
                .map(|byte| u8::try_from(byte % 251).unwrap())
                .collect()
        })
        .to_vec();
    files::write(&input, &[frames.clone(), frames.clone()].concat());
    let device = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        input.display(),
        output.display()
    );
    let eal = rig::start(&[&device]);
    let data_room = u16::try_from(Mbuf::HEADROOM + ROOM).unwrap();
    let config = MempoolConfig {
        count: 127,
        cache: 0,
        data_room,
        socket: None,
    };
    let pools = [Mempool::new(&eal, "small", config).unwrap()];
    let (port, mut queues) = Port::open(&eal, "net_pcap0")
        .unwrap()
        .configure(&PortConfig::new(&pools))
        .unwrap();

    let mut burst = Burst::new();
    while queues[0].receive(&mut burst) > 0 {}
    assert_eq!(burst.len(), 10);
    for (received, sent) in burst.iter().zip(frames.iter().cycle()) {
        assert_eq!(received.len(), sent.len());
        assert_eq!(received.is_contiguous(), sent.len() <= ROOM);
        assert!(received.data().len() <= ROOM && sent.starts_with(received.data()));
    }
    let buffers = pools[0].in_use();
    assert!(
        buffers >= 2 * (1 + 1 + 2 + 3 + 4),
        "{buffers} for ten frames"
    );
    drop(burst.drain(5..));
    assert_eq!(pools[0].in_use(), buffers / 2);
    assert_eq!(queues[0].transmit(&mut burst), 5);
    drop((port, queues));
    assert_eq!(pools[0].in_use(), 0);
    assert_eq!(files::read(&output), frames);
}
