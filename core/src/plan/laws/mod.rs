//! The twelve laws of the planner, as properties of the shipped `plan()` in a hostile cluster.
//!
//! A walk is a chain of [`steps`] of users, nodes, Jobs, the API server and one or two controllers. Its [`cluster`] is
//! the truth, its [`controller`]s see some past of it, and a [`ledger`] writes down every run. Each law looks at what
//! a walk left behind, most of them after it has [`settled`]. `PROPTEST_CASES=100000` makes the walks more.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unwrap_in_result,
    reason = "the parts pass messages as a network would, and what cannot be decoded is a defect of the laws"
)]

mod cluster;
mod controller;
mod judges;
mod justice;
mod ledger;
mod settled;
mod single;
mod steps;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rstest::rstest;

use self::cluster::{Cluster, Propagation};
use self::controller::{Fate, Kind, Planned};
use self::judges::{bounded, no_judge, no_replacement, partition};
use self::ledger::{Breach, Law};
use self::steps::{Act, Edit, Fall, Mix, Sight, Start, Step, WILD, Walk, walks};

/// So many cases of a law, the same in every test run; more, and new ones each time, by proptest's own variable.
fn cases(at_least: u32) -> Config {
    let config = Config::default();
    if config.cases > at_least {
        return config;
    }
    Config {
        cases: at_least,
        rng_seed: RngSeed::Fixed(SEED),
        ..config
    }
}

/// Any number; a test run must not find on one machine what it does not find on another.
const SEED: u64 = 2026;

fn walk(start: Start, steps: &[Step], judge: fn(&Planned, &mut Cluster)) -> Walk {
    let mut walk = Walk::new(start, judge);
    steps.iter().for_each(|step| walk.take(*step));
    walk
}

const NONE: Vec<&Breach> = Vec::new();

/// So many walks must be enough to find what a missing guard lets happen.
const BLIND_WALKS: usize = 5_000;

/// Walks of controllers that send whatever their guards say delete what must stay.
#[test]
fn m04_m05_without_fresh_reads_before_deletes_the_laws_are_broken() {
    let mut runner = TestRunner::deterministic();
    let is_noticed = (0..BLIND_WALKS).any(|_| {
        let (start, steps) = walks(WILD).new_tree(&mut runner).unwrap().current();
        let mut walk = Walk::new(start, no_judge);
        walk.is_blind = true;
        steps.iter().for_each(|step| walk.take(*step));
        !walk.breaches(&[Law::Justified]).is_empty()
    });
    assert!(is_noticed);
}

/// A second leader that saw the DaemonJob before its work was recorded, and its Jobs when they were gone.
#[rstest]
#[case::with_the_guard(false, 0)]
#[case::without(true, 1)]
fn m09_a_fresh_read_before_creates_keeps_finished_work_from_running_again(
    #[case] is_blind: bool,
    #[case] breaches: usize,
) {
    let start = Start {
        ttl: Some(0),
        replace: false,
        nodes: 1,
        leaders: 2,
    };
    let mut walk = Walk::new(start, no_judge);
    walk.is_blind = is_blind;
    let sees = |kind| Step::Act(1, Act::Deliver(kind, 100));
    let finished = [
        round(0),
        sees(Kind::DaemonJobs),
        Step::Job(0, Fall::End(true)),
        Step::Pass(6),
        round(0),
        Step::Pass(6),
        round(0),
        Step::Job(0, Fall::Gone),
    ];
    finished.iter().for_each(|step| walk.take(*step));
    assert!(walk.cluster.jobs.is_empty(), "recorded and deleted");
    let late = [sees(Kind::Jobs), sees(Kind::Nodes), Step::Act(1, Act::Plan)];
    late.iter().for_each(|step| walk.take(*step));
    walk.take(Step::Act(1, Act::Guard(Fate::Answered)));
    walk.take(Step::Act(1, Act::Send(0, Fate::Answered)));
    assert_eq!(walk.breaches(&[Law::FinishedStays]).len(), breaches);
}

/// The template changes, and something happens to the Job that the controller has not seen when it acts.
fn replaces_what_has_changed(fall: Fall) -> Walk {
    let start = Start {
        ttl: None,
        replace: true,
        nodes: 1,
        leaders: 1,
    };
    let mut walk = Walk::new(start, no_judge);
    let sees_the_edit = Sight::Some(Kind::DaemonJobs, 100);
    let steps = [
        round(0),
        Step::Pass(6),
        Step::Edit(Edit::Template(1)),
        Step::Job(0, fall),
        Step::Pass(6),
        Step::Act(0, Act::Round(sees_the_edit, Fate::Answered, Fate::Answered)),
    ];
    steps.iter().for_each(|step| walk.take(*step));
    let kept = walk.cluster.jobs.values().all(|job| job.view.deleted.is_none());
    assert!(kept, "it is not what was examined");
    walk
}

fn round(who: usize) -> Step {
    Step::Act(who, Act::Round(Sight::All, Fate::Answered, Fate::Answered))
}

#[test]
fn g2_a_job_that_finishes_just_before_its_delete_is_not_run_again() {
    let mut walk = replaces_what_has_changed(Fall::End(true));
    // Back to the first template, which the node has finished.
    walk.take(Step::Edit(Edit::Template(0)));
    walk.settle();
    assert_eq!(walk.breaches(&[Law::FinishedStays]), NONE);
    assert_eq!(walk.cluster.jobs.len(), 1);
}

#[test]
fn g4_a_job_that_somebody_takes_from_us_just_before_its_delete_stays() {
    let mut walk = replaces_what_has_changed(Fall::Strip(1));
    walk.settle();
    assert!(walk.cluster.jobs.values().all(|job| job.view.deleted.is_none()));
}

#[test]
fn g2_a_job_that_finishes_and_is_gone_before_the_status_tells_is_not_run_again() {
    let start = Start {
        ttl: None,
        replace: false,
        nodes: 1,
        leaders: 1,
    };
    let mut walk = Walk::new(start, no_judge);
    let steps = [
        round(0),
        Step::Pass(6),
        Step::Job(0, Fall::End(true)),
        Step::Pass(6),
        Step::Job(0, Fall::Delete(Propagation::Background)),
    ];
    steps.iter().for_each(|step| walk.take(*step));
    assert!(walk.cluster.jobs.is_empty());
    walk.settle();
    assert!(walk.cluster.jobs.is_empty(), "it ran and finished");
}

const ALWAYS_REPLACE: Mix = Mix {
    replace: &[true],
    ..WILD
};
const NEVER_REPLACE: Mix = Mix {
    replace: &[false],
    ..WILD
};
const TWO_LEADERS: Mix = Mix { leaders: 2, ..WILD };

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn l01_converges((start, steps) in walks(WILD)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle_and_recount();
        prop_assert_eq!(walk.breaches(&[Law::Converges]), NONE);
    }

    #[test]
    fn l02_finished_stays_finished((start, steps) in walks(WILD)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle();
        prop_assert_eq!(walk.breaches(&[Law::FinishedStays]), NONE);
    }

    #[test]
    fn l03_at_most_one((start, steps) in walks(WILD)) {
        let walk = walk(start, &steps, no_judge);
        prop_assert_eq!(walk.breaches(&[Law::OneJob]), NONE);
    }

    #[test]
    fn l04_only_its_own((start, steps) in walks(WILD)) {
        let walk = walk(start, &steps, no_judge);
        prop_assert_eq!(walk.breaches(&[Law::OnlyItsOwn]), NONE);
    }

    #[test]
    fn l05_keeps((start, steps) in walks(NEVER_REPLACE), template in 0_u8..3) {
        let mut walk = walk(start, &steps, no_replacement);
        walk.settle();
        let jobs = walk.cluster.jobs.clone();
        walk.take(Step::Edit(Edit::Template(template)));
        walk.settle();
        let is_kept = |name| walk.cluster.jobs.get(name).map(|job| &job.view.uid) == jobs.get(name).map(|job| &job.view.uid);
        prop_assert!(jobs.keys().all(is_kept), "{:?} became {:?}", jobs, walk.cluster.jobs);
        prop_assert_eq!(walk.breaches(&[Law::Keeps]), NONE);
    }

    #[test]
    fn l06_old_gone_before_new((start, steps) in walks(ALWAYS_REPLACE)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle_and_recount();
        prop_assert_eq!(walk.breaches(&[Law::Converges, Law::Justified, Law::OneJob]), NONE);
    }

    #[test]
    fn l08_order_independent_is_what_is_seen((start, steps) in walks(WILD), order in any::<[bool; 16]>()) {
        let mut walk = walk(start, &steps, no_judge);
        walk.controllers = vec![controller::Controller::default(), controller::Controller::default()];
        walk.see_all(0, [Kind::DaemonJobs, Kind::Jobs, Kind::Nodes]);
        // The other one lists early and sees the rest event by event, the kinds in any order.
        Kind::ALL.iter().for_each(|kind| walk.controllers[1].list(*kind, usize::MAX, &walk.cluster));
        for nodes_first in order {
            let kind = if nodes_first { Kind::Nodes } else { Kind::Jobs };
            walk.controllers[1].deliver(kind, 2, &walk.cluster);
        }
        walk.see_all(1, [Kind::Nodes, Kind::Jobs, Kind::DaemonJobs]);
        let cluster = &walk.cluster;
        let seen = walk.controllers.iter_mut().map(|controller| controller.look(cluster).map(|(seen, _)| seen.plan));
        let seen: Vec<_> = seen.collect();
        prop_assert_eq!(&seen[0], &seen[1]);
    }

    #[test]
    fn l09_crash_safe((start, steps) in walks(TWO_LEADERS)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle_and_recount();
        let laws = [Law::Converges, Law::Justified, Law::OneJob, Law::OnlyItsOwn];
        prop_assert_eq!(walk.breaches(&laws), NONE);
    }

    #[test]
    fn l10_partition((start, steps) in walks(WILD)) {
        let walk = walk(start, &steps, partition);
        prop_assert_eq!(walk.breaches(&[Law::Partition]), NONE);
    }

    #[test]
    fn l11_bounded((start, steps) in walks(WILD)) {
        let walk = walk(start, &steps, bounded);
        prop_assert_eq!(walk.breaches(&[Law::Bounded]), NONE);
    }
}
