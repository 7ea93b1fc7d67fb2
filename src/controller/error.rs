//! What ends the controller, in the words of somebody who has to mend it.

use thiserror::Error;

/// A failure that the controller cannot work around.
#[derive(Debug, Error)]
pub(crate) enum ControllerError {
    /// A write panicked: a defect, and what it left behind is not known here any more.
    #[error("a write to the API server panicked")]
    Panicked {
        /// Where.
        source: tokio::task::JoinError,
    },
    /// One of the watches ended.
    #[error("the watch of {kind} ended")]
    WatchEnded {
        /// What it watched.
        kind: &'static str,
    },
}
