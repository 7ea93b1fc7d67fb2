//! The rotation, explored: every order in which two replicas, any number of API servers that lag, crashes,
//! lost requests and a Secret that somebody destroys can meet. I15, F29 and F31 are shown here.
//!
//! The decisions are the shipped ones: `rotation::step`, `Slots::after`, `Slots::anchors`, `Soak::look` and
//! `LeafView::must_issue`, on real authorities and leaves. Only the shell around them, `SelfSigned::tick`, is told
//! here once more, a request a transition, in the order of the crate's header.
//!
//! What is assumed: an API server's lag and the most that one look counts for, a minute, are together shorter than
//! the soak; that is what the soak is for. And days pass only when nothing is under way. Nothing else is known of time:
//! a replica may be stopped between any two requests for as long as it takes.
//! The states are closed: there is no last tick, so what holds holds through rotation after rotation.
//!
//! Each guard is taken away by a wrapper here, around what goes into the shipped functions or comes out of them;
//! without it, the explorer must find the handshake that fails.

mod shipped;
mod state;
#[cfg(test)]
mod tests;

use stateright::{Model, Property};

use self::shipped::{LEAF_OVER, Shipped};
use self::state::{Cell, Ids, Pass, Read, Replica, Secret, Served, Stage, State};
use crate::rotation::RotationStep;

/// As in the shell: how often a pass reads the Secret again after another writer came first.
const ATTEMPTS: u8 = 3;

const HANDSHAKES: &str = "every API server accepts the leaf of every replica that is ready";
const READY: &str = "a replica that is ready stays so until it crashes";

/// What is shipped, or what somebody simpler would have shipped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Variant {
    /// The bundle is patched whatever has become of the configuration since.
    BlindPatch,
    /// The Secret is patched whatever has become of it since.
    BlindWrite,
    /// A leaf of the new authority is served as soon as there is one.
    LeafAtOnce,
    /// The soak is no time at all.
    NoSoak,
    /// The one authority is replaced in place.
    OneInPlace,
    /// The Secret is read before the configurations, not after them.
    SecretFirst,
    Shipped,
    /// The next authority is published and promoted in one write.
    UnstagedUnion,
    /// The previous authority is gone with the promotion.
    UntrustedAtPromotion,
}

/// How a Secret is destroyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Destruction {
    /// Emptied or deleted.
    Emptied,
    Garbage,
    /// Filled with an authority that is good and that nobody knows, such as another cluster's.
    Replaced,
    WrongKey,
}

impl Destruction {
    const ALL: [Self; 4] = [Self::Emptied, Self::Garbage, Self::Replaced, Self::WrongKey];

    /// What the Secret holds then, where that makes a difference.
    fn of(self, state: &mut State) -> Option<Secret> {
        match self {
            Self::Emptied => Some(Secret::default()),
            Self::Garbage => Some(Secret {
                current: Cell::Garbage,
                next: Cell::Garbage,
                ..Secret::default()
            }),
            Self::Replaced => Some(Secret {
                current: Cell::Good(state.add_authority()),
                ..Secret::default()
            }),
            Self::WrongKey => Some(Secret {
                current: Cell::WrongKey(state.secret.current.id()?),
                ..state.secret
            }),
        }
    }
}

/// A replica is named by its place, which is that of its state among all: the same one may have another name next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    Crash(usize),
    Destroy(Destruction),
    /// The request that is next fails, or its answer is lost.
    Lose(usize),
    /// The replica's next request, or what it does by itself between two.
    Next(usize),
    Tick,
    /// Days pass.
    LongTick,
}

struct Rotation {
    variant: Variant,
    /// For how many short ticks an API server may use what was replaced.
    lag: u8,
    /// For how many ticks a leaf must have verified before its replica is asked.
    settle: u8,
    start: State,
    shipped: Shipped,
}

impl Rotation {
    fn new(variant: Variant, (soak, lag): (u8, u8), settle: u8, start: State) -> Self {
        let counted = if variant == Variant::NoSoak { 0 } else { soak };
        Self {
            variant,
            lag,
            settle,
            start,
            shipped: Shipped::new(counted),
        }
    }

    /// One request of a replica, and what follows from its answer without another.
    fn advance(&self, state: &mut State, index: usize) {
        let mut replica = std::mem::take(&mut state.replicas[index]);
        match replica.pass.take() {
            None => replica.pass = Some(self.begin(state, &mut replica)),
            Some(pass) => self.resume(state, &mut replica, pass),
        }
        state.replicas[index] = replica;
    }

    fn begin(&self, state: &State, replica: &mut Replica) -> Pass {
        let early = self.variant == Variant::SecretFirst;
        Pass {
            stage: Stage::ReadOther,
            pause: replica.looked.replace(0),
            seen: [read(state, 0), Read::default()],
            secret: if early { state.secret } else { Secret::default() },
            secret_fresh: early,
            conflicts: 0,
        }
    }

    fn resume(&self, state: &mut State, replica: &mut Replica, mut pass: Pass) {
        match pass.stage {
            Stage::ReadOther => {
                pass.seen[1] = read(state, 1);
                replica.soak = self.shipped.look(state, replica, &pass);
                pass.pause = None;
                pass.stage = Stage::ReadSecret;
                replica.pass = Some(pass);
            }
            Stage::ReadSecret => {
                if self.variant != Variant::SecretFirst || pass.conflicts > 0 {
                    pass.secret = state.secret;
                    pass.secret_fresh = true;
                }
                if self.shipped.step(state, replica, &pass) == RotationStep::Keep {
                    self.follow(state, replica, pass);
                } else {
                    pass.stage = Stage::WriteSecret;
                    replica.pass = Some(pass);
                }
            }
            Stage::WriteSecret => self.write(state, replica, pass),
            Stage::IssueLeaf => {
                if let Cell::Good(issuer) = pass.secret.current {
                    replica.leaf = Some(Served { issuer, age: 0 });
                }
                self.patch_from(state, replica, pass, 0);
            }
            Stage::Patch(index) => {
                if pass.seen[index].fresh || self.variant == Variant::BlindPatch {
                    let bundle = self.shipped.bundle(state, &pass.secret);
                    state.write_configuration(index, bundle);
                }
                self.patch_from(state, replica, pass, index + 1);
            }
        }
    }

    fn write(&self, state: &mut State, replica: &mut Replica, mut pass: Pass) {
        if pass.secret_fresh || self.variant == Variant::BlindWrite {
            let step = self.shipped.step(state, replica, &pass);
            let (secret, ages) = self.shipped.after(state, &pass, &step);
            state.ages = ages;
            pass.secret = self.simplify(&step, pass.secret, secret);
            state.write_secret(pass.secret);
        } else {
            pass.conflicts += 1;
            if pass.conflicts < ATTEMPTS {
                pass.stage = Stage::ReadSecret;
                replica.pass = Some(pass);
                return;
            }
        }
        self.follow(state, replica, pass);
    }

    /// What the variant would have written instead.
    fn simplify(&self, step: &RotationStep, before: Secret, after: Secret) -> Secret {
        let published = *step == RotationStep::Publish;
        let promoted = matches!(step, RotationStep::Promote { .. });
        match self.variant {
            Variant::OneInPlace if published => Secret {
                current: after.next,
                ..Secret::default()
            },
            Variant::UnstagedUnion if published => Secret {
                current: after.next,
                next: Cell::Empty,
                previous: before.current.id().into_iter().collect(),
                retired: 0,
            },
            Variant::UntrustedAtPromotion if promoted => Secret {
                previous: Ids::default(),
                retired: 0,
                ..after
            },
            Variant::BlindPatch
            | Variant::BlindWrite
            | Variant::LeafAtOnce
            | Variant::NoSoak
            | Variant::OneInPlace
            | Variant::SecretFirst
            | Variant::Shipped
            | Variant::UnstagedUnion
            | Variant::UntrustedAtPromotion => after,
        }
    }

    /// Leaf and bundle follow the Secret; a stage that has nothing to do is left out.
    fn follow(&self, state: &State, replica: &mut Replica, mut pass: Pass) {
        pass.secret_fresh = false;
        pass.conflicts = 0;
        let Cell::Good(current) = pass.secret.current else {
            return self.finish(replica, &pass);
        };
        let at_once = self.variant == Variant::LeafAtOnce && replica.leaf.is_some_and(|leaf| leaf.issuer != current);
        if at_once || self.shipped.must_issue(state, replica, current) {
            pass.stage = Stage::IssueLeaf;
            replica.pass = Some(pass);
        } else {
            self.patch_from(state, replica, pass, 0);
        }
    }

    fn patch_from(&self, state: &State, replica: &mut Replica, mut pass: Pass, first: usize) {
        let bundle = self.shipped.bundle(state, &pass.secret);
        match (first..2).find(|index| pass.seen[*index].ids != bundle) {
            Some(index) => {
                pass.stage = Stage::Patch(index);
                replica.pass = Some(pass);
            }
            None => self.finish(replica, &pass),
        }
    }

    /// The end of a pass: the served leaf is judged by what was read first.
    fn finish(&self, replica: &mut Replica, pass: &Pass) {
        let carried = pass.seen[0].ids.and(pass.seen[1].ids);
        let verifies = replica.leaf.is_some_and(|leaf| carried.contains(leaf.issuer));
        replica.verified = verifies.then(|| replica.verified.unwrap_or(0));
        replica.ready = replica.verified.is_some_and(|verified| verified >= self.settle);
    }

    fn tick(&self, state: &mut State) {
        state.tick(self.lag, self.settle);
    }

    /// Whether nothing is under way: a further pass of each replica that runs would change nothing.
    fn is_quiet(&self, state: &State) -> bool {
        let mut later = state.clone();
        self.tick(&mut later);
        for index in 0..2 {
            let is_running = |state: &State| state.replicas[index].pass.is_some();
            if is_running(state) {
                return false;
            }
            if state.replicas[index].looked.is_some() {
                self.advance(&mut later, index);
                while is_running(&later) {
                    self.advance(&mut later, index);
                }
            }
        }
        later == *state
    }

    /// A request that fails. After the Secret's the pass goes no further, after a bundle's it goes on with the next.
    fn lose(&self, state: &State, replica: &mut Replica, pass: Pass) {
        match pass.stage {
            // The verdict before stands.
            Stage::ReadOther => {}
            // Before the leaf: the Secret was written, but the answer did not come.
            Stage::ReadSecret | Stage::WriteSecret | Stage::IssueLeaf => self.finish(replica, &pass),
            Stage::Patch(index) => self.patch_from(state, replica, pass, index + 1),
        }
    }
}

fn read(state: &State, index: usize) -> Read {
    Read {
        ids: state.configurations[index].live,
        fresh: true,
    }
}

/// Every API server accepts the leaf of a replica that may be asked, in every version that it may still use.
fn handshakes_succeed(_: &Rotation, state: &State) -> bool {
    let asked = state.replicas.iter().filter(|replica| replica.ready);
    let mut views = asked.flat_map(|replica| state.configurations.iter().map(move |one| (replica.leaf, one)));
    views.all(|(leaf, configuration)| {
        leaf.is_some_and(|leaf| {
            leaf.age < LEAF_OVER && configuration.views().all(|trusted| trusted.contains(leaf.issuer))
        })
    })
}

/// Both replicas serve leaves of the new authority, and the one before it is still trusted.
fn is_promoted(_: &Rotation, state: &State) -> bool {
    let Cell::Good(current) = state.secret.current else {
        return false;
    };
    let moved = |replica: &Replica| replica.ready && replica.leaf.is_some_and(|leaf| leaf.issuer == current);
    state.secret.previous.iter().any(|previous| previous < current) && state.replicas.iter().all(moved)
}

/// The one before has been dropped: some configuration carries it still, the Secret does not.
fn is_dropped(_: &Rotation, state: &State) -> bool {
    let Cell::Good(current) = state.secret.current else {
        return false;
    };
    let older = |ids: Ids| ids.iter().any(|id| id < current);
    state.secret.next == Cell::Empty
        && !older(state.secret.previous)
        && state.configurations.iter().any(|one| older(one.live))
}

impl Model for Rotation {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        actions.extend(self.is_quiet(state).then_some(Action::LongTick));
        for (index, replica) in state.replicas.iter().enumerate() {
            actions.push(Action::Next(index));
            if state.faults > 0 {
                actions.push(Action::Crash(index));
                actions.extend(replica.pass.is_some().then_some(Action::Lose(index)));
            }
        }
        if state.destructions > 0 {
            actions.extend(Destruction::ALL.map(Action::Destroy));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Crash(index) => {
                state.faults -= 1;
                state.replicas[index] = Replica::default();
            }
            Action::Destroy(how) => {
                state.destructions -= 1;
                let secret = how.of(&mut state)?;
                state.write_secret(secret);
            }
            Action::Lose(index) => {
                state.faults -= 1;
                let mut replica = std::mem::take(&mut state.replicas[index]);
                let pass = replica.pass.take()?;
                self.lose(&state, &mut replica, pass);
                state.replicas[index] = replica;
            }
            Action::Next(index) => self.advance(&mut state, index),
            Action::Tick => self.tick(&mut state),
            Action::LongTick => {
                self.tick(&mut state);
                state.long_tick();
            }
        }
        let lost = |index: usize| before.replicas[index].ready && !state.replicas[index].ready;
        state.was_lost |= !matches!(action, Action::Crash(_)) && (lost(0) || lost(1));
        state.normalise();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HANDSHAKES, handshakes_succeed),
            Property::always(READY, |_, state: &State| !state.was_lost),
            Property::sometimes("the next authority signs", is_promoted),
            Property::sometimes("the previous authority is gone", is_dropped),
        ]
    }
}
