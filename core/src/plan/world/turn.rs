//! What becomes of a text world: the gist of a plan, a plan carried out, and what happens meanwhile.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::{Action, Plan, build_job, status_patch};
use super::{NAME, World, at, template};
use crate::names::{JobName, NodeName, Uid, job_name};
use crate::observed::{JobLite, JobView, Run};

impl World {
    /// The plan in a few lines: its actions, the summary, the conditions that are true, and when it wakes.
    pub(crate) fn outcome(&self) -> String {
        let plan = self.plan();
        let mut lines = self.actions(&plan);
        lines.extend(plan.status.summary.clone());
        let conditions = plan
            .status
            .conditions
            .iter()
            .filter(|condition| condition.status == "True");
        lines.extend(conditions.map(|condition| format!("{} {}", condition.type_, condition.reason)));
        lines.extend(
            plan.wake_at
                .map(|wake| format!("wake {}", wake.duration_since(at(0)).as_secs())),
        );
        lines.join("\n")
    }

    /// The actions of a plan for this world, a line each.
    pub(crate) fn actions(&self, plan: &Plan) -> Vec<String> {
        let slots = self.slots();
        let node_of = |name: &JobName| {
            let slot = slots.iter().find(|slot| slot.name == *name).unwrap();
            slot.node
                .as_ref()
                .map_or_else(|| "a gone node".to_owned(), |node| node.name.to_string())
        };
        plan.actions
            .iter()
            .map(|action| match action {
                Action::Create { slot, .. } => format!("create {}", node_of(&slots[*slot].name)),
                Action::Delete { name, why, .. } => format!("delete {} ({})", node_of(name), why.reason().as_str()),
                Action::RestoreHash { .. } => "restore hash".to_owned(),
            })
            .collect()
    }

    /// Carries a plan out as a perfect cluster would: writes take effect at once, the status is stored.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        let (subject, slots) = (self.subject(), self.slots());
        for action in &plan.actions {
            match action {
                Action::Create { slot, .. } => {
                    let job = build_job(&subject, &slots[*slot]).unwrap();
                    let mut job: JobView = serde_json::from_value::<JobLite>(job).unwrap().into();
                    job.uid = Uid::new(format!("{}-{}", job.name, self.now));
                    self.jobs.insert(job.name.clone(), Arc::new(job));
                }
                Action::Delete { name, .. } => {
                    self.jobs.remove(name);
                }
                Action::RestoreHash { .. } => (self.annotated, self.unstamped) = (None, false),
            }
        }
        let mut stored = serde_json::to_value(subject.status()).unwrap();
        if let Some(patch) = status_patch(subject.status(), &plan.status) {
            json_patch::merge(&mut stored, &patch);
        }
        self.status = serde_json::from_value(stored).ok();
    }

    /// Some time passes.
    pub(crate) fn pass(&mut self, time: SignedDuration) {
        self.now += time.as_secs();
    }

    pub(crate) fn set_template(&mut self, letter: &str) {
        self.template = template(letter);
    }

    /// The node is gone, or its Job is.
    pub(crate) fn lose(&mut self, word: &str, node: &str) {
        let node = NodeName::new(node);
        match word {
            "job" => drop(self.jobs.remove(&job_name(NAME, &node))),
            "node" => drop(self.nodes.remove(&node)),
            _ => panic!("no such thing: {word}"),
        }
    }

    /// The Job of this node ends.
    pub(crate) fn end(&mut self, node: &str, run: Run) {
        let name = job_name(NAME, &NodeName::new(node));
        if let Some(job) = self.jobs.get_mut(&name) {
            *Arc::make_mut(job) = JobView {
                run,
                ..JobView::clone(job)
            };
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.now)
    }
}
