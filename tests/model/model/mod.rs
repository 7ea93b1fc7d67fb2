//! One or two controllers on the shipped planner, explored by stateright: every order in which caches that lag, reads
//! and writes that anything may come between, garbage collection, the ends of Pods, edits, crashes and lost answers
//! can meet.
//!
//! The decisions are the shipped ones, see [`shipped`]; told here once more is the shell around them, a step a
//! transition, as in `src/controller` ([`controller`]), and an API server ([`cluster`]).
//! Where the laws walk at random through all that can happen, this goes everywhere in a world with a small [`Budget`].
//!
//! Time stands still: a time to live is over as soon as the outcome is recorded, a back-off as soon as it begins, and
//! a read stays fresh for as long as its write is on its way.
//! Nothing is lost by it that a deadline does not lose: all orders are there, those too that a clock would forbid.
//!
//! Accepted, here as in the documents: a create planned just before an edit may start the old template; and with two
//! controllers, a create that was sent after the other deleted a recorded Job, but planned or verified before, may run
//! finished work again (`overtaken`).

mod cluster;
mod controller;
mod invariants;
mod shipped;
mod state;
mod tests;
mod text;

use stateright::{Model, Property};

use self::invariants::Breach;
use self::shipped::{Shipped, Spec};
use self::state::{Budget, Kind, Node, State, Store};

/// What is shipped, or what somebody simpler would have shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// M2: deletes are sent for the background.
    Background,
    /// M3: deletes say nothing of the Job that was examined, neither its UID nor its version.
    NameAlone,
    /// M1: the hash is part of a Job's name.
    NamedByHash,
    /// Every Job is taken as one of the newest generation.
    NewestJobs,
    Shipped,
    /// M6: a kind that has not been listed is taken as empty.
    UnlistedIsEmpty,
    /// M5 and M6.
    UnlistedIsEmptyAndUnreadNodes,
    /// M9: no read before a create.
    UnreadCreates,
    /// M4: the DaemonJob is not read before a delete.
    UnreadDaemonJob,
    /// M5: the Node is not read before a delete.
    UnreadNodes,
    /// M7: a finished Job is taken as recorded.
    UnrecordedIsRecorded,
    /// M8: a status is patched whatever has become of it since.
    Unversioned,
}

impl Variant {
    fn reads_nodes(self) -> bool {
        !matches!(self, Self::UnreadNodes | Self::UnlistedIsEmptyAndUnreadNodes)
    }

    fn waits_for_lists(self) -> bool {
        !matches!(self, Self::UnlistedIsEmpty | Self::UnlistedIsEmptyAndUnreadNodes)
    }
}

/// Jobs, Pods and controllers are named by their place in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    // Of controllers.
    Crash(usize),
    /// The next write has its guard checked, where it needs it, and is on its way.
    Dispatch(usize, usize),
    /// Lists a kind, as it is or as a stale API server has it.
    List(usize, Kind, bool),
    /// The write arrives, and its answer does not.
    Lose(usize, usize),
    Plan(usize),
    Report(usize),
    /// One event.
    See(usize, Kind),
    Send(usize, usize),
    // Of everybody else.
    Collect(usize),
    DaemonJobCreated,
    DaemonJobDeleted,
    Edit,
    /// The Pods of a Job end.
    End(usize),
    /// A Job that was told to go is gone, with its Pods.
    Finalize(usize),
    NodeBack,
    NodeDeselected,
    NodeGone,
    NodeSelected,
    PodEnds(u8),
    Retry,
}

impl Action {
    /// The controller whose step this is.
    const fn who(self) -> Option<usize> {
        match self {
            Self::Crash(who)
            | Self::Dispatch(who, _)
            | Self::List(who, ..)
            | Self::Lose(who, _)
            | Self::Plan(who)
            | Self::Report(who)
            | Self::See(who, _)
            | Self::Send(who, _) => Some(who),
            Self::Collect(_)
            | Self::DaemonJobCreated
            | Self::DaemonJobDeleted
            | Self::Edit
            | Self::End(_)
            | Self::Finalize(_)
            | Self::NodeBack
            | Self::NodeDeselected
            | Self::NodeGone
            | Self::NodeSelected
            | Self::PodEnds(_)
            | Self::Retry => None,
        }
    }
}

struct World {
    variant: Variant,
    start: State,
    shipped: Shipped,
}

impl World {
    /// Controllers that have seen nothing of a cluster in which nothing has run.
    fn new(variant: Variant, spec: Spec, controllers: usize, places: u8, budget: Budget) -> Self {
        let shipped = Shipped::new(variant, spec, places);
        let node = |place| Node {
            place,
            uid: 0,
            selected: true,
        };
        let mut start = State {
            djs: Store::of(Vec::new()),
            nodes: Store::of((0..places).map(node).collect()),
            jobs: Store::of(Vec::new()),
            controllers: vec![state::Controller::default(); controllers],
            orphans: Default::default(),
            last: Default::default(),
            next_dj: 0,
            next_node: [1; state::PLACES],
            next_job: [0; state::PLACES],
            budget,
            broken: 0,
        };
        start.create_daemon_job();
        start.djs = Store::of(start.djs.now.clone());
        start.make_canonical();
        Self {
            variant,
            start,
            shipped,
        }
    }

    /// The same, once the first Jobs run and all controllers have seen it.
    fn running(variant: Variant, spec: Spec, controllers: usize, places: u8, budget: Budget) -> Self {
        let mut world = Self::new(variant, spec, controllers, places, Budget::default())
            .going_on(|action| !matches!(action, Action::End(_) | Action::List(_, _, true)));
        world.start.budget = budget;
        world.start.make_canonical();
        world
    }

    /// The same, once nothing is left that may happen: the first that may, as long as there is one.
    fn going_on(mut self, may: impl Fn(Action) -> bool) -> Self {
        loop {
            let mut actions = Vec::new();
            self.actions(&self.start, &mut actions);
            let Some(next) = actions.into_iter().find(|action| may(*action)) else {
                return self;
            };
            self.start = self.next_state(&self.start, next).unwrap();
        }
    }

    /// The same, once this has happened too.
    fn after(mut self, steps: &[Action]) -> Self {
        for step in steps {
            self.start = self.next_state(&self.start, *step).unwrap();
        }
        self
    }
}

const CONVERGED: &str = "I9 a quiet cluster is as it should be";
const QUIET: &str = "quiet";
const SILENT: &str = "I10 a quiet cluster is not written to";
const ONE_POD: &str = "I1 one Pod a node";
const TRUTH: &str = "nothing is told complete that is not";

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.actions_of_controllers(state, actions);
        state.actions_of_others(actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Crash(who) => state.crash(who),
            Action::Dispatch(who, which) => self.dispatch(&mut state, who, which),
            Action::List(who, kind, is_stale) => self.list(&mut state, who, kind, is_stale),
            Action::Lose(who, which) => self.send(&mut state, who, which, true),
            Action::Plan(who) => self.plan(&mut state, who),
            Action::Report(who) => self.report(&mut state, who),
            Action::See(who, kind) => self.see(&mut state, who, kind),
            Action::Send(who, which) => self.send(&mut state, who, which, false),
            Action::Collect(_)
            | Action::DaemonJobCreated
            | Action::DaemonJobDeleted
            | Action::Edit
            | Action::End(_)
            | Action::Finalize(_)
            | Action::NodeBack
            | Action::NodeDeselected
            | Action::NodeGone
            | Action::NodeSelected
            | Action::PodEnds(_)
            | Action::Retry => state.others_do(action),
        }
        state.make_canonical();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_POD, |_: &Self, state: &State| state.has_one_pod_a_node()),
            Property::always(Breach::Doubled.name(), |_: &Self, state: &State| {
                !state.is_broken(Breach::Doubled)
            }),
            Property::always(Breach::Unjust.name(), |_: &Self, state: &State| {
                !state.is_broken(Breach::Unjust)
            }),
            Property::always(Breach::Unexamined.name(), |_: &Self, state: &State| {
                !state.is_broken(Breach::Unexamined)
            }),
            Property::always(Breach::Replaced.name(), |_: &Self, state: &State| {
                !state.is_broken(Breach::Replaced)
            }),
            Property::always(Breach::Again.name(), |_: &Self, state: &State| {
                !state.is_broken(Breach::Again)
            }),
            Property::always(Breach::NotOurs.name(), |_: &Self, state: &State| {
                !state.is_broken(Breach::NotOurs)
            }),
            Property::always(CONVERGED, |world: &Self, state: &State| {
                !state.is_quiet() || world.is_converged(state)
            }),
            Property::always(SILENT, |world: &Self, state: &State| {
                !state.is_quiet() || world.is_silent(state)
            }),
            Property::always(TRUTH, Self::tells_the_truth),
            Property::sometimes(QUIET, |_: &Self, state: &State| state.is_quiet()),
        ]
    }
}
