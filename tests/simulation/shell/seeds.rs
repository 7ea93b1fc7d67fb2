//! Many seeds, on all processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::run::{Story, play};
use crate::world::Broken;

/// Plays seeds until one fails or all are played; returns those that failed, and what was done altogether.
pub(crate) fn play_all(first: u64, count: u64, broken: Broken, enough: usize) -> (Vec<Story>, Sums) {
    let next = AtomicU64::new(first);
    let failed: Mutex<Vec<Story>> = Mutex::default();
    let sums: Mutex<Sums> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || failed.lock().unwrap_or_else(PoisonError::into_inner).len() >= enough {
                return;
            }
            let story = play(seed, broken, false);
            sums.lock().unwrap_or_else(PoisonError::into_inner).add(&story);
            if !story.breaches.is_empty() {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(story);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|story| story.seed);
    (failed, sums.into_inner().unwrap_or_else(PoisonError::into_inner))
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
    let (failed, sums) = play_all(0, number("SIMULATION_SEEDS").unwrap_or(SEEDS), Broken::Nothing, 1);
    tell(&sums, begun.elapsed());
    if let Some(story) = failed.first() {
        let all: Vec<u64> = failed.iter().map(|story| story.seed).collect();
        assert!(all.is_empty(), "{}\nseeds {all:?}: {:#?}", story.log, story.breaches);
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
