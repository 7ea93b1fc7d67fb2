//! The process around the shipped functions, a step a transition: `src/controller/{reconcile,schedule,execute}.rs`.

use super::invariants::Breach;
use super::shipped::{News, is_set_back, unheard, why};
use daemonjob_core::plan::{Outcome, Why};

use super::state::{Controller, Dj, Event, Flight, Job, Kind, Node, Order, PLACES, Report, State, Write};
use super::{Action, Variant, World};

impl World {
    pub(super) fn actions_of_controllers(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, controller) in state.controllers.iter().enumerate() {
            for kind in Kind::ALL {
                let (past, now) = state.seen_by_a_list(kind);
                let at = usize::from(controller.at[kind as usize]);
                if !controller.sees.listed[kind as usize] {
                    actions.push(Action::List(who, kind, false));
                    actions.extend((past != now).then_some(Action::List(who, kind, true)));
                } else if at < state.events(kind) {
                    actions.push(Action::See(who, kind));
                    let relists = state.budget.relists > 0 && at + 1 < state.events(kind);
                    actions.extend(relists.then_some(Action::List(who, kind, false)));
                }
            }
            let is_ready = controller.sees.listed.iter().all(|listed| *listed) || !self.variant.waits_for_lists();
            if controller.dirty && is_ready && controller.sees.dj.is_some() {
                actions.push(Action::Plan(who));
            }
            for (which, write) in controller.writes.iter().enumerate() {
                if write.flight.is_none() {
                    actions.push(Action::Dispatch(who, which));
                } else {
                    actions.push(Action::Send(who, which));
                    actions.extend((state.budget.losses > 0).then_some(Action::Lose(who, which)));
                }
            }
            actions.extend(controller.report.map(|_| Action::Report(who)));
            actions.extend((state.budget.crashes > 0).then_some(Action::Crash(who)));
        }
    }

    // What it sees.

    pub(super) fn list(&self, state: &mut State, who: usize, kind: Kind, is_stale: bool) {
        let is_first = !state.controllers[who].sees.listed[kind as usize];
        state.budget.relists -= u8::from(!is_first);
        let (past, now) = state.seen_by_a_list(kind);
        let at = if is_stale { 0 } else { state.events(kind) };
        state.controllers[who].at[kind as usize] = u8::try_from(at).unwrap();
        self.hear(state, who, if is_stale { past } else { now });
    }

    pub(super) fn see(&self, state: &mut State, who: usize, kind: Kind) {
        let at = &mut state.controllers[who].at[kind as usize];
        let position = usize::from(*at);
        *at += 1;
        let news = match kind {
            Kind::DaemonJobs => News::Dj(state.djs.events[position]),
            Kind::Jobs => News::Job(match state.jobs.events[position] {
                Event::Applied(job) => Event::Applied(job.unnamed()),
                Event::Gone(job) => Event::Gone(job.unnamed()),
            }),
            Kind::Nodes => News::Node(state.nodes.events[position]),
        };
        self.hear(state, who, news);
    }

    /// Takes in what a watch, a read or an answer told.
    fn hear(&self, state: &mut State, who: usize, news: News) {
        let controller = &mut state.controllers[who];
        let (sees, marks) = self.shipped.take(&controller.sees, news);
        controller.sees = sees;
        if marks.gone {
            // Nothing of it is remembered; what is on its way arrives.
            controller.writes.retain(|write| write.flight.is_some());
            controller.setbacks = [false; PLACES];
            controller.dirty = false;
        }
        if marks.suspect || marks.gone {
            controller.suspect = true;
            let flights = controller.writes.iter_mut().filter_map(|write| write.flight.as_mut());
            flights.for_each(|flight| flight.verified = false);
        }
        controller.dirty |= marks.dirty;
    }

    // What it plans.

    pub(super) fn plan(&self, state: &mut State, who: usize) {
        let controller = &mut state.controllers[who];
        let planned = self.shipped.plan(&controller.sees, controller.setbacks);
        controller.dirty = false;
        controller.writes.retain(|write| write.flight.is_some());
        for order in &planned.orders {
            if controller.writes.iter().all(|write| write.order.place != order.place) {
                controller.writes.push(Write {
                    order: *order,
                    suspect: controller.suspect,
                    overtaken: controller.overtaken[usize::from(order.place)],
                    flight: None,
                });
            }
        }
        controller.writes.sort_unstable_by_key(|write| write.order.place);
        if let (None, Some((from, to)), Some(dj)) = (controller.report, planned.status, controller.sees.dj) {
            let version = dj.version;
            controller.report = Some(Report { version, from, to });
        }
    }

    // What it sends.

    pub(super) fn dispatch(&self, state: &mut State, who: usize, which: usize) {
        let controller = &state.controllers[who];
        let mut write = controller.writes[which];
        let order = write.order;
        let is_suspect = write.suspect || controller.suspect;
        let is_read = order.job.is_some() || (is_suspect && self.variant != Variant::UnreadCreates);
        let mut flight = Flight {
            read: None,
            verified: false,
            just: self.is_just(state, &order),
        };
        let mut may_go = true;
        if is_read {
            let dj = state.dj();
            flight.read = dj;
            flight.verified = is_suspect;
            let is_blind = self.variant == Variant::UnreadDaemonJob && order.job.is_some();
            let seen = if is_blind { Some(order.dj) } else { dj };
            let node = if self.variant.reads_nodes() {
                state.node(order.place)
            } else {
                controller.sees.nodes[usize::from(order.place)]
            };
            may_go = self.shipped.permits(&order, seen, node);
            if is_blind {
                flight.read = None;
            } else {
                write.overtaken = false;
            }
        }
        if may_go {
            write.flight = Some(flight);
            state.controllers[who].writes[which] = write;
            return;
        }
        state.controllers[who].writes.remove(which);
        self.learn(state, who, &flight);
        state.controllers[who].done(order.place, &Outcome::Stale);
    }

    pub(super) fn send(&self, state: &mut State, who: usize, which: usize, is_lost: bool) {
        let write = state.controllers[who].writes.remove(which);
        let Some(flight) = write.flight else { return };
        let (outcome, news) = match write.order.job {
            None => (Outcome::Done, Some(News::ReadJob(self.create(state, who, &write)))),
            Some(job) => self.delete(state, who, &write.order, job, flight.just),
        };
        if is_lost {
            state.budget.losses -= 1;
            return state.controllers[who].done(write.order.place, &unheard());
        }
        // As the process does: the read, then what the answer says of the Job.
        self.learn(state, who, &flight);
        news.into_iter().for_each(|news| self.hear(state, who, news));
        if let (Some(News::Lost(_)), Some(job)) = (news, state.jobs_at(write.order.place).last().copied()) {
            self.hear(state, who, News::ReadJob(job.unnamed()));
        }
        state.controllers[who].done(write.order.place, &outcome);
    }

    /// The Job that has the name, after the POST.
    fn create(&self, state: &mut State, who: usize, write: &Write) -> Job {
        let order = &write.order;
        let built = self.shipped.build(order);
        let name = u8::from(built.is_edited() && self.variant == Variant::NamedByHash);
        let taken = state.jobs_at(order.place).find(|job| job.name == name).copied();
        if let Some(taken) = taken {
            return taken.unnamed();
        }
        if state.jobs_at(order.place).next().is_some() {
            state.breaks(Breach::Doubled);
        }
        let is_unread = write.flight.is_none_or(|flight| flight.read.is_none());
        let is_needed = write.suspect;
        let is_overtaken =
            write.overtaken || (is_unread && !is_needed && state.controllers[who].overtaken[usize::from(order.place)]);
        if self.runs_again(state, &built) && !is_overtaken {
            state.breaks(Breach::Again);
        }
        state.start_job(Job { name, ..built }).unnamed()
    }

    fn delete(&self, state: &mut State, who: usize, order: &Order, seen: Job, just: bool) -> (Outcome, Option<News>) {
        let stored = state.jobs_at(order.place).copied();
        let is_blind = self.variant == Variant::NameAlone;
        let stored: Vec<Job> = stored.collect();
        let named = stored.iter().find(|job| is_blind || job.uid == seen.uid).copied();
        let Some(job) = named else {
            let outcome = if stored.is_empty() {
                Outcome::Done
            } else {
                Outcome::Stale
            };
            return (outcome, Some(News::Lost(seen)));
        };
        if !is_blind && job.version != seen.version {
            return (Outcome::Stale, Some(News::ReadJob(job.unnamed())));
        }
        self.judge(state, order, seen, job, just);
        if self.has_recorded(state, &job) {
            for other in (0..state.controllers.len()).filter(|other| *other != who) {
                state.controllers[other].overtake(order.place);
            }
        }
        if self.variant == Variant::Background {
            state.drop_job(job, true);
            return (Outcome::Done, Some(News::Lost(seen)));
        }
        if job.deleted {
            return (Outcome::Done, Some(News::ReadJob(job.unnamed())));
        }
        let job = state.put_job(Job { deleted: true, ..job });
        (Outcome::Done, Some(News::ReadJob(job.unnamed())))
    }

    fn judge(&self, state: &mut State, order: &Order, seen: Job, job: Job, just: bool) {
        if job.uid != seen.uid {
            state.breaks(Breach::Unexamined);
        }
        let is_older = why(order.why) == Why::OwnerGone && job.owner != order.dj.uid && state.is_left(&job);
        if job.owner != order.dj.uid && !is_older {
            state.breaks(Breach::NotOurs);
        }
        if why(order.why) == Why::Replaced && !self.shipped.spec.replace {
            state.breaks(Breach::Replaced);
        }
        // A Job that is going already goes no sooner for being told twice.
        if !just && !job.deleted {
            state.breaks(Breach::Unjust);
        }
    }

    fn learn(&self, state: &mut State, who: usize, flight: &Flight) {
        let Some(read) = flight.read else { return };
        let controller = &mut state.controllers[who];
        controller.overtaken = [false; PLACES];
        controller.suspect &= !flight.verified;
        self.hear(state, who, News::ReadDj(read));
    }

    pub(super) fn report(&self, state: &mut State, who: usize) {
        let Some(report) = state.controllers[who].report.take() else {
            return;
        };
        let is_current = |dj: &Dj| dj.version == report.version || self.variant == Variant::Unversioned;
        if let Some(dj) = state.dj().filter(is_current) {
            let status = self.shipped.merge(report.from, report.to, dj.status);
            let stored = if status == dj.status {
                dj
            } else {
                state.put_dj(Dj { status, ..dj })
            };
            self.hear(state, who, News::ReadDj(stored));
        }
        let controller = &mut state.controllers[who];
        controller.dirty = controller.sees.dj.is_some();
    }
}

impl Controller {
    fn done(&mut self, place: u8, outcome: &Outcome) {
        let met = &mut self.setbacks[usize::from(place)];
        *met = is_set_back(*met, outcome);
        self.dirty = self.sees.dj.is_some();
    }

    /// Another controller has deleted a Job of this place, whose outcome this one may not know.
    fn overtake(&mut self, place: u8) {
        self.overtaken[usize::from(place)] = true;
        let creates = self.writes.iter_mut().filter(|write| write.order.job.is_none());
        creates
            .filter(|write| write.order.place == place)
            .for_each(|write| write.overtaken = true);
    }
}

impl Job {
    /// As the planner is shown it: under the one name that it knows for the place.
    pub(super) fn unnamed(self) -> Self {
        Self { name: 0, ..self }
    }
}

impl State {
    pub(super) fn events(&self, kind: Kind) -> usize {
        match kind {
            Kind::DaemonJobs => self.djs.events.len(),
            Kind::Jobs => self.jobs.events.len(),
            Kind::Nodes => self.nodes.events.len(),
        }
    }

    /// What a stale list and what a good one tells.
    fn seen_by_a_list(&self, kind: Kind) -> (News, News) {
        match kind {
            Kind::DaemonJobs => {
                let list = |djs: &[Dj]| News::Djs(djs.first().copied());
                (list(&self.djs.past), list(&self.djs.now))
            }
            Kind::Jobs => {
                let list = |jobs: &[Job]| {
                    let at = |place: usize| jobs.iter().filter(move |job| usize::from(job.place) == place);
                    let newest = |place| at(place).max_by_key(|job| job.version).map(|job| job.unnamed());
                    News::Jobs(std::array::from_fn(newest))
                };
                (list(&self.jobs.past), list(&self.jobs.now))
            }
            Kind::Nodes => {
                let list = |nodes: &[Node]| {
                    let at = |place| nodes.iter().find(|node| usize::from(node.place) == place).copied();
                    News::Nodes(std::array::from_fn(at))
                };
                (list(&self.nodes.past), list(&self.nodes.now))
            }
        }
    }
}
