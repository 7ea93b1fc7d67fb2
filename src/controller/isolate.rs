//! A defect in what concerns one DaemonJob or one node must not hold the others up: a panic ends where it began.

use std::panic::{AssertUnwindSafe, catch_unwind};

use daemonjob_core::eligibility::Because;
use daemonjob_core::plan::{Observed, Outcome, Plan, check, plan};
use daemonjob_core::reason::Reason;
use futures::FutureExt as _;

/// The plan, with a second opinion where that costs users nothing; nothing if it met a defect.
pub(super) fn checked_plan(seen: &Observed<'_>) -> Option<Plan> {
    let planned = catch_unwind(AssertUnwindSafe(|| {
        let plan = plan(seen);
        debug_assert_eq!(check(seen, &plan), []);
        plan
    }));
    planned.ok()
}

/// What a task comes to, though it may panic: its panic is a failure of what it was about, and of nothing else.
pub(super) async fn unbroken<T>(task: impl Future<Output = T>) -> Result<T, &'static str> {
    let caught = AssertUnwindSafe(task).catch_unwind().await;
    caught.map_err(|_| Reason::InternalError.meaning())
}

pub(super) fn failed_by(defect: &str) -> Outcome {
    Outcome::Failed {
        because: Because {
            reason: Reason::InternalError,
            detail: Some(defect.to_owned()),
        },
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_a_failure_of_what_it_was_about() {
        let panics = async { unreachable!("on purpose") };
        assert!(unbroken::<()>(panics).await.is_err());
        assert_eq!(unbroken(async { 1 }).await, Ok(1));
    }
}
