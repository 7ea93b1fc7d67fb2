//! Many seeds, on all processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::run::{Story, play};
use crate::world::Broken;

/// Plays seeds until one of them ends as looked for, or all are played: that one, and what was done altogether.
pub(crate) fn find(count: u64, broken: Broken, is_looked_for: impl Fn(&Story) -> bool + Sync) -> (Option<Story>, Sums) {
    let (next, found, sums) = (AtomicU64::new(0), OnceLock::new(), Mutex::new(Sums::default()));
    let work = || {
        while found.get().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
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
    let sums = *sums.lock().unwrap_or_else(PoisonError::into_inner);
    (found.into_inner(), sums)
}

/// What many stories come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) stories: u64,
    pub(crate) requests: u64,
    pub(crate) created: u64,
    pub(crate) deleted: u64,
    pub(crate) passed: Duration,
}

impl Sums {
    fn add(&mut self, story: &Story) {
        self.stories += 1;
        self.requests += story.requests;
        self.created += story.created;
        self.deleted += story.deleted;
        self.passed += story.passed;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// Seeds of a usual run; `SIMULATION_SEEDS` gives another number, `SEED` plays that one alone and tells all of it.
const SEEDS: u64 = 1000;

#[test]
fn seeds_keep_every_invariant_and_settle() {
    if let Some(seed) = number("SEED") {
        let story = play(seed, Broken::Nothing, true);
        assert!(story.breaches.is_empty(), "{}\n{:#?}", story.log, story.breaches);
        return;
    }
    let begun = Instant::now();
    let count = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (failed, sums) = find(count, Broken::Nothing, |story| !story.breaches.is_empty());
    tell(&sums, begun.elapsed());
    if let Some(Story {
        seed, log, breaches, ..
    }) = failed
    {
        panic!(
            "{log}\nseed {seed}: {breaches:#?}\nto play it again: SEED={seed} cargo test --workspace --test simulation seeds"
        );
    }
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
