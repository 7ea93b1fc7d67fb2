//! For how long this replica has seen API servers' configurations carry an anchor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::authority::Anchor;

/// No pause between two looks counts for more as time seen: the clock may have jumped, or the process been stopped.
const MAX_SEEN: Duration = Duration::from_secs(60);

/// Counts the soak of each anchor, as this replica alone saw it; a restart begins anew.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Soak {
    pub(crate) seen: BTreeMap<Anchor, Duration>,
    pub(crate) looked_at: Option<Timestamp>,
}

impl Soak {
    /// Adds the time since the last look to each anchor that is still carried everywhere; the others begin anew.
    /// A look that failed, which has no set, neither adds nor takes away.
    /// Gives the time that counted.
    pub(crate) fn look(&mut self, carried_everywhere: Option<BTreeSet<Anchor>>, now: Timestamp) -> Duration {
        let elapsed = self.looked_at.replace(now).map(|before| now.duration_since(before));
        let elapsed = elapsed
            .and_then(|elapsed| Duration::try_from(elapsed).ok())
            .unwrap_or_default()
            .min(MAX_SEEN);
        let Some(carried) = carried_everywhere else {
            return elapsed;
        };
        let before = std::mem::take(&mut self.seen);
        let count = |anchor: Anchor| {
            let sum = before
                .get(&anchor)
                .map_or(Duration::ZERO, |seen| seen.saturating_add(elapsed));
            (anchor, sum)
        };
        self.seen = carried.into_iter().map(count).collect();
        elapsed
    }
}
