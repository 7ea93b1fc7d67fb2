//! The oracles that look at every step: the invariants I1 to I8 on what is stored (O5), and the rules of requests (O4).
//!
//! Nothing here knows what the controller thinks: it sees what was sent, what was stored, and remembers what it needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemonjob_cluster::Call;
use daemonjob_simulation::{Answer, ApiServer, Change, Key, Kind, Request, Status, Verb};
use serde_json::Value;
use tokio::time::Instant;

use crate::clock;
use crate::objects::{
    Recorded, all, condition, daemonjob_label, finish, generation, hash, is_deleting, is_on_record, is_unfinished,
    key_of, name, node_name, node_uid, owner, pending, recorded, retry, selects, text, uid,
};
use crate::rules::complaint;
use crate::world::Actor;

/// When a request was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    /// Over the network of a simulation.
    At(Instant),
    /// By somebody who needs no network.
    Now,
}

/// Nothing that speaks for a delete was asked for longer ago.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// What a replica has read of an object, and when it asked.
#[derive(Clone, Debug)]
struct Read {
    asked: Instant,
    found: Option<Arc<Value>>,
}

/// What became of the last Job that was started for a node.
#[derive(Clone, Debug)]
struct Last {
    job: String,
    node: String,
    hash: String,
    generation: i64,
    retry: String,
    /// Whether it succeeded, once it has finished.
    outcome: Option<bool>,
    /// A hand took it away before its outcome was on record: no controller can know of it.
    lost: bool,
    /// Who deleted it when its time to live was over.
    expired_by: Option<Actor>,
}

/// Somebody took a Job away by hand: what it leaves behind is not ours.
#[derive(Clone, Debug, Default)]
struct Hands {
    deleted: bool,
    expired_by: Option<Actor>,
}

/// Remembers and judges.
pub(crate) struct Judge {
    seen: u64,
    breaches: Vec<String>,
    reads: BTreeMap<(Actor, Key), Vec<Read>>,
    /// By the UID of the DaemonJob and that of the node.
    last: BTreeMap<(String, String), Last>,
    /// By the UID of a Job.
    hands: BTreeMap<String, Hands>,
    /// Jobs, by their UID, as they were stored last.
    jobs: BTreeMap<String, Arc<Value>>,
    /// Writes of replicas that changed something, but for Leases.
    pub(crate) writes: u64,
    pub(crate) created: u64,
    /// Jobs that replicas told to go, by the reason.
    pub(crate) deleted: BTreeMap<&'static str, u64>,
    /// When a second replica led beside the first.
    pub(crate) two_lead: bool,
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self {
            seen: 0,
            breaches: Vec::new(),
            reads: BTreeMap::new(),
            last: BTreeMap::new(),
            hands: BTreeMap::new(),
            jobs: BTreeMap::new(),
            writes: 0,
            created: 0,
            deleted: BTreeMap::new(),
            two_lead: false,
        }
    }

    pub(crate) fn breach(&mut self, what: &str) {
        self.breaches
            .push(format!("{} {what}", clock::now().strftime("%H:%M:%S.%3f")));
    }

    pub(crate) fn breaches(&self) -> &[String] {
        &self.breaches
    }

    /// O4: a request as a replica sent it.
    pub(crate) fn sent(&mut self, actor: Actor, request: &Request) {
        let name = if request.verb == Verb::Create {
            name(&request.body)
        } else {
            &request.name
        }
        .to_owned();
        let call = Call {
            verb: request.verb.as_str().to_owned(),
            group: String::new(),
            resource: request.kind.plural().to_owned(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone().unwrap_or_default(),
            name,
            user: String::new(),
            user_agent: String::new(),
            code: 0,
            received: String::new(),
            body: request.body.clone(),
        };
        if let Some(wrong) = complaint(&call) {
            self.breach(&format!("O4: {actor}: {wrong}"));
        }
    }

    /// A request has been answered by the server.
    pub(crate) fn look(
        &mut self,
        server: &ApiServer,
        actor: Actor,
        request: &Request,
        answer: &Result<Answer, Status>,
        sent: Sent,
    ) {
        let Sent::At(sent) = sent else {
            if actor == Actor::User && request.verb == Verb::Delete && request.kind == Kind::Job && answer.is_ok() {
                let before = self.jobs.get(uid_before(server, request)).cloned();
                if let Some(job) = before {
                    self.hands.entry(uid(&job).to_owned()).or_default().deleted = true;
                }
            }
            return self.changed(server, actor);
        };
        match (request.verb, request.kind) {
            (Verb::Get, Kind::DaemonJob | Kind::Node) => {
                let read = Read {
                    asked: sent,
                    found: server.get(&request.key()).cloned(),
                };
                self.reads.entry((actor, request.key())).or_default().push(read);
            }
            (Verb::Delete, Kind::Job) if answer.is_ok() => self.deleted(actor, request, sent),
            _ => {}
        }
        self.is_no_surprise(actor, request, answer);
        let before = self.seen;
        self.changed(server, actor);
        if self.seen != before && request.kind != Kind::Lease {
            self.writes += 1;
        }
    }

    /// O6: what a correct program is not told.
    fn is_no_surprise(&mut self, actor: Actor, request: &Request, answer: &Result<Answer, Status>) {
        let Err(status) = answer else { return };
        let is_expected = match status.code {
            404 => request.verb != Verb::Create,
            409 | 410 => true,
            403 => status.details["causes"].is_array(),
            _ => false,
        };
        if !is_expected {
            let (verb, kind, message) = (request.verb.as_str(), request.kind.plural(), &status.message);
            self.breach(&format!("O6: {actor}: {verb} {kind}: {} {message}", status.code));
        }
    }

    /// I3 and I8: a replica has told a Job to go.
    fn deleted(&mut self, actor: Actor, request: &Request, sent: Instant) {
        let job = self.jobs.values().find(|job| key_of(Kind::Job, job) == request.key());
        let Some(job) = job.cloned() else { return };
        let why = self.justify(actor, &job, sent);
        if why == Ok("expired") {
            self.hands.entry(uid(&job).to_owned()).or_default().expired_by = Some(actor);
        }
        match why {
            Ok(why) => *self.deleted.entry(why).or_default() += 1,
            Err(why) => self.breach(&format!("I3: {actor} deletes {}: {why}", request.name)),
        }
    }

    /// What a replica had found when it sent something, if that was fresh then. Between the sending of a write and
    /// its arrival it may have read something else.
    fn fresh(&self, actor: Actor, key: Key, sent: Instant) -> impl Iterator<Item = Option<&Value>> {
        let reads = self.reads.get(&(actor, key)).into_iter().flatten();
        let fresh = reads.filter(move |read| read.asked <= sent && sent.duration_since(read.asked) <= FRESH_FOR);
        fresh.map(|read| read.found.as_deref())
    }

    /// Whether a fresh read gave a reason to delete this Job.
    fn justify(&self, actor: Actor, job: &Value, sent: Instant) -> Result<&'static str, String> {
        let label = daemonjob_label(job);
        let key = Key::new(Kind::DaemonJob, text(job, "/metadata/namespace"), label);
        let node_key = Key::new(Kind::Node, "", node_name(job));
        let nodes: Vec<Option<&Value>> = self.fresh(actor, node_key, sent).collect();
        let mut why = Err("no fresh read of its DaemonJob".to_owned());
        for daemon_job in self.fresh(actor, key, sent) {
            why = justified(job, daemon_job, &nodes);
            if why.is_ok() {
                break;
            }
        }
        why
    }

    /// Takes in what has been stored since the last look.
    fn changed(&mut self, server: &ApiServer, actor: Actor) {
        let log = server.log();
        let start = log.partition_point(|change| change.version <= self.seen);
        for change in &log[start..] {
            self.seen = change.version;
            match change.key.kind {
                Kind::Job => self.job_changed(server, actor, change),
                Kind::Pod => self.one_job_a_node(server),
                Kind::CoreEvent | Kind::DaemonJob | Kind::Event | Kind::Lease | Kind::Namespace | Kind::Node => {}
            }
        }
    }

    fn job_changed(&mut self, server: &ApiServer, actor: Actor, change: &Change) {
        match (&change.before, &change.after) {
            (None, Some(job)) => {
                self.jobs.insert(uid(job).to_owned(), Arc::clone(job));
                self.started(server, actor, job);
            }
            (_, Some(job)) => {
                self.jobs.insert(uid(job).to_owned(), Arc::clone(job));
                // Without its label it is no longer ours, and what becomes of it is not recorded.
                let is_disowned = daemonjob_label(job).is_empty();
                self.last_of(job, |last| last.lost |= is_disowned);
                if let (Some((succeeded, _)), false) = (finish(job), is_deleting(job)) {
                    self.last_of(job, |last| last.outcome = Some(succeeded));
                }
            }
            (Some(job), None) => {
                self.jobs.remove(uid(job));
                self.went(server, job);
            }
            (None, None) => {}
        }
    }

    fn last_of(&mut self, job: &Value, change: impl FnOnce(&mut Last)) {
        let key = (
            owner(job, "DaemonJob").unwrap_or_default().to_owned(),
            node_uid(job).to_owned(),
        );
        if let Some(last) = self.last.get_mut(&key).filter(|last| last.job == uid(job)) {
            change(last);
        }
    }

    /// I7: a Job was started. Was the node done?
    fn started(&mut self, server: &ApiServer, actor: Actor, job: &Value) {
        let Some(owner) = owner(job, "DaemonJob") else { return };
        if !matches!(actor, Actor::Replica(_)) {
            return;
        }
        self.created += 1;
        let key = (owner.to_owned(), node_uid(job).to_owned());
        let daemon_job = server.get(&Key::new(
            Kind::DaemonJob,
            text(job, "/metadata/namespace"),
            daemonjob_label(job),
        ));
        let is_current = daemon_job.is_some_and(|daemon_job| uid(daemon_job) == owner && hash(daemon_job) == hash(job));
        // A Job for a node that is gone, by an old view, runs nowhere.
        let node = server.get(&Key::new(Kind::Node, "", node_name(job)));
        let can_run = node.is_some_and(|node| uid(node) == node_uid(job));
        if let Some(last) = self.last.get(&key)
            && is_current
            && can_run
            && last.outcome.is_some()
            && !last.lost
            && !self.is_accepted(actor, last)
            && last.hash == hash(job)
            && (retry(job).is_empty() || retry(job) == last.retry)
        {
            let name = name(job);
            self.breach(&format!(
                "I7: {actor} runs {name} again, whose last Job {} had finished",
                last.job
            ));
        }
        let last = Last {
            job: uid(job).to_owned(),
            node: node_name(job).to_owned(),
            hash: hash(job).to_owned(),
            generation: generation(job),
            retry: retry(job).to_owned(),
            outcome: None,
            lost: false,
            expired_by: None,
        };
        self.last.insert(key, last);
    }

    /// The window that is accepted (cases.md M): two lead, one deletes what has expired, and the other starts it before
    /// it has read the record.
    fn is_accepted(&self, actor: Actor, last: &Last) -> bool {
        self.two_lead && last.expired_by.is_some_and(|by| by != actor)
    }

    /// A Job is gone. If its outcome is on no record, nobody can know it any more: that is a breach if we did it.
    fn went(&mut self, server: &ApiServer, job: &Value) {
        let hands = self.hands.remove(uid(job)).unwrap_or_default();
        let daemon_job = server.get(&Key::new(
            Kind::DaemonJob,
            text(job, "/metadata/namespace"),
            daemonjob_label(job),
        ));
        let is_recorded = daemon_job.is_some_and(|daemon_job| {
            // While its retry is pending, what is on record is the run before.
            let is_older = !retry(job).is_empty() && pending(daemon_job, node_uid(job)) == Some(retry(job));
            !is_older && is_on_record(daemon_job, job)
        });
        let is_lost = hands.deleted && !is_recorded;
        self.last_of(job, |last| {
            last.lost |= is_lost;
            last.expired_by = hands.expired_by;
        });
        if hands.deleted {
            // Its Pods may go on without it.
            self.hands.insert(uid(job).to_owned(), hands);
        }
    }

    /// G5, once all is settled: what is on record of a node is how its last Job ended, or one of a later generation.
    pub(crate) fn untrue(&self, server: &ApiServer) -> Vec<String> {
        let is_untrue = |daemon_job: &str, node: &str, last: &Last| {
            let daemon_job = server.all(Kind::DaemonJob).find(|(_, it)| uid(it) == daemon_job);
            let is_there = server.all(Kind::Node).any(|(_, it)| uid(it) == node);
            let (Some((_, daemon_job)), Some(outcome), true) = (daemon_job, last.outcome, is_there) else {
                return false;
            };
            let is_it = |recorded: Recorded<'_>| {
                let is_same = recorded.hash == last.hash && recorded.succeeded == outcome;
                recorded.generation > last.generation || (recorded.generation == last.generation && is_same)
            };
            !last.lost && !recorded(daemon_job, node).is_some_and(is_it)
        };
        let lasts = self.last.iter();
        lasts
            .filter(|((daemon_job, node), last)| is_untrue(daemon_job, node, last))
            .map(|(_, last)| {
                format!(
                    "G5: the record of {} is not how its last Job {} ended",
                    last.node, last.job
                )
            })
            .collect()
    }

    /// I1: at most one Job of a DaemonJob has unfinished Pods on a node.
    fn one_job_a_node(&mut self, server: &ApiServer) {
        let mut running: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
        for (_, pod) in all(server, Kind::Pod) {
            let labels = &pod["metadata"]["labels"];
            let node = text(&pod, "/spec/nodeName");
            if !is_unfinished(&pod) || node.is_empty() {
                continue;
            }
            let annotation = |key: &str| {
                pod["metadata"]["annotations"][key]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let (job, daemon_job) = (annotation("simulation/job"), annotation("simulation/owner"));
            let is_by_hand = self.hands.get(&job).is_some_and(|hands| hands.deleted);
            if !daemon_job.is_empty() && !is_by_hand {
                let group = (labels["daemon.justk8s.com/daemonjob"].to_string(), node.to_owned());
                running.entry(group).or_default().push((job, daemon_job));
            }
        }
        for ((daemon_job, node), mut jobs) in running {
            jobs.sort();
            jobs.dedup();
            let living = |(_, owner): &(String, String)| {
                server
                    .all(Kind::DaemonJob)
                    .any(|(_, daemon_job)| uid(daemon_job) == owner)
            };
            // Sole exception: the Pods of a deleted DaemonJob, which garbage collection ends.
            let of_one: Vec<&(String, String)> = jobs.iter().filter(|job| living(job)).collect();
            let same_owner = of_one.windows(2).any(|pair| pair[0].1 == pair[1].1);
            if same_owner {
                self.breach(&format!(
                    "I1: {daemon_job} has Pods of several Jobs on {node}: {jobs:?}"
                ));
            }
        }
    }
}

/// The UID of the Job that a user deleted: the last change of that name tells.
fn uid_before<'a>(server: &'a ApiServer, request: &Request) -> &'a str {
    let change = server.log().iter().rev().find(|change| change.key == request.key());
    let job = change.and_then(|change| change.before.as_ref().or(change.after.as_ref()));
    job.map_or("", |job| uid(job))
}

/// Whether a Job has finished for good.
pub(crate) fn is_finished(job: &Value) -> bool {
    condition(job, "Complete").or(condition(job, "Failed")).is_some()
}

/// Whether what was found of its DaemonJob, and of its node where that was asked for, is a reason to delete this Job.
fn justified(job: &Value, daemon_job: Option<&Value>, nodes: &[Option<&Value>]) -> Result<&'static str, String> {
    let daemon_job = daemon_job.ok_or("its DaemonJob was gone")?;
    let owner = owner(job, "DaemonJob").ok_or("I8: no DaemonJob owns it")?;
    if owner != uid(daemon_job) {
        return Ok("older owner");
    }
    for node in nodes {
        match node {
            None => return Ok("node gone"),
            Some(node) if uid(node) != node_uid(job) => return Ok("node made again"),
            Some(node) if !selects(daemon_job, node) && finish(job).is_none() => return Ok("deselected"),
            Some(_) => {}
        }
    }
    // An outcome must be on record before its Job goes; one that was told to go already has none.
    let kept = finish(job).filter(|_| !is_deleting(job));
    if kept.is_some() && !is_on_record(daemon_job, job) {
        return Err("its outcome is not on record".to_owned());
    }
    let is_outdated = daemon_job["spec"]["replace"] == true && hash(job) != hash(daemon_job);
    let is_retried = pending(daemon_job, node_uid(job)).is_some_and(|token| retry(job) != token);
    if is_outdated || is_retried {
        return Ok(if is_outdated { "replaced" } else { "retried" });
    }
    let ttl = daemon_job
        .pointer("/spec/jobTemplate/spec/ttlSecondsAfterFinished")
        .and_then(Value::as_i64);
    let finished = finish(job).and_then(|(_, at)| at);
    match (ttl, finished) {
        (Some(ttl), Some(at)) if clock::now().as_second() >= at.as_second() + ttl => Ok("expired"),
        _ => Err("nothing speaks for it".to_owned()),
    }
}
