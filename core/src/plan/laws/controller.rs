//! The process as a value: the index that it keeps, what it remembers between two plans, and the writes on their way.
//!
//! It follows `src/controller/{reconcile,schedule,execute}.rs` step by step, with each request cut into its parts,
//! so that anything can happen between a read and the write that it guards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::world::{NAME, at};
use super::super::{
    Action, Answer, Fresh, Guard, Observed, Outcome, Plan, Refusal, Setback, Slot, Subject, Troubles, Why, absorb,
    build_job, check, classify_create, classify_delete, permits, plan, status_patch, taken,
};
use super::cluster::{Cluster, Event, Job, Version};
use super::justice::justify;
use super::ledger::Law;
use crate::index::{Changes, Index, Key, Told};
use crate::names::{JobName, NodeUid, Uid, node_token};
use crate::observed::{JobView, NodeView, Ownership, Scope};
use crate::reason::Reason;

/// A fresh read serves the deletes of so many milliseconds.
const FRESH_FOR: i64 = 5000;
/// Pause after a guard did not hold, and between two statuses.
const PAUSE: i64 = 1000;
const LOOK_PAUSE: i64 = 20_000;
const CENSUS_PAUSE: i64 = 3_600_000;
const CALM: SignedDuration = SignedDuration::from_mins(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DaemonJobs,
    Jobs,
    Nodes,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::DaemonJobs, Self::Jobs, Self::Nodes];
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    /// The server says 500 and has done nothing.
    Failed,
    /// The server has done it, and the answer is lost.
    Unheard,
}

/// One plan, with what it was made from.
pub(super) struct Planned {
    pub(super) subject: Arc<Subject>,
    pub(super) slots: Vec<Slot>,
    pub(super) refusal: Option<Refusal>,
    pub(super) now: Timestamp,
    pub(super) plan: Plan,
}

#[derive(Clone)]
struct Work {
    subject: Arc<Subject>,
    action: Action,
    /// The place that it is about; none for a write to the DaemonJob itself.
    slot: Option<Slot>,
    /// A create needs a read that is not older: it was planned when what was seen was suspect.
    suspect_since: Option<i64>,
    /// A read that is not older proves the owner of a Job gone that was seen before.
    planned: i64,
}

impl Work {
    fn job(&self) -> Option<&JobName> {
        match &self.action {
            Action::Create { .. } | Action::Delete { .. } => self.slot.as_ref().map(|slot| &slot.name),
            Action::RestoreHash { .. } => None,
        }
    }

    fn classify(&self, answer: &Answer) -> Outcome {
        match self.action {
            Action::Create { .. } | Action::RestoreHash { .. } => classify_create(answer),
            Action::Delete { .. } => classify_delete(answer),
        }
    }
}

/// What a write learned on its way.
struct Done {
    work: Work,
    outcome: Outcome,
    daemon_job: Option<Rc<Version>>,
    job: Option<Job>,
    verified: Option<i64>,
    lost: bool,
}

/// `Schedule` of the process.
struct Memory {
    dirty: bool,
    not_before: i64,
    wake_at: Option<Timestamp>,
    setbacks: BTreeMap<JobName, Setback>,
    refusal: Option<Refusal>,
    pods_refused: BTreeMap<Uid, String>,
    look_not_before: i64,
    restoring: Option<Setback>,
    queue: VecDeque<Work>,
    in_flight: BTreeSet<JobName>,
    patching: bool,
    suspect_since: Option<i64>,
    read: Option<(i64, Option<Rc<Version>>)>,
    status_not_before: i64,
    status_setback: Option<Setback>,
}

impl Memory {
    fn new(now: i64) -> Self {
        Self {
            dirty: true,
            not_before: now,
            wake_at: None,
            setbacks: BTreeMap::new(),
            refusal: None,
            pods_refused: BTreeMap::new(),
            look_not_before: now,
            restoring: None,
            queue: VecDeque::new(),
            in_flight: BTreeSet::new(),
            patching: false,
            suspect_since: Some(now),
            read: None,
            status_not_before: now,
            status_setback: None,
        }
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn pause(&mut self, now: i64) {
        self.dirty = true;
        self.not_before = self.not_before.max(now + PAUSE);
    }

    fn enqueue(&mut self, subject: &Arc<Subject>, slots: &[Slot], plan: &Plan, now: i64) {
        self.queue.clear();
        for action in &plan.actions {
            let slot = match action {
                Action::Create { slot, .. } => Some(slots[*slot].clone()),
                Action::Delete { name, .. } => slots.iter().find(|slot| slot.name == *name).cloned(),
                Action::RestoreHash { .. } if self.patching => continue,
                Action::RestoreHash { .. } => None,
            };
            let work = Work {
                subject: Arc::clone(subject),
                action: action.clone(),
                slot,
                suspect_since: self.suspect_since,
                planned: now,
            };
            if work.job().is_none_or(|name| !self.in_flight.contains(name)) {
                self.queue.push_back(work);
            }
        }
    }

    fn absorb(&mut self, work: &Work, outcome: &Outcome, cluster: &Cluster) {
        let now = cluster.now();
        self.dirty = true;
        if matches!(outcome, Outcome::Stale) {
            self.pause(cluster.clock);
        }
        let Some(name) = work.job() else {
            self.patching = false;
            let again = Outcome::Failed {
                because: Reason::TemplateHashRestored.into(),
                retry_after: None,
            };
            let is_recent = |last: &&Setback| now.duration_since(last.retry_at) < CALM;
            self.restoring = absorb(self.restoring.as_ref().filter(is_recent), None, &again, now, 0.5).0;
            return;
        };
        self.in_flight.remove(name);
        let (setback, refusal) = absorb(self.setbacks.get(name), self.refusal.as_ref(), outcome, now, 0.5);
        if matches!(work.action, Action::Create { .. }) {
            self.refusal = refusal;
        }
        match setback {
            Some(setback) => drop(self.setbacks.insert(name.clone(), setback)),
            None => drop(self.setbacks.remove(name)),
        }
    }

    fn reported(&mut self, refused: Option<&Answer>, cluster: &Cluster) {
        self.patching = false;
        self.dirty = true;
        self.status_not_before = cluster.clock + PAUSE;
        let Some(answer) = refused else {
            self.status_setback = None;
            return;
        };
        let passing = Answer {
            code: 0,
            ..answer.clone()
        };
        let is_conflict = answer.code == 409;
        let outcome = if is_conflict {
            Outcome::Stale
        } else {
            classify_create(&passing)
        };
        self.status_setback = absorb(self.status_setback.as_ref(), None, &outcome, cluster.now(), 0.5).0;
        if is_conflict {
            self.pause(cluster.clock);
        }
    }
}

#[derive(Default)]
pub(super) struct Controller {
    index: Index,
    is_listed: [bool; 3],
    cursors: [usize; 3],
    memory: Option<Memory>,
    /// Guarded, and about to be sent.
    sending: VecDeque<Done>,
    report: Option<(String, Value)>,
    gone: BTreeSet<String>,
    census_not_before: i64,
    /// Sends whatever its guards say: only to show that the laws would notice.
    pub(super) is_blind: bool,
}

/// Where the only DaemonJob stands.
fn key() -> Key {
    Key {
        namespace: "ns".to_owned(),
        name: NAME.to_owned(),
    }
}

fn placed(job: &Job) -> (String, JobView) {
    ("ns".to_owned(), JobView::clone(&job.view))
}

/// An event of the log, as the index takes it.
fn told<T, U>(event: &Event<T>, object: impl Fn(&T) -> U) -> Told<U> {
    match event {
        Event::Applied(applied) => Told::Applied(object(applied)),
        Event::Gone(gone) => Told::Gone(object(gone)),
    }
}

impl Controller {
    // What it sees.

    /// Takes in so many watch events of one kind; before its first list, lists it.
    pub(super) fn deliver(&mut self, kind: Kind, events: usize, cluster: &Cluster) {
        if !self.is_listed[kind as usize] {
            return self.list(kind, 0, cluster);
        }
        let from = self.cursors[kind as usize];
        for position in from..from.saturating_add(events) {
            let Some(changes) = self.take(kind, position, cluster) else {
                return;
            };
            self.cursors[kind as usize] = position + 1;
            self.mark(&changes, cluster.clock);
        }
    }

    fn take(&mut self, kind: Kind, position: usize, cluster: &Cluster) -> Option<Changes> {
        let index = &mut self.index;
        Some(match kind {
            Kind::DaemonJobs => {
                let event = cluster.daemon_job_log.get(position)?;
                index.take_daemon_job(&Scope::All, told(event, |version| version.subject()))
            }
            Kind::Jobs => index.take_job(&Scope::All, told(cluster.job_log.get(position)?, placed), cluster.now()),
            Kind::Nodes => index.take_node(told(cluster.node_log.get(position)?, |node| NodeView::clone(node))),
        })
    }

    /// Lists a kind anew, as it was so many events ago, but never further back than what was seen.
    pub(super) fn list(&mut self, kind: Kind, lag: usize, cluster: &Cluster) {
        let seen = self.cursors[kind as usize];
        let position = |length: usize| length.saturating_sub(lag).max(seen);
        let (index, now) = (&mut self.index, cluster.now());
        let mut changes = Vec::new();
        let position = match kind {
            Kind::DaemonJobs => {
                let position = position(cluster.daemon_job_log.len());
                let there = replay(&cluster.daemon_job_log[..position], |_| ());
                let listed = there.into_values().map(|version| version.subject());
                changes.extend(as_list(listed).map(|told| index.take_daemon_job(&Scope::All, told)));
                position
            }
            Kind::Jobs => {
                let position = position(cluster.job_log.len());
                let there = replay(&cluster.job_log[..position], |job| job.view.name.clone());
                changes.extend(as_list(there.values().map(placed)).map(|told| index.take_job(&Scope::All, told, now)));
                position
            }
            Kind::Nodes => {
                let position = position(cluster.node_log.len());
                let there = replay(&cluster.node_log[..position], |node| node.name.clone());
                let listed = there.values().map(|node| NodeView::clone(node));
                changes.extend(as_list(listed).map(|told| index.take_node(told)));
                let live: BTreeSet<NodeUid> = cluster.nodes.values().map(|node| node.uid.clone()).collect();
                changes.push(index.confirm_missing(&live));
                position
            }
        };
        self.cursors[kind as usize] = position;
        self.is_listed[kind as usize] = true;
        changes.iter().for_each(|changes| self.mark(changes, cluster.clock));
    }

    fn mark(&mut self, changes: &Changes, now: i64) {
        if changes.gone.contains(&key()) {
            self.memory = None;
        }
        if self.index.subject(&key()).is_none() {
            return;
        }
        if changes.suspect.contains(&key()) {
            self.memory.get_or_insert_with(|| Memory::new(now)).suspect_since = Some(now);
        }
        if changes.dirty.contains(&key()) {
            self.memory.get_or_insert_with(|| Memory::new(now)).dirty = true;
        }
    }

    // What it plans.

    /// When to plan next, in milliseconds.
    pub(super) fn due(&self) -> Option<i64> {
        let memory = self.memory.as_ref()?;
        self.index.listed(&key().namespace)?;
        if memory.dirty {
            return Some(memory.not_before);
        }
        let wake = memory.wake_at?.as_millisecond() - at(0).as_millisecond();
        Some(wake.max(memory.not_before))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sending.is_empty()
            && self.report.is_none()
            && self.memory.as_ref().is_none_or(|memory| memory.queue.is_empty())
    }

    /// The plan of what is seen now, whether it is due or not, and the status patch that it asks for.
    pub(super) fn look(&mut self, cluster: &Cluster) -> Option<(Planned, Option<Value>)> {
        let proof = self.index.listed(&key().namespace)?;
        let subject = Arc::clone(self.index.subject(&key())?);
        let memory = self.memory.as_ref()?;
        let now = cluster.now();
        let slots = self.index.slots(&key());
        let troubles = Troubles {
            setbacks: &memory.setbacks,
            pods_refused: &memory.pods_refused,
            refusal: memory.refusal.as_ref(),
            restoring: memory.restoring.as_ref(),
        };
        let seen = Observed::new(proof, &subject, &slots, troubles, now).with_gone(&self.gone);
        let plan = plan(&seen);
        let violations = check(&seen, &plan);
        assert!(violations.is_empty(), "{violations:?}");
        let patch = status_patch(subject.status(), &plan.status);
        let planned = Planned {
            slots: slots.into_iter().cloned().collect(),
            refusal: memory.refusal.clone(),
            subject,
            now,
            plan,
        };
        Some((planned, patch))
    }

    /// Plans, if it is time to.
    pub(super) fn plan(&mut self, cluster: &Cluster) -> Option<Planned> {
        self.count_nodes(cluster);
        if self.due()? > cluster.clock {
            return None;
        }
        let (planned, patch) = self.look(cluster)?;
        let memory = self.memory.as_mut()?;
        memory.dirty = false;
        memory.wake_at = planned.plan.wake_at;
        memory.enqueue(&planned.subject, &planned.slots, &planned.plan, cluster.clock);
        if planned.plan.look_for_events {
            let is_due = memory.look_not_before <= cluster.clock;
            if is_due {
                memory.look_not_before = cluster.clock + LOOK_PAUSE;
            }
            memory.wake(cluster.now() + SignedDuration::from_millis(memory.look_not_before - cluster.clock));
            let refused = cluster.refused_pods();
            if is_due && memory.pods_refused != refused {
                memory.pods_refused = refused;
                memory.dirty = true;
            }
        }
        if let Some(patch) = patch {
            self.start_report(&planned, patch, cluster);
        }
        Some(planned)
    }

    fn start_report(&mut self, planned: &Planned, patch: Value, cluster: &Cluster) {
        let Some(memory) = self.memory.as_mut().filter(|memory| !memory.patching) else {
            return;
        };
        let setback = memory.status_setback.as_ref();
        if let Some(at) = setback.map(|setback| setback.retry_at).filter(|at| *at > cluster.now()) {
            return memory.wake(at);
        }
        if !planned.plan.urgent && memory.status_not_before > cluster.clock {
            let wait = SignedDuration::from_millis(memory.status_not_before - cluster.clock);
            return memory.wake(cluster.now() + wait);
        }
        memory.patching = true;
        self.report = Some((planned.subject.resource_version().to_owned(), patch));
    }

    /// The hourly look for nodes that are gone, by a complete list of its own.
    fn count_nodes(&mut self, cluster: &Cluster) {
        let Some(subject) = self.index.subject(&key()) else {
            return;
        };
        if self.census_not_before > cluster.clock {
            return;
        }
        self.census_not_before = cluster.clock + CENSUS_PAUSE;
        let known = self.index.nodes().values().map(|node| node_token(&node.uid)).collect();
        let live: BTreeSet<String> = cluster.nodes.values().map(|node| node_token(&node.uid)).collect();
        let strangers = subject.record().strangers(&known);
        self.gone = strangers.filter(|token| !live.contains(*token)).cloned().collect();
        if let Some(memory) = &mut self.memory {
            memory.dirty |= !self.gone.is_empty();
        }
    }

    // What it sends.

    /// Takes the next write and checks its guard on a fresh read, where one is asked for.
    pub(super) fn guard(&mut self, fate: Fate, cluster: &mut Cluster) {
        let Some(work) = self.memory.as_mut().and_then(|memory| memory.queue.pop_front()) else {
            return;
        };
        let Some(memory) = self.memory.as_mut() else { return };
        match work.job() {
            Some(name) => drop(memory.in_flight.insert(name.clone())),
            None => memory.patching = true,
        }
        let since = work.suspect_since.max(memory.suspect_since);
        let (guard, not_before) = match (&work.action, since) {
            (Action::Create { guard, .. }, Some(since)) => (guard.clone(), since),
            (
                Action::Delete {
                    guard,
                    why: Why::OwnerGone,
                    ..
                },
                _,
            ) => (guard.clone(), work.planned),
            (Action::Delete { guard, .. }, _) => (guard.clone(), cluster.clock - FRESH_FOR),
            (Action::Create { .. }, None) | (Action::RestoreHash { .. }, _) => {
                self.sending.push_back(Done::new(work));
                return;
            }
        };
        cluster.clock += 1;
        if fate != Fate::Answered {
            return self.fail(Done::new(work), 0, cluster);
        }
        let known = memory.read.clone().filter(|(at, _)| *at >= not_before);
        let (at, read) = known.unwrap_or_else(|| (cluster.clock, cluster.daemon_job.clone()));
        memory.read = Some((at, read.clone()));
        let mut done = Done::new(work);
        done.verified = since.filter(|since| at >= *since);
        let holds = self.is_blind || holds(&guard, read.as_ref(), cluster);
        done.daemon_job = read;
        if holds {
            self.sending.push_back(done);
        } else {
            self.done(done, cluster);
        }
    }

    fn take_read(&mut self, read: Option<&Rc<Version>>, verified: Option<i64>, cluster: &Cluster) {
        let Some(version) = read else { return };
        let changes = self.index.renew_daemon_job(&version.subject());
        if let Some(memory) = &mut self.memory {
            memory.suspect_since = memory.suspect_since.filter(|since| Some(*since) > verified);
        }
        self.mark(&changes, cluster.clock);
    }

    /// Sends one of the writes that are under way.
    pub(super) fn send(&mut self, which: usize, fate: Fate, cluster: &mut Cluster) {
        let which = which % self.sending.len().max(1);
        let Some(mut done) = self.sending.remove(which) else {
            return;
        };
        match fate {
            Fate::Answered => {
                transmit(&mut done, cluster);
                self.done(done, cluster);
            }
            Fate::Failed => self.fail(done, 500, cluster),
            Fate::Unheard => {
                let heard = Done::new(done.work.clone());
                transmit(&mut done, cluster);
                self.fail(heard, 0, cluster);
            }
        }
    }

    fn fail(&mut self, mut done: Done, code: u16, cluster: &Cluster) {
        let answer = Answer {
            code,
            ..Answer::default()
        };
        done.outcome = done.work.classify(&answer);
        self.done(done, cluster);
    }

    fn done(&mut self, done: Done, cluster: &Cluster) {
        self.take_read(done.daemon_job.as_ref(), done.verified, cluster);
        if let (true, Action::Delete { name, uid, .. }) = (done.lost, &done.work.action) {
            let changes = self.index.forget_job(&key(), name, uid);
            self.mark(&changes, cluster.clock);
        }
        if let Some(job) = &done.job {
            let changes = self.index.renew_job(placed(job), cluster.now());
            self.mark(&changes, cluster.clock);
        }
        if let Some(memory) = &mut self.memory {
            memory.absorb(&done.work, &done.outcome, cluster);
        }
    }

    /// Sends the status that is under way.
    pub(super) fn send_report(&mut self, fate: Fate, cluster: &mut Cluster) {
        let Some((version, patch)) = self.report.take() else {
            return;
        };
        let answer = match fate {
            Fate::Answered => cluster.write_status(&version, &patch),
            Fate::Failed => Err(Answer::default()),
            Fate::Unheard => {
                // Whether it was stored is for the next read to say.
                drop(cluster.write_status(&version, &patch));
                Err(Answer::default())
            }
        };
        if let Some(memory) = &mut self.memory {
            memory.reported(answer.as_ref().err(), cluster);
        }
        if let Ok(version) = answer {
            self.take_read(Some(&version), None, cluster);
        }
    }

    /// What is under way ends without an answer, done or not done.
    pub(super) fn time_out(&mut self, cluster: &Cluster) {
        while let Some(done) = self.sending.pop_front() {
            self.fail(done, 0, cluster);
        }
        if self.report.take().is_some()
            && let Some(memory) = &mut self.memory
        {
            memory.reported(Some(&Answer::default()), cluster);
        }
    }
}

impl Done {
    fn new(work: Work) -> Self {
        Self {
            work,
            outcome: Outcome::Stale,
            daemon_job: None,
            job: None,
            verified: None,
            lost: false,
        }
    }
}

/// A list of these objects, as the index takes it.
fn as_list<T>(listed: impl Iterator<Item = T>) -> impl Iterator<Item = Told<T>> {
    let begin = std::iter::once(Told::ListBegins);
    begin
        .chain(listed.map(Told::Listed))
        .chain(std::iter::once(Told::ListEnds))
}

/// What was there after these events.
fn replay<K: Ord, T: Clone>(log: &[Event<T>], key: impl Fn(&T) -> K) -> BTreeMap<K, T> {
    let mut there = BTreeMap::new();
    for event in log {
        match event {
            Event::Applied(object) => drop(there.insert(key(object), object.clone())),
            Event::Gone(object) => drop(there.remove(&key(object))),
        }
    }
    there
}

fn holds(guard: &Guard, read: Option<&Rc<Version>>, cluster: &Cluster) -> bool {
    let subject = read.map(|version| version.subject());
    let node = guard.node.node().and_then(|name| cluster.nodes.get(name));
    permits(
        guard,
        &Fresh {
            subject: subject.as_deref(),
            node: node.map(|node| &**node),
        },
    )
}

fn transmit(done: &mut Done, cluster: &mut Cluster) {
    match &done.work.action {
        Action::Create { .. } => create(done, cluster),
        Action::Delete { .. } => delete(done, cluster),
        Action::RestoreHash {
            hash, resource_version, ..
        } => match cluster.restore_hash(resource_version, hash) {
            Ok(version) => {
                done.daemon_job = Some(version);
                done.outcome = Outcome::Done;
            }
            Err(answer) if answer.code == 409 => done.outcome = Outcome::Stale,
            Err(answer) => done.outcome = classify_create(&answer),
        },
    }
}

fn create(done: &mut Done, cluster: &mut Cluster) {
    let Some(slot) = &done.work.slot else { return };
    let Some(job) = build_job(&done.work.subject, slot) else {
        let detail = format!("a create that cannot be built: {slot:?}");
        return cluster.ledger.breach(Law::Bounded, detail);
    };
    match cluster.create_job(job) {
        Ok(job) => {
            done.job = Some(job);
            done.outcome = Outcome::Done;
        }
        Err(answer) if answer.code == 409 => {
            let Some(job) = cluster.jobs.get(&slot.name).cloned() else {
                return;
            };
            let subject = &done.work.subject;
            done.outcome = match job.view.ownership(subject.name(), subject.uid()) {
                Ownership::Foreign => Outcome::Taken {
                    detail: taken("ns", &job.view),
                },
                Ownership::Older | Ownership::Own => Outcome::Done,
            };
            done.job = Some(job);
        }
        Err(answer) => done.outcome = classify_create(&answer),
    }
}

fn delete(done: &mut Done, cluster: &mut Cluster) {
    let Action::Delete {
        name,
        uid,
        resource_version,
        why,
        guard,
        ..
    } = &done.work.action
    else {
        return;
    };
    let seen = done.work.slot.as_ref().and_then(|slot| slot.job.as_deref());
    if let Some(seen) = seen.filter(|_| cluster.has_job(name, uid, resource_version)) {
        justify(seen, *why, &guard.uid, cluster);
    }
    match cluster.delete_job(name, uid, resource_version) {
        Ok(job) => {
            done.job = Some(job);
            done.outcome = Outcome::Done;
        }
        Err(answer) => {
            let is_it = |job: &Job| job.view.uid == *uid && job.view.label.as_deref() == Some(NAME);
            done.job = cluster.jobs.get(name).cloned();
            done.lost = !done.job.as_ref().is_some_and(is_it);
            done.outcome = classify_delete(&answer);
        }
    }
}
