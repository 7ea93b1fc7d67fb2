use std::convert::Infallible;

use rstest::rstest;

use super::*;
use crate::leaf::{Leaf, LeafView};

const DAY: Duration = Duration::from_hours(24);

fn start() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().expect("a time")
}

fn days(count: u32) -> Timestamp {
    time::later(start(), DAY * count)
}

fn authority(now: Timestamp) -> Authority {
    Authority::generate(now).expect("an authority")
}

fn anchors(authorities: &[&Authority]) -> BTreeSet<Anchor> {
    authorities.iter().map(|authority| authority.anchor().clone()).collect()
}

fn trusted(authority: &Authority, seen: Duration) -> BTreeMap<Anchor, Duration> {
    BTreeMap::from([(authority.anchor().clone(), seen)])
}

fn broken<T>(fault: Fault) -> Slot<T> {
    Slot::Broken { fault, anchor: None }
}

fn previous(authority: &Authority, retired: Option<Timestamp>) -> Slot<Previous> {
    Slot::Filled(Previous {
        anchors: anchors(&[authority]),
        retired,
    })
}

fn with_current(current: &Authority) -> CertState {
    let slots = Slots {
        current: Slot::Filled(current.clone()),
        ..Slots::default()
    };
    CertState {
        slots,
        live: Live::default(),
        timing: Timing::default(),
    }
}

fn with_next(current: &Authority, next: &Authority) -> CertState {
    let mut state = with_current(current);
    state.slots.next = Slot::Filled(next.clone());
    state
}

/// The slots after the state's own next step, with the given authority if one is to be made.
fn after(state: &CertState, now: Timestamp, made: &Authority) -> Slots {
    let step = step(state, now);
    let made = || Ok::<_, Infallible>(made.clone());
    let Ok(slots) = state.slots.clone().after(&step, now, made);
    slots
}

#[rstest]
#[case::empty(Slot::Empty, Fault::Absent)]
#[case::garbage(broken(Fault::UnreadableCertificate), Fault::UnreadableCertificate)]
#[case::garbage_key(broken(Fault::UnreadableKey), Fault::UnreadableKey)]
#[case::mismatching_key(broken(Fault::KeyMismatch), Fault::KeyMismatch)]
#[case::foreign(broken(Fault::Foreign), Fault::Foreign)]
#[case::half(broken(Fault::Incomplete), Fault::Incomplete)]
#[case::expired(Slot::Filled(authority(time::earlier(start(), AUTHORITY_LIFE + DAY))), Fault::Expired)]
#[case::from_the_future(Slot::Filled(authority(time::later(start(), DAY * 3))), Fault::NotYetValid)]
fn f29_an_unusable_current_authority_is_replaced_with_the_reason(#[case] current: Slot<Authority>, #[case] why: Fault) {
    let state = CertState {
        slots: Slots {
            current,
            ..Slots::default()
        },
        live: Live::default(),
        timing: Timing::default(),
    };
    let taken = step(&state, start());
    assert!(
        matches!(&taken, RotationStep::Generate { why: given, .. } if *given == why),
        "{taken:?}"
    );
    let made = authority(start());
    assert_eq!(after(&state, start(), &made).current, Slot::Filled(made));
}

#[test]
fn f28_an_authority_made_by_a_clock_a_day_ahead_is_kept() {
    let state = with_current(&authority(days(1)));
    assert_eq!(step(&state, start()), RotationStep::Keep);
}

#[test]
fn f29_what_leaves_may_come_from_stays_trusted_when_the_authority_is_lost() {
    let [bundled, serving, stored, expired] =
        [start(), start(), start(), time::earlier(start(), AUTHORITY_LIFE + DAY)].map(authority);
    let current = Slot::Broken {
        fault: Fault::KeyMismatch,
        anchor: Some(stored.anchor().clone()),
    };
    let live = Live {
        trusted: BTreeMap::new(),
        anywhere: anchors(&[&bundled, &expired]),
        serving: Some(serving.anchor().clone()),
    };
    let state = CertState {
        slots: Slots {
            current,
            ..Slots::default()
        },
        live,
        timing: Timing::default(),
    };
    let keep = anchors(&[&bundled, &serving, &stored]);
    assert_eq!(
        step(&state, start()),
        RotationStep::Generate {
            why: Fault::KeyMismatch,
            keep: keep.clone()
        }
    );
    let slots = after(&state, start(), &authority(start()));
    assert_eq!(
        slots.previous,
        Slot::Filled(Previous {
            anchors: keep,
            retired: Some(start())
        })
    );
}

#[test]
fn a_next_authority_takes_over_when_the_current_one_is_lost() {
    let next = authority(start());
    let mut state = with_next(&authority(start()), &next);
    state.slots.current = broken(Fault::UnreadableKey);
    let promote = RotationStep::Promote {
        why: Some(Fault::UnreadableKey),
        keep: anchors(&[&next]),
    };
    assert_eq!(step(&state, start()), promote);
    let slots = after(&state, start(), &next);
    assert_eq!(slots, with_current(&next).slots);
}

#[test]
fn a_good_authority_is_kept_until_two_thirds_of_its_life_and_then_the_next_is_published() {
    let (current, next) = (authority(start()), authority(days(243)));
    let state = with_current(&current);
    let due = current.anchor().renew_at(Timing::default().rotate_after);
    assert_eq!(
        step(&state, time::earlier(due, Duration::from_secs(1))),
        RotationStep::Keep
    );
    assert_eq!(step(&state, due), RotationStep::Publish);
    assert_eq!(after(&state, due, &next), with_next(&current, &next).slots);
}

#[test]
fn a_successor_is_published_at_the_age_asked_for() {
    let mut state = with_current(&authority(start()));
    state.timing.rotate_after = DAY;
    assert_eq!(
        step(&state, time::earlier(days(1), Duration::from_secs(1))),
        RotationStep::Keep
    );
    assert_eq!(step(&state, days(1)), RotationStep::Publish);
}

#[rstest]
#[case::not_trusted(None, false)]
#[case::just_trusted(Some(Duration::ZERO), false)]
#[case::soaking(Some(SOAK - Duration::from_secs(1)), false)]
#[case::soaked(Some(SOAK), true)]
fn the_next_authority_signs_after_its_soak(#[case] seen: Option<Duration>, #[case] promoted: bool) {
    let (current, next) = (authority(start()), authority(days(243)));
    let mut state = with_next(&current, &next);
    state.live.trusted = seen.map(|seen| trusted(&next, seen)).unwrap_or_default();
    let expected = match promoted {
        true => RotationStep::Promote {
            why: None,
            keep: anchors(&[&current]),
        },
        false => RotationStep::Keep,
    };
    assert_eq!(step(&state, days(243)), expected);
    if promoted {
        let slots = after(&state, days(243), &next);
        let retired = previous(&current, Some(days(243)));
        assert_eq!(
            slots,
            Slots {
                previous: retired,
                ..with_current(&next).slots
            }
        );
    }
}

#[test]
fn the_previous_authority_is_dropped_when_no_leaf_of_it_can_be_valid() {
    let (current, old) = (authority(start()), authority(start()));
    let mut state = with_current(&current);
    state.slots.previous = previous(&old, Some(start()));
    let end = time::later(start(), RETIREMENT);
    assert_eq!(
        step(&state, time::earlier(end, Duration::from_secs(1))),
        RotationStep::Keep
    );
    assert_eq!(step(&state, end), RotationStep::DropPrevious);
    assert_eq!(after(&state, end, &current), with_current(&current).slots);
}

#[test]
fn f28_the_authority_of_the_served_leaf_is_not_dropped_whatever_time_another_clock_wrote() {
    let (current, old) = (authority(start()), authority(start()));
    let mut state = with_current(&current);
    state.slots.previous = previous(&old, Some(time::earlier(start(), RETIREMENT * 2)));
    state.live.serving = Some(old.anchor().clone());
    assert_eq!(step(&state, start()), RotationStep::Keep);
    state.live.serving = Some(current.anchor().clone());
    assert_eq!(step(&state, start()), RotationStep::DropPrevious);
}

#[test]
fn a_previous_authority_without_a_time_is_dropped_when_it_expires() {
    let (current, old) = (authority(days(100)), authority(start()));
    let mut state = with_current(&current);
    state.slots.previous = previous(&old, None);
    assert_eq!(step(&state, days(300)), RotationStep::Keep);
    assert_eq!(
        step(&state, days(366)),
        RotationStep::DropPrevious,
        "before the next is published, which is due too"
    );
}

#[test]
fn f29_broken_next_and_previous_are_discarded_one_after_the_other() {
    let (current, next) = (authority(start()), authority(start()));
    let mut state = with_current(&current);
    state.slots.next = Slot::Broken {
        fault: Fault::KeyMismatch,
        anchor: Some(next.anchor().clone()),
    };
    let keep = anchors(&[&next]);
    let discard = RotationStep::Discard {
        slot: SlotName::Next,
        fault: Fault::KeyMismatch,
        keep: keep.clone(),
    };
    assert_eq!(step(&state, start()), discard);
    let slots = after(&state, start(), &current);
    assert_eq!(
        slots.previous,
        Slot::Filled(Previous {
            anchors: keep,
            retired: Some(start())
        })
    );

    let fault = Fault::UnreadableCertificate;
    state.slots = Slots {
        previous: broken(fault),
        ..with_current(&current).slots
    };
    let discard = RotationStep::Discard {
        slot: SlotName::Previous,
        fault,
        keep: BTreeSet::new(),
    };
    assert_eq!(step(&state, start()), discard);
    assert_eq!(after(&state, start(), &current), with_current(&current).slots);
}

#[test]
fn an_expired_next_authority_is_discarded_and_one_from_the_future_left_alone() {
    let current = authority(days(300));
    let expired = with_next(&current, &authority(start()));
    let discard = RotationStep::Discard {
        slot: SlotName::Next,
        fault: Fault::Expired,
        keep: BTreeSet::new(),
    };
    assert_eq!(step(&expired, days(366)), discard);

    let future = authority(days(400));
    let mut early = with_next(&current, &future);
    early.live.trusted = trusted(&future, SOAK);
    assert_eq!(step(&early, days(366)), RotationStep::Keep);
}

#[test]
fn the_issuer_of_a_served_leaf_is_retained_when_the_secret_lost_it() {
    let (current, serving) = (authority(start()), authority(start()));
    let mut state = with_current(&current);
    state.live.serving = Some(serving.anchor().clone());
    assert_eq!(
        step(&state, start()),
        RotationStep::Retain {
            keep: anchors(&[&serving])
        }
    );
    state.slots = after(&state, start(), &current);
    assert_eq!(state.slots.anchors(), anchors(&[&current, &serving]));
    assert_eq!(step(&state, start()), RotationStep::Keep);
}

/// Another replica's, that looked before a rotation and was stopped until the Secret was destroyed after it.
#[test]
fn f29_what_configurations_carry_is_retained_while_they_do_not_carry_the_current_authority() {
    let (current, serving, expired) = (
        authority(start()),
        authority(start()),
        authority(time::earlier(start(), AUTHORITY_LIFE + DAY)),
    );
    let mut state = with_current(&current);
    state.live.anywhere = anchors(&[&serving, &expired]);
    let keep = anchors(&[&serving]);
    assert_eq!(step(&state, start()), RotationStep::Retain { keep });
    state.slots = after(&state, start(), &current);
    assert_eq!(state.slots.anchors(), anchors(&[&current, &serving]));
    assert_eq!(step(&state, start()), RotationStep::Keep);
}

#[test]
fn what_configurations_carry_is_not_taken_back_once_it_was_dropped() {
    let (current, dropped) = (authority(start()), authority(start()));
    let mut state = with_current(&current);
    state.live.anywhere = anchors(&[&current, &dropped]);
    assert_eq!(step(&state, start()), RotationStep::Keep);
}

#[test]
fn previous_authorities_are_bounded_and_the_newcomer_is_among_them() {
    let mut state = with_current(&authority(start()));
    for _ in 0..MAX_PREVIOUS + 3 {
        let serving = authority(start());
        state.live.serving = Some(serving.anchor().clone());
        state.slots = after(&state, start(), &serving);
        assert!(state.slots.anchors().contains(serving.anchor()));
        assert_eq!(step(&state, start()), RotationStep::Keep);
    }
    assert_eq!(state.slots.anchors().len(), 1 + MAX_PREVIOUS);
}

/// Two replicas, and every `caBundle` that a lagging API server may still use.
struct World {
    slots: Slots,
    bundles: Vec<(Timestamp, BTreeSet<Anchor>)>,
    replicas: [Replica; 2],
}

#[derive(Default)]
struct Replica {
    leaf: Option<Leaf>,
    trusted: BTreeMap<Anchor, Duration>,
}

impl World {
    /// One tick of one replica, in the order that the crate header gives.
    fn tick(&mut self, index: usize, now: Timestamp, elapsed: Duration) -> RotationStep {
        let replica = &mut self.replicas[index];
        let bundle = self
            .bundles
            .last()
            .map(|(_, bundle)| bundle.clone())
            .unwrap_or_default();
        let sum = |anchor: &Anchor| {
            replica
                .trusted
                .get(anchor)
                .map_or(Duration::ZERO, |seen| *seen + elapsed)
        };
        replica.trusted = bundle.iter().map(|anchor| (anchor.clone(), sum(anchor))).collect();

        let serving = replica
            .leaf
            .as_ref()
            .filter(|leaf| leaf.is_valid(now))
            .map(|leaf| leaf.issuer().clone());
        let live = Live {
            trusted: replica.trusted.clone(),
            anywhere: bundle.clone(),
            serving,
        };
        let state = CertState {
            slots: self.slots.clone(),
            live,
            timing: Timing::default(),
        };
        let taken = step(&state, now);
        self.slots = after(&state, now, &authority(now));

        let current = self
            .slots
            .current
            .filled()
            .expect("a step leaves an authority that signs");
        let view = LeafView {
            served: replica.leaf.as_ref(),
            current: current.anchor(),
            trusted: &replica.trusted,
            soak: SOAK,
        };
        if view.must_issue(now) {
            replica.leaf = Some(Leaf::issue(current, &["hook.jobs.svc".to_owned()], now).expect("a leaf"));
        }
        if bundle != self.slots.anchors() {
            self.bundles.push((now, self.slots.anchors()));
        }
        taken
    }

    /// Every served leaf is valid, and trusted by each bundle that was in force within the last `lag`.
    fn assert_served_leaves_are_trusted(&self, now: Timestamp, lag: Duration) {
        let horizon = time::earlier(now, lag);
        let replaced = self
            .bundles
            .iter()
            .skip(1)
            .map(|(since, _)| *since)
            .chain([Timestamp::MAX]);
        let in_force: Vec<_> = self
            .bundles
            .iter()
            .zip(replaced)
            .filter(|(_, until)| *until > horizon)
            .collect();
        for leaf in self.replicas.iter().filter_map(|replica| replica.leaf.as_ref()) {
            assert!(leaf.is_valid(now), "at {now}");
            assert!(
                in_force.iter().all(|((_, bundle), _)| bundle.contains(leaf.issuer())),
                "at {now}: {leaf:?}"
            );
        }
    }
}

/// Ticks are minutes apart while something is under way, else hours: a year in a thousand ticks.
fn run(world: &mut World, from: Timestamp, until: Timestamp, lag: Duration) -> Vec<RotationStep> {
    let (mut now, mut steps) = (from, Vec::new());
    while now < until {
        let busy = world.slots.next != Slot::Empty
            || world
                .bundles
                .last()
                .is_some_and(|(since, _)| time::later(*since, SOAK * 2) > now);
        let pause = if busy {
            Duration::from_secs(60)
        } else {
            Duration::from_hours(8)
        };
        now = time::later(now, pause);
        for index in 0..2 {
            steps.push(world.tick(index, now, Duration::from_secs(60)));
            world.assert_served_leaves_are_trusted(now, lag);
        }
    }
    steps.retain(|step| *step != RotationStep::Keep);
    steps
}

fn settled() -> World {
    let mut world = World {
        slots: Slots::default(),
        bundles: Vec::new(),
        replicas: Default::default(),
    };
    // Before the first bundle nobody is ready, so nobody is asked.
    let steps = run(&mut world, start(), time::later(start(), SOAK), Duration::ZERO);
    assert!(
        matches!(steps.as_slice(), [RotationStep::Generate { why: Fault::Absent, .. }]),
        "{steps:?}"
    );
    world
}

#[test]
fn a_whole_rotation_never_serves_what_is_not_trusted() {
    let lag = SOAK - Duration::from_mins(2);
    let mut world = settled();
    let steps = run(&mut world, days(1), days(260), lag);
    let course = [RotationStep::Publish, RotationStep::DropPrevious];
    assert_eq!([&steps[0], &steps[2]], course.each_ref(), "{steps:?}");
    assert!(
        matches!(&steps[1], RotationStep::Promote { why: None, .. }),
        "{steps:?}"
    );
    assert_eq!(steps.len(), 3);
    assert_eq!(world.slots.anchors().len(), 1);
}
