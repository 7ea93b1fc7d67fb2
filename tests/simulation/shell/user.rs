//! What people and machines do to DaemonJobs, Jobs and Nodes: edits, retries, re-creations, flapping nodes, hands that
//! delete what is not theirs. Edits pass our webhook, mostly.

use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::names::{DAEMONJOB_LABEL, NodeName, RETRY, TEMPLATE_HASH, job_name};
use daemonjob_simulation::{Key, Kind};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::objects::{all, daemonjob_label, hash, is_deleting, name, owner, uid};
use crate::world::{Actor, NAMESPACE, World};

const ACTOR: Actor = Actor::User;

/// Everybody who does something.
pub(crate) struct User {
    pub(crate) world: Arc<World>,
    pub(crate) chance: Rng,
    tokens: u32,
}

impl User {
    pub(crate) fn new(world: Arc<World>, seed: u64) -> Self {
        Self {
            world,
            chance: Rng::with_seed(seed ^ 0x7573_6572_7375_7365),
            tokens: 0,
        }
    }

    /// The cluster as it is found.
    pub(crate) fn begin(&mut self) {
        let namespaces = [NAMESPACE, "daemonjob-system"];
        for namespace in namespaces {
            drop(
                self.world
                    .create(ACTOR, Kind::Namespace, json!({"metadata": {"name": namespace}})),
            );
        }
        for number in 0..self.chance.u8(2..5) {
            self.add_node(&format!("n{number}"));
        }
        self.add_daemon_job("one");
        if self.chance.u8(..3) == 0 {
            self.add_daemon_job("two");
        }
    }

    /// Does so many things, one after another.
    pub(crate) async fn act(&mut self, times: u32) {
        for _ in 0..times {
            let longest = if self.chance.bool() { 4_000 } else { 40_000 };
            sleep(Duration::from_millis(self.chance.u64(..longest))).await;
            let what = self.something();
            self.world.tell(&format!("-- {what}"));
        }
    }

    /// Puts right what would never settle by itself. A cordon may stay: that settles, too.
    pub(crate) fn calm_down(&mut self, is_left_unavailable: bool) {
        let (nodes, jobs) = {
            let state = self.world.lock();
            (all(&state.server, Kind::Node), all(&state.server, Kind::Job))
        };
        for (key, node) in nodes {
            let is_left = node["spec"]["unschedulable"] == true && is_left_unavailable;
            let spec = json!({"unschedulable": is_left.then_some(true), "taints": null});
            let annotations = json!({"simulation/dead": null});
            let patch = json!({"metadata": {"annotations": annotations}, "spec": spec});
            drop(self.world.patch(ACTOR, &key, patch));
        }
        for (key, job) in jobs {
            let marks = [
                hash(&job),
                daemonjob_label(&job),
                owner(&job, "DaemonJob").unwrap_or_default(),
            ];
            if marks.contains(&"") {
                drop(
                    self.world
                        .delete(ACTOR, &key, json!({"propagationPolicy": "Background"})),
                );
            } else if job["spec"]["suspend"] == true {
                drop(self.world.patch(ACTOR, &key, json!({"spec": {"suspend": false}})));
            }
        }
    }

    fn something(&mut self) -> String {
        match self.chance.u8(..34) {
            0..6 => self.edit("a new template", |chance, daemon_job| {
                daemon_job["spec"]["jobTemplate"] = template(chance);
            }),
            6..9 => self.edit("replace", |_, daemon_job| {
                let replace = daemon_job["spec"]["replace"] == true;
                daemon_job["spec"]["replace"] = json!(!replace);
            }),
            9..11 => self.edit("the selector", select),
            11..14 => self.ask_for_retry(),
            14..16 => self.recreate(),
            16 => self.break_hash(),
            17..21 => self.touch_job(),
            21 => self.squat(),
            22..30 => self.touch_node(),
            _ => self.touch_daemon_job(),
        }
    }

    // DaemonJobs.

    fn daemon_job(&mut self) -> Option<(Key, Arc<Value>)> {
        let all = all(&self.world.lock().server, Kind::DaemonJob);
        self.chance.choice(all)
    }

    fn add_daemon_job(&mut self, name: &str) {
        let mut daemon_job = json!({
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"replace": self.chance.bool(), "jobTemplate": template(&mut self.chance)},
        });
        select(&mut self.chance, &mut daemon_job);
        admit(&mut daemon_job);
        drop(self.world.create(ACTOR, Kind::DaemonJob, daemon_job));
    }

    fn edit(&mut self, what: &str, edit: impl FnOnce(&mut Rng, &mut Value)) -> String {
        let Some((key, daemon_job)) = self.daemon_job() else {
            return "nothing".to_owned();
        };
        let mut edited = Value::clone(&daemon_job);
        edit(&mut self.chance, &mut edited);
        admit(&mut edited);
        let mut spec = edited["spec"].clone();
        for field in ["selector", "ingoreSelector"] {
            if spec.get(field).is_none() {
                spec[field] = Value::Null;
            }
        }
        // A merge patch of the whole spec would keep what the old template had.
        let hash = &edited["metadata"]["annotations"][TEMPLATE_HASH];
        let gone = json!({"spec": {"jobTemplate": null}});
        let mut put = Value::clone(&daemon_job);
        json_patch::merge(&mut put, &gone);
        json_patch::merge(
            &mut put,
            &json!({"metadata": {"annotations": {TEMPLATE_HASH: hash}}, "spec": spec}),
        );
        drop(self.world.update(ACTOR, &key, put));
        format!("{what} of {}", key.name)
    }

    fn ask_for_retry(&mut self) -> String {
        let Some((key, _)) = self.daemon_job() else {
            return "nothing".to_owned();
        };
        self.tokens += 1;
        let which = ["", " n0", " n1,n2", " nobody"][self.chance.usize(..4)];
        let token = format!("r{}{which}", self.tokens);
        drop(
            self.world
                .patch(ACTOR, &key, json!({"metadata": {"annotations": {RETRY: token}}})),
        );
        format!("a retry of {}: {token}", key.name)
    }

    fn recreate(&mut self) -> String {
        let Some((key, _)) = self.daemon_job() else {
            return "nothing".to_owned();
        };
        let policy = ["Foreground", "Background", "Background", "Orphan"][self.chance.usize(..4)];
        drop(self.world.delete(ACTOR, &key, json!({"propagationPolicy": policy})));
        // One in the foreground goes later; then the name stays free.
        self.add_daemon_job(&key.name);
        format!("{} is deleted ({policy}) and made again", key.name)
    }

    fn break_hash(&mut self) -> String {
        let Some((key, _)) = self.daemon_job() else {
            return "nothing".to_owned();
        };
        let hash = [Value::Null, json!("a".repeat(64)), json!("x")][self.chance.usize(..3)].clone();
        drop(
            self.world
                .patch(ACTOR, &key, json!({"metadata": {"annotations": {TEMPLATE_HASH: hash}}})),
        );
        format!("the hash of {} is broken", key.name)
    }

    fn touch_daemon_job(&mut self) -> String {
        let Some((key, _)) = self.daemon_job() else {
            self.add_daemon_job("one");
            return "one is made again".to_owned();
        };
        let label = json!({"touched": self.chance.u32(..).to_string()});
        drop(self.world.patch(ACTOR, &key, json!({"metadata": {"labels": label}})));
        format!("{} is labelled", key.name)
    }

    // Jobs.

    fn touch_job(&mut self) -> String {
        let all = all(&self.world.lock().server, Kind::Job);
        let Some((key, job)) = self.chance.choice(all) else {
            return "nothing".to_owned();
        };
        let patch = match self.chance.u8(..9) {
            0 => json!({"spec": {"suspend": job["spec"]["suspend"] != true}}),
            1 => json!({"metadata": {"labels": {DAEMONJOB_LABEL: null}}}),
            2 => json!({"metadata": {"annotations": {TEMPLATE_HASH: null}}}),
            3 => json!({"metadata": {"labels": {"touched": self.chance.u32(..).to_string()}}}),
            policy => {
                let policy = ["Foreground", "Background", "Orphan"][usize::from(policy % 3)];
                drop(self.world.delete(ACTOR, &key, json!({"propagationPolicy": policy})));
                return format!("{} is deleted by hand ({policy})", key.name);
            }
        };
        let said = format!("{} becomes {patch}", key.name);
        drop(self.world.patch(ACTOR, &key, patch));
        said
    }

    /// Somebody else's Job takes the name of one of ours.
    fn squat(&mut self) -> String {
        let node = NodeName::new(format!("n{}", self.chance.u8(..5)));
        let job = json!({
            "metadata": {"name": job_name("one", &node).as_str(), "namespace": NAMESPACE},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": []}}},
        });
        match self.world.create(ACTOR, Kind::Job, job) {
            Ok(_) => format!("somebody else's Job is on {node}"),
            Err(_) => "nothing".to_owned(),
        }
    }

    // Nodes.

    fn add_node(&mut self, name: &str) {
        let pool = ["a", "a", "b"][self.chance.usize(..3)];
        let node = json!({"metadata": {"name": name, "labels": {"pool": pool}}, "spec": {}});
        drop(self.world.create(ACTOR, Kind::Node, node));
    }

    fn touch_node(&mut self) -> String {
        let all = all(&self.world.lock().server, Kind::Node);
        let Some((key, node)) = self.chance.choice(all) else {
            self.add_node("n0");
            return "n0 joins".to_owned();
        };
        let name = name(&node).to_owned();
        let patch = match self.chance.u8(..12) {
            0..2 => {
                drop(self.world.delete(ACTOR, &key, json!({})));
                return format!("{name} goes");
            }
            2..5 => {
                drop(self.world.delete(ACTOR, &key, json!({})));
                self.add_node(&name);
                return format!("{name} is made again");
            }
            5 => {
                let name = format!("n{}", self.chance.u8(..6));
                self.add_node(&name);
                return format!("{name} joins");
            }
            6..8 => {
                let pool = ["a", "b", "c"][self.chance.usize(..3)];
                json!({"metadata": {"labels": {"pool": pool}}})
            }
            8 => json!({"spec": {"unschedulable": true}}),
            9 => json!({"spec": {"unschedulable": null, "taints": null}}),
            10 => json!({"metadata": {"annotations": {"simulation/dead": "yes"}}}),
            _ => json!({"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}}),
        };
        let said = format!("{name} becomes {patch}");
        drop(self.world.patch(ACTOR, &key, patch));
        said
    }

    /// Whether there is a DaemonJob that somebody tried to re-create while the old one was going.
    pub(crate) fn make_missing(&mut self) {
        let there = all(&self.world.lock().server, Kind::DaemonJob);
        if there
            .iter()
            .all(|(_, daemon_job)| is_deleting(daemon_job) || uid(daemon_job).is_empty())
        {
            self.add_daemon_job("one");
        }
    }
}

/// A template of a few that there are, so that edits go back to one that was there before.
fn template(chance: &mut Rng) -> Value {
    let image = ["a", "b", "c"][chance.usize(..3)];
    let mut template = json!({"spec": {
        "backoffLimit": 1,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}},
    }});
    match image {
        "b" => template["spec"]["ttlSecondsAfterFinished"] = json!(0),
        "c" => template["spec"]["ttlSecondsAfterFinished"] = json!(20),
        _ => {}
    }
    template
}

fn select(chance: &mut Rng, daemon_job: &mut Value) {
    let spec = daemon_job["spec"].as_object_mut().expect("a DaemonJob has a spec");
    spec.remove("selector");
    spec.remove("ingoreSelector");
    match chance.u8(..4) {
        0 => drop(spec.insert("selector".into(), json!({"pool": "a"}))),
        1 => drop(spec.insert("ingoreSelector".into(), json!({"pool": "b"}))),
        _ => {}
    }
}

/// What the webhook does.
pub(crate) fn admit(daemon_job: &mut Value) {
    let hash = TemplateHash::of(&daemon_job["spec"]["jobTemplate"]).expect("its numbers are small");
    if !daemon_job["metadata"]["annotations"].is_object() {
        daemon_job["metadata"]["annotations"] = json!({});
    }
    daemon_job["metadata"]["annotations"][TEMPLATE_HASH] = json!(hash.as_str());
}
