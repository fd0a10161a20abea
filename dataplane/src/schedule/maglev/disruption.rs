//! How many slots move that need not when a backend goes or comes: measured, printed and held to a
//! bound. `docs/schedulers.md` has the table that it prints.

use super::*;
use std::fmt::Write as _;

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let weights = (0_u16..).zip(weights);
    weights
        .map(|(id, weight)| Candidate {
            id: BackendId(id),
            name: format!("shop-{id}"),
            weight: *weight,
            nominal_weight: *weight,
        })
        .collect()
}

fn table(all: &[Candidate], size: usize) -> Box<[BackendId]> {
    let chosen: Vec<_> = all.iter().filter(|it| it.weight > 0).collect();
    fill(&chosen, size)
}

/// Of the slots of others than `gone`, those that change hands when it goes, in hundredths of a
/// percent of the table. When it comes back, the same slots move back.
fn needless(weights: &[u32], gone: usize) -> u32 {
    let mut all = candidates(weights);
    let size = size_for(&all);
    let with = table(&all, size);
    all[gone].weight = 0;
    let without = table(&all, size);
    let pairs = with.iter().zip(&without);
    let moved = pairs.filter(|(old, new)| old.index() != gone && old != new);
    u32::try_from(moved.count() * 10_000 / size).unwrap()
}

/// The mean and the most over at most eight backends that go, each in its turn.
fn measured(weights: &[u32]) -> (u32, u32) {
    let step = weights.len().div_ceil(8);
    let each: Vec<u32> = (0..weights.len())
        .step_by(step)
        .map(|gone| needless(weights, gone))
        .collect();
    let count = u32::try_from(each.len()).unwrap();
    (
        each.iter().sum::<u32>() / count,
        each.into_iter().max().unwrap_or(0),
    )
}

fn percent(hundredths: u32) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

#[test]
#[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
fn a_backend_that_goes_or_comes_moves_little_else() {
    let uneven: Vec<u32> = (1..=10).collect();
    let cases: [(&str, Vec<u32>); 7] = [
        ("2", vec![1; 2]),
        ("3", vec![1; 3]),
        ("10", vec![1; 10]),
        ("30", vec![1; 30]),
        ("100", vec![1; 100]),
        ("500", vec![1; 500]),
        ("10, of weights 1 to 10", uneven),
    ];
    let mut lines = String::new();
    for (backends, weights) in &cases {
        let size = size_for(&candidates(weights));
        let (mean, most) = measured(weights);
        let (mean_text, most_text) = (percent(mean), percent(most));
        writeln!(lines, "| {backends} | {size} | {mean_text} | {most_text} |").unwrap();
        assert!(most <= 500, "{backends} backends: {most_text}");
    }
    println!("| backends | slots | needless, mean | most |\n|---|---|---|---|\n{lines}");
}
