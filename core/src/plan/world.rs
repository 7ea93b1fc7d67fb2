//! Text worlds for the planner's tests: a few lines say what is there, a few what must follow.
//!
//! ```text
//! template B replace ttl=60        also: both
//! pod {"nodeSelector": {}}         members of the Pod's spec, in every template; before the Jobs
//! selector os=linux                or: ignore ingress=true
//! node n1 os=linux uid=u9 cordoned taint=KEY:EFFECT joined=30
//! passing example.com/warming-up   a taint that passes by itself in this cluster
//! job n1 hash=A running unready@5  or: succeeded@5 failed@5 suspended; deleted@9 nodeuid=u8
//!                                  generation=2: that it was made from, 1 if absent
//!                                  owner=older, owner=foreign (none), owner=NAME, unlabelled, no hash: the marks of ours
//! ended n1 hash=A succeeded@5       the same, but it is gone and the store may not know
//! record n1 hash=A succeeded       also: nodeuid=u9 generation=2
//! gone n1                          a complete list has shown that the node is gone
//! retry again n1,n2                the annotation
//! pending again n1                 the status remembers a retry; also: nodeuid=u9
//! podless n1                       the Events of its Job say that Pods are refused
//! podless n1 last                  those of the Job that it had before
//! restored 5 60                    the annotation was restored five times, not again before 60
//! conflict n1 due                  a setback
//! refused QuotaExceeded due
//! hash=wrong                       the annotation; or: hash=none, hash=right
//! manager argocd                   another field manager has written it, and then we have
//! uid another                      the DaemonJob was made again
//! now 600                          seconds since the run began, 0 if absent
//! started                          the status has seen the first generation
//! edited                           the spec is of the second generation
//! generation 3                     or of another one
//! completed
//! deleting
//! ```

mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Observed, Plan, Refusal, Setback, Slot, Subject, Troubles, check, plan};
use crate::eligibility::Because;
use crate::hash::TemplateHash;
use crate::index::{Index, Key, Told};
use crate::names::{self, JobName, NodeName, NodeUid, Uid, job_name, node_token};
use crate::observed::{JobView, Listed, NodeLiteSpec, NodeView, Owner, Run, Scope, Taint};
use crate::reason::Reason;
use crate::record::{Finish, LastRun, Record};
use crate::retry::Retry;
use crate::types::{DaemonJob, DaemonJobStatus};

pub(crate) const NAME: &str = "dj";
const UID: &str = "dj-uid";

#[derive(Clone, Default)]
pub(crate) struct World {
    template: Value,
    pod: Map<String, Value>,
    replace: bool,
    ttl: Option<i64>,
    selectors: Map<String, Value>,
    pub(crate) nodes: BTreeMap<NodeName, Arc<NodeView>>,
    pub(crate) jobs: BTreeMap<JobName, Arc<JobView>>,
    ended: BTreeMap<JobName, Arc<JobView>>,
    setbacks: BTreeMap<JobName, Setback>,
    pods_refused: BTreeMap<Uid, String>,
    restoring: Option<Setback>,
    refusal: Option<Refusal>,
    record: Record,
    gone: Option<BTreeSet<String>>,
    passing_taints: Vec<String>,
    uid: Option<String>,
    annotated: Option<String>,
    unstamped: bool,
    manager: Option<String>,
    now: i64,
    started: bool,
    generation: Option<i64>,
    completed: bool,
    deleting: bool,
    retry_request: Option<String>,
    retry: Retry,
    pub(crate) status: Option<DaemonJobStatus>,
}

pub(crate) fn template(letter: &str) -> Value {
    json!({"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": format!("image:{letter}")}]}}}})
}

/// Another manager wrote the hash annotation; later we did, and a third one something else.
fn managed_fields(other: &str) -> [Value; 3] {
    let entry = |manager: &str, annotation: &str, time: i64| {
        let fields = json!({"f:metadata": {"f:annotations": {format!("f:{annotation}"): {}}}});
        json!({"manager": manager, "operation": "Update", "time": at(time), "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    [
        entry("kubectl", "example.com/other", 3),
        entry(names::MANAGER, names::TEMPLATE_HASH, 2),
        entry(other, names::TEMPLATE_HASH, 1),
    ]
}

fn node_uid(node: &str) -> NodeUid {
    NodeUid::new(format!("{node}-uid"))
}

/// The UID that these words say, or that of the first node of this name.
fn said_uid(node: &str, words: &[&str]) -> NodeUid {
    let said = words.iter().find_map(|word| word.strip_prefix("nodeuid="));
    said.map_or_else(|| node_uid(node), NodeUid::new)
}

/// So many seconds after the run began.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

impl World {
    pub(crate) fn parse(text: &str) -> Self {
        let mut world = Self {
            template: template("A"),
            ..Self::default()
        };
        world.say(text);
        world
    }

    /// More lines: what has changed since. A node, or a Job of a node, takes the place of the one before it.
    pub(crate) fn say(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            self.line(word, &rest.split_whitespace().collect::<Vec<_>>());
        }
    }

    fn line(&mut self, word: &str, rest: &[&str]) {
        match word {
            "template" => self.template_line(rest),
            "pod" => self.pod = serde_json::from_str(&rest.join(" ")).unwrap(),
            "selector" => self.select("selector", rest),
            "ignore" => self.select("ingoreSelector", rest),
            "node" => self.node_line(rest),
            "passing" => self.passing_taints.extend(rest.iter().map(|key| (*key).to_owned())),
            "job" => {
                let job = self.job(rest);
                self.jobs.insert(job.name.clone(), Arc::new(job));
            }
            "ended" => {
                let job = self.job(rest);
                self.ended.insert(job.name.clone(), Arc::new(job));
            }
            "record" => self.record_line(rest),
            "gone" => self.gone = Some(rest.iter().map(|node| node_token(&node_uid(node))).collect()),
            "conflict" => self.conflict_line(rest),
            "refused" => self.refusal_line(rest),
            "now" => self.now = rest[0].parse().unwrap(),
            "started" => self.started = true,
            "edited" => self.generation = Some(2),
            "generation" => self.generation = rest[0].parse().ok(),
            "completed" => self.completed = true,
            "deleting" => self.deleting = true,
            "podless" => drop(self.pods_refused.insert(
                Uid::new(format!("{}-{}", rest[0], rest.get(1).unwrap_or(&"job"))),
                "exceeded quota: pods".to_owned(),
            )),
            "restored" => self.restored_line(rest),
            "retry" => self.retry_request = Some(rest.join(" ")),
            "pending" => self.pending_line(rest),
            "hash=wrong" => self.annotated = Some("0".repeat(64)),
            "hash=none" => self.unstamped = true,
            "hash=right" => (self.annotated, self.unstamped) = (None, false),
            "manager" => self.manager = Some(rest[0].to_owned()),
            "uid" => self.uid = Some(rest[0].to_owned()),
            _ => panic!("no such line: {word}"),
        }
    }

    fn template_line(&mut self, rest: &[&str]) {
        self.template = template(rest[0]);
        (self.replace, self.ttl) = (false, None);
        for word in &rest[1..] {
            match word.split_once('=') {
                Some(("ttl", seconds)) => self.ttl = Some(seconds.parse().unwrap()),
                _ if *word == "replace" => self.replace = true,
                _ => panic!("template: {word}"),
            }
        }
    }

    fn select(&mut self, field: &str, rest: &[&str]) {
        let labels: BTreeMap<&str, &str> = rest.iter().map(|pair| pair.split_once('=').unwrap()).collect();
        self.selectors.insert(field.to_owned(), json!(labels));
    }

    fn node_line(&mut self, rest: &[&str]) {
        let name = NodeName::new(rest[0]);
        let mut node = NodeView {
            uid: node_uid(rest[0]),
            name: name.clone(),
            created: Some(at(-1000)),
            labels: BTreeMap::new(),
            spec: NodeLiteSpec::default(),
        };
        for word in &rest[1..] {
            match word.split_once('=') {
                None if *word == "cordoned" => node.spec.unschedulable = true,
                Some(("uid", uid)) => node.uid = NodeUid::new(uid),
                Some(("joined", seconds)) => node.created = Some(at(seconds.parse().unwrap())),
                Some(("taint", taint)) => {
                    let (key, effect) = taint.split_once(':').unwrap();
                    node.spec.taints.push(Taint {
                        key: key.into(),
                        value: String::new(),
                        effect: effect.into(),
                    });
                }
                Some((key, value)) => {
                    node.labels.insert(key.into(), value.into());
                }
                None => panic!("node: {word}"),
            }
        }
        self.nodes.insert(name, Arc::new(node));
    }

    fn job(&self, rest: &[&str]) -> JobView {
        let node = NodeName::new(rest[0]);
        let mut job = JobView {
            name: job_name(NAME, &node),
            uid: Uid::new(format!("{}-job", rest[0])),
            resource_version: "3".into(),
            owner: Some(Owner {
                name: NAME.into(),
                uid: Uid::new(UID),
            }),
            label: Some(NAME.into()),
            hash: None,
            node_uid: Some(node_uid(rest[0])),
            node: Some(node),
            deleted: None,
            run: Run::Running,
            unready_since: None,
            retry: None,
            generation: 1,
            podless_since: None,
        };
        for word in &rest[1..] {
            let time = |text: &str| Some(at(text.parse().unwrap()));
            match word.split_once(['=', '@']) {
                None if *word == "running" => job.run = Run::Running,
                None if *word == "suspended" => job.run = Run::Suspended,
                None if *word == "unlabelled" => job.label = None,
                Some(("podless", since)) => job.podless_since = time(since),
                Some(("unready", since)) => job.unready_since = time(since),
                Some(("succeeded", when)) => job.run = Run::Succeeded { at: time(when) },
                Some(("failed", when)) => {
                    job.run = Run::Failed {
                        at: time(when),
                        reason: "BackoffLimitExceeded".into(),
                        message: "m".into(),
                    };
                }
                Some(("deleted", when)) => job.deleted = time(when),
                Some(("hash", letter)) => job.hash = TemplateHash::of(&self.full_template(letter)).ok(),
                Some(("retry", token)) => job.retry = Some(token.into()),
                Some(("generation", generation)) => job.generation = generation.parse().unwrap(),
                Some(("nodeuid", uid)) => job.node_uid = Some(NodeUid::new(uid)),
                Some(("owner", "older")) => {
                    job.owner = Some(Owner {
                        name: NAME.into(),
                        uid: Uid::new("older"),
                    })
                }
                Some(("owner", "foreign")) => job.owner = None,
                Some(("owner", name)) => {
                    job.owner = Some(Owner {
                        name: name.into(),
                        uid: Uid::new(format!("{name}-uid")),
                    })
                }
                _ => panic!("job: {word}"),
            }
        }
        job
    }

    fn record_line(&mut self, rest: &[&str]) {
        let hash = TemplateHash::of(&self.full_template(rest[1].strip_prefix("hash=").unwrap())).unwrap();
        let finish = if rest[2] == "succeeded" {
            Finish::Succeeded
        } else {
            Finish::Failed
        };
        let said = rest.iter().find_map(|word| word.strip_prefix("generation="));
        let run = LastRun {
            template_hash: hash.to_string(),
            generation: said.map_or(1, |said| said.parse().unwrap()),
            finish,
        };
        self.record.finish(&said_uid(rest[0], &rest[3..]), run);
    }

    fn restored_line(&mut self, rest: &[&str]) {
        self.restoring = Some(Setback {
            because: Reason::TemplateHashRestored.into(),
            attempts: rest[0].parse().unwrap(),
            retry_at: at(rest[1].parse().unwrap()),
        });
    }

    fn pending_line(&mut self, rest: &[&str]) {
        let mut retry = Retry::new(rest[0]);
        let (said, nodes): (Vec<&str>, Vec<&str>) = rest[1..].iter().partition(|word| word.starts_with("nodeuid="));
        nodes.iter().for_each(|node| retry.add(&said_uid(node, &said)));
        self.retry = retry;
    }

    fn conflict_line(&mut self, rest: &[&str]) {
        let due = rest.contains(&"due");
        let setback = Setback {
            because: Because {
                reason: Reason::NameConflict,
                detail: Some("kubectl delete job x".into()),
            },
            attempts: 1,
            retry_at: at(if due { -1 } else { 1_000_000 }),
        };
        self.setbacks.insert(job_name(NAME, &NodeName::new(rest[0])), setback);
    }

    fn refusal_line(&mut self, rest: &[&str]) {
        let reason = *Reason::ALL.iter().find(|reason| reason.as_str() == rest[0]).unwrap();
        let retry_at = at(if rest.contains(&"due") { -1 } else { 1_000_000 });
        self.refusal = Some(Refusal {
            reason,
            message: "exceeded quota: q".into(),
            attempts: 1,
            retry_at,
        });
    }

    pub(crate) fn with_template(mut self, template: Value) -> Self {
        self.template = template;
        self
    }

    /// The template with this letter, with Pod and time to live of this world: they are part of the template.
    pub(crate) fn full_template(&self, letter: &str) -> Value {
        self.completed_template(template(letter))
    }

    fn completed_template(&self, mut template: Value) -> Value {
        for (key, value) in &self.pod {
            template["spec"]["template"]["spec"][key] = value.clone();
        }
        if let Some(ttl) = self.ttl {
            template["spec"]["ttlSecondsAfterFinished"] = json!(ttl);
        }
        template
    }

    /// The spec, as it is stored.
    pub(crate) fn spec(&self) -> Value {
        let mut spec = self.selectors.clone();
        spec.insert("replace".into(), self.replace.into());
        spec.insert("jobTemplate".into(), self.completed_template(self.template.clone()));
        spec.into()
    }

    pub(crate) fn subject(&self) -> Subject {
        let spec = self.spec();
        let hash = TemplateHash::of(&spec["jobTemplate"])
            .map(|hash| hash.to_string())
            .unwrap_or_default();
        let annotated = self.annotated.clone().unwrap_or(hash);
        let mut status = self.status.clone().unwrap_or_default();
        if self.status.is_none() {
            status.finished_nodes = self.record.render();
            status.retry = self.retry.render();
            status.observed_generation = -1;
            if self.started || self.completed || self.now > 0 {
                status.observed_generation = 1;
                status.start_time = Some(at(0));
            }
            status.completion_time = self.completed.then(|| at(1));
        }
        let mut annotations = BTreeMap::new();
        annotations.extend((!self.unstamped).then_some((names::TEMPLATE_HASH, annotated)));
        annotations.extend(self.retry_request.clone().map(|text| (names::RETRY, text)));
        let daemon_job: DaemonJob = serde_json::from_value(json!({
            "metadata": {
                "name": NAME, "namespace": "ns", "uid": self.uid.as_deref().unwrap_or(UID),
                "generation": self.generation.unwrap_or(1), "resourceVersion": "7",
                "annotations": annotations,
                "managedFields": self.manager.iter().flat_map(|other| managed_fields(other)).collect::<Vec<_>>(),
                "deletionTimestamp": self.deleting.then(|| at(0)),
            },
            "spec": spec,
            "status": status,
        }))
        .unwrap();
        Subject::new(daemon_job)
    }

    /// The slots, by way of the index that the controller keeps.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let (mut index, subject) = (Index::default(), Arc::new(self.subject()));
        let key = Key::of(&subject);
        index.take_daemon_job(&Scope::All, Told::Applied(subject));
        let nodes = self.nodes.values().map(|node| NodeView::clone(node));
        nodes.for_each(|node| drop(index.take_node(Told::Applied(node))));
        let put = |index: &mut Index, job: &Arc<JobView>| {
            let job = ("ns".to_owned(), JobView::clone(job));
            index.take_job(&Scope::All, Told::Applied(job), self.now());
        };
        for job in self.ended.values() {
            put(&mut index, job);
            index.forget_job(&key, &job.name, &job.uid);
        }
        self.jobs.values().for_each(|job| put(&mut index, job));
        index.slots(&key).into_iter().cloned().collect()
    }

    pub(crate) fn plan(&self) -> Plan {
        self.show(|seen| {
            let plan = plan(seen);
            let violations = check(seen, &plan);
            assert!(violations.is_empty(), "{violations:?}");
            plan
        })
    }

    /// Shows what there is to see of this world.
    pub(crate) fn show<T>(&self, to: impl FnOnce(&Observed<'_>) -> T) -> T {
        let (subject, slots) = (self.subject(), self.slots());
        let slots: Vec<&Slot> = slots.iter().collect();
        let troubles = Troubles {
            setbacks: &self.setbacks,
            pods_refused: &self.pods_refused,
            refusal: self.refusal.as_ref(),
            restoring: self.restoring.as_ref(),
        };
        let seen = Observed::new(Listed::for_tests(), &subject, &slots, troubles, at(self.now))
            .with_passing_taints(&self.passing_taints);
        to(&self.gone.iter().fold(seen, Observed::with_gone))
    }
}
