//! Plans for a DaemonJob that may not run: its spec breaks a rule, or its hash annotation is not that of its template.

use super::conditions::{Verdict, conditions};
use super::fold::FAILURES_MAX;
use super::memory::Memory;
use super::status::is_urgent;
use super::{Observed, Plan};
use crate::hash::TemplateHash;
use crate::types::DaemonJobStatus;
use crate::validation::FieldError;

/// So many restorations in a row make the hash annotation contested.
const CONTESTED_AFTER: u32 = 5;

/// The plan for a spec that breaks a rule: nothing is started and nothing deleted, but what finishes is recorded.
pub(super) fn invalid(seen: &Observed<'_>, causes: &[FieldError]) -> Plan {
    let verdict = Verdict::of_invalid(causes);
    let others = if causes.len() > 1 {
        format!(" and {} more", causes.len() - 1)
    } else {
        String::new()
    };
    let first = causes.first().map(|cause| cause.path.as_str()).unwrap_or_default();
    tell(remember(seen), seen, &verdict, format!("invalid: {first}{others}"))
}

/// The plan that does nothing but record what has finished, and tell it: a Job may be gone before all is well again.
fn remember(seen: &Observed<'_>) -> Plan {
    let mut memory = Memory::of(seen.subject);
    seen.slots.iter().for_each(|slot| memory.take(seen.subject, slot));
    memory.news.truncate(FAILURES_MAX);
    let nothing = Plan::nothing(seen);
    Plan {
        status: DaemonJobStatus {
            finished_nodes: memory.record.render(),
            retry: memory.retry.render(),
            ..nothing.status
        },
        events: memory.news,
        finished: memory.finished,
        ..nothing
    }
}

/// The same plan with a status that says why nothing happens.
fn tell(plan: Plan, seen: &Observed<'_>, verdict: &Verdict, summary: String) -> Plan {
    let status = held(seen, verdict, summary, plan.status);
    let mut events = verdict.events(seen);
    events.extend(plan.events);
    Plan {
        urgent: is_urgent(seen.subject.status(), &status),
        status,
        events,
        ..plan
    }
}

/// A status that says why nothing happens. A generation that has not been planned has not started.
fn held(seen: &Observed<'_>, verdict: &Verdict, summary: String, old: DaemonJobStatus) -> DaemonJobStatus {
    DaemonJobStatus {
        observed_generation: seen.subject.generation(),
        summary: Some(summary),
        start_time: old.start_time.filter(|_| !seen.subject.is_new_run()),
        completion_time: None,
        conditions: conditions(verdict, seen),
        ..old
    }
}

/// The plan where the hash annotation is not that of the template: put it right, and start and delete nothing
/// before it is. What finishes is recorded: a Job carries its own hash.
/// Against somebody who keeps changing it that happens ever less often, and is told.
pub(super) fn restore(seen: &Observed<'_>, hash: &TemplateHash) -> Plan {
    let plan = remember(seen);
    let Some(restoring) = seen.troubles.restoring else {
        return Plan {
            actions: vec![seen.subject.restore_hash(hash)],
            ..plan
        };
    };
    let waits = restoring.retry_at > seen.now;
    let plan = Plan {
        actions: if waits {
            Vec::new()
        } else {
            vec![seen.subject.restore_hash(hash)]
        },
        wake_at: waits.then_some(restoring.retry_at),
        ..plan
    };
    if restoring.attempts < CONTESTED_AFTER {
        return plan;
    }
    let verdict = Verdict::of_contested(seen.subject.hash_manager());
    let summary = "held: the template hash is contested".to_owned();
    tell(plan, seen, &verdict, summary)
}
