//! Whether all is as it should be once edits and faults have ceased (I9), counted anew from what is stored.

use std::sync::Arc;

use daemonjob_core::hash::TemplateHash;
use daemonjob_simulation::{ApiServer, Key, Kind};
use serde_json::Value;

use crate::clock;
use crate::judge::is_finished;
use crate::objects::{
    all, condition, daemonjob_label, finish, hash, is_deleting, name, node_uid, owner, pending, recorded, retry,
    selects, takes_work, text, uid,
};

/// What is not settled yet, in words; nothing if all is.
pub(crate) fn unsettled(server: &ApiServer) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, daemon_job) in all(server, Kind::DaemonJob) {
        if is_deleting(&daemon_job) {
            wrong.push(format!("{} is going", key.name));
            continue;
        }
        // It is put right once it is seen, which takes a watch that has fallen silent a minute.
        if TemplateHash::of(&daemon_job["spec"]["jobTemplate"]).is_ok_and(|right| right.as_str() != hash(&daemon_job)) {
            wrong.push(format!("the hash of {} is not that of its template", key.name));
        }
        Counts::of(server, &daemon_job, &mut wrong).compare(&daemon_job, &mut wrong);
    }
    for (key, job) in all(server, Kind::Job) {
        let parent = owner(&job, "DaemonJob");
        let is_orphan = !server
            .all(Kind::DaemonJob)
            .any(|(_, daemon_job)| Some(uid(daemon_job)) == parent);
        if is_orphan || is_deleting(&job) || is_over(server, &job) {
            wrong.push(format!("Job {} should be gone", key.name));
        }
    }
    wrong
}

/// Whether the time to live of a finished Job is over, as the template of its DaemonJob has it.
fn is_over(server: &ApiServer, job: &Value) -> bool {
    let parent = server
        .all(Kind::DaemonJob)
        .find(|(_, it)| owner(job, "DaemonJob") == Some(uid(it)));
    let time = |(_, it): (&Key, &Arc<Value>)| {
        it.pointer("/spec/jobTemplate/spec/ttlSecondsAfterFinished")
            .and_then(Value::as_i64)
    };
    let (Some(time), Some((_, Some(at))), false) =
        (parent.and_then(time), finish(job), daemonjob_label(job).is_empty())
    else {
        return false;
    };
    clock::now().as_second() > at.as_second() + time
}

/// How many nodes are how far.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    active: i64,
    succeeded: i64,
    failed: i64,
    waiting: i64,
    outdated: i64,
}

impl Counts {
    /// Counts, and complains of nodes that should be further.
    fn of(server: &ApiServer, daemon_job: &Value, wrong: &mut Vec<String>) -> Self {
        let mut counts = Self::default();
        for (_, node) in all(server, Kind::Node) {
            let name = name(&node);
            let job = job_of(server, daemon_job, &node);
            if !selects(daemon_job, &node) {
                if job.as_ref().is_some_and(|job| !is_finished(job)) {
                    wrong.push(format!("{name} is not selected and has a Job that has not finished"));
                }
                continue;
            }
            let record = recorded(daemon_job, uid(&node)).map(|recorded| (recorded.hash, recorded.succeeded));
            let result = job.as_ref().and_then(|job| Some((hash(job), finish(job)?.0)));
            let is_retried =
                pending(daemon_job, uid(&node)).is_some_and(|token| job.as_ref().is_none_or(|job| retry(job) != token));
            match (&job, result.or(record)) {
                (Some(job), None) => {
                    if takes_work(&node) {
                        wrong.push(format!("{name} has a Job that has not finished"));
                    }
                    counts.active += 1;
                    counts.outdated += i64::from(is_retried || hash(job) != hash(daemon_job));
                }
                (_, Some((held, well))) => {
                    let is_outdated = held != hash(daemon_job);
                    let should_run = is_retried || (is_outdated && daemon_job["spec"]["replace"] == true);
                    if should_run && takes_work(&node) {
                        wrong.push(format!("{name} should have run again"));
                    }
                    counts.outdated += i64::from(is_outdated || is_retried);
                    *match (should_run, well) {
                        (true, _) => &mut counts.waiting,
                        (false, true) => &mut counts.succeeded,
                        (false, false) => &mut counts.failed,
                    } += 1;
                }
                (None, None) => {
                    if takes_work(&node) {
                        wrong.push(format!("{name} can take work and has none"));
                    }
                    counts.waiting += 1;
                    counts.outdated += i64::from(is_retried);
                }
            }
        }
        counts
    }

    fn compare(&self, daemon_job: &Value, wrong: &mut Vec<String>) {
        let status = &daemon_job["status"];
        let number = |field: &str| status[field].as_i64().unwrap_or_default();
        let said = Self {
            active: number("active"),
            succeeded: number("succeeded"),
            failed: number("failed"),
            waiting: number("waiting"),
            outdated: number("outdated"),
        };
        let name = name(daemon_job);
        if said != *self {
            wrong.push(format!("the status of {name} says {said:?}, and it is {self:?}"));
        }
        let desired = self.active + self.succeeded + self.failed + self.waiting;
        if number("desired") != desired {
            wrong.push(format!("{name} desires {} of {desired}", number("desired")));
        }
        if status["observedGeneration"] != daemon_job["metadata"]["generation"] {
            wrong.push(format!("the status of {name} is of another generation"));
        }
        let asked = retry(daemon_job).split(' ').next().unwrap_or_default();
        if !asked.is_empty() && text(status, "/retry/token") != asked {
            wrong.push(format!("the retry {asked} of {name} has not been handled"));
        }
        // The contrary does not hold: a node that came late may wait after all others are done.
        if self.active == 0 && self.waiting == 0 && condition(daemon_job, "Finished").is_none() {
            wrong.push(format!("all nodes of {name} are done, and Finished does not say so"));
        }
    }
}

/// The Job of a node, if it is the node's own.
fn job_of(server: &ApiServer, daemon_job: &Value, node: &Value) -> Option<Value> {
    let jobs = server.all(Kind::Job).filter(|(key, job)| {
        let is_here = key.namespace == text(daemon_job, "/metadata/namespace");
        is_here && owner(job, "DaemonJob") == Some(uid(daemon_job)) && node_uid(job) == uid(node)
    });
    jobs.map(|(_, job)| Value::clone(job)).next()
}
