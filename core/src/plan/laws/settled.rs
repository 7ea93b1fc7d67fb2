//! What must be true once edits and faults have ceased and time has done its work: nothing left to do,
//! and a status that equals a recount of what is there, made without the planner's code.

use serde_json::Value;

use super::cluster::Cluster;
use super::controller::{Fate, Kind};
use super::ledger::{Breach, Law};
use super::steps::{POLICY_TAINT, Sight, Walk};
use crate::hash::TemplateHash;
use crate::names::{JobName, node_token};
use crate::observed::{JobView, NodeView, Run};
use crate::types::DaemonJobStatus;

/// So many rounds must be enough: each meets a moment at which something is due.
const ROUNDS: usize = 60;

impl Walk {
    /// Edits and faults cease, one leader remains, Pods that were told to go go. Jobs that run go on running.
    pub(super) fn settle(&mut self) {
        self.controllers.truncate(1);
        self.cluster.quota = false;
        for _ in 0..ROUNDS {
            let events = self.cluster.job_log.len();
            self.let_go();
            self.round(0, Sight::All, Fate::Answered, Fate::Answered);
            match self.controllers[0].due() {
                Some(due) => self.cluster.clock = due.max(self.cluster.clock + 1),
                None if self.cluster.job_log.len() == events => return,
                None => {}
            }
        }
        let detail = match self.controllers[0].look(&self.cluster) {
            Some((planned, patch)) => format!(
                "{:?} {patch:?}, now {}, awake at {:?}, due {:?}",
                planned.plan.actions,
                planned.now,
                planned.plan.wake_at,
                self.controllers[0].due()
            ),
            None => "no plan".to_owned(),
        };
        self.breach(format!("not settled after {ROUNDS} rounds: {detail}"));
    }

    fn breach(&mut self, detail: String) {
        self.cluster.ledger.breach(Law::Converges, detail);
    }

    /// What goes is gone, Pods come up, and names that somebody else's Jobs hold unseen are freed.
    fn let_go(&mut self) {
        self.cluster.collect_garbage();
        for name in self.left_over() {
            self.cluster.drop_job(&name);
        }
        for name in self.cluster.jobs.keys().cloned().collect::<Vec<_>>() {
            self.cluster.change_job(&name, |job| job.podless_since = None);
        }
    }

    fn left_over(&self) -> Vec<JobName> {
        let is_left = |job: &JobView| job.deleted.is_some() || job.label.is_none();
        let jobs = self.cluster.jobs.iter().filter(|(_, job)| is_left(&job.view));
        jobs.map(|(name, _)| name.clone()).collect()
    }

    /// Settles, and holds what there is against the laws: nothing more to write, now and later, and a true status.
    pub(super) fn settle_and_recount(&mut self) {
        self.settle();
        self.nothing_is_due();
        // Later the hourly look at gone nodes may shorten the record, and nothing else happens.
        let versions = self.cluster.job_log.len();
        self.cluster.clock += 7_200_000;
        self.settle();
        if self.cluster.job_log.len() != versions {
            self.breach("a settled world changed two hours later".to_owned());
        }
        self.cluster.clock += 86_400_000;
        self.nothing_is_due();
        if let Err(detail) = recount(&self.cluster) {
            self.breach(detail);
        }
    }

    /// A plan, though none is due, sends nothing (I10).
    fn nothing_is_due(&mut self) {
        if let Some((planned, patch)) = self.controllers[0].look(&self.cluster)
            && (!planned.plan.actions.is_empty() || patch.is_some())
        {
            self.breach(format!("settled, and yet {:?} {patch:?}", planned.plan.actions));
        }
    }

    pub(super) fn breaches(&self, laws: &[Law]) -> Vec<&Breach> {
        let breaches = self.cluster.ledger.breaches.iter();
        breaches.filter(|breach| laws.contains(&breach.law)).collect()
    }

    /// All three kinds, one after another, are seen by a controller.
    pub(super) fn see_all(&mut self, who: usize, order: [Kind; 3]) {
        for kind in order {
            self.controllers[who].deliver(kind, usize::MAX, &self.cluster);
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    active: i64,
    succeeded: i64,
    failed: i64,
    waiting: i64,
    outdated: i64,
    skipped: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Excluded,
    Free,
    Unavailable,
}

fn standing(node: &NodeView) -> Standing {
    if node.spec.taints.iter().any(|taint| taint.key == POLICY_TAINT) {
        Standing::Excluded
    } else if node.spec.unschedulable || !node.spec.taints.is_empty() {
        Standing::Unavailable
    } else {
        Standing::Free
    }
}

/// Both selectors count as the first alone.
pub(super) fn is_selected(spec: &Value, node: &NodeView) -> bool {
    let has_all = |wanted: &Value| {
        let wanted = wanted.as_object().into_iter().flatten();
        wanted
            .map(|(key, value)| (key, value.as_str()))
            .all(|(key, value)| node.labels.get(key).map(String::as_str) == value)
    };
    match (spec.get("selector"), spec.get("ingoreSelector")) {
        (Some(selector), _) => has_all(selector),
        (None, Some(excluded)) => !has_all(excluded),
        (None, None) => true,
    }
}

/// What the settled world should read as, node by node; or what should not be there at all.
fn recount(cluster: &Cluster) -> Result<(), String> {
    let Some(stored) = &cluster.daemon_job else {
        return Ok(());
    };
    let status: DaemonJobStatus = serde_json::from_value(stored.status.clone()).unwrap();
    let view = View {
        uid: stored.uid.as_str(),
        hash: TemplateHash::of(&stored.spec["jobTemplate"]).unwrap().to_string(),
        replaces: stored.spec["replace"] == true,
        ttl: !stored.spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"].is_null(),
        status: &status,
    };
    for job in cluster.jobs.values().filter(|job| view.is_own(&job.view)) {
        let node = job.view.node.as_ref().and_then(|node| cluster.nodes.get(node));
        if node.is_none_or(|node| job.view.node_uid.as_ref() != Some(&node.uid)) {
            return Err(format!("the node of {:?} is gone", job.view));
        }
    }
    let mut counts = Counts::default();
    for node in cluster.nodes.values() {
        let job = cluster.job_of(&node.name).map(|job| &*job.view);
        if is_selected(&stored.spec, node) {
            view.count(node, job, &mut counts)?;
        } else if job.is_some_and(|job| view.is_own(job) && !is_over(job)) {
            return Err(format!("{} is not selected and runs {job:?}", node.name));
        }
    }
    let told = Counts {
        active: status.active,
        succeeded: status.succeeded,
        failed: status.failed,
        waiting: status.waiting,
        outdated: status.outdated,
        skipped: status.skipped,
    };
    let desired = counts.active + counts.succeeded + counts.failed + counts.waiting;
    if told != counts || status.desired != desired || status.observed_generation != stored.generation {
        return Err(format!(
            "{status:?} is not {counts:?} of generation {}",
            stored.generation
        ));
    }
    Ok(())
}

pub(super) fn is_over(job: &JobView) -> bool {
    matches!(job.run, Run::Failed { .. } | Run::Succeeded { .. })
}

/// The DaemonJob, as far as the recount needs it.
struct View<'a> {
    uid: &'a str,
    hash: String,
    replaces: bool,
    ttl: bool,
    status: &'a DaemonJobStatus,
}

impl View<'_> {
    fn is_own(&self, job: &JobView) -> bool {
        job.owner.as_ref().is_some_and(|owner| owner.uid.as_str() == self.uid)
            && job.label.is_some()
            && job.hash.is_some()
    }

    /// Hash and success in the record.
    fn record(&self, node: &NodeView) -> Option<(&str, bool)> {
        let token = node_token(&node.uid);
        let holds = |tokens: &str| tokens.split(' ').any(|held| held == token);
        self.status.finished_nodes.iter().find_map(|group| {
            let hash = group.template_hash.as_str();
            let succeeded = holds(&group.succeeded).then_some((hash, true));
            succeeded.or_else(|| holds(&group.failed).then_some((hash, false)))
        })
    }

    fn pending(&self, node: &NodeView) -> Option<&str> {
        let retry = self.status.retry.as_ref()?;
        let token = node_token(&node.uid);
        let is_pending = retry.pending.split(' ').any(|held| held == token);
        is_pending.then_some(retry.token.as_str())
    }

    fn count(&self, node: &NodeView, job: Option<&JobView>, counts: &mut Counts) -> Result<(), String> {
        let own = job.filter(|job| self.is_own(job));
        let ran = own.and_then(|job| job.hash.as_ref().map(TemplateHash::as_str));
        let ran = ran.or_else(|| self.record(node).map(|(hash, _)| hash));
        let pending = self.pending(node);
        let is_again = pending.is_some() && own.is_none_or(|job| job.retry.as_deref() != pending);
        let is_outdated = is_again || ran.is_some_and(|ran| ran != self.hash);
        let is_to_start = is_again || ran.is_none() || (is_outdated && self.replaces);
        let is_held = job.is_some() && own.is_none();
        let standing = standing(node);
        if is_to_start && standing == Standing::Free && !is_held {
            return Err(format!("{} should run: {job:?}", node.name));
        }
        counts.outdated += i64::from(is_outdated);
        match own {
            Some(job) if !is_over(job) => {
                let waits = job.run == Run::Suspended;
                *(if waits { &mut counts.waiting } else { &mut counts.active }) += 1;
                return Ok(());
            }
            Some(job) => self.finished_job(node, job, is_to_start)?,
            None => {}
        }
        let record = self.record(node);
        *match (is_to_start, standing, record) {
            (true, Standing::Excluded, _) => &mut counts.skipped,
            (true, Standing::Free | Standing::Unavailable, _) => &mut counts.waiting,
            (false, _, Some((_, true))) => &mut counts.succeeded,
            (false, _, Some((_, false))) => &mut counts.failed,
            (false, _, None) => return Err(format!("{} has nothing and need not start", node.name)),
        } += 1;
        Ok(())
    }

    fn finished_job(&self, node: &NodeView, job: &JobView, is_to_start: bool) -> Result<(), String> {
        let succeeded = matches!(job.run, Run::Succeeded { .. });
        let hash = job.hash.as_ref().map(TemplateHash::as_str);
        if self.record(node).map(|(hash, succeeded)| (Some(hash), succeeded)) != Some((hash, succeeded)) {
            return Err(format!("not on record: {job:?}"));
        }
        if self.ttl && !is_to_start {
            return Err(format!("its time to live is over: {job:?}"));
        }
        Ok(())
    }
}
