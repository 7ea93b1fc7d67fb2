//! What a write met, and what follows from it: wait, ask less, or look again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::eligibility::Because;
use crate::observed::JobView;
use crate::reason::Reason;

/// First wait after a failure; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Longest wait for a server that says when to come again, unless it asks for more: it is busy, not broken.
const LONGEST_BUSY_WAIT: Duration = Duration::from_secs(30);

/// The part of an API server's refusal that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; 0 if there was none (a time-out, a broken connection).
    pub code: u16,
    /// `reason` of the Status object.
    pub reason: String,
    /// `message` of the Status object, or what went wrong on the way.
    pub message: String,
    /// Whether a cause of the Status says that the namespace is terminating.
    pub namespace_terminating: bool,
    /// What `Retry-After` asked for.
    pub retry_after: Option<Duration>,
}

/// What a write met, as far as it matters to the next plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write is done, or was no longer needed.
    Done,
    /// It failed for a passing cause.
    Failed {
        /// Why, for this node.
        because: Because,
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// The template itself is refused: every other node would hear the same.
    Refused {
        /// Quota, namespace or template.
        reason: Reason,
        /// The server's words.
        message: String,
    },
    /// A guard no longer held: look again before deciding.
    Stale,
    /// A Job that is not ours has the name.
    Taken {
        /// What it is and how to free the name.
        detail: String,
    },
}

/// What the last write for a node met. Gone with the first that succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    /// Why, as users see it.
    pub because: Because,
    /// How often in a row.
    pub attempts: u32,
    /// Not before then.
    pub retry_at: Timestamp,
}

/// The API server refuses this DaemonJob's Jobs: one probe per wait, not one per node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Quota, namespace or template.
    pub reason: Reason,
    /// The server's words.
    pub message: String,
    /// How often in a row.
    pub attempts: u32,
    /// Not before then.
    pub retry_at: Timestamp,
}

/// What an outcome changes. `jitter` is from 0 to 1.
pub fn absorb(
    setback: Option<&Setback>,
    refusal: Option<&Refusal>,
    outcome: &Outcome,
    now: Timestamp,
    jitter: f64,
) -> (Option<Setback>, Option<Refusal>) {
    let again = |because: Because, asked: Option<Duration>| {
        let attempts = setback.map_or(0, |setback| setback.attempts).saturating_add(1);
        Some(Setback {
            because,
            attempts,
            retry_at: after(now, wait(attempts, asked, jitter)),
        })
    };
    match outcome {
        Outcome::Done => (None, None),
        Outcome::Failed { because, retry_after } => (again(because.clone(), *retry_after), refusal.cloned()),
        Outcome::Refused { reason, message } => {
            // Answers to writes that were on the way when the first refusal came count once.
            let waiting = refusal.filter(|refusal| refusal.retry_at > now);
            let attempts = waiting.map_or_else(
                || refusal.map_or(0, |refusal| refusal.attempts).saturating_add(1),
                |refusal| refusal.attempts,
            );
            let retry_at = waiting.map_or_else(|| after(now, wait(attempts, None, jitter)), |refusal| refusal.retry_at);
            (
                None,
                Some(Refusal {
                    reason: *reason,
                    message: message.clone(),
                    attempts,
                    retry_at,
                }),
            )
        }
        Outcome::Stale => (setback.cloned(), refusal.cloned()),
        Outcome::Taken { detail } => (
            again(
                Because {
                    reason: Reason::NameConflict,
                    detail: Some(detail.clone()),
                },
                None,
            ),
            refusal.cloned(),
        ),
    }
}

/// 1 s, 2 s, 4 s … 300 s, a quarter more or less, and never less than the server asked for.
fn wait(attempts: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let longest = if asked.is_some() {
        LONGEST_BUSY_WAIT
    } else {
        LONGEST_WAIT
    };
    let spread = doubled.min(longest).mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0);
    spread.min(longest).max(asked.unwrap_or_default())
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// What to tell of a Job that is not ours and has the name of ours.
pub fn taken(namespace: &str, job: &JobView) -> String {
    let owner = job
        .owner
        .as_ref()
        .map_or_else(String::new, |owner| format!(" of DaemonJob {}", owner.name));
    let name = &job.name;
    format!("Job {name}{owner} is not recognisable as ours; to free the name: kubectl delete job {name} -n {namespace}")
}

/// What the answer to a refused create means. `AlreadyExists` is not for this function: it needs a look at the Job.
pub fn classify_create(answer: &Answer) -> Outcome {
    let refused = |reason| Outcome::Refused {
        reason,
        message: answer.message.clone(),
    };
    match answer.code {
        403 if answer.namespace_terminating => refused(Reason::NamespaceTerminating),
        403 if answer.message.contains("exceeded quota") => refused(Reason::QuotaExceeded),
        400 | 403 | 404 | 405 | 413 | 415 | 422 => refused(Reason::Refused),
        _ => failed(Reason::CreateFailed, answer),
    }
}

/// What the answer to a refused delete means.
pub fn classify_delete(answer: &Answer) -> Outcome {
    match answer.code {
        // Gone, as it should be.
        404 => Outcome::Done,
        // Another Job has the name now.
        409 => Outcome::Stale,
        _ => failed(Reason::DeleteFailed, answer),
    }
}

fn failed(reason: Reason, answer: &Answer) -> Outcome {
    Outcome::Failed {
        because: Because {
            reason,
            detail: Some(answer.message.clone()),
        },
        retry_after: answer.retry_after,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn refused() -> Outcome {
        Outcome::Refused {
            reason: Reason::QuotaExceeded,
            message: "exceeded quota: q".into(),
        }
    }

    fn passing() -> Outcome {
        Outcome::Failed {
            because: Reason::CreateFailed.into(),
            retry_after: None,
        }
    }

    #[rstest]
    #[case(1, 1)]
    #[case(4, 8)]
    #[case(9, 256)]
    #[case(10, 300)]
    #[case(4_000_000_000, 300)]
    fn waits_double_up_to_five_minutes(#[case] attempts: u32, #[case] seconds: u64) {
        let middle = wait(attempts, None, 0.5);
        assert_eq!(middle, Duration::from_secs(seconds));
        assert!(wait(attempts, None, 1.0) <= LONGEST_WAIT && wait(attempts, None, 0.0) < middle);
    }

    #[test]
    fn f10_the_server_s_retry_after_is_kept() {
        assert_eq!(wait(1, Some(Duration::from_secs(30)), 0.5), Duration::from_secs(30));
    }

    #[test]
    fn f10_a_server_that_says_when_to_come_again_is_waited_for_no_longer_than_that_or_half_a_minute() {
        assert_eq!(wait(20, Some(Duration::from_secs(1)), 0.5), LONGEST_BUSY_WAIT);
        assert_eq!(wait(20, Some(Duration::from_secs(45)), 0.5), Duration::from_secs(45));
    }

    #[test]
    fn e34_answers_on_the_way_count_as_one_refusal_and_the_next_probe_as_another() {
        let (_, first) = absorb(None, None, &refused(), NOW, 0.5);
        let (_, second) = absorb(None, first.as_ref(), &refused(), NOW, 0.5);
        assert_eq!(first, second);
        let later = first.as_ref().unwrap().retry_at;
        let (_, third) = absorb(None, second.as_ref(), &refused(), later, 0.5);
        assert_eq!(third.unwrap().attempts, 2);
    }

    #[test]
    fn the_first_success_ends_both() {
        let (setback, _) = absorb(None, None, &passing(), NOW, 0.5);
        let (_, refusal) = absorb(None, None, &refused(), NOW, 0.5);
        assert_eq!(
            absorb(setback.as_ref(), refusal.as_ref(), &Outcome::Done, NOW, 0.5),
            (None, None)
        );
    }

    #[rstest]
    #[case(403, "exceeded quota: q", false, Some(Reason::QuotaExceeded))]
    #[case(403, "violates PodSecurity", false, Some(Reason::Refused))]
    #[case(403, "being terminated", true, Some(Reason::NamespaceTerminating))]
    #[case(422, "invalid", false, Some(Reason::Refused))]
    #[case(429, "slow down", false, None)]
    #[case(500, "oops", false, None)]
    #[case(0, "timed out", false, None)]
    fn e33_e34_answers_are_refusals_or_pass(
        #[case] code: u16,
        #[case] message: &str,
        #[case] namespace_terminating: bool,
        #[case] refusal: Option<Reason>,
    ) {
        let answer = Answer {
            code,
            message: message.into(),
            namespace_terminating,
            ..Answer::default()
        };
        let reason = match classify_create(&answer) {
            Outcome::Refused { reason, .. } => Some(reason),
            Outcome::Done | Outcome::Failed { .. } | Outcome::Stale | Outcome::Taken { .. } => None,
        };
        assert_eq!(reason, refusal);
    }
    #[test]
    fn f10_a_refused_delete_is_done_where_the_job_is_gone_and_looked_at_again_where_another_has_the_name() {
        let answer = |code| Answer {
            code,
            message: "m".into(),
            retry_after: Some(Duration::from_secs(7)),
            ..Answer::default()
        };
        assert_eq!(classify_delete(&answer(404)), Outcome::Done);
        assert_eq!(classify_delete(&answer(409)), Outcome::Stale);
        let failed = Outcome::Failed {
            because: Because {
                reason: Reason::DeleteFailed,
                detail: Some("m".into()),
            },
            retry_after: Some(Duration::from_secs(7)),
        };
        for code in [403, 429, 500, 0] {
            assert_eq!(classify_delete(&answer(code)), failed, "{code}");
        }
    }
}
