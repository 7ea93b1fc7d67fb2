//! Many seeds, on all processors.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::run::{Story, play};
use crate::world::Broken;

/// Plays seeds until one of them ends as looked for, or all are played: that one, and what was done altogether.
pub(crate) fn find(
    seeds: Range<u64>,
    broken: Broken,
    is_looked_for: impl Fn(&Story) -> bool + Sync,
) -> (Option<Story>, Sums) {
    let (next, found, sums) = (
        AtomicU64::new(seeds.start),
        OnceLock::new(),
        Mutex::new(Sums::default()),
    );
    let work = || {
        while found.get().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let story = play(seed, broken, false);
            sums.lock().unwrap_or_else(PoisonError::into_inner).add(&story);
            if is_looked_for(&story) {
                drop(found.set(story));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    (found.into_inner(), sums)
}

/// What many stories come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) stories: u64,
    pub(crate) requests: u64,
    pub(crate) created: u64,
    pub(crate) deleted: BTreeMap<&'static str, u64>,
    pub(crate) passed: Duration,
}

impl Sums {
    fn add(&mut self, story: &Story) {
        self.stories += 1;
        self.requests += story.requests;
        self.created += story.created;
        self.passed += story.passed;
        for (why, times) in &story.deleted {
            *self.deleted.entry(why).or_default() += times;
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Seeds of a usual run; `SIMULATION_SEEDS` gives another number, or a range of them like `1000..5000`; `SEED` plays
/// that one alone and tells all of it.
const SEEDS: u64 = 1000;

/// The seeds that are asked for.
fn asked() -> Range<u64> {
    let Some(text) = variable("SIMULATION_SEEDS") else {
        return 0..SEEDS;
    };
    let (first, end) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| text.parse().expect("SIMULATION_SEEDS is a number or a range");
    number(first)..number(end)
}

/// Everything that a Job may be deleted for.
const REASONS: [&str; 7] = [
    "deselected",
    "expired",
    "node gone",
    "node made again",
    "older owner",
    "replaced",
    "retried",
];

#[test]
fn o1_o2_o4_o5_o6_every_seed_keeps_every_invariant_and_settles() {
    if let Some(seed) = variable("SEED").and_then(|seed| seed.parse().ok()) {
        let Story { log, breaches, .. } = play(seed, Broken::Nothing, true);
        assert!(breaches.is_empty(), "{log}\n{breaches:#?}");
        return;
    }
    let (begun, seeds) = (Instant::now(), asked());
    let is_many = seeds.end - seeds.start >= SEEDS;
    let (failed, sums) = find(seeds, Broken::Nothing, |story| !story.breaches.is_empty());
    tell(&sums, begun.elapsed());
    if let Some(story) = failed {
        let Story {
            seed, log, breaches, ..
        } = story;
        let again = format!("SEED={seed} cargo test --workspace --test simulation every_seed");
        panic!("{log}\nseed {seed}: {breaches:#?}\nto play it again: {again}");
    }
    // What never happens is not shown.
    let missing: Vec<&&str> = REASONS.iter().filter(|why| !sums.deleted.contains_key(**why)).collect();
    assert!(
        !is_many || missing.is_empty(),
        "no Job was deleted because: {missing:?}"
    );
}

#[expect(clippy::print_stdout, reason = "figures for whoever asks with --show-output")]
fn tell(sums: &Sums, took: Duration) {
    println!("{sums:?} in {took:?}");
}

#[test]
fn a_seed_is_played_again_to_the_letter() {
    for seed in 0..4 {
        let (first, second) = (play(seed, Broken::Nothing, true), play(seed, Broken::Nothing, true));
        assert_eq!(first.log, second.log, "seed {seed}");
        assert_eq!(first.sum, second.sum, "seed {seed}");
    }
}
