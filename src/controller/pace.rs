//! How much of a core planning takes, over all DaemonJobs.

use std::time::Duration;

use tokio::time::Instant;

/// After so long, what waits for its plan waits until answers have been taken in and writes have been sent.
const TURN: Duration = Duration::from_millis(5);

/// Planning rests for as long as it took: half a core is left to everything else, however many DaemonJobs are to be
/// planned again and again.
#[derive(Debug)]
pub(super) struct Pace {
    not_before: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { not_before: now }
    }

    /// No plan before then.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Whether a turn that began then is over.
    pub(super) fn is_over(begun: Instant, now: Instant) -> bool {
        now.duration_since(begun) >= TURN
    }

    /// A turn has ended that began then.
    pub(super) fn rest(&mut self, begun: Instant, now: Instant) {
        self.not_before = now + now.duration_since(begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planning_rests_for_as_long_as_it_took() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        assert_eq!(pace.not_before(), begun);
        let ended = begun + Duration::from_millis(40);
        pace.rest(begun, ended);
        assert_eq!(pace.not_before(), ended + Duration::from_millis(40));
    }

    #[test]
    fn a_turn_is_over_after_a_few_milliseconds() {
        let begun = Instant::now();
        assert!(!Pace::is_over(begun, begun + TURN / 2));
        assert!(Pace::is_over(begun, begun + TURN));
    }
}
