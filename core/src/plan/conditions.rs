//! The conditions of a status: the design's table of situations, one function per column set.

use super::fold::Tally;
use super::status::troubles;
use super::{EventDraft, Observed, Refusal};
use crate::names::TEMPLATE_HASH;
use crate::reason::{Reason, Stalls};
use crate::types::Condition;
use crate::validation::FieldError;

/// The situation of a DaemonJob, in the terms of the table.
pub(super) struct Verdict {
    pub(super) reason: Reason,
    pub(super) message: String,
    reconciling: bool,
    stalled: bool,
    ready: bool,
    complete: bool,
    failed: bool,
    pub(super) finished: bool,
    both_selectors: bool,
}

const BOTH_SELECTORS: &str = "`spec.selector` and `spec.ingoreSelector` are both set: only `selector` takes effect";

impl Verdict {
    /// The row of a run.
    pub(super) fn of_run(tally: &Tally, refusal: Option<&Refusal>, both_selectors: bool, grace_over: bool) -> Self {
        let (reason, message) = situation(tally, refusal, grace_over);
        let complete = matches!(
            reason,
            Reason::AllSucceeded | Reason::NoNodesSelected | Reason::Outdated
        );
        let ready = complete || reason == Reason::NodesUnavailable;
        let failed = reason == Reason::NodesFailed;
        let stalled = reason.stalls() == Stalls::Yes;
        Self {
            reconciling: !ready && !stalled,
            stalled,
            ready,
            complete,
            failed,
            finished: complete || (failed && tally.unavailable == 0),
            reason,
            message,
            both_selectors,
        }
    }

    /// The row of a spec that breaks a rule.
    pub(super) fn of_invalid(causes: &[FieldError]) -> Self {
        let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
        Self::held(Reason::InvalidSpec, causes.join("; "))
    }

    /// The row of a hash annotation that somebody keeps changing.
    pub(super) fn of_contested(manager: Option<&str>) -> Self {
        let who = manager.map_or_else(
            || "another writer".to_owned(),
            |manager| format!("the field manager {manager:?}"),
        );
        let message = format!("{who} keeps changing the annotation {TEMPLATE_HASH}; nothing is started or stopped");
        Self::held(Reason::TemplateHashContested, message)
    }

    /// Nothing is planned until somebody lends a hand.
    fn held(reason: Reason, message: String) -> Self {
        Self {
            reason,
            message,
            reconciling: false,
            stalled: true,
            ready: false,
            complete: false,
            failed: false,
            finished: false,
            both_selectors: false,
        }
    }

    /// News that a condition brings, once: a run that ended, something that needs a hand, both selectors.
    pub(super) fn events(&self, seen: &Observed<'_>) -> Vec<EventDraft> {
        let old = seen.subject.status();
        let was = |type_: &str| {
            old.conditions.iter().any(|condition| {
                condition.type_ == type_ && condition.status == "True" && condition.reason == self.reason.as_str()
            })
        };
        let draft = |warning, reason, note: &str| EventDraft {
            warning,
            reason,
            note: note.to_owned(),
            about: None,
        };
        let mut events = Vec::new();
        if self.both_selectors && old.observed_generation != seen.subject.generation() {
            events.push(draft(true, Reason::SelectorsConflict, BOTH_SELECTORS));
        }
        let skipped = self.reason == Reason::AllNodesSkipped && !was("Reconciling");
        if skipped || (self.stalled && !was("Stalled")) {
            events.push(draft(true, self.reason, &self.message));
        } else if self.complete && !was("Complete") {
            events.push(draft(false, self.reason, &self.message));
        }
        events
    }
}

/// Which row of the table it is, and the sentence for it.
fn situation(tally: &Tally, refusal: Option<&Refusal>, grace_over: bool) -> (Reason, String) {
    if let Some(refusal) = refusal {
        return (refusal.reason, refusal.message.clone());
    }
    let desired = tally.desired();
    if desired == 0 {
        return if tally.skipped > tally.skipped_late {
            (Reason::AllNodesSkipped, all_skipped(tally))
        } else {
            (Reason::NoNodesSelected, none_selected(tally))
        };
    }
    if tally.open > 0 {
        return blocked(tally).unwrap_or_else(|| running(tally));
    }
    if tally.unavailable > 0 && !grace_over {
        return running(tally);
    }
    // Unfinished late nodes hold nothing up; a late failure does count.
    if tally.failed > 0 {
        let message = format!(
            "{} of {} failed; status.failures names them",
            tally.failed,
            nodes(desired)
        );
        return (Reason::NodesFailed, message);
    }
    if tally.unavailable > 0 {
        let message = format!("all done but {} that cannot take work now", nodes(tally.unavailable));
        return (Reason::NodesUnavailable, message);
    }
    finished(tally)
}

fn none_selected(tally: &Tally) -> String {
    if tally.skipped_late > 0 {
        return format!(
            "no node matched the selector; {} that came later {} excluded by the template",
            nodes(tally.skipped_late),
            if tally.skipped_late == 1 { "is" } else { "are" }
        );
    }
    "no node matches the selector; one that does later runs".to_owned()
}

fn finished(tally: &Tally) -> (Reason, String) {
    let (done, late) = (tally.succeeded, tally.active + tally.waiting);
    let late = if late > 0 {
        format!("; {} that came later not finished yet", nodes(late))
    } else {
        String::new()
    };
    if tally.outdated > 0 {
        let message = format!(
            "{} succeeded, {} with an older template{late}",
            nodes(done),
            tally.outdated
        );
        return (Reason::Outdated, message);
    }
    (Reason::AllSucceeded, format!("{} succeeded{late}", nodes(done)))
}

fn nodes(count: i64) -> String {
    if count == 1 {
        "1 node".to_owned()
    } else {
        format!("{count} nodes")
    }
}

fn running(tally: &Tally) -> (Reason, String) {
    let done = tally.succeeded + tally.failed;
    let mut parts = vec![
        format!("{done} of {} finished", nodes(tally.desired())),
        format!("{} active", tally.active),
    ];
    parts.extend(troubles(tally));
    let reason = if tally.active == 0 && all_unavailable(tally) {
        Reason::Waiting
    } else {
        Reason::Running
    };
    (reason, parts.join(", "))
}

fn all_unavailable(tally: &Tally) -> bool {
    tally
        .waiting_groups
        .keys()
        .all(|because| because.reason.is_unavailable())
}

/// Nothing unfinished is left but what needs somebody's hand: names that are taken, Pods that are refused.
fn blocked(tally: &Tally) -> Option<(Reason, String)> {
    let blocked = tally
        .waiting_groups
        .iter()
        .filter(|(because, _)| because.reason.is_blocked());
    let nodes: usize = blocked.clone().map(|(_, names)| names.len()).sum();
    if tally.active > 0 || i64::try_from(nodes).is_ok_and(|nodes| nodes < tally.open) {
        return None;
    }
    let (because, _) = blocked.into_iter().next()?;
    let others = match nodes {
        ..=1 => String::new(),
        2 => " (and 1 more node)".to_owned(),
        _ => format!(" (and {} more nodes)", nodes - 1),
    };
    let detail = because.detail.as_deref().unwrap_or_else(|| because.reason.meaning());
    Some((because.reason, format!("{detail}{others}")))
}

fn all_skipped(tally: &Tally) -> String {
    let reasons: Vec<String> = tally
        .skipped_groups
        .iter()
        .take(3)
        .map(|(because, names)| match &because.detail {
            Some(detail) => format!("{} {} ({detail})", names.len(), because.reason.as_str()),
            None => format!("{} {}", names.len(), because.reason.as_str()),
        })
        .collect();
    let nodes = match tally.skipped {
        1 => "the one selected node".to_owned(),
        skipped => format!("all {skipped} selected nodes"),
    };
    format!("the template excludes {nodes}: {}", reasons.join(", "))
}

/// The conditions of a verdict. `Reconciling` and `Stalled` are there only when true, as kstatus expects.
pub(super) fn conditions(verdict: &Verdict, seen: &Observed<'_>) -> Vec<Condition> {
    let always = [
        ("Ready", verdict.ready),
        ("Complete", verdict.complete),
        ("Failed", verdict.failed),
        ("Finished", verdict.finished),
    ];
    let abnormal = [("Reconciling", verdict.reconciling), ("Stalled", verdict.stalled)];
    abnormal
        .into_iter()
        .filter(|(_, is_true)| *is_true)
        .chain(always)
        .map(|(type_, is_true)| condition(type_, is_true, verdict, seen))
        .collect()
}

fn condition(type_: &str, is_true: bool, verdict: &Verdict, seen: &Observed<'_>) -> Condition {
    let status = if is_true { "True" } else { "False" };
    let old = seen
        .subject
        .status()
        .conditions
        .iter()
        .find(|old| old.type_ == type_ && old.status == status);
    let message = if verdict.both_selectors {
        format!("{}; {BOTH_SELECTORS}", verdict.message)
    } else {
        verdict.message.clone()
    };
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message,
        last_transition_time: old.map_or_else(|| seen.second(), |old| old.last_transition_time),
        observed_generation: seen.subject.generation(),
    }
}
