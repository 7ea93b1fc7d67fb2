//! The rotation of the authority, decided without reading a clock, a Secret or a configuration.
//!
//! An authority is replaced in stages, so that at no moment an API server sees a leaf that it does not trust:
//! publish the next one in `caBundle` → soak, which counts while both configurations carry it → promote it →
//! every replica issues a new leaf → drop the previous one, once no leaf of it can still be valid.
//! Each stage is one write of the Secret; a crash between two of them resumes at the next tick.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::authority::{AUTHORITY_LIFE, Anchor, Authority, Fault};
use crate::leaf::LEAF_LIFE;
use crate::time;
use crate::timing::Timing;

/// How long both configurations carry an authority before leaves are signed with it.
/// API servers see a change within seconds; half an hour covers one that lags or was cut off.
/// Each replica counts the time that it saw itself, so no clock of another one shortens it, and a restart counts anew.
pub const SOAK: Duration = Duration::from_mins(30);

/// How long a previous authority stays trusted: longer than any leaf that it signed, by a clock that is a day ahead too.
pub const RETIREMENT: Duration = LEAF_LIFE.saturating_add(Duration::from_hours(24));

/// How many previous authorities stay trusted. One is usual; more only when the Secret is destroyed again and again.
pub const MAX_PREVIOUS: usize = 8;

const _: () = assert!(
    RETIREMENT.as_secs() > LEAF_LIFE.as_secs(),
    "a previous authority outlives its leaves"
);
const _: () = assert!(
    (RETIREMENT.as_secs() + SOAK.as_secs()) * 3 < AUTHORITY_LIFE.as_secs(),
    "a rotation ends long before the authority does, and before the next one begins"
);

/// One place of the Secret.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Slot<T> {
    /// Something is there that cannot be used.
    Broken {
        /// What is wrong with it.
        fault: Fault,
        /// The certificate, if it is one of ours: leaves signed by it may still be served.
        anchor: Option<Anchor>,
    },
    /// Nothing is there.
    #[default]
    Empty,
    /// It can be used, as far as the bytes tell.
    Filled(T),
}

impl<T> Slot<T> {
    /// What is there, if it can be used.
    pub fn filled(&self) -> Option<&T> {
        match self {
            Self::Filled(content) => Some(content),
            Self::Broken { .. } | Self::Empty => None,
        }
    }
}

/// Authorities that no longer sign and are still trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Previous {
    /// Their certificates; their keys are gone.
    pub anchors: BTreeSet<Anchor>,
    /// Since when; unset if it could not be read: then until they expire.
    pub retired: Option<Timestamp>,
}

/// What the Secret holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Slots {
    /// The authority that signs.
    pub current: Slot<Authority>,
    /// The one that will.
    pub next: Slot<Authority>,
    /// Those that did.
    pub previous: Slot<Previous>,
}

/// What API servers and this replica use at the moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Live {
    /// The anchors that both configurations carry in every webhook, and for how long this replica has seen that.
    pub trusted: BTreeMap<Anchor, Duration>,
    /// The anchors that some configuration carries.
    pub anywhere: BTreeSet<Anchor>,
    /// The authority of the leaf that this replica serves, while that leaf is valid.
    pub serving: Option<Anchor>,
}

/// All that a step depends on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertState {
    /// What the Secret holds.
    pub slots: Slots,
    /// What is in use.
    pub live: Live,
    /// How long each stage lasts.
    pub timing: Timing,
}

/// The next write of the Secret. At most one a tick.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RotationStep {
    /// Remove a next or previous slot that cannot be read, or a next authority whose time is over.
    Discard {
        /// Which one.
        slot: SlotName,
        /// Why.
        fault: Fault,
        /// What stays trusted of it.
        keep: BTreeSet<Anchor>,
    },
    /// Forget the previous authorities.
    DropPrevious,
    /// Make a new authority that signs at once, because there is none to sign.
    Generate {
        /// Why the current one cannot.
        why: Fault,
        /// What stays trusted, because leaves of it may still be served.
        keep: BTreeSet<Anchor>,
    },
    /// Nothing to write.
    Keep,
    /// Let the next authority sign.
    Promote {
        /// Why before its time, if it is.
        why: Option<Fault>,
        /// What stays trusted.
        keep: BTreeSet<Anchor>,
    },
    /// Make the next authority and have it trusted.
    Publish,
    /// Keep trusting authorities that leaves still served come from, although the Secret lost them.
    Retain {
        /// The authorities.
        keep: BTreeSet<Anchor>,
    },
}

/// A slot that can be discarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotName {
    /// The next authority.
    Next,
    /// The previous authorities.
    Previous,
}

/// What to write next.
pub fn step(state: &CertState, now: Timestamp) -> RotationStep {
    let current = match usable(&state.slots.current, now) {
        Ok(current) => current,
        Err(why) => return replace_current(state, why, now),
    };
    discard(&state.slots, now)
        .or_else(|| retain(state, current, now))
        .or_else(|| drop_previous(state, now))
        .unwrap_or_else(|| advance(state, current, now))
}

fn usable(slot: &Slot<Authority>, now: Timestamp) -> Result<&Authority, Fault> {
    match slot {
        Slot::Broken { fault, .. } => Err(*fault),
        Slot::Empty => Err(Fault::Absent),
        Slot::Filled(authority) => authority.anchor().check_time(now).map(|()| authority),
    }
}

/// Nothing can sign. The next authority takes over if there is one: it is nearer to being trusted than a new one.
fn replace_current(state: &CertState, why: Fault, now: Timestamp) -> RotationStep {
    let keep = in_use(state, why, now);
    match &state.slots.next {
        Slot::Filled(next) if next.anchor().check_time(now).is_ok() => RotationStep::Promote { why: Some(why), keep },
        Slot::Broken { .. } | Slot::Empty | Slot::Filled(_) => RotationStep::Generate { why, keep },
    }
}

/// Every authority of ours that a leaf served somewhere may come from.
/// Asked for only when the current one is lost: taking over what a configuration carries at other times
/// would bring a previous authority back while its removal is on its way.
/// If time is why it is lost, those whose time is over are among them: the clock that says so may be wrong.
fn in_use(state: &CertState, why: Fault, now: Timestamp) -> BTreeSet<Anchor> {
    let stored = [&state.slots.current, &state.slots.next]
        .into_iter()
        .filter_map(stored_anchor);
    let known = stored.chain(&state.live.serving).chain(&state.live.anywhere);
    match why.is_of_time() {
        true => known.cloned().collect(),
        false => unexpired(known, now),
    }
}

fn stored_anchor(slot: &Slot<Authority>) -> Option<&Anchor> {
    match slot {
        Slot::Broken { anchor, .. } => anchor.as_ref(),
        Slot::Empty => None,
        Slot::Filled(authority) => Some(authority.anchor()),
    }
}

fn unexpired<'a>(anchors: impl IntoIterator<Item = &'a Anchor>, now: Timestamp) -> BTreeSet<Anchor> {
    anchors
        .into_iter()
        .filter(|anchor| anchor.check_time(now) != Err(Fault::Expired))
        .cloned()
        .collect()
}

fn discard(slots: &Slots, now: Timestamp) -> Option<RotationStep> {
    let fault = match &slots.next {
        Slot::Broken { fault, .. } => Some(*fault),
        Slot::Empty => None,
        // One from the future is left alone: the clock that is wrong may be ours, and two replicas would take turns.
        Slot::Filled(next) => next
            .anchor()
            .check_time(now)
            .err()
            .filter(|fault| *fault == Fault::Expired),
    };
    if let Some(fault) = fault {
        let keep = unexpired(stored_anchor(&slots.next), now);
        return Some(RotationStep::Discard {
            slot: SlotName::Next,
            fault,
            keep,
        });
    }
    match &slots.previous {
        Slot::Broken { fault, anchor } => Some(RotationStep::Discard {
            slot: SlotName::Previous,
            fault: *fault,
            keep: unexpired(anchor, now),
        }),
        Slot::Empty | Slot::Filled(_) => None,
    }
}

/// What leaves served somewhere come from must stay trusted although the Secret does not know of it:
/// our own leaf's authority, if somebody replaced the Secret's content by other good content;
/// and all that configurations carry while they do not carry the current one. It is newer than what they carry,
/// so whoever put it there may have known less of them than we do: its look at them may be from before a rotation.
fn retain(state: &CertState, current: &Authority, now: Timestamp) -> Option<RotationStep> {
    let live = &state.live;
    let unseen = !live.anywhere.contains(current.anchor());
    let carried = live.anywhere.iter().filter(|_| unseen);
    let known = state.slots.anchors();
    let keep: BTreeSet<_> = unexpired(live.serving.iter().chain(carried), now)
        .difference(&known)
        .cloned()
        .collect();
    (!keep.is_empty()).then_some(RotationStep::Retain { keep })
}

/// The time since which they are retired may come from a clock that is wrong: what our own leaf comes from is not dropped.
fn drop_previous(state: &CertState, now: Timestamp) -> Option<RotationStep> {
    let previous = state.slots.previous.filled()?;
    let is_over = match previous.retired {
        Some(since) => time::later(since, state.timing.retirement) <= now,
        None => unexpired(&previous.anchors, now).is_empty(),
    };
    let is_served = |serving| previous.anchors.contains(serving);
    (is_over && !state.live.serving.as_ref().is_some_and(is_served)).then_some(RotationStep::DropPrevious)
}

/// The regular course.
fn advance(state: &CertState, current: &Authority, now: Timestamp) -> RotationStep {
    let Some(next) = state.slots.next.filled() else {
        let due = current.anchor().renew_at(state.timing.rotate_after) <= now;
        return if due { RotationStep::Publish } else { RotationStep::Keep };
    };
    let soaked = state
        .live
        .trusted
        .get(next.anchor())
        .is_some_and(|seen| *seen >= state.timing.soak);
    if soaked && next.anchor().check_time(now).is_ok() {
        RotationStep::Promote {
            why: None,
            keep: BTreeSet::from([current.anchor().clone()]),
        }
    } else {
        RotationStep::Keep
    }
}

impl Slots {
    /// Every anchor that API servers must trust: the content of `caBundle`.
    pub fn anchors(&self) -> BTreeSet<Anchor> {
        let current = self.current.filled().map(Authority::anchor);
        let next = self.next.filled().map(Authority::anchor);
        let previous = self
            .previous
            .filled()
            .into_iter()
            .flat_map(|previous| &previous.anchors);
        current.into_iter().chain(next).chain(previous).cloned().collect()
    }

    /// The slots after `step`. `make` is called when the step needs a new authority.
    ///
    /// # Errors
    /// What `make` says.
    pub fn after<E>(
        self,
        step: &RotationStep,
        now: Timestamp,
        make: impl FnOnce() -> Result<Authority, E>,
    ) -> Result<Self, E> {
        let slots = match step {
            RotationStep::Discard {
                slot: SlotName::Next,
                keep,
                ..
            } => Self {
                next: Slot::Empty,
                ..self
            }
            .retire(keep, now),
            RotationStep::Discard {
                slot: SlotName::Previous,
                keep,
                ..
            } => Self {
                previous: Slot::Empty,
                ..self
            }
            .retire(keep, now),
            RotationStep::DropPrevious => Self {
                previous: Slot::Empty,
                ..self
            },
            RotationStep::Generate { keep, .. } => Self {
                current: Slot::Filled(make()?),
                next: Slot::Empty,
                ..self
            }
            .retire(keep, now),
            RotationStep::Keep => self,
            RotationStep::Promote { keep, .. } => self.promote().retire(keep, now),
            RotationStep::Publish => Self {
                next: Slot::Filled(make()?),
                ..self
            },
            RotationStep::Retain { keep } => self.retire(keep, now),
        };
        Ok(slots)
    }

    fn promote(self) -> Self {
        match self.next {
            Slot::Filled(next) => Self {
                current: Slot::Filled(next),
                next: Slot::Empty,
                ..self
            },
            Slot::Broken { .. } | Slot::Empty => self,
        }
    }

    /// Adds `keep` to the previous authorities, as long as they are in no other slot.
    fn retire(mut self, keep: &BTreeSet<Anchor>, now: Timestamp) -> Self {
        let before = match self.previous {
            Slot::Filled(previous) => Some(previous),
            Slot::Broken { .. } | Slot::Empty => None,
        };
        self.previous = Slot::Empty;
        let elsewhere = self.anchors();
        let added: BTreeSet<_> = keep.difference(&elsewhere).cloned().collect();
        let old = before
            .iter()
            .flat_map(|previous| &previous.anchors)
            .filter(|old| !elsewhere.contains(old));
        let old: BTreeSet<_> = old.cloned().collect();
        let grew = !added.is_subset(&old);
        let anchors = bounded(added, old);
        let retired = if grew {
            Some(now)
        } else {
            before.and_then(|previous| previous.retired)
        };
        if !anchors.is_empty() {
            self.previous = Slot::Filled(Previous { anchors, retired });
        }
        self
    }
}

/// At most [`MAX_PREVIOUS`]: those just added first, as leaves of them are served, then those that end last.
fn bounded(added: BTreeSet<Anchor>, old: BTreeSet<Anchor>) -> BTreeSet<Anchor> {
    let mut old: Vec<_> = old.into_iter().filter(|anchor| !added.contains(anchor)).collect();
    old.sort_by_key(|anchor| std::cmp::Reverse(anchor.not_after()));
    added.into_iter().chain(old).take(MAX_PREVIOUS).collect()
}

#[cfg(test)]
mod tests;
