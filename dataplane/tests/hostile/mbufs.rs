//! A million frames of captures, as they are and spoilt, through workers on DPDK ports: every frame has
//! one fate, every buffer comes back.
//!
//! ```text
//! captures ─ spoilt ─▶ fifo ─▶ net_pcap ─ mbufs ─ worker ─ mbufs ─▶ net_pcap ─▶ fifo ─▶ checked
//! ```
//!
//! `TETHER_SEED` says which million; the test prints it.

use super::{
    numbers::{Numbers, seed},
    path::{
        check::check_frame,
        input::Input,
        mutate::{LEN_MAX, mutate},
        network::{LOCAL_PORT, LOCAL_PORTS, Layout, OUTSIDE},
        plane::Plane,
        sums::make_right,
    },
};
use dpdk::{Eal, Mempool, MempoolConfig, Port, PortConfig, Queue};
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use std::{
    fs::{self, File, OpenOptions},
    io::BufWriter,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
    time::Duration,
};
use tether_dataplane::{CountersView, Exchange, fate::Fate, port::dpdk::DpdkPort, worker::Worker};

const FRAMES: u64 = 1_000_000;
/// Fates that they meet at least. Some need what is not here: taps, full queues, all ports in use.
const FATES_MET: usize = 40;
/// Layouts of ports: in VLANs and not, two and one.
const LAYOUTS: u8 = 8;
/// Of each pool: more than a worker can hold, and bursts of jumbo frames in many buffers.
const BUFFERS: u32 = 2047;
const FLOWS: usize = 1024;
/// Steps between two changes of the control plane.
const STEPS: u64 = 20;
const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/captures");

/// The frames of the captures that go to a port.
fn captured(is_inside: bool) -> Vec<Vec<u8>> {
    let names: &[&str] = if is_inside {
        &["answers"]
    } else {
        &["kernel", "crafted"]
    };
    let read = |name: &&str| {
        let path = format!("{CAPTURES}/{name}.pcap");
        let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
        let mut frames = Vec::new();
        while let Some(packet) = reader.next_packet() {
            frames.push(packet.unwrap().data.into_owned());
        }
        frames
    };
    names.iter().flat_map(read).collect()
}

/// One port of one layout: where its frames come from and go to.
struct Wire {
    name: String,
    layout: Layout,
    is_inside: bool,
    frames: u64,
    /// Writes what the port receives.
    sender: JoinHandle<()>,
    /// Counts what the port sends.
    receiver: JoinHandle<u64>,
    device: String,
}

impl Wire {
    fn new(directory: &Path, layout: u8, is_inside: bool) -> Self {
        let name = format!("net_pcap{}", 2 * layout + u8::from(is_inside));
        let [rx, tx] = ["rx", "tx"].map(|it| directory.join(format!("{name}-{it}")));
        make_fifo(&rx);
        make_fifo(&tx);
        let device = format!("{name},rx_pcap={},tx_pcap={}", rx.display(), tx.display());
        let numbers = Numbers::new(1 + u64::from(2 * layout + u8::from(is_inside)));
        let layout = Layout::of(layout);
        let share = FRAMES / u64::from(LAYOUTS);
        let frames = match (layout.has_one_port, is_inside) {
            (true, _) => share,
            (false, true) => share / 4,
            (false, false) => share - share / 4,
        };
        Self {
            name,
            layout,
            is_inside,
            frames,
            sender: thread::spawn(move || send(&rx, layout, is_inside, frames, numbers)),
            receiver: thread::spawn(move || receive(&tx, layout, is_inside)),
            device,
        }
    }
}

fn make_fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status();
    assert!(
        status.is_ok_and(|it| it.success()),
        "mkfifo {}",
        path.display()
    );
}

fn send(path: &Path, layout: Layout, is_inside: bool, frames: u64, mut numbers: Numbers) {
    let mut captured = captured(is_inside);
    if layout.has_one_port {
        captured.extend(answers_by_one_port());
    }
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let mut writer = PcapWriter::new(BufWriter::with_capacity(1 << 16, file)).unwrap();
    let vlan = if is_inside {
        layout.inside_vlan
    } else {
        layout.outside_vlan
    };
    for _ in 0..frames {
        let frame = frame(&captured, vlan, &mut numbers);
        let len = u32::try_from(frame.len()).unwrap();
        let packet = PcapPacket::new(Duration::ZERO, len, &frame);
        writer.write_packet(&packet).unwrap();
    }
}

fn answers_by_one_port() -> Vec<Vec<u8>> {
    let mut frames = captured(true);
    for frame in &mut frames {
        frame[..6].copy_from_slice(&OUTSIDE.0);
    }
    frames
}

/// A frame of the captures: every fourth as it is, half of the others with right checksums.
fn frame(captured: &[Vec<u8>], vlan: Option<u16>, numbers: &mut Numbers) -> Vec<u8> {
    let mut pick = || {
        let place = numbers.next() % captured.len() as u64;
        &captured[usize::try_from(place).unwrap()]
    };
    let (mut frame, other) = (pick().clone(), pick());
    let number = numbers.next();
    if number.is_multiple_of(4) {
        retarget(&mut frame, (number >> 8).to_be_bytes());
    }
    if let Some(vlan) = vlan {
        let [high, low] = vlan.to_be_bytes();
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    let bytes = numbers.bytes::<64>();
    let mut input = Input::new(&bytes);
    let how = input.byte();
    if how >= 64 {
        let is_long = frame.len() > LEN_MAX;
        if !is_long {
            mutate(&mut frame, other, 1 + usize::from(how % 4), &mut input);
        }
        if how.is_multiple_of(2) {
            make_right(&mut frame);
        }
    }
    frame
}

/// The same to another VIP, or as the answer of a backend of full NAT to a local port.
fn retarget(frame: &mut [u8], numbers: [u8; 8]) {
    let [.., backend, port, vip] = numbers;
    match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, packet @ ..] if packet.len() >= 24 => {
            if packet[16..19] == [203, 0, 113] {
                packet[19] = 80 + vip % 7;
            } else if packet[12..15] == [10, 0, 0] {
                packet[15] = 33 + backend % 8;
                packet[16..20].copy_from_slice(&[10, 0, 0, 200]);
                let port = LOCAL_PORT + u16::from(port) % LOCAL_PORTS;
                packet[22..24].copy_from_slice(&port.to_be_bytes());
            }
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, packet @ ..]
            if packet.get(24..30) == Some(&[0x20, 1, 0xd, 0xb8, 0, 0x80]) && packet.len() >= 40 =>
        {
            packet[39] = 0x80 + vip % 7;
        }
        _ => {}
    }
    make_right(frame);
}

fn receive(path: &Path, layout: Layout, is_inside: bool) -> u64 {
    let (plane, _) = Plane::new(layout);
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut count = 0;
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        assert_eq!(packet.data.len(), packet.orig_len as usize);
        check_frame(&plane.spec.ports, is_inside.into(), &packet.data, false);
        count += 1;
    }
    count
}

fn start_eal<'a>(wires: impl Iterator<Item = &'a Wire>) -> Eal {
    let mut args: Vec<String> = [
        "--no-huge",
        "-m",
        "256",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "--file-prefix=tether-hostile",
        "--log-level=error",
        "-l",
        "0",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(wires.map(|it| format!("--vdev={}", it.device)));
    Eal::init(&args).unwrap()
}

fn open(eal: &Eal, wire: &Wire, pool: &Mempool) -> (Port, Queue) {
    let pools = [pool.clone()];
    let port = Port::open(eal, &wire.name).unwrap();
    let (port, mut queues) = port.configure(&PortConfig::new(&pools)).unwrap();
    (port, queues.remove(0))
}

/// All frames of one layout through a worker of its own; how many left, and the counters in the end.
fn run(eal: &Eal, wires: Vec<Wire>, numbers: &mut Numbers) -> CountersView {
    let layout = wires[0].layout;
    let frames: u64 = wires.iter().map(|it| it.frames).sum();
    let pool = pool(eal, &wires[0].name);
    let opened = wires.iter().map(|it| open(eal, it, &pool));
    let (opened, queues): (Vec<_>, Vec<_>) = opened.unzip();
    let before = pool.available();
    let (mut plane, mut seats) = Plane::new(layout);
    let queues = queues.into_iter().map(|it| DpdkPort::new(it, pool.clone()));
    let queues: Vec<_> = queues.collect();
    let exchange = Exchange::new(1, queues.len());
    let mut worker = Worker::new(seats.remove(0), queues, FLOWS).join(&exchange);
    let mut idle = 0;
    while idle < 100 {
        plane.pass(numbers.next() % 16);
        let busy = worker.step(plane.now);
        // In the end time goes on until nothing is held for anything.
        idle = if busy { 0 } else { idle + 1 };
        plane.pass(if busy { 0 } else { 100 });
        let counters = counters(&plane);
        assert!(counters.adds_up(), "{counters:?}");
        if counters.steps.is_multiple_of(STEPS) {
            let bytes = numbers.bytes::<64>();
            plane.change(bytes[63], &mut Input::new(&bytes));
        }
    }
    let counters = counters(&plane);
    assert_eq!((counters.received, counters.held), (frames, 0));
    assert_eq!(pool.available(), before, "every buffer is back");
    drop(worker);
    drop(opened);
    let left: u64 = wires.into_iter().map(finish).sum();
    let expected = [Fate::Forwarded, Fate::Returned].map(|it| counters.fate(it));
    assert_eq!(left, expected.iter().sum::<u64>() + counters.originated);
    counters
}

fn pool(eal: &Eal, name: &str) -> Mempool {
    let config = MempoolConfig {
        count: BUFFERS,
        cache: 64,
        ..MempoolConfig::default()
    };
    Mempool::new(eal, &format!("of-{name}"), config).unwrap()
}

fn counters(plane: &Plane) -> CountersView {
    plane.writer.workers().remove(0).counters
}

fn finish(wire: Wire) -> u64 {
    wire.sender.join().unwrap();
    let left = wire.receiver.join();
    left.unwrap_or_else(|_| panic!("{:?}, inside: {}", wire.layout, wire.is_inside))
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("hostile-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_million_frames_have_one_fate_each_and_every_buffer_comes_back() {
    println!("TETHER_SEED={}", seed());
    let directory = Directory::new();
    let layouts = (0..LAYOUTS).map(|layout| {
        let sides = if Layout::of(layout).has_one_port {
            1
        } else {
            2
        };
        let wire = |side| Wire::new(&directory.0, layout, side == 1);
        (0..sides).map(wire).collect::<Vec<_>>()
    });
    let layouts: Vec<_> = layouts.collect();
    let eal = start_eal(layouts.iter().flatten());
    let mut numbers = Numbers::new(0);
    let mut fates = vec![0; Fate::COUNT];
    for wires in layouts {
        let counters = run(&eal, wires, &mut numbers);
        for (sum, fate) in fates.iter_mut().zip(&counters.fates) {
            *sum += fate;
        }
    }
    assert_eq!(fates.iter().sum::<u64>(), FRAMES);
    for (fate, count) in Fate::ALL.iter().zip(&fates) {
        println!("{:>8} {}", count, fate.name());
    }
    let met = fates.iter().filter(|it| **it > 0).count();
    assert!(met >= FATES_MET, "{met} fates are met");
}
