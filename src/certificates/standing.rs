//! Whether a replica may be asked for reviews, by what its looks at the live configurations found.

use std::time::Duration;

use daemonjob_certs::Trust;
use tokio::time::Instant;

/// A leaf must have verified for so long: API servers need a moment to see a new caBundle.
const SETTLED: Duration = Duration::from_secs(3);
/// A replica that was ready bears distrust for so long, in which an overwritten caBundle is restored.
/// It has the same effect on every replica at once: if all stepped aside for it, a trouble of a tenth of a second
/// would leave no endpoint for several.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the looks so far found.
#[derive(Debug, Default)]
pub(super) struct Standing {
    is_ready: bool,
    trusted_since: Option<Instant>,
    distrusted_since: Option<Instant>,
}

impl Standing {
    /// Ready or not, after a look that found `trust`.
    pub(super) fn after(&mut self, trust: Trust, now: Instant) -> bool {
        match trust {
            Trust::Trusted => {
                self.distrusted_since = None;
                let since = *self.trusted_since.get_or_insert(now);
                self.is_ready |= now.duration_since(since) >= SETTLED;
            }
            // A look that failed says nothing: what was known before stands.
            Trust::Unknown => {}
            Trust::Untrusted => {
                self.trusted_since = None;
                let since = *self.distrusted_since.get_or_insert(now);
                self.is_ready &= now.duration_since(since) < PATIENCE;
            }
        }
        self.is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says after each look; looks are a second apart.
    fn said(looks: &str) -> String {
        let start = Instant::now();
        let mut standing = Standing::default();
        let mut say = |(second, look)| {
            let trust = match look {
                'T' => Trust::Trusted,
                'U' => Trust::Untrusted,
                _ => Trust::Unknown,
            };
            let now = start + Duration::from_secs(second);
            if standing.after(trust, now) { 'r' } else { '-' }
        };
        (0..).zip(looks.chars()).map(&mut say).collect()
    }

    #[test]
    fn ready_once_the_leaf_has_verified_for_three_seconds() {
        assert_eq!(said("UUTTTTT"), "-----rr");
        assert_eq!(said("TTUTTTT"), "------r", "each distrust begins anew");
    }

    #[test]
    fn a_look_that_failed_says_nothing() {
        assert_eq!(said("?TT?T"), "----r");
        assert_eq!(said("TTTT????"), "---rrrrr");
        assert_eq!(said("????"), "----");
    }

    #[test]
    fn f30_a_bundle_restored_within_five_seconds_leaves_the_replica_ready() {
        assert_eq!(said("TTTTUUUUTT"), "---rrrrrrr");
        assert_eq!(said("TTTTUUUUUUU"), "---rrrrrr--");
        assert_eq!(said("TTTTUUUUUUTTTT"), "---rrrrrr----r", "then it must settle again");
    }
}
