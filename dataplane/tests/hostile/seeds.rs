//! The inputs that the fuzz target `forward` begins with, which are real frames, and whatever once
//! crashed.

use super::{
    numbers::{Numbers, seed},
    path::operations::{RAW, SUMMED, run},
};
use pcap_file::pcap::PcapReader;
use std::{env, fs, fs::File, path::Path};

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/forward");
const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/captures");
/// Frames of one seed.
const FRAMES: usize = 24;
/// Inputs of any bytes.
const INPUTS: usize = 40;
/// The longest of them: those that are longer are for real buffers.
const LEN_MAX: usize = 2048;

/// A capture as an input: each frame as it stands, by its port, with a step after it.
fn seeds_of(capture: &str, port: u8) -> Vec<(String, Vec<u8>)> {
    let file = File::open(format!("{CAPTURES}/{capture}.pcap")).unwrap();
    let mut reader = PcapReader::new(file).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let frame = packet.unwrap().data.into_owned();
        if frame.len() <= LEN_MAX {
            let [high, low] = u16::try_from(frame.len()).unwrap().to_be_bytes();
            frames.push([&[port, high, low][..], &frame, &[0, 0]].concat());
        }
    }
    let inputs = frames.chunks(FRAMES).enumerate();
    inputs
        .map(|(number, frames)| {
            let input = [&[SUMMED][..], &frames.concat()].concat();
            (format!("{capture}_{number:02}"), input)
        })
        .collect()
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    [
        seeds_of("kernel", RAW),
        seeds_of("crafted", RAW),
        seeds_of("answers", RAW + 1),
    ]
    .concat()
}

/// `TETHER_WRITE_SEEDS=1` writes them anew, after a change of the captures.
#[test]
fn the_seeds_are_the_captures() {
    for (name, input) in seeds() {
        let path = Path::new(SEEDS).join(&name);
        if env::var_os("TETHER_WRITE_SEEDS").is_some() {
            fs::write(&path, &input).unwrap();
        }
        let seed = fs::read(&path).unwrap_or_default();
        assert!(
            seed == input,
            "{name}: run with TETHER_WRITE_SEEDS=1 to write it anew"
        );
    }
}

#[test]
fn every_seed_and_past_crash_passes() {
    let files: Vec<_> = fs::read_dir(SEEDS).unwrap().collect();
    assert!(files.len() >= seeds().len());
    for file in files {
        let path = file.unwrap().path();
        println!("{}", path.display());
        run(&fs::read(path).unwrap());
    }
}

/// What a fuzzer does with them, for a moment: bytes, and seeds with others in places.
#[test]
fn inputs_of_any_bytes_pass() {
    println!("TETHER_SEED={}", seed());
    let mut numbers = Numbers::new(0);
    let seeds = seeds();
    for _ in 0..INPUTS {
        run(&numbers.bytes::<600>());
        let mut input = seeds[below(seeds.len(), &mut numbers)].1.clone();
        for _ in 0..16 {
            let place = below(input.len(), &mut numbers);
            input[place] = numbers.bytes::<1>()[0];
        }
        run(&input);
    }
}

fn below(count: usize, numbers: &mut Numbers) -> usize {
    usize::try_from(numbers.next() % count as u64).unwrap()
}
