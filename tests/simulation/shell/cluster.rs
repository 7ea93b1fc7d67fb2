//! What the controllers of a cluster do: garbage collection, Jobs, scheduling, kubelets. Each step that is due is taken
//! or put off by chance, so that everything happens in every order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::names::{DAEMONJOB_LABEL, NODE_LABEL};
use daemonjob_simulation::{ApiServer, Key, Kind, Request};
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clock;
use crate::judge::is_finished;
use crate::objects::{all, is_deleting, is_unfinished, name, node_name, owner, takes_work, text, uid};
use crate::world::{Actor, World};

const ACTOR: Actor = Actor::Cluster;

/// One step of some controller of the cluster.
enum Step {
    Delete(Key, Value),
    Patch(Key, Value),
    Status(Key, Value),
    Create(Kind, Value),
    Collect(Request),
}

/// The cluster, and what its kubelets have in mind.
pub(crate) struct Cluster {
    world: Arc<World>,
    chance: Rng,
    /// When the container of a Pod ends, and whether well.
    ends: BTreeMap<String, (Timestamp, bool)>,
    pods: u64,
}

impl Cluster {
    pub(crate) fn new(world: Arc<World>, seed: u64) -> Self {
        Self {
            world,
            chance: Rng::with_seed(seed ^ 0x636c_7573_7465_7273),
            ends: BTreeMap::new(),
            pods: 0,
        }
    }

    /// Goes on for ever.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(Duration::from_millis(self.chance.u64(100..1500))).await;
            let due = self.due();
            for step in due {
                if self.chance.u8(..4) == 0 {
                    continue;
                }
                // What has changed meanwhile is refused, as it would be in a cluster.
                drop(match step {
                    Step::Delete(key, options) => self.world.delete(ACTOR, &key, options),
                    Step::Patch(key, patch) => self.world.patch(ACTOR, &key, patch),
                    Step::Status(key, status) => self.world.patch_status(ACTOR, &key, &status),
                    Step::Create(kind, object) => self.world.create(ACTOR, kind, object),
                    Step::Collect(request) => self.world.ask(ACTOR, &request),
                });
            }
        }
    }

    fn due(&mut self) -> Vec<Step> {
        let world = Arc::clone(&self.world);
        let state = world.lock();
        let server = &state.server;
        let mut due = Vec::new();
        due.extend(server.garbage().into_iter().map(Step::Collect));
        for (key, job) in all(server, Kind::Job) {
            self.job(server, &key, &job, &mut due);
        }
        for (key, pod) in all(server, Kind::Pod) {
            self.pod(server, &key, &pod, &mut due);
        }
        due
    }

    /// The Job controller: one Pod at a time, until one succeeds or enough have failed.
    fn job(&mut self, server: &ApiServer, key: &Key, job: &Value, due: &mut Vec<Step>) {
        if is_finished(job) || node_name(job).is_empty() {
            return;
        }
        let pods: Vec<Arc<Value>> = server
            .all(Kind::Pod)
            .filter(|(_, pod)| owner(pod, "Job") == Some(uid(job)))
            .map(|(_, pod)| Arc::clone(pod))
            .collect();
        let count = |phase: &str| pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
        let active = pods
            .iter()
            .filter(|pod| is_unfinished(pod) && !is_deleting(pod))
            .count();
        let (succeeded, failed) = (count("Succeeded"), count("Failed"));
        let ready = pods
            .iter()
            .filter(|pod| text(pod, "/status/phase") == "Running" && !is_deleting(pod))
            .count();
        let now = clock::now();
        let stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let limit = job["spec"]["backoffLimit"].as_u64().unwrap_or(6);
        let mut status = job["status"].clone();
        if !status["startTime"].is_string() {
            status["startTime"] = json!(stamp);
        }
        for (field, pods) in [
            ("active", active),
            ("failed", failed),
            ("succeeded", succeeded),
            ("ready", ready),
        ] {
            status[field] = json!(pods);
        }
        if succeeded > 0 {
            status["completionTime"] = json!(stamp);
            status["conditions"] = json!([{"type": "Complete", "status": "True", "lastTransitionTime": stamp}]);
        } else if failed as u64 > limit {
            status["conditions"] = json!([{
                "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit", "lastTransitionTime": stamp,
            }]);
        } else if pods.iter().all(|pod| !is_unfinished(pod)) && !is_deleting(job) && job["spec"]["suspend"] != true {
            self.pods += 1;
            due.push(Step::Create(Kind::Pod, self.pod_of(job)));
        }
        if status != job["status"] {
            due.push(Step::Status(key.clone(), status));
        }
    }

    fn pod_of(&self, job: &Value) -> Value {
        let labels = &job
            .pointer("/spec/template/metadata/labels")
            .cloned()
            .unwrap_or_default();
        json!({
            "metadata": {
                "name": format!("{}-{}", name(job), self.pods),
                "namespace": job["metadata"]["namespace"],
                "labels": {DAEMONJOB_LABEL: labels[DAEMONJOB_LABEL], NODE_LABEL: labels[NODE_LABEL]},
                "annotations": {
                    "simulation/job": uid(job),
                    "simulation/owner": owner(job, "DaemonJob").unwrap_or_default(),
                },
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": name(job), "uid": uid(job),
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {"place": pinned_to(job)},
            "status": {"phase": "Pending"},
        })
    }

    /// The scheduler, the kubelet of its node, and the collector of Pods whose node is gone.
    fn pod(&mut self, server: &ApiServer, key: &Key, pod: &Value, due: &mut Vec<Step>) {
        let place = text(pod, "/spec/nodeName");
        let node = |name: &str| server.get(&Key::new(Kind::Node, "", name));
        let now = clock::now();
        if place.is_empty() {
            let wanted = text(pod, "/spec/place");
            if is_deleting(pod) || node(wanted).is_none_or(|node| !takes_work(node)) {
                return;
            }
            due.push(Step::Patch(key.clone(), json!({"spec": {"nodeName": wanted}})));
            return;
        }
        let end = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid(pod)}});
        match node(place) {
            // Half a minute passes before somebody notices.
            None if self.chance.u8(..30) == 0 => due.push(Step::Delete(key.clone(), end)),
            None => {}
            Some(node) if node["metadata"]["annotations"]["simulation/dead"].is_string() => {}
            Some(_) if is_deleting(pod) => {
                let has_ended = self.chance.u8(..10) == 0 || !is_unfinished(pod);
                due.extend(has_ended.then(|| Step::Delete(key.clone(), end)));
            }
            Some(_) if text(pod, "/status/phase") == "Pending" => {
                due.push(Step::Status(key.clone(), json!({"phase": "Running"})));
            }
            Some(_) if is_unfinished(pod) => {
                let seconds = if self.chance.u8(..4) == 0 { 60 } else { 8 };
                let (long, well) = (self.chance.i64(1..seconds), self.chance.u8(..5) > 0);
                let planned = (now + SignedDuration::from_secs(long), well);
                let (at, well) = *self.ends.entry(uid(pod).to_owned()).or_insert(planned);
                if at <= now {
                    let phase = if well { "Succeeded" } else { "Failed" };
                    due.push(Step::Status(key.clone(), json!({"phase": phase})));
                }
            }
            Some(_) => {}
        }
    }
}

/// The node that the Job's Pods are pinned to: what the scheduler reads.
fn pinned_to(job: &Value) -> &str {
    let terms = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let value = format!("{terms}/nodeSelectorTerms/0/matchFields/0/values/0");
    text(job, &value)
}
