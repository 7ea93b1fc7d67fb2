//! What must hold, judged on the truth and without the planner's code.

use std::sync::Arc;

use daemonjob_core::plan::Why;
use daemonjob_core::types::{Condition, DaemonJobStatus, FinishedNodes};

use super::World;
use super::shipped::{Shipped, Status, why};
use super::state::{Dj, Job, Kind, Node, Order, PLACES, State};

/// What a step must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// I2 and I6.
    Doubled,
    /// I3.
    Unjust,
    /// I4.
    Unexamined,
    /// I5.
    Replaced,
    /// I7.
    Again,
    /// I8.
    NotOurs,
}

impl Breach {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Doubled => "I2 I6 one Job a node, however it is named",
            Self::Unjust => "I3 a Job is deleted for a reason that holds",
            Self::Unexamined => "I4 no other Job is deleted than the one examined",
            Self::Replaced => "I5 nothing is replaced unless asked for",
            Self::Again => "I7 finished work does not run again",
            Self::NotOurs => "I8 no Job of others is touched",
        }
    }
}

/// What the record has of this node.
fn recorded(status: &DaemonJobStatus, place: u8, node: u8) -> Option<&FinishedNodes> {
    let token = Shipped::token(place, node);
    let holds = |tokens: &str| tokens.split(' ').any(|held| held == token);
    status.finished_nodes.iter().find(|group| holds(&group.succeeded))
}

fn is_pending(status: &DaemonJobStatus, place: u8, node: u8) -> bool {
    let token = Shipped::token(place, node);
    let pending = status.retry.iter().flat_map(|retry| retry.pending.split(' '));
    pending.into_iter().any(|held| held == token)
}

impl World {
    fn status_of(&self, dj: Dj) -> Arc<Status> {
        self.shipped.status(dj.status)
    }

    // At each write.

    /// The store holds the outcome of this Job, or that of one of a later generation.
    pub(super) fn has_recorded(&self, state: &State, job: &Job) -> bool {
        let Some(dj) = state.dj().filter(|dj| job.done && dj.uid == job.owner) else {
            return false;
        };
        let status = self.status_of(dj);
        let is_older = job.retry && is_pending(&status.status, job.place, job.node);
        let recorded = recorded(&status.status, job.place, job.node);
        !is_older && recorded.is_some_and(|recorded| recorded.generation >= i64::from(job.generation))
    }

    /// Whether a delete is right now; a create always is.
    pub(super) fn is_just(&self, state: &State, order: &Order) -> bool {
        let Some(job) = order.job else { return true };
        let node = state.node(job.place).filter(|node| node.uid == job.node);
        let dj = state.dj().filter(|dj| dj.uid == order.dj.uid);
        match why(order.why) {
            Why::Deselected => node.is_none_or(|node| !node.selected),
            Why::Expired => self.shipped.spec.ttl && self.has_recorded(state, &job),
            Why::NodeGone | Why::NodeRecreated => node.is_none(),
            Why::OwnerGone => state.is_left(&job),
            Why::Replaced => dj.is_some_and(|dj| self.shipped.spec.replace && dj.is_edited() != job.is_edited()),
            Why::Retried => {
                dj.is_some_and(|dj| !job.retry && is_pending(&self.status_of(dj).status, job.place, job.node))
            }
        }
    }

    /// The node has finished this template, and nobody asked for it to run again. A node that is gone runs nothing: a
    /// Job that names it came too late, and goes before the one that has its place now gets its own.
    pub(super) fn runs_again(&self, state: &State, new: &Job) -> bool {
        let is_there = state.node(new.place).is_some_and(|node| node.uid == new.node);
        let is_current = state
            .dj()
            .is_some_and(|dj| dj.uid == new.owner && dj.is_edited() == new.is_edited());
        state.last[usize::from(new.place)].is_some_and(|last| {
            let is_same = (last.owner, last.node, last.edited) == (new.owner, new.node, new.is_edited());
            let is_asked = new.retry && !last.retry;
            is_there && is_current && is_same && last.done && !is_asked
        })
    }

    // In quiet states.

    /// A plan, though none is due, asks for nothing.
    pub(super) fn is_silent(&self, state: &State) -> bool {
        state.controllers.iter().all(|controller| {
            let planned = self.shipped.plan(&controller.sees, controller.setbacks);
            planned.orders.is_empty() && planned.status.is_none()
        })
    }

    pub(super) fn is_converged(&self, state: &State) -> bool {
        let Some(dj) = state.dj() else {
            return state.jobs.now.is_empty();
        };
        let stray = |job: &&Job| state.node(job.place).is_none_or(|node| node.uid != job.node);
        if state.jobs.now.iter().any(|job| stray(&job) || job.owner != dj.uid) {
            return false;
        }
        let mut counts = [0; 3];
        let nodes_are_right = state
            .nodes
            .now
            .iter()
            .all(|node| self.is_right(state, dj, *node, &mut counts));
        let told = self.status_of(dj);
        let status = &told.status;
        nodes_are_right
            && [status.active, status.succeeded, status.outdated] == counts
            && status.desired == counts[0] + counts[1]
            && (status.waiting, status.failed, status.skipped) == (0, 0, 0)
            && status.observed_generation == i64::from(dj.generation)
    }

    /// One node in a quiet cluster, counted as active, succeeded, outdated.
    fn is_right(&self, state: &State, dj: Dj, node: Node, counts: &mut [i64; 3]) -> bool {
        let told = self.status_of(dj);
        let mut jobs = state.jobs_at(node.place);
        let (job, another) = (jobs.next(), jobs.next());
        if another.is_some() {
            return false;
        }
        if !node.selected {
            return job.is_none_or(|job| job.done);
        }
        let record = recorded(&told.status, node.place, node.uid);
        let record = record.map(|record| record.template_hash == self.shipped.hash(true).as_str());
        let is_pending = is_pending(&told.status, node.place, node.uid);
        let Some(ran) = job.map(Job::is_edited).or(record) else {
            return false;
        };
        let is_outdated = ran != dj.is_edited();
        counts[2] += i64::from(is_outdated);
        counts[usize::from(job.is_none_or(|job| job.done))] += 1;
        let is_told = job.is_none_or(|job| !job.done || (record == Some(job.is_edited()) && !self.shipped.spec.ttl));
        is_told && !is_pending && !(is_outdated && self.shipped.spec.replace)
    }

    /// A status that says that the run is complete has finished all nodes that were there all the time, but for those
    /// that have started something since.
    pub(super) fn tells_the_truth(&self, state: &State) -> bool {
        let Some(dj) = state.dj() else { return true };
        let told = self.status_of(dj);
        let is_complete = |status: &DaemonJobStatus| {
            let is_true = |condition: &Condition| condition.type_ == "Complete" && condition.status == "True";
            status.observed_generation == i64::from(dj.generation) && status.conditions.iter().any(is_true)
        };
        // Whatever befalls a node befalls the first.
        !is_complete(&told.status)
            || (1..self.shipped.places).all(|place| {
                let mut jobs = state.jobs_at(place);
                recorded(&told.status, place, 0).is_some() || jobs.any(|job| job.owner == dj.uid)
            })
    }
}

impl State {
    pub(super) fn has_one_pod_a_node(&self) -> bool {
        (0..PLACES).all(|place| {
            let jobs = self.jobs.now.iter().filter(|job| usize::from(job.place) == place);
            jobs.filter(|job| !job.done).count() + usize::from(self.orphans[place]) <= 1
        })
    }

    /// Nothing is under way: only users, nodes and Pods that run could change anything.
    pub(super) fn is_quiet(&self) -> bool {
        let has_seen_all = |controller: &super::state::Controller| {
            let is_up_to_date = |kind: Kind| {
                controller.sees.listed[kind as usize] && usize::from(controller.at[kind as usize]) == self.events(kind)
            };
            Kind::ALL.into_iter().all(is_up_to_date)
                && !controller.dirty
                && controller.writes.is_empty()
                && controller.report.is_none()
        };
        let is_going = |job: &Job| job.deleted || self.is_left(job);
        self.controllers.iter().all(has_seen_all) && !self.jobs.now.iter().any(is_going) && self.orphans == [0; PLACES]
    }
}
