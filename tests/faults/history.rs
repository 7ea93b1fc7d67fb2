//! What watches saw of a DaemonJob, read as a history: every object with the version at which the store took it, so
//! that events of different kinds have one order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::trial::{HASH, Trial, text};
use crate::support::watch::{Event, Watch, assert_one_at_a_time, has_ended};

/// The watches that make a history.
pub(crate) struct Recorder {
    daemon_jobs: Watch,
    jobs: Watch,
    pods: Watch,
}

/// A Job, from its making on.
#[derive(Debug)]
struct Life {
    uid: String,
    node: String,
    node_uid: String,
    hash: String,
    /// The version at which the store took it.
    made: u64,
    /// The version at which it was first seen to be deleted.
    deleted: Option<u64>,
    /// It had finished before anybody deleted it.
    has_finished: bool,
}

fn version(object: &Value) -> u64 {
    text(&object["metadata"]["resourceVersion"])
        .parse()
        .expect("versions are numbers")
}

fn is_of(daemon_job: &str) -> impl Fn(&&Event) -> bool {
    move |event| event.object["metadata"]["labels"]["daemon.justk8s.com/daemonjob"] == daemon_job
}

impl Recorder {
    /// Of a namespace in which nothing is yet.
    pub(crate) fn start(trial: &Trial) -> Self {
        Self {
            daemon_jobs: Watch::start(trial, "dj", 0),
            jobs: Watch::start(trial, "jobs", 0),
            pods: Watch::start(trial, "pods", 0),
        }
    }

    /// Asserts what holds of a DaemonJob however many lead: I1, I2, I5 and I7. `touched` are the nodes that were
    /// deleted or deselected meanwhile: their Jobs are deleted for that. Returns how many Jobs there were.
    pub(crate) fn assert_safe(&self, daemon_job: &str, is_replacing: bool, touched: &[&str]) -> usize {
        let of_it =
            |watch: &Watch| -> Vec<Event> { watch.seen().into_iter().filter(|e| is_of(daemon_job)(&e)).collect() };
        let (jobs, pods) = (of_it(&self.jobs), of_it(&self.pods));
        assert_one_at_a_time(&jobs, |_| false);
        assert_one_at_a_time(&pods, has_ended);
        let lives = lives(&jobs);
        let breach = breach(&lives, &self.hashes(daemon_job), is_replacing, touched);
        assert_eq!(breach, None, "{daemon_job}");
        lives.len()
    }

    /// The hash of a DaemonJob, by the version from which on it was this one.
    fn hashes(&self, daemon_job: &str) -> BTreeMap<u64, String> {
        let seen = self.daemon_jobs.seen();
        let its = seen
            .iter()
            .filter(|event| event.object["metadata"]["name"] == daemon_job);
        its.map(|event| {
            (
                version(&event.object),
                text(&event.object["metadata"]["annotations"][HASH]),
            )
        })
        .collect()
    }
}

/// What should not have been in the story of these Jobs, in the order in which they were made.
fn breach(lives: &[Life], hashes: &BTreeMap<u64, String>, is_replacing: bool, touched: &[&str]) -> Option<String> {
    let current = |at: u64| hashes.range(..=at).next_back().map(|(_, hash)| hash.as_str());
    let mut before: BTreeMap<&str, &Life> = BTreeMap::new();
    lives.iter().find_map(|life| {
        let last = before.insert(&life.node_uid, life);
        let is_again = last.is_some_and(|last| last.has_finished && last.hash == life.hash);
        if is_again && current(life.made) == Some(&life.hash) {
            return Some(format!("I7, finished work runs again: {life:#?}"));
        }
        let deleted = life.deleted.filter(|_| !touched.contains(&life.node.as_str()));
        let is_due = |at: u64| is_replacing && current(at) != Some(&life.hash);
        let is_wrong = deleted.is_some_and(|at| !is_due(at));
        is_wrong.then(|| format!("I3 or I5, deleted for nothing: {life:#?}"))
    })
}

fn lives(jobs: &[Event]) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut seen = BTreeSet::new();
    for Event { object, .. } in jobs {
        let metadata = &object["metadata"];
        let annotation = |name: &str| text(&metadata["annotations"][name]);
        if seen.insert(text(&metadata["uid"])) {
            lives.push(Life {
                uid: text(&metadata["uid"]),
                node: annotation("daemon.justk8s.com/node-name"),
                node_uid: annotation("daemon.justk8s.com/node-uid"),
                hash: annotation(HASH),
                made: version(object),
                deleted: None,
                has_finished: false,
            });
        }
        let its = lives.iter_mut().find(|life| metadata["uid"] == life.uid.as_str());
        let life = its.expect("it was pushed when it was first seen");
        if !metadata["deletionTimestamp"].is_null() {
            life.deleted = life.deleted.or(Some(version(object)));
        } else if has_finished(object) {
            life.has_finished = true;
        }
    }
    lives
}

fn has_finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    let is_end = |condition: &Value| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed")) && condition["status"] == "True"
    };
    conditions.is_some_and(|all| all.iter().any(is_end))
}

#[test]
fn a_story_with_a_job_that_should_not_be_in_it_is_told_from_one_without() {
    let life = |hash: &str, made: u64, deleted: Option<u64>| Life {
        uid: made.to_string(),
        node: "n".to_owned(),
        node_uid: "u".to_owned(),
        hash: hash.to_owned(),
        made,
        deleted,
        has_finished: true,
    };
    let hashes = BTreeMap::from([(10, "A".to_owned()), (20, "B".to_owned())]);
    let judge = |lives: &[Life], is_replacing, touched: &[&str]| {
        let told = breach(lives, &hashes, is_replacing, touched);
        told.map(|told| told.split(',').next().unwrap_or_default().to_owned())
    };
    let replaced = [life("A", 11, Some(21)), life("B", 22, None)];
    assert_eq!(judge(&replaced, true, &[]), None);
    assert_eq!(judge(&replaced, false, &[]).as_deref(), Some("I3 or I5"));
    assert_eq!(judge(&replaced, false, &["n"]), None);
    let too_early = [life("A", 11, Some(12))];
    assert_eq!(judge(&too_early, true, &[]).as_deref(), Some("I3 or I5"));
    let again = [life("A", 11, Some(12)), life("A", 13, None)];
    assert_eq!(judge(&again, true, &["n"]).as_deref(), Some("I7"));
    let old_template = [life("A", 11, Some(21)), life("A", 23, Some(24)), life("B", 25, None)];
    assert_eq!(judge(&old_template, true, &[]), None, "accepted");
}
