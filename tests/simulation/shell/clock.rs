//! The clock of a simulation, in the place of `src/clock.rs`: it follows tokio's paused time, and chance comes from
//! the seed. One seed runs on one thread.

use std::cell::RefCell;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

thread_local! {
    static STARTED: RefCell<Option<(Instant, Rng)>> = const { RefCell::new(None) };
}

/// When every simulation begins: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600;

/// Begins a simulation on this thread.
pub(crate) fn begin(seed: u64) {
    STARTED.set(Some((Instant::now(), Rng::with_seed(seed))));
    // The pauses of kube's watches have jitter of their own.
    fastrand::seed(seed);
}

/// The time now.
pub(crate) fn now() -> Timestamp {
    let beginning = Timestamp::from_second(BEGINNING).expect("it is a time");
    let passed = STARTED.with_borrow(|started| started.as_ref().map(|(instant, _)| instant.elapsed()));
    let passed = SignedDuration::try_from(passed.unwrap_or_default()).expect("no simulation is so long");
    beginning + passed
}

/// A number from 0 to 1.
pub(crate) fn jitter() -> f64 {
    STARTED.with_borrow_mut(|started| started.as_mut().map_or(0.5, |(_, rng)| rng.f64()))
}
