//! The twelve laws of the planner, as properties of the shipped `plan()` in a hostile cluster.
//!
//! A walk is a chain of steps of users, nodes, Jobs, the API server and one or two controllers ([`steps`]); its
//! [`cluster`] is the truth, its [`controller`]s see some past of it, and a [`ledger`] writes down every run.
//! Each law looks at what a walk left behind. `PROPTEST_CASES=100000` makes the walks more.

mod cluster;
mod controller;
mod ledger;
mod settled;
mod steps;

use proptest::prelude::*;
use proptest::test_runner::Config;

use self::cluster::Cluster;
use self::controller::Planned;
use self::ledger::{Breach, Law};
use self::settled::no_judge;
use self::steps::{EVERYTHING, Mix, Start, Step, Walk, walks};
use super::Action;

/// So many walks a law, or more by proptest's own variable.
fn cases(at_least: u32) -> Config {
    let config = Config::default();
    Config {
        cases: config.cases.max(at_least),
        ..config
    }
}

fn walk(start: Start, steps: &[Step], judge: fn(&Planned, &mut Cluster)) -> Walk {
    let mut walk = Walk::new(start, judge);
    steps.iter().for_each(|step| walk.take(*step));
    walk
}

const NONE: Vec<&Breach> = Vec::new();

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn l01_converges((start, steps) in walks(EVERYTHING)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle_and_recount();
        prop_assert_eq!(walk.breaches(&[Law::Converges]), NONE);
    }

    #[test]
    fn l02_finished_stays_finished((start, steps) in walks(EVERYTHING)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle();
        prop_assert_eq!(walk.breaches(&[Law::FinishedStays]), NONE);
    }

    #[test]
    fn l03_at_most_one((start, steps) in walks(EVERYTHING)) {
        let mut walk = walk(start, &steps, no_judge);
        walk.settle();
        prop_assert_eq!(walk.breaches(&[Law::OneJob]), NONE);
    }
}
