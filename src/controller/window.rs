//! How many Job writes may be on their way, and how many may be sent in a second.
//!
//! The width starts at one, grows by one with each answer to [`WIDEST`] (so it doubles with each round trip), and is
//! halved when the server is busy: additive growth and multiplicative decrease, as TCP does (RFC 5681).
//! The rate is a token bucket that holds one second's worth.

use std::time::Duration;

use daemonjob_core::plan::Outcome;
use tokio::time::Instant;

/// Most Job writes on their way at once.
const WIDEST: usize = 32;

/// The window over all DaemonJobs.
#[derive(Debug)]
pub(super) struct Window {
    width: usize,
    /// Writes a second; 0 means as many as the width allows.
    rate: u32,
    tokens: f64,
    filled: Instant,
}

impl Window {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self {
            width: 1,
            rate,
            tokens: f64::from(rate),
            filled: now,
        }
    }

    /// How many writes may be on their way at once.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Whether another write may be sent now; if it is the rate that forbids it, when it may.
    pub(super) fn admits(&mut self, on_their_way: usize, now: Instant) -> Result<(), Option<Instant>> {
        if on_their_way >= self.width {
            return Err(None);
        }
        if self.rate == 0 {
            return Ok(());
        }
        let rate = f64::from(self.rate);
        self.tokens = (self.tokens + rate * now.duration_since(self.filled).as_secs_f64()).min(rate);
        self.filled = now;
        if self.tokens >= 1.0 {
            return Ok(());
        }
        Err(Some(now + Duration::from_secs_f64((1.0 - self.tokens) / rate)))
    }

    /// A write was sent.
    pub(super) fn sent(&mut self) {
        self.tokens -= 1.0;
    }

    /// A write was answered.
    pub(super) fn answered(&mut self, outcome: &Outcome) {
        self.width = match outcome {
            Outcome::Done => (self.width + 1).min(WIDEST),
            Outcome::Failed { .. } => (self.width / 2).max(1),
            Outcome::Refused { .. } => 1,
            Outcome::Stale | Outcome::Taken { .. } => self.width,
        };
    }
}

#[cfg(test)]
mod tests {
    use daemonjob_core::reason::Reason;

    use super::*;

    #[test]
    fn the_width_grows_with_answers_and_is_halved_by_failures() {
        let now = Instant::now();
        let mut window = Window::new(0, now);
        assert_eq!(window.admits(1, now), Err(None));
        (0..100).for_each(|_| window.answered(&Outcome::Done));
        assert_eq!((window.admits(31, now), window.admits(32, now)), (Ok(()), Err(None)));
        window.answered(&Outcome::Failed {
            because: Reason::CreateFailed.into(),
            retry_after: None,
        });
        assert_eq!((window.admits(15, now), window.admits(16, now)), (Ok(()), Err(None)));
        window.answered(&Outcome::Refused {
            reason: Reason::QuotaExceeded,
            message: String::new(),
        });
        assert_eq!(window.admits(1, now), Err(None));
    }

    #[test]
    fn the_rate_holds_over_a_second_and_says_when_to_come_again() {
        let start = Instant::now();
        let mut window = Window::new(10, start);
        for _ in 0..10 {
            assert_eq!(window.admits(0, start), Ok(()));
            window.sent();
        }
        let again = window.admits(0, start).unwrap_err().unwrap();
        assert_eq!(again, start + Duration::from_millis(100));
        assert_eq!(window.admits(0, again), Ok(()));
        window.sent();
        assert!(window.admits(0, again).is_err());
    }
}
