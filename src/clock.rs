//! The one place that reads the wall clock. Everything else is told the time.

use jiff::Timestamp;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A number from 0 to 1, different enough between processes to keep their retries apart.
pub(crate) fn jitter() -> f64 {
    f64::from(now().subsec_nanosecond()) / 1e9
}
