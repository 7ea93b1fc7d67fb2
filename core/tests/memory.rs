//! What the index takes in memory: a binary of its own, because its allocator counts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy.toml allows the first in tests, which does not reach their helper functions; the figures are for the notes"
)]

use std::sync::Arc;

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::index::{Index, Key, PlacedJob, Told};
use daemonjob_core::names::TEMPLATE_HASH;
use daemonjob_core::observed::{JobLite, NodeLite, NodeView, Scope};
use daemonjob_core::plan::{Slot, Subject, build_job};
use jiff::Timestamp;
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const NODES: usize = 1_000;
const DAEMON_JOBS: usize = 20;
/// What a Job may take in the index, in bytes: 5,000 nodes and 50 DaemonJobs then leave more than a third of 256 MiB.
const MOST: usize = 600;

/// A UID as the API server makes it.
fn uid(n: usize) -> String {
    format!("0b8e7c1e-5a52-4a7b-9a4c-{n:012}")
}

fn node(n: usize) -> NodeView {
    let metadata = json!({"name": format!("ip-10-0-{n}.eu-west-1.compute.internal"), "uid": uid(n)});
    serde_json::from_value::<NodeLite>(json!({"metadata": metadata}))
        .unwrap()
        .into()
}

fn subject(n: usize) -> Arc<Subject> {
    let container = json!({"name": "c", "image": "busybox:stable"});
    let pod = json!({"spec": {"containers": [container], "restartPolicy": "Never"}});
    let template = json!({"spec": {"template": pod}});
    let hash = TemplateHash::of(&template).unwrap();
    let metadata = json!({
        "name": format!("inventory-{n}"), "namespace": "operations", "uid": uid(n), "generation": 1,
        "resourceVersion": n.to_string(), "annotations": {TEMPLATE_HASH: hash.to_string()},
    });
    let it = json!({
        "apiVersion": "daemon.justk8s.com/v1alpha1", "kind": "DaemonJob", "metadata": metadata,
        "spec": {"jobTemplate": template},
    });
    Arc::new(Subject::new(serde_json::from_value(it).unwrap()))
}

/// The Job of this slot as the API server tells of it in this version.
fn job(subject: &Subject, slot: &Slot, n: usize, version: usize, status: &Value) -> PlacedJob {
    let mut job = build_job(subject, slot).unwrap();
    job["metadata"]["uid"] = uid(n).into();
    job["metadata"]["resourceVersion"] = version.to_string().into();
    job["metadata"]["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
    job["status"] = status.clone();
    let job: JobLite = serde_json::from_value(job).unwrap();
    (subject.namespace().to_owned(), job.into())
}

fn list<T>(take: &mut impl FnMut(Told<T>), objects: impl Iterator<Item = T>) {
    take(Told::ListBegins);
    objects.for_each(|object| take(Told::Listed(object)));
    take(Told::ListEnds);
}

#[test]
fn f37_a_job_takes_little_in_the_index() {
    let now: Timestamp = "2026-01-02T03:04:06Z".parse().unwrap();
    let mut index = Index::default();
    list(&mut |told| drop(index.take_node(told)), (0..NODES).map(node));
    let subjects: Vec<Arc<Subject>> = (0..DAEMON_JOBS).map(subject).collect();
    list(
        &mut |told| drop(index.take_daemon_job(&Scope::All, told)),
        subjects.iter().cloned(),
    );
    let slots: Vec<Vec<Slot>> = subjects
        .iter()
        .map(|subject| index.slots(&Key::of(subject)).into_iter().cloned().collect())
        .collect();
    let jobs = |versions: usize, status: Value| {
        let pairs = subjects.iter().zip(&slots);
        let pairs = pairs.flat_map(|(subject, slots)| slots.iter().map(move |slot| (subject, slot)));
        let numbered = pairs.enumerate();
        numbered.map(move |(n, (subject, slot))| job(subject, slot, n, versions + n, &status))
    };
    let failed = json!({
        "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit", "lastTransitionTime": "2026-01-02T03:04:05Z",
    });
    let running = json!({"startTime": "2026-01-02T03:04:05Z", "active": 1});
    let before = HEAP.current_usage();
    let each = || (HEAP.current_usage() - before) / (NODES * DAEMON_JOBS);

    let changed = jobs(1_000_000, running.clone());
    changed.for_each(|job| drop(index.take_job(&Scope::All, Told::Applied(job), now)));
    let started = each();
    let changed = jobs(2_000_000, json!({"conditions": [failed]}));
    changed.for_each(|job| drop(index.take_job(&Scope::All, Told::Applied(job), now)));
    let ended = each();
    HEAP.reset_peak_usage();
    list(
        &mut |told| drop(index.take_job(&Scope::All, told, now)),
        jobs(3_000_000, running),
    );
    let (listed, most) = (each(), (HEAP.peak_usage() - before) / (NODES * DAEMON_JOBS));

    println!("bytes a Job: {started} running, {ended} failed, {listed} after a list, {most} at most during it");
    for (when, taken) in [("running", started), ("failed", ended), ("listed", listed)] {
        assert!(taken <= MOST, "{when}: {taken} bytes a Job");
    }
}
