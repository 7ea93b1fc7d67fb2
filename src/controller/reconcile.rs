//! The loop: one task that owns what is known, plans what is dirty and keeps a bounded number of writes on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daemonjob_core::index::{Changes, Index, Key};
use daemonjob_core::names::{NodeUid, Uid};
use daemonjob_core::observed::{Listed, Scope};
use daemonjob_core::plan::{Answer, Observed, Plan, Subject, Troubles, status_patch};
use daemonjob_core::reason::Reason;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::api::Server;
use super::census::Census;
use super::error::ControllerError;
use super::execute::{Done, Executor, Work, Write};
use super::isolate::{checked_plan, failed_by, unbroken};
use super::log::log_outcome;
use super::pace::Pace;
use super::report::{Report, Reported, Reporting};
use super::schedule::{Schedule, hangs_next};
use super::watch::{self, Seen, Unreadable};
use super::window::Window;
use crate::clock;
use crate::lease::Fence;
use crate::metrics::Metrics;

/// Watch events taken in before planning goes on.
const BATCH: usize = 1024;

/// The two connections to the API server: a busy watch must not hold a write up.
#[derive(Clone)]
pub(crate) struct Clients {
    /// For lists and watches.
    pub watch: Client,
    /// For writes and the reads that guard them; its retries are off.
    pub write: Client,
}

/// What the controller is told once.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Who writes its Events.
    pub identity: String,
    /// Where DaemonJobs are looked after.
    pub scopes: Vec<Scope>,
    /// Keys of taints that pass by themselves in this cluster.
    pub passing_taints: Vec<String>,
    /// Most Job writes a second; 0 means no limit.
    pub writes_per_second: u32,
}

/// Leads until told to stop: lists, watches, plans, executes, reports.
///
/// # Errors
/// Only when a watch ends for good. Whatever the API server answers is planned with.
pub(super) async fn lead(
    clients: &Clients,
    fence: Fence,
    metrics: Arc<Metrics>,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    let (events, seen) = mpsc::channel(BATCH);
    let mut watches = JoinSet::new();
    watch::spawn(&clients.watch, &settings.scopes, &events, &mut watches);
    drop(events);
    let server = Server::new(clients.write.clone());
    let reporting = Reporting::new(clients.write.clone(), server.clone(), fence.clone(), &settings.identity);
    let mut reconciler = Reconciler {
        index: Index::default(),
        schedules: BTreeMap::new(),
        executor: Executor { server, fence },
        reporting,
        metrics,
        writes: JoinSet::new(),
        reports: JoinSet::new(),
        looks: JoinSet::new(),
        notices: JoinSet::new(),
        census: Census::new(Instant::now()),
        pace: Pace::new(Instant::now()),
        window: Window::new(settings.writes_per_second, Instant::now()),
        settings,
        last: None,
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        ended = watches.join_next() => match ended {
            Some(Ok(Err(error))) => Err(error),
            Some(Ok(Ok(())) | Err(_)) | None => Err(ControllerError::WatchEnded { kind: "the cluster" }),
        },
        ended = reconciler.run(seen) => ended,
    }
}

/// What a look at Events found: refused Pods by Job.
type Looked = (Key, Result<BTreeMap<Uid, String>, Answer>);

struct Reconciler {
    index: Index,
    schedules: BTreeMap<Key, Schedule>,
    executor: Executor,
    reporting: Reporting,
    metrics: Arc<Metrics>,
    writes: JoinSet<Done>,
    reports: JoinSet<Reported>,
    looks: JoinSet<Looked>,
    /// Events that belong to no status.
    notices: JoinSet<()>,
    settings: Settings,
    census: Census,
    pace: Pace,
    window: Window,
    /// The DaemonJob that was served last: the next turn is another's.
    last: Option<Key>,
}

impl Reconciler {
    async fn run(&mut self, mut seen: Receiver<Seen>) -> Result<(), ControllerError> {
        loop {
            let due = [self.plan_what_is_due(), self.dispatch(), Some(self.census.due())];
            let wake = due.into_iter().flatten().min().unwrap_or_else(Instant::now);
            self.census.start(Instant::now(), &self.index, &self.executor.server);
            // In a fixed order, answers to our own writes first: what is known is then the same for the same events,
            // and there are never more answers than writes on their way.
            tokio::select! {
                biased;
                Some(done) = self.writes.join_next() => self.done(done)?,
                Some(looked) = self.looks.join_next() => self.looked(looked)?,
                Some(reported) = self.reports.join_next() => self.reported(reported)?,
                Some(_) = self.notices.join_next() => {}
                listed = self.census.listed() => self.counted(listed),
                event = seen.recv() => {
                    let Some(event) = event else { return Err(ControllerError::WatchEnded { kind: "the cluster" }) };
                    self.take(event, &mut seen);
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    fn take(&mut self, first: Seen, more: &mut Receiver<Seen>) {
        let rest = std::iter::from_fn(|| more.try_recv().ok()).take(BATCH);
        for event in std::iter::once(first).chain(rest) {
            self.metrics.saw(event.kind());
            let changes = match event {
                Seen::DaemonJob(scope, told) => self.index.take_daemon_job(&scope, told),
                Seen::Job(scope, told) => self.index.take_job(&scope, *told, clock::now()),
                Seen::Node(told) => self.index.take_node(told),
                Seen::Unreadable(unreadable) => self.set_aside(unreadable),
            };
            self.mark(changes);
        }
        self.ask_for_missing_nodes();
    }

    fn ask_for_missing_nodes(&mut self) {
        if self.index.is_missing_nodes() {
            self.census.hurry(Instant::now());
        }
    }

    /// A DaemonJob that cannot be read is told of, each time that it changes, and left alone.
    fn set_aside(&mut self, unreadable: Unreadable) -> Changes {
        let Unreadable { key, uid, error } = unreadable;
        error!(
            daemonjob.namespace = key.namespace,
            daemonjob.name = key.name,
            error,
            "cannot be read"
        );
        let note = format!("{} {error}", Reason::Unreadable.meaning());
        let changes = self.index.take_unreadable(&key);
        self.tell(key, Uid::new(uid), Reason::Unreadable, note);
        changes
    }

    /// Sends a warning that belongs to no status.
    fn tell(&mut self, key: Key, uid: Uid, reason: Reason, note: String) {
        let reporting = self.reporting.clone();
        self.notices
            .spawn(async move { reporting.warn(&key, &uid, reason, note).await });
    }

    fn mark(&mut self, changes: Changes) {
        let now = Instant::now();
        for key in changes.gone {
            self.schedules.remove(&key);
            self.metrics.forget(&key.namespace, &key.name);
        }
        for key in changes.suspect {
            if self.index.subject(&key).is_some() {
                self.schedules
                    .entry(key)
                    .or_insert_with(|| Schedule::new(now))
                    .suspect_since = Some(now);
            }
        }
        for key in changes.dirty {
            if self.index.subject(&key).is_some() {
                let schedule = self.schedules.entry(key).or_insert_with(|| Schedule::new(now));
                if schedule.dirty {
                    self.metrics.coalesced();
                }
                schedule.dirty = true;
            }
        }
    }

    /// Plans the DaemonJobs whose time has come, the one that has waited longest first, until its turn is over.
    /// Says when the next one's time comes.
    fn plan_what_is_due(&mut self) -> Option<Instant> {
        let (now, clock) = (Instant::now(), clock::now());
        if self.pace.not_before() <= now {
            let due = self.due(now, clock).filter(|(at, ..)| *at <= now);
            let mut due: Vec<(Instant, Key, Listed)> = due.map(|(at, key, proof)| (at, key.clone(), proof)).collect();
            due.sort_by_key(|(at, ..)| *at);
            for (_, key, proof) in due {
                self.plan_one(proof, &key);
                if Pace::is_over(now, Instant::now()) {
                    break;
                }
            }
            self.pace.rest(now, Instant::now());
        }
        let later = self.due(now, clock).map(|(at, ..)| at).min();
        self.metrics
            .queued(self.schedules.values().map(|schedule| schedule.queue.len()).sum());
        later.map(|at| at.max(self.pace.not_before()))
    }

    /// When which DaemonJobs are to be planned, of those that may be.
    fn due(&self, now: Instant, clock: Timestamp) -> impl Iterator<Item = (Instant, &Key, Listed)> {
        self.schedules.iter().filter_map(move |(key, schedule)| {
            let proof = self.index.listed(&key.namespace)?;
            Some((schedule.due(now, clock)?, key, proof))
        })
    }

    fn plan_one(&mut self, proof: Listed, key: &Key) {
        let Some(subject) = self.index.subject(key).cloned() else {
            return;
        };
        let Some(schedule) = self.schedules.get_mut(key) else {
            return;
        };
        let (started, now) = (Instant::now(), clock::now());
        let slots = self.index.slots(key);
        let troubles = Troubles {
            setbacks: &schedule.setbacks,
            pods_refused: &schedule.pods_refused,
            refusal: schedule.refusal.as_ref(),
            restoring: schedule.restoring.as_ref(),
        };
        let seen = Observed::new(proof, &subject, &slots, troubles, now)
            .with_gone(self.census.gone())
            .with_passing_taints(&self.settings.passing_taints);
        let Some(plan) = checked_plan(&seen) else {
            schedule.met_a_defect(Instant::now(), now);
            return self.defect(key, &subject);
        };
        schedule.planned(plan.wake_at, Instant::now(), started.elapsed());
        self.metrics.planned(&subject, &plan, started.elapsed());
        debug!(
            daemonjob.namespace = key.namespace,
            daemonjob.name = key.name,
            actions = plan.actions.len(),
            "planned"
        );
        schedule.enqueue(key, &subject, &slots, &plan);
        if plan.look_for_events && schedule.look_for_events(Instant::now(), now) {
            self.look_for_events(key.clone());
        }
        self.report(key, &subject, plan);
    }

    /// One DaemonJob that cannot be planned must not hold the others up.
    fn defect(&mut self, key: &Key, subject: &Subject) {
        self.metrics.failed_to_plan();
        error!(
            daemonjob.namespace = key.namespace,
            daemonjob.name = key.name,
            reason = Reason::InternalError.as_str(),
            "the plan met a defect"
        );
        let note = Reason::InternalError.meaning().to_owned();
        self.tell(key.clone(), subject.uid().clone(), Reason::InternalError, note);
    }

    fn look_for_events(&mut self, key: Key) {
        let server = self.executor.server.clone();
        self.looks.spawn(async move {
            let looking = unbroken(server.refused_pods(&key.namespace)).await;
            let refused = looking.unwrap_or_else(|defect| {
                Err(Answer {
                    message: defect.to_owned(),
                    ..Answer::default()
                })
            });
            (key, refused)
        });
    }

    /// Sends the status on its way, unless it is unchanged, another one is, or it is too soon.
    fn report(&mut self, key: &Key, subject: &Arc<Subject>, plan: Plan) {
        let Some(schedule) = self.schedules.get_mut(key) else {
            return;
        };
        let Some(patch) = status_patch(subject.status(), &plan.status) else {
            return;
        };
        if schedule.patching {
            return;
        }
        let (now, clock) = (Instant::now(), clock::now());
        if let Some(setback) = schedule
            .status_setback
            .as_ref()
            .filter(|setback| setback.retry_at > clock)
        {
            let at = setback.retry_at;
            schedule.wake(at);
            return;
        }
        if !plan.urgent && schedule.status_not_before > now {
            let wait = schedule.status_not_before - now;
            schedule.wake(clock + wait);
            return;
        }
        schedule.patching = true;
        let report = Report {
            key: key.clone(),
            subject: Arc::clone(subject),
            patch,
            events: plan.events,
            finished: plan.finished,
        };
        let (reporting, key) = (self.reporting.clone(), key.clone());
        self.reports.spawn(async move {
            let reported = unbroken(reporting.report(report)).await;
            reported.unwrap_or_else(|defect| Reported::failed(key, defect))
        });
    }

    /// Keeps the window full, one write of each DaemonJob in turn; says when another may be admitted.
    fn dispatch(&mut self) -> Option<Instant> {
        let now = Instant::now();
        // What is sent here does not hang yet.
        let hanging: usize = self.schedules.values().map(|schedule| schedule.hanging(now)).sum();
        while let Some(key) = self.next_key(now) {
            if let Err(again) = self.window.admits(self.writes.len().saturating_sub(hanging), now) {
                return again.or_else(|| hangs_next(self.schedules.values(), now));
            }
            self.send(&key);
            self.last = Some(key);
        }
        None
    }

    /// Sends the next write of a DaemonJob on its way.
    fn send(&mut self, key: &Key) {
        let Some(schedule) = self.schedules.get_mut(key) else {
            return;
        };
        let Some(work) = schedule.queue.pop_front() else {
            return;
        };
        match work.write.job() {
            Some(name) => drop(schedule.in_flight.insert(name.clone(), Instant::now())),
            None => schedule.patching = true,
        }
        // One read that refutes a plan answers the suspicion, not the rest of that plan's creates.
        let since = work.suspect_since.max(schedule.suspect_since);
        let reads = Arc::clone(&schedule.reads);
        let (executor, reporting, work) = (self.executor.clone(), self.reporting.clone(), Arc::new(work));
        self.window.sent();
        self.writes.spawn(async move {
            let executed = unbroken(executor.execute(Arc::clone(&work), &reads, since)).await;
            let done = executed.unwrap_or_else(|defect| Done::new(work, failed_by(defect)));
            reporting.tell_of(&done).await;
            done
        });
    }

    fn next_key(&self, now: Instant) -> Option<Key> {
        let waiting = |(key, schedule): (&Key, &Schedule)| schedule.has_a_write(now).then(|| key.clone());
        let after = self.last.as_ref().and_then(|last| {
            let range = (std::ops::Bound::Excluded(last.clone()), std::ops::Bound::Unbounded);
            self.schedules.range(range).find_map(waiting)
        });
        after.or_else(|| self.schedules.iter().find_map(waiting))
    }

    fn done(&mut self, done: Result<Done, JoinError>) -> Result<(), ControllerError> {
        let done = done.map_err(|source| ControllerError::Panicked { source })?;
        let Work { key, write, .. } = &*done.work;
        log_outcome(key, write, &done.outcome);
        self.metrics.wrote(write, &done.outcome);
        self.window.answered(&done.outcome);
        self.metrics.window(self.window.width());
        self.learn(&done);
        let Some(schedule) = self.schedules.get_mut(key) else {
            return Ok(());
        };
        schedule.absorb(write, &done.outcome);
        Ok(())
    }

    /// Takes in what a write learned, as if a watch had brought it.
    fn learn(&mut self, done: &Done) {
        if let Some(subject) = &done.subject {
            let changes = self.index.renew_daemon_job(subject);
            if let Some(schedule) = self.schedules.get_mut(&done.work.key) {
                // The read answers the suspicion that it was taken for; a later one has a later time.
                schedule.suspect_since = schedule.suspect_since.filter(|since| Some(*since) > done.verified);
            }
            self.mark(changes);
        }
        if let (true, Write::Delete { name, uid, .. }) = (done.lost, &done.work.write) {
            let changes = self.index.forget_job(&done.work.key, name, uid);
            self.mark(changes);
        }
        if let Some(job) = &done.job {
            let changes = self.index.renew_job(job.clone(), clock::now());
            self.mark(changes);
        }
    }

    fn counted(&mut self, listed: Result<BTreeSet<NodeUid>, Answer>) {
        match listed {
            Ok(live) => {
                let changes = self.census.take(&live, &mut self.index);
                self.mark(changes);
                self.schedules.values_mut().for_each(|schedule| schedule.dirty = true);
                self.ask_for_missing_nodes();
            }
            Err(answer) => {
                self.census.failed(Instant::now());
                warn!(
                    error = answer.message,
                    "the nodes could not be listed; those that may be gone stay on record"
                );
            }
        }
    }

    fn looked(&mut self, looked: Result<Looked, JoinError>) -> Result<(), ControllerError> {
        let (key, refused) = looked.map_err(|source| ControllerError::Panicked { source })?;
        let Some(schedule) = self.schedules.get_mut(&key) else {
            return Ok(());
        };
        match refused {
            Ok(refused) if refused != schedule.pods_refused => {
                schedule.pods_refused = refused;
                schedule.dirty = true;
            }
            Ok(_) => {}
            Err(answer) => warn!(?key, error = answer.message, "the Events of Jobs could not be read"),
        }
        Ok(())
    }

    fn reported(&mut self, reported: Result<Reported, JoinError>) -> Result<(), ControllerError> {
        let Reported {
            key,
            pause,
            answer,
            finished,
        } = reported.map_err(|source| ControllerError::Panicked { source })?;
        self.metrics.reported(answer.is_ok());
        if let Some(schedule) = self.schedules.get_mut(&key) {
            schedule.reported(pause, answer.as_ref().err());
        }
        match answer {
            Ok(subject) => {
                self.metrics.finished(&finished);
                let changes = self.index.renew_daemon_job(&subject);
                self.mark(changes);
            }
            Err(answer) if matches!(answer.code, 404 | 409) => {
                debug!(?key, "the status was planned on an older object")
            }
            Err(answer) => warn!(
                daemonjob.namespace = key.namespace,
                daemonjob.name = key.name,
                error = answer.message,
                "the status was not written"
            ),
        }
        Ok(())
    }
}
