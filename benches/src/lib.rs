//! What the measuring programs share: cores, time, and one way to print results.

pub mod command_line;
pub mod cores;
pub mod meter;
pub mod progress;
