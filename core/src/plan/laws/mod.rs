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
use proptest::test_runner::{Config, RngSeed};

use self::cluster::Cluster;
use self::controller::{Kind, Planned};
use self::judges::{bounded, no_judge, no_replacement, partition};
use self::ledger::{Breach, Law};
use self::steps::{Mix, Start, Step, WILD, Walk, walks};

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
    #![proptest_config(cases(1_000))]

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
        walk.take(Step::Edit(steps::Edit::Template(template)));
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
        let seen = walk.controllers.iter().map(|controller| controller.look(&walk.cluster).map(|(seen, _)| seen.plan));
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
