//! Plans for a DaemonJob that may not run: its spec breaks a rule, or its hash annotation is not that of its template.

use super::conditions::{Verdict, conditions};
use super::status::is_urgent;
use super::{Observed, Plan};
use crate::hash::TemplateHash;
use crate::types::DaemonJobStatus;
use crate::validation::FieldError;

/// So many restorations in a row make the hash annotation contested.
const CONTESTED_AFTER: u32 = 5;

/// The plan for a spec that breaks a rule: nothing is started and nothing deleted.
pub(super) fn invalid(seen: &Observed<'_>, causes: &[FieldError]) -> Plan {
    let verdict = Verdict::of_invalid(causes);
    let status = DaemonJobStatus {
        observed_generation: seen.subject.generation(),
        summary: Some(format!("not run: {}", verdict.message)),
        completion_time: None,
        conditions: conditions(&verdict, seen),
        ..seen.subject.status().clone()
    };
    let events = verdict.events(seen);
    Plan {
        actions: Vec::new(),
        urgent: is_urgent(seen.subject.status(), &status),
        status,
        events,
        wake_at: None,
        look_for_events: false,
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
    let status = DaemonJobStatus {
        conditions: conditions(&verdict, seen),
        ..plan.status
    };
    let events = verdict.events(seen);
    Plan {
        urgent: is_urgent(seen.subject.status(), &status),
        status,
        events,
        ..plan
    }
}
