//! Plans for a DaemonJob that may not run: its spec breaks a rule, or its hash annotation is not that of its template.

use super::conditions::{Verdict, conditions};
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
    let mut memory = Memory::of(seen.subject);
    seen.slots.iter().for_each(|slot| memory.take(seen.subject, slot));
    let others = if causes.len() > 1 {
        format!(" and {} more", causes.len() - 1)
    } else {
        String::new()
    };
    let first = causes.first().map(|cause| cause.path.as_str()).unwrap_or_default();
    let status = DaemonJobStatus {
        finished_nodes: memory.record.render(),
        retry: memory.retry.render(),
        ..held(seen, &verdict, format!("invalid: {first}{others}"))
    };
    let mut events = verdict.events(seen);
    events.append(&mut memory.news);
    Plan {
        urgent: is_urgent(seen.subject.status(), &status),
        status,
        events,
        finished: memory.finished,
        ..Plan::nothing(seen)
    }
}

/// A status that says why nothing happens. A generation that has not been planned has not started.
fn held(seen: &Observed<'_>, verdict: &Verdict, summary: String) -> DaemonJobStatus {
    let old = seen.subject.status().clone();
    DaemonJobStatus {
        observed_generation: seen.subject.generation(),
        summary: Some(summary),
        start_time: old.start_time.filter(|_| !seen.subject.is_new_run()),
        completion_time: None,
        conditions: conditions(verdict, seen),
        ..old
    }
}

/// The plan where the hash annotation is not that of the template: put it right, and nothing else before it is.
/// Against somebody who keeps changing it that happens ever less often, and is told.
pub(super) fn restore(seen: &Observed<'_>, hash: &TemplateHash) -> Plan {
    let plan = Plan::nothing(seen);
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
    let status = held(seen, &verdict, "held: the template hash is contested".to_owned());
    let events = verdict.events(seen);
    Plan {
        urgent: is_urgent(seen.subject.status(), &status),
        status,
        events,
        ..plan
    }
}
