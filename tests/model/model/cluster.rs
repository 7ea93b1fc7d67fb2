//! The API server of the model, and what users, nodes, Jobs and the garbage collector do.

use super::Action;
use super::invariants::Breach;
use super::state::{Controller, Dj, FIRST, Job, Kind, LastRun, Node, State};

/// What a status is before anybody wrote it.
const UNWRITTEN: u32 = 0;

impl State {
    pub(super) fn next_version(&mut self, of: Kind) -> u8 {
        let mut newest = 0;
        self.versions(&mut |kind, version| {
            if kind == of {
                newest = newest.max(*version);
            }
        });
        newest + 1
    }

    pub(super) fn put_dj(&mut self, dj: Dj) -> Dj {
        let version = self.next_version(Kind::DaemonJobs);
        let dj = Dj { version, ..dj };
        self.djs.put(dj);
        dj
    }

    pub(super) fn put_job(&mut self, job: Job) -> Job {
        let version = self.next_version(Kind::Jobs);
        let job = Job { version, ..job };
        self.jobs.put(job);
        job
    }

    /// A Job is gone. Its Pods go with it, unless they are left to end by themselves.
    pub(super) fn drop_job(&mut self, job: Job, leaves_pods: bool) {
        let version = self.next_version(Kind::Jobs);
        self.jobs.remove(Job { version, ..job });
        if leaves_pods && !job.done {
            self.orphans[usize::from(job.place)] += 1;
        }
    }

    pub(super) fn start_job(&mut self, job: Job) -> Job {
        let place = usize::from(job.place);
        self.last[place] = Some(LastRun {
            job: self.next_job[place],
            owner: job.owner,
            node: job.node,
            edited: job.is_edited(),
            retry: job.retry,
            done: false,
        });
        let uid = self.next_job[place];
        self.next_job[place] += 1;
        self.put_job(Job { uid, ..job })
    }

    pub(super) fn create_daemon_job(&mut self) {
        let dj = Dj {
            version: 0,
            uid: self.next_dj,
            generation: FIRST,
            retry: false,
            status: UNWRITTEN,
        };
        self.next_dj += 1;
        self.put_dj(dj);
    }

    pub(super) fn crash(&mut self, who: usize) {
        self.budget.crashes -= 1;
        self.controllers[who] = Controller::default();
    }

    pub(super) fn is_left(&self, job: &Job) -> bool {
        self.dj().is_none_or(|dj| dj.uid != job.owner)
    }

    /// What may happen beside the controllers. Nodes are alike: what befalls one of them befalls the first.
    pub(super) fn actions_of_others(&self, actions: &mut Vec<Action>) {
        for (which, job) in self.jobs.now.iter().enumerate() {
            if job.deleted {
                actions.push(Action::Finalize(which));
            } else if !job.done {
                actions.push(Action::End(which));
            }
            if self.is_left(job) {
                actions.push(Action::Collect(which));
            }
        }
        let orphaned = (0..).zip(&self.orphans).filter(|(_, pods)| **pods > 0);
        actions.extend(orphaned.map(|(place, _)| Action::PodEnds(place)));
        let budget = self.budget;
        match self.node(0) {
            None => actions.push(Action::NodeBack),
            Some(node) if !node.selected => actions.push(Action::NodeSelected),
            Some(_) => {
                actions.extend((budget.replacements > 0).then_some(Action::NodeGone));
                actions.extend((budget.flaps > 0).then_some(Action::NodeDeselected));
            }
        }
        let Some(dj) = self.dj() else {
            actions.push(Action::DaemonJobCreated);
            return;
        };
        actions.extend((budget.edits > 0).then_some(Action::Edit));
        actions.extend((budget.retries > 0 && !dj.retry).then_some(Action::Retry));
        actions.extend((budget.recreations > 0).then_some(Action::DaemonJobDeleted));
    }

    pub(super) fn others_do(&mut self, action: Action) {
        match action {
            Action::Collect(which) => self.drop_job(self.jobs.now[which], false),
            Action::DaemonJobCreated => self.create_daemon_job(),
            Action::DaemonJobDeleted => {
                self.budget.recreations -= 1;
                self.dj().into_iter().for_each(|dj| self.djs.remove(dj));
            }
            Action::Edit => {
                self.budget.edits -= 1;
                self.change_dj(|dj| dj.generation += 1);
            }
            Action::End(which) => self.end(self.jobs.now[which]),
            Action::Finalize(which) => self.drop_job(self.jobs.now[which], false),
            Action::NodeBack => self.node_comes_back(),
            Action::NodeDeselected => {
                self.budget.flaps -= 1;
                self.label_node(false);
            }
            Action::NodeGone => {
                self.budget.replacements -= 1;
                self.node(0).into_iter().for_each(|node| self.nodes.remove(node));
            }
            Action::NodeSelected => self.label_node(true),
            Action::PodEnds(place) => self.orphans[usize::from(place)] -= 1,
            Action::Retry => {
                self.budget.retries -= 1;
                self.change_dj(|dj| dj.retry = true);
            }
            Action::Crash(_)
            | Action::Dispatch(..)
            | Action::List(..)
            | Action::Lose(..)
            | Action::Plan(_)
            | Action::Report(_)
            | Action::See(..)
            | Action::Send(..) => {}
        }
    }

    pub(super) fn change_dj(&mut self, change: impl FnOnce(&mut Dj)) -> Option<Dj> {
        let mut dj = self.dj()?;
        change(&mut dj);
        Some(self.put_dj(dj))
    }

    fn end(&mut self, job: Job) {
        self.put_job(Job { done: true, ..job });
        if let Some(last) = self.last[usize::from(job.place)]
            .as_mut()
            .filter(|last| last.job == job.uid)
        {
            last.done = true;
        }
    }

    fn node_comes_back(&mut self) {
        let uid = self.next_node[0];
        self.next_node[0] += 1;
        self.nodes.put(Node {
            place: 0,
            uid,
            selected: true,
        });
    }

    fn label_node(&mut self, selected: bool) {
        let node = self.node(0);
        node.into_iter()
            .for_each(|node| self.nodes.put(Node { selected, ..node }));
    }

    pub(super) fn breaks(&mut self, breach: Breach) {
        self.broken |= 1 << breach as u8;
    }

    pub(super) fn is_broken(&self, breach: Breach) -> bool {
        self.broken & (1 << breach as u8) != 0
    }
}
