//! The bridge: a state's numbers as real authorities, leaves and times, and the shipped functions' answers as numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::state::{Cell, IDS, Id, Ids, Pass, Replica, Secret, State};
use crate::authority::{Anchor, Authority, Fault};
use crate::leaf::{LEAF_BACKDATE, LEAF_LIFE, Leaf, LeafView};
use crate::rotation::{CertState, Live, Previous, RETIREMENT, RotationStep, Slot, Slots, step};
use crate::soak::Soak;
use crate::time;
use crate::timing::Timing;

/// A long tick: a leaf is due at its second.
const LONG: Duration = Duration::from_hours(56);

/// A short tick: what a look counts for at most in the shipped soak.
const SHORT: Duration = Duration::from_secs(60);

/// The age in long ticks at which an authority's successor is due: later than its own rotation can last.
pub(super) const AUTHORITY_DUE: u8 = 5;

/// The age in long ticks from which on a leaf is not valid any more.
pub(super) const LEAF_OVER: u8 = 3;

/// The age in long ticks at which previous authorities are dropped.
pub(super) const RETIRED_OVER: u8 = 4;

/// A clock that is an hour ahead or behind accepts every leaf, too.
const CLOCKS: Duration = Duration::from_hours(1);

const _: () = assert!(
    LONG.as_secs() * (LEAF_OVER as u64 - 1) + CLOCKS.as_secs() <= LEAF_LIFE.as_secs()
        && LONG.as_secs() * LEAF_OVER as u64 + CLOCKS.as_secs() > LEAF_LIFE.as_secs()
        && CLOCKS.as_secs() <= LEAF_BACKDATE.as_secs(),
    "a leaf is valid until that age"
);
const _: () = assert!(
    LONG.as_secs() * (RETIRED_OVER as u64 - 1) < RETIREMENT.as_secs()
        && LONG.as_secs() * RETIRED_OVER as u64 >= RETIREMENT.as_secs(),
    "previous authorities are dropped at that age"
);

/// The moment of every state: what lies behind is told by ages.
fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
}

fn ago(long_ticks: u8) -> Timestamp {
    time::earlier(now(), LONG * u32::from(long_ticks))
}

fn long_ticks_since(time: Timestamp) -> u8 {
    let since = Duration::try_from(now().duration_since(time)).expect("nothing is from the future");
    u8::try_from(since.as_secs() / LONG.as_secs()).expect("nothing is that old")
}

/// Real authorities for every number and age, and real leaves as they are asked for.
pub(super) struct Shipped {
    timing: Timing,
    authorities: Vec<Vec<Authority>>,
    leaves: Mutex<HashMap<(Id, u8, u8), Arc<Leaf>>>,
}

impl Shipped {
    pub(super) fn new(soak: u8) -> Self {
        let ages = 0..=AUTHORITY_DUE;
        let made = |age| Authority::generate(ago(age)).expect("an authority");
        Self {
            timing: Timing {
                rotate_after: LONG * u32::from(AUTHORITY_DUE),
                soak: SHORT * u32::from(soak),
                ..Timing::default()
            },
            authorities: (0..IDS).map(|_| ages.clone().map(made).collect()).collect(),
            leaves: Mutex::default(),
        }
    }

    fn authority(&self, id: Id, age: u8) -> &Authority {
        &self.authorities[usize::from(id)][usize::from(age)]
    }

    fn anchor(&self, ages: &[u8], id: Id) -> Anchor {
        self.authority(id, ages[usize::from(id)]).anchor().clone()
    }

    fn anchors(&self, ages: &[u8], ids: Ids) -> BTreeSet<Anchor> {
        ids.iter().map(|id| self.anchor(ages, id)).collect()
    }

    fn id(&self, ages: &[u8], anchor: &Anchor) -> Id {
        let known = (0..IDS as Id).take(ages.len());
        let mut same = known.filter(|id| self.anchor_is(ages, *id, anchor));
        same.next().expect("only authorities of the state come back")
    }

    fn anchor_is(&self, ages: &[u8], id: Id, anchor: &Anchor) -> bool {
        self.authority(id, ages[usize::from(id)]).anchor() == anchor
    }

    fn leaf(&self, ages: &[u8], issuer: Id, age: u8) -> Arc<Leaf> {
        let authority_age = ages[usize::from(issuer)];
        let mut leaves = self.leaves.lock().expect("nothing panics with it");
        let leaf = leaves.entry((issuer, authority_age, age)).or_insert_with(|| {
            let names = ["hook.jobs.svc".to_owned()];
            let leaf = Leaf::issue(self.authority(issuer, authority_age), &names, ago(age));
            Arc::new(leaf.expect("a leaf"))
        });
        Arc::clone(leaf)
    }

    fn slot(&self, ages: &[u8], cell: Cell) -> Slot<Authority> {
        let broken = |fault, anchor| Slot::Broken { fault, anchor };
        match cell {
            Cell::Empty => Slot::Empty,
            Cell::Garbage => broken(Fault::UnreadableCertificate, None),
            Cell::Good(id) => Slot::Filled(self.authority(id, ages[usize::from(id)]).clone()),
            Cell::WrongKey(id) => broken(Fault::KeyMismatch, Some(self.anchor(ages, id))),
        }
    }

    fn cell(&self, ages: &[u8], slot: &Slot<Authority>) -> Cell {
        match slot {
            Slot::Broken { anchor: None, .. } => Cell::Garbage,
            Slot::Broken {
                anchor: Some(anchor), ..
            } => Cell::WrongKey(self.id(ages, anchor)),
            Slot::Empty => Cell::Empty,
            Slot::Filled(authority) => Cell::Good(self.id(ages, authority.anchor())),
        }
    }

    fn slots(&self, ages: &[u8], secret: &Secret) -> Slots {
        let anchors = self.anchors(ages, secret.previous);
        let previous = Previous {
            retired: Some(ago(secret.retired)),
            anchors,
        };
        let is_empty = previous.anchors.is_empty();
        Slots {
            current: self.slot(ages, secret.current),
            next: self.slot(ages, secret.next),
            previous: if is_empty { Slot::Empty } else { Slot::Filled(previous) },
        }
    }

    fn secret(&self, ages: &[u8], slots: &Slots) -> Secret {
        let previous = slots.previous.filled();
        let anchors = previous.iter().flat_map(|previous| &previous.anchors);
        Secret {
            current: self.cell(ages, &slots.current),
            next: self.cell(ages, &slots.next),
            previous: anchors.map(|anchor| self.id(ages, anchor)).collect(),
            retired: previous
                .and_then(|previous| previous.retired)
                .map_or(0, long_ticks_since),
        }
    }

    fn seen(&self, ages: &[u8], replica: &Replica) -> BTreeMap<Anchor, Duration> {
        let counted = (0..).zip(replica.soak).take(ages.len());
        counted
            .filter_map(|(id, seen)| Some((self.anchor(ages, id), SHORT * u32::from(seen?))))
            .collect()
    }

    /// The shipped step for what the replica's pass knows.
    pub(super) fn step(&self, state: &State, replica: &Replica, pass: &Pass) -> RotationStep {
        let ages = &state.ages;
        let valid = replica
            .leaf
            .filter(|leaf| self.leaf(ages, leaf.issuer, leaf.age).is_valid(now()));
        let known = CertState {
            slots: self.slots(ages, &pass.secret),
            live: Live {
                trusted: self.seen(ages, replica),
                anywhere: self.anchors(ages, pass.seen[0].ids.or(pass.seen[1].ids)),
                serving: valid.map(|leaf| self.anchor(ages, leaf.issuer)),
            },
            timing: self.timing,
        };
        step(&known, now())
    }

    /// What the Secret holds after a step, and the state's ages with those of an authority that it made.
    pub(super) fn after(&self, state: &State, pass: &Pass, step: &RotationStep) -> (Secret, Vec<u8>) {
        let mut ages = state.ages.clone();
        ages.push(0);
        let new = Id::try_from(state.ages.len()).expect("there are few");
        let make = || Ok::<_, Infallible>(self.authority(new, 0).clone());
        let Ok(slots) = self.slots(&state.ages, &pass.secret).after(step, now(), make);
        let secret = self.secret(&ages, &slots);
        if !secret.mentioned().contains(new) {
            ages.pop();
        }
        (secret, ages)
    }

    /// The shipped anchors of what was read: the content of `caBundle`.
    pub(super) fn bundle(&self, state: &State, secret: &Secret) -> Ids {
        let anchors = self.slots(&state.ages, secret).anchors();
        anchors.iter().map(|anchor| self.id(&state.ages, anchor)).collect()
    }

    /// The shipped count of the soak, up to what it is asked for.
    pub(super) fn look(&self, state: &State, replica: &Replica, pass: &Pass) -> [Option<u8>; IDS] {
        let mut soak = Soak {
            seen: self.seen(&state.ages, replica),
            looked_at: pass.pause.map(|pause| time::earlier(now(), SHORT * u32::from(pause))),
        };
        let carried = pass.seen[0].ids.and(pass.seen[1].ids);
        soak.look(Some(self.anchors(&state.ages, carried)), now());
        let enough = self.timing.soak.max(SHORT);
        let mut counted = [None; IDS];
        for (anchor, seen) in &soak.seen {
            let looks = seen.min(&enough).as_secs() / SHORT.as_secs();
            counted[usize::from(self.id(&state.ages, anchor))] = u8::try_from(looks).ok();
        }
        counted
    }

    /// The shipped rule for a new leaf of `current`.
    pub(super) fn must_issue(&self, state: &State, replica: &Replica, current: Id) -> bool {
        let served = replica.leaf.map(|leaf| self.leaf(&state.ages, leaf.issuer, leaf.age));
        let view = LeafView {
            served: served.as_deref(),
            current: &self.anchor(&state.ages, current),
            trusted: &self.seen(&state.ages, replica),
            soak: self.timing.soak,
        };
        view.must_issue(now())
    }
}
