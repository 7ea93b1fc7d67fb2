//! A small cluster around one DaemonJob: the shipped planner plans, writes take effect as on an API server,
//! and its status is what the patches leave in the store.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use daemonjob_core::crd;
use daemonjob_core::hash::TemplateHash;
use daemonjob_core::index::{Index, Key, Told};
use daemonjob_core::names::{self, JobName, NodeName, Uid, job_name};
use daemonjob_core::observed::{JobLite, JobView, NodeLite, NodeView, Scope};
use daemonjob_core::plan::{
    Action, Answer, Observed, Outcome, Refusal, Setback, Slot, Subject, Troubles, absorb, build_job, check,
    classify_create, plan, status_patch, taken,
};
use daemonjob_core::reason::Reason;
use daemonjob_core::types::DaemonJob;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const NAME: &str = "backup";
const NAMESPACE: &str = "ops";
/// A middle jitter: waits are exactly as long as they are doubled.
const JITTER: f64 = 0.5;

/// What the schema puts into a DaemonJob that is created.
static FIRST_STATUS: LazyLock<Value> = LazyLock::new(|| {
    let manifest = crd::manifest();
    let schema = &manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["status"]["default"].clone()
});

/// How a Job ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Complete,
    Failed,
}

pub(crate) struct Cluster {
    daemon_job: Value,
    /// The status of the last plan, which the store should hold.
    pub(crate) planned: Value,
    now: Timestamp,
    nodes: BTreeMap<NodeName, Value>,
    jobs: BTreeMap<JobName, Value>,
    /// Jobs that do not carry our label, which no watch of ours shows.
    foreign: BTreeMap<JobName, Value>,
    /// What the API server says to every create, if it refuses them.
    refuses: Option<Answer>,
    pods_refused: BTreeMap<Uid, String>,
    setbacks: BTreeMap<JobName, Setback>,
    refusal: Option<Refusal>,
    restoring: Option<Setback>,
}

/// A template that the webhook admits; `tag` tells one from another.
pub(crate) fn template(tag: &str) -> Value {
    json!({"spec": {"template": {"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "backup", "image": format!("backup:{tag}")}],
    }}}})
}

fn hash(template: &Value) -> String {
    TemplateHash::of(template).unwrap().to_string()
}

impl Cluster {
    /// A cluster of these nodes, and a DaemonJob just created for all of them.
    pub(crate) fn of(nodes: &[&str]) -> Self {
        let template = template("1");
        let mut cluster = Self {
            daemon_job: json!({
                "apiVersion": names::API_VERSION,
                "kind": names::KIND,
                "metadata": {
                    "name": NAME, "namespace": NAMESPACE, "uid": "backup-uid",
                    "generation": 1, "resourceVersion": "1",
                    "annotations": {names::TEMPLATE_HASH: hash(&template)},
                },
                "spec": {"replace": false, "jobTemplate": template},
                "status": *FIRST_STATUS,
            }),
            planned: FIRST_STATUS.clone(),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            nodes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            foreign: BTreeMap::new(),
            refuses: None,
            pods_refused: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            refusal: None,
            restoring: None,
        };
        for node in nodes {
            cluster.join(node);
        }
        cluster.pass(60);
        cluster
    }

    /// A cluster whose nodes have all run the DaemonJob and ended like this.
    pub(crate) fn after_a_run(ends: &[(&str, End)]) -> Self {
        let nodes: Vec<&str> = ends.iter().map(|(node, _)| *node).collect();
        let mut cluster = Self::of(&nodes);
        cluster.start();
        for (node, end) in ends {
            cluster.end(node, *end);
        }
        cluster.round();
        cluster
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    /// A node joins.
    pub(crate) fn join(&mut self, node: &str) {
        let metadata = json!({"name": node, "uid": format!("{node}-uid"), "creationTimestamp": self.now});
        let node = NodeName::new(node);
        self.nodes.insert(node, json!({"metadata": metadata, "spec": {}}));
    }

    pub(crate) fn cordon(&mut self, node: &str) {
        self.node(node)["spec"]["unschedulable"] = true.into();
    }

    pub(crate) fn taint(&mut self, node: &str, key: &str) {
        self.node(node)["spec"]["taints"] = json!([{"key": key, "effect": "NoSchedule"}]);
    }

    pub(crate) fn label(&mut self, node: &str, key: &str, value: &str) {
        self.node(node)["metadata"]["labels"][key] = value.into();
    }

    fn node(&mut self, node: &str) -> &mut Value {
        self.nodes.get_mut(&NodeName::new(node)).unwrap()
    }

    /// An edit of a field of the spec.
    pub(crate) fn edit(&mut self, field: &str, value: Value) {
        self.daemon_job["spec"][field] = value;
        let generation = self.generation() + 1;
        self.daemon_job["metadata"]["generation"] = generation.into();
    }

    /// An edit of the template, stamped by the webhook.
    pub(crate) fn edit_template(&mut self, template: Value) {
        self.annotate(names::TEMPLATE_HASH, &hash(&template));
        self.edit("jobTemplate", template);
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.daemon_job["metadata"]["annotations"][key] = value.into();
    }

    /// Another writer puts a wrong hash into the annotation, past the webhook.
    pub(crate) fn overwrite_hash(&mut self, manager: &str) {
        self.annotate(names::TEMPLATE_HASH, "0");
        let annotation = format!("f:{}", names::TEMPLATE_HASH);
        self.daemon_job["metadata"]["managedFields"] = json!([{
            "manager": manager, "operation": "Update", "apiVersion": names::API_VERSION, "time": self.now,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {annotation: {}}}},
        }]);
    }

    fn generation(&self) -> i64 {
        self.daemon_job["metadata"]["generation"].as_i64().unwrap()
    }

    /// From now on the API server says this to every create.
    pub(crate) fn refuse_jobs(&mut self, code: u16, message: &str) {
        self.refuses = Some(Answer {
            code,
            reason: "Forbidden".to_owned(),
            message: message.to_owned(),
            ..Answer::default()
        });
    }

    /// The Pods of this node's Job are refused, and the Events of the Job say so.
    pub(crate) fn refuse_pods(&mut self, node: &str, message: &str) {
        let name = job_name(NAME, &NodeName::new(node));
        let job = self.jobs.get_mut(&name).unwrap();
        job["status"] = json!({});
        let uid = Uid::new(job["metadata"]["uid"].as_str().unwrap());
        self.pods_refused.insert(uid, message.to_owned());
    }

    /// Somebody else's Job has the name of ours on this node.
    pub(crate) fn take_name(&mut self, node: &str) {
        let name = job_name(NAME, &NodeName::new(node));
        let job = json!({"metadata": {"name": name.as_str(), "namespace": NAMESPACE, "uid": "foreign-uid"}});
        self.foreign.insert(name, job);
    }

    /// The first plan, its Jobs, and the plan that sees them run.
    pub(crate) fn start(&mut self) {
        self.round();
        self.jobs_go_on();
        self.round();
    }

    /// One round of the controller: plan, write the status, carry the actions out.
    pub(crate) fn round(&mut self) {
        self.pass(1);
        let subject = Arc::new(self.subject());
        let mut index = self.index(&subject);
        let listed = index.listed(NAMESPACE).unwrap();
        let slots = index.slots(&Key::of(&subject));
        let troubles = Troubles {
            setbacks: &self.setbacks,
            pods_refused: &self.pods_refused,
            refusal: self.refusal.as_ref(),
            restoring: self.restoring.as_ref(),
        };
        let seen = Observed::new(listed, &subject, &slots, troubles, self.now);
        let plan = plan(&seen);
        assert_eq!(check(&seen, &plan), []);
        if let Some(patch) = status_patch(subject.status(), &plan.status) {
            merge(&mut self.daemon_job["status"], &patch);
        }
        self.planned = serde_json::to_value(&plan.status).unwrap();
        for action in plan.actions {
            self.carry_out(action, &subject, &slots);
        }
    }

    fn subject(&self) -> Subject {
        Subject::new(serde_json::from_value::<DaemonJob>(self.daemon_job.clone()).unwrap())
    }

    /// The planner's view, as the process makes it from what the watches show.
    fn index(&self, subject: &Arc<Subject>) -> Index {
        let mut index = Index::default();
        index.take_daemon_job(&Scope::All, Told::Listed(Arc::clone(subject)));
        index.take_daemon_job(&Scope::All, Told::ListEnds);
        for node in self.nodes.values().map(node_view) {
            index.take_node(Told::Listed(node));
        }
        index.take_node(Told::ListEnds);
        for job in self.jobs.values().map(job_view) {
            index.take_job(&Scope::All, Told::Listed((NAMESPACE.to_owned(), job)), self.now);
        }
        index.take_job(&Scope::All, Told::ListEnds, self.now);
        index
    }

    fn carry_out(&mut self, action: Action, subject: &Subject, slots: &[&Slot]) {
        match action {
            Action::Create { slot, .. } => {
                let slot = slots[slot];
                let outcome = self.create(&slot.name, build_job(subject, slot).unwrap());
                let before = self.setbacks.remove(&slot.name);
                let (setback, refusal) = absorb(before.as_ref(), self.refusal.as_ref(), &outcome, self.now, JITTER);
                self.setbacks
                    .extend(setback.map(|setback| (slot.name.clone(), setback)));
                self.refusal = refusal;
            }
            Action::Delete { name, .. } => {
                self.jobs.get_mut(&name).unwrap()["metadata"]["deletionTimestamp"] = json!(self.now);
            }
            Action::RestoreHash { hash, .. } => {
                self.annotate(names::TEMPLATE_HASH, hash.as_str());
                let again = Outcome::Failed {
                    because: Reason::TemplateHashRestored.into(),
                    retry_after: None,
                };
                self.restoring = absorb(self.restoring.as_ref(), None, &again, self.now, JITTER).0;
            }
        }
    }

    fn create(&mut self, name: &JobName, mut job: Value) -> Outcome {
        if let Some(other) = self.foreign.get(name) {
            return Outcome::Taken {
                detail: taken(NAMESPACE, &job_view(other)),
            };
        }
        if let Some(answer) = &self.refuses {
            return classify_create(answer);
        }
        job["metadata"]["uid"] = json!(format!("{name}-{}", self.now));
        job["metadata"]["creationTimestamp"] = json!(self.now);
        self.jobs.insert(name.clone(), job);
        Outcome::Done
    }

    /// The Job controller's part: new Jobs get a ready Pod, and those that were told to go are gone.
    pub(crate) fn jobs_go_on(&mut self) {
        self.pass(1);
        self.jobs
            .retain(|_, job| job["metadata"]["deletionTimestamp"].is_null());
        for job in self.jobs.values_mut().filter(|job| job["status"].is_null()) {
            job["status"] = json!({"active": 1, "ready": 1, "startTime": self.now});
        }
    }

    /// The Pod of this node's Job does not become ready.
    pub(crate) fn unready(&mut self, node: &str) {
        self.job(node)["status"]["ready"] = 0.into();
    }

    /// The Job of this node ends.
    pub(crate) fn end(&mut self, node: &str, end: End) {
        self.pass(1);
        let now = self.now;
        self.job(node)["status"] = match end {
            End::Complete => json!({
                "succeeded": 1, "ready": 0, "startTime": now, "completionTime": now,
                "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": now}],
            }),
            End::Failed => json!({
                "failed": 7, "ready": 0, "startTime": now,
                "conditions": [{
                    "type": "Failed", "status": "True", "lastTransitionTime": now, "reason": "BackoffLimitExceeded",
                    "message": "Job has reached the specified backoff limit",
                }],
            }),
        };
    }

    fn job(&mut self, node: &str) -> &mut Value {
        self.jobs.get_mut(&job_name(NAME, &NodeName::new(node))).unwrap()
    }

    /// How many Jobs there are.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// What a reader of statuses looks at: the object without what only this cluster needs.
    pub(crate) fn object(&self) -> Value {
        let object = &self.daemon_job;
        json!({
            "apiVersion": object["apiVersion"],
            "kind": object["kind"],
            "metadata": {"name": NAME, "namespace": NAMESPACE, "generation": object["metadata"]["generation"]},
            "status": object["status"],
        })
    }
}

fn node_view(node: &Value) -> NodeView {
    serde_json::from_value::<NodeLite>(node.clone()).unwrap().into()
}

fn job_view(job: &Value) -> JobView {
    serde_json::from_value::<JobLite>(job.clone()).unwrap().into()
}

/// A JSON merge patch (RFC 7386), as an API server applies it: objects are merged member by member, null removes.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, member) in members {
        if member.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], member);
        }
    }
}
