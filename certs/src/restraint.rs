//! A clock that is wrong must not replace authorities: another replica's would replace its one in turn, without end.

use std::time::Duration;

use jiff::Timestamp;

use crate::authority::Authority;
use crate::rotation::{RotationStep, Slot};

/// Holds back a replica to which an authority is out of its time.
///
/// Authorities are replaced long before they end. To a replica that has seen one in its time, the next one that is not
/// says first of all that a clock jumped, its own or another's; so it waits for as long as the soak before it acts.
/// A replica that starts has seen nothing and repairs what it finds at once.
#[derive(Debug, Default)]
pub(crate) struct Restraint {
    has_seen_valid: bool,
    out_of_time: Duration,
}

impl Restraint {
    /// Takes note of the current authority, `elapsed` after the look before.
    pub(crate) fn look(&mut self, current: &Slot<Authority>, elapsed: Duration, now: Timestamp) {
        let Some(current) = current.filled() else { return };
        if current.anchor().check_time(now).is_ok() {
            self.has_seen_valid = true;
            self.out_of_time = Duration::ZERO;
        } else {
            self.out_of_time = self.out_of_time.saturating_add(elapsed);
        }
    }

    /// Whether the step may be taken.
    pub(crate) fn allows(&self, step: &RotationStep, soak: Duration) -> bool {
        let because_of_time = match step {
            RotationStep::Generate { why, .. } | RotationStep::Promote { why: Some(why), .. } => why.is_of_time(),
            RotationStep::Discard { .. }
            | RotationStep::DropPrevious
            | RotationStep::Keep
            | RotationStep::Promote { why: None, .. }
            | RotationStep::Publish
            | RotationStep::Retain { .. } => false,
        };
        !(because_of_time && self.has_seen_valid && self.out_of_time < soak)
    }
}
