//! What an attacker does to a frame: bytes, lengths, cuts, splices, tags, at places that an input picks.

use super::input::Input;

/// As long as a frame can be here.
pub(crate) const LEN_MAX: usize = 2048;

/// Numbers at which lengths and offsets break.
const EDGES: [u16; 16] = [
    0, 1, 7, 8, 19, 20, 21, 39, 40, 60, 0x1fff, 0x2000, 0x7fff, 0x8000, 0xfff8, 0xffff,
];
/// Bytes that mean something in one header or another.
const BYTES: [u8; 20] = [
    0, 1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 60, 0x45, 0x46, 0x4f, 0x60, 0x83, 0x89, 0xff,
];

/// Changes a frame in up to so many places; `other` is one to splice with.
pub(crate) fn mutate(frame: &mut Vec<u8>, other: &[u8], changes: usize, input: &mut Input<'_>) {
    for _ in 0..changes {
        change(frame, other, input);
    }
    frame.truncate(LEN_MAX);
}

fn change(frame: &mut Vec<u8>, other: &[u8], input: &mut Input<'_>) {
    if frame.is_empty() {
        return frame.push(input.byte());
    }
    let kind = input.byte() % 16;
    let at = place(frame, input);
    match kind {
        0 => frame[at] ^= 1 << (input.byte() % 8),
        1 => frame[at] = input.byte(),
        2 => frame[at] = input.one_of(&BYTES),
        3..=5 => write(frame, at, &input.one_of(&EDGES).to_be_bytes()),
        6 => add(frame, at, input.byte()),
        7 => frame.truncate(at),
        8 => frame.resize(frame.len() + usize::from(input.byte()), input.byte()),
        9 => frame.resize(
            LEN_MAX.min(frame.len() + usize::from(input.short() % 2048)),
            0,
        ),
        10 => splice(frame, at, other, input),
        11 => repeat(frame, at, input),
        12 => swap(frame, at, input),
        13 => tag(frame, input),
        14 => drop(frame.drain(at..(at + input.below(64)).min(frame.len()))),
        _ => grow_header(frame, at, input),
    }
}

/// Mostly in the headers.
fn place(frame: &[u8], input: &mut Input<'_>) -> usize {
    let most = if input.is_set() { 80 } else { LEN_MAX };
    input.below(frame.len().min(most))
}

fn write(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = frame.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

/// A little more or less in a 16-bit number.
fn add(frame: &mut [u8], at: usize, little: u8) {
    if let Some([high, low]) = frame.get_mut(at..at + 2) {
        let number = u16::from_be_bytes([*high, *low]);
        let number = number.wrapping_add(u16::from(little)).wrapping_sub(128);
        [*high, *low] = number.to_be_bytes();
    }
}

/// This frame's beginning and the other's end.
fn splice(frame: &mut Vec<u8>, at: usize, other: &[u8], input: &mut Input<'_>) {
    let from = input.below(other.len().max(1)).min(other.len());
    frame.truncate(at);
    frame.extend_from_slice(&other[from..]);
}

fn repeat(frame: &mut Vec<u8>, at: usize, input: &mut Input<'_>) {
    let end = (at + input.below(64)).min(frame.len());
    let piece = frame[at..end].to_vec();
    frame.splice(at..at, piece);
}

fn swap(frame: &mut [u8], at: usize, input: &mut Input<'_>) {
    let len = 1 + input.below(16);
    let with = place(frame, input);
    for step in 0..len {
        if at + step < frame.len() && with + step < frame.len() {
            frame.swap(at + step, with + step);
        }
    }
}

/// One more tag: of a customer, of a service, or a label of MPLS.
fn tag(frame: &mut Vec<u8>, input: &mut Input<'_>) {
    let [high, low] = input.one_of(&[0x8100_u16, 0x88a8, 0x8847]).to_be_bytes();
    let at = 12.min(frame.len());
    frame.splice(at..at, [high, low, 0, input.byte()]);
}

/// Bytes put in where options and extension headers would be.
fn grow_header(frame: &mut Vec<u8>, at: usize, input: &mut Input<'_>) {
    let len = 4 * (1 + input.below(10));
    let piece: Vec<u8> = (0..len).map(|_| input.byte()).collect();
    frame.splice(at..at, piece);
}
