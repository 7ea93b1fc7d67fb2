//! How long the stages of a rotation last, and how often one looks.

use std::time::Duration;

use crate::authority::AUTHORITY_LIFE;
use crate::rotation::{RETIREMENT, SOAK};
use crate::self_signed::{STEADY, UNSETTLED};

/// The times of [`SelfSigned`](crate::SelfSigned). The default is what clusters run with;
/// anything faster is for tests, which have to see a thousand rotations in an hour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// The age at which an authority gets a successor, if two thirds of its life are not over before.
    pub rotate_after: Duration,
    /// See [`SOAK`].
    pub soak: Duration,
    /// See [`RETIREMENT`].
    pub retirement: Duration,
    /// See [`STEADY`].
    pub steady: Duration,
    /// See [`UNSETTLED`].
    pub unsettled: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            rotate_after: AUTHORITY_LIFE,
            soak: SOAK,
            retirement: RETIREMENT,
            steady: STEADY,
            unsettled: UNSETTLED,
        }
    }
}
