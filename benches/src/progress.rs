//! A bar on the terminal while something large is made; nothing where nobody looks.

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is told, in items.
const EVERY: u64 = 4096;

/// Goes through the items with a bar on standard error.
pub fn with_bar<T>(
    what: &'static str,
    count: usize,
    items: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    items.zip(0_u64..).map(move |(item, number)| {
        if number.is_multiple_of(EVERY) {
            bar.set_position(number);
        }
        item
    })
}
