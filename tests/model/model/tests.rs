use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rstest::rstest;
use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

use super::invariants::Breach;
use super::shipped::Spec;
use super::state::{Budget, Kind};
use super::{Action, ONE_POD, QUIET, TRUTH, Variant, World};

/// So many transitions of a world are followed, unless `MODEL_STATES` says how many.
const STATES: usize = 60_000;
/// A counterexample is looked for among so many.
const WITHIN: usize = 3_000_000;
/// Any number; a test run must not find on one machine what it does not find on another.
const SEED: u64 = 2026;
/// Far more than a busy machine takes.
const TIME: Duration = Duration::from_secs(900);

fn asked() -> Option<usize> {
    let asked = std::env::var_os("MODEL_STATES")?;
    Some(asked.to_string_lossy().parse().expect("MODEL_STATES is a number"))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[expect(
    clippy::print_stdout,
    reason = "how far a test went is shown beside its name, with --show-output"
)]
fn tell(line: &str) {
    println!("{line}");
}

/// Nothing is broken, as far as the states go that are visited; says whether those were all.
fn holds(name: &str, world: World, most: usize) -> bool {
    let began = Instant::now();
    let checker = world
        .checker()
        .threads(threads())
        .target_state_count(most)
        .timeout(TIME);
    let explored = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let is_whole = explored.state_count() < most;
    tell(&format!(
        "{name}: {} states, {} transitions, depth {}, {}, in {:.1?} with {} threads",
        explored.unique_state_count(),
        explored.state_count(),
        explored.max_depth(),
        if is_whole { "all of them" } else { "not all" },
        began.elapsed(),
        threads()
    ));
    let mut found = explored.discoveries();
    let quiet = found.remove(QUIET);
    if let Some((property, run)) = found.into_iter().next() {
        panic!("{property}\n{}", explored.model().story(&run.into_vec()));
    }
    assert!(quiet.is_some() || !is_whole, "it never comes to rest");
    is_whole
}

/// Nothing is broken on random walks, which go much further than [`holds`] does, though not everywhere.
fn holds_far_out(name: &str, world: World, most: usize) {
    let began = Instant::now();
    let checker = world
        .checker()
        .threads(threads())
        .target_state_count(most)
        .timeout(TIME);
    let walked = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_simulation(SEED, UniformChooser)
        .join();
    tell(&format!(
        "{name}: {} steps of random walks, the longest {}, in {:.1?} with {} threads",
        walked.state_count(),
        walked.max_depth(),
        began.elapsed(),
        threads()
    ));
    let mut found = walked.discoveries();
    assert!(found.remove(QUIET).is_some(), "it never comes to rest");
    if let Some((property, run)) = found.into_iter().next() {
        panic!("{property}\n{}", walked.model().story(&run.into_vec()));
    }
}

/// There is a run at whose end this does not hold, and it can be told as text worlds.
fn fails(world: World, property: &'static str) {
    let began = Instant::now();
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = world
        .checker()
        .threads(threads())
        .target_state_count(WITHIN)
        .timeout(TIME);
    let explored = checker.finish_when(wanted).spawn_bfs().join();
    let Some(run) = explored.discovery(property) else {
        panic!(
            "{:?} does no harm in {} states; found: {:?}",
            explored.model().variant,
            explored.unique_state_count(),
            explored.discoveries().keys()
        );
    };
    let run = run.into_vec();
    tell(&format!(
        "{:?} breaks \"{property}\" after {} steps, found in {} states and {:.1?}\n{}",
        explored.model().variant,
        run.len() - 1,
        explored.unique_state_count(),
        began.elapsed(),
        explored.model().story(&run)
    ));
}

const NOTHING: Budget = Budget {
    edits: 0,
    recreations: 0,
    crashes: 0,
    replacements: 0,
    flaps: 0,
    retries: 0,
    relists: 0,
    losses: 0,
};
const EDIT: Budget = Budget { edits: 1, ..NOTHING };
const CRASH: Budget = Budget { crashes: 1, ..NOTHING };
const FLAP: Budget = Budget { flaps: 1, ..NOTHING };
const EVERYTHING: Budget = Budget {
    edits: 1,
    recreations: 1,
    crashes: 1,
    replacements: 1,
    flaps: 1,
    retries: 1,
    relists: 1,
    losses: 1,
};
const KEEP: Spec = Spec {
    replace: false,
    ttl: false,
};
const REPLACE: Spec = Spec {
    replace: true,
    ttl: false,
};
const TTL: Spec = Spec {
    replace: false,
    ttl: true,
};
const BOTH: Spec = Spec {
    replace: true,
    ttl: true,
};

#[rstest]
#[case::edit_replaced(REPLACE, EDIT)]
#[case::edit_kept(KEEP, EDIT)]
#[case::crash(TTL, CRASH)]
#[case::flap(TTL, FLAP)]
#[case::replacement(TTL, Budget { replacements: 1, ..NOTHING })]
#[case::recreation(KEEP, Budget { recreations: 1, ..NOTHING })]
#[case::retry(TTL, Budget { retries: 1, ..NOTHING })]
#[case::loss(TTL, Budget { losses: 1, ..NOTHING })]
#[case::relist(BOTH, Budget { relists: 1, edits: 1, ..NOTHING })]
#[case::changed_back(BOTH, Budget { edits: 2, ..NOTHING })]
fn e25_two_controllers_on_one_node_keep_every_invariant(#[case] spec: Spec, #[case] budget: Budget) {
    let world = World::new(Variant::Shipped, spec, 2, 1, budget);
    holds(&format!("{spec:?} {budget:?}"), world, asked().unwrap_or(STATES));
}

#[test]
fn f26_two_controllers_on_two_nodes_keep_every_invariant() {
    let world = World::new(Variant::Shipped, BOTH, 2, 2, EVERYTHING);
    holds("2 controllers, 2 nodes, everything", world, asked().unwrap_or(STATES));
}

#[test]
fn f26_two_controllers_that_are_at_work_keep_every_invariant() {
    let world = World::running(Variant::Shipped, BOTH, 2, 2, EVERYTHING);
    holds(
        "2 controllers, 2 nodes at work, everything",
        world,
        asked().unwrap_or(STATES),
    );
}

#[test]
fn f26_two_controllers_keep_every_invariant_on_long_walks() {
    for spec in [KEEP, REPLACE, TTL, BOTH] {
        let world = World::new(Variant::Shipped, spec, 2, 2, EVERYTHING);
        let name = format!("2 controllers, 2 nodes, everything, {spec:?}");
        holds_far_out(&name, world, asked().unwrap_or(STATES) / 4);
    }
}

#[test]
fn f01_one_controller_keeps_every_invariant() {
    let world = World::new(Variant::Shipped, BOTH, 1, 1, EVERYTHING);
    holds("1 controller, 1 node, everything", world, asked().unwrap_or(STATES));
}

#[test]
fn m1_a_name_with_the_hash_in_it_starts_two_pods_on_one_node() {
    let budget = Budget {
        edits: 1,
        crashes: 1,
        ..NOTHING
    };
    fails(World::new(Variant::NamedByHash, REPLACE, 1, 1, budget), ONE_POD);
}

#[test]
fn m2_a_background_delete_lets_old_and_new_pod_overlap() {
    fails(World::running(Variant::Background, REPLACE, 1, 1, EDIT), ONE_POD);
}

#[test]
fn m3_a_delete_without_uid_hits_another_job() {
    fails(
        World::running(Variant::NameAlone, REPLACE, 2, 1, EDIT),
        Breach::Unexamined.name(),
    );
}

#[test]
fn m4_without_a_fresh_daemonjob_a_current_job_is_deleted() {
    fails(
        World::running(Variant::UnreadDaemonJob, REPLACE, 2, 1, EDIT),
        Breach::Unjust.name(),
    );
}

#[test]
fn m5_without_a_fresh_node_the_job_of_a_selected_node_is_deleted() {
    fails(
        World::running(Variant::UnreadNodes, KEEP, 1, 1, FLAP),
        Breach::Unjust.name(),
    );
}

/// A second line stands behind this guard, the fresh read of the Node: deletes need both to be gone. A status does not.
#[test]
fn m6_a_kind_that_is_not_listed_makes_a_status_lie_and_a_current_job_go() {
    fails(World::new(Variant::UnlistedIsEmpty, KEEP, 1, 2, NOTHING), TRUTH);
    fails(
        World::running(Variant::UnlistedIsEmptyAndUnreadNodes, KEEP, 1, 1, CRASH),
        Breach::Unjust.name(),
    );
}

#[test]
fn m7_a_job_that_is_deleted_before_its_outcome_is_recorded_runs_again() {
    fails(
        World::running(Variant::UnrecordedIsRecorded, TTL, 1, 1, CRASH),
        Breach::Again.name(),
    );
}

/// One controller has seen only what ended first when the other records both; its status is on the way.
#[test]
fn m8_without_a_version_on_the_status_tokens_are_lost_and_work_runs_again() {
    let one_is_behind = [
        Action::End(1),
        Action::See(1, Kind::Jobs),
        Action::Plan(1),
        Action::End(0),
        Action::See(0, Kind::Jobs),
        Action::See(0, Kind::Jobs),
        Action::Plan(0),
        Action::Report(0),
    ];
    let world = |variant| World::running(variant, TTL, 2, 2, NOTHING).after(&one_is_behind);
    fails(world(Variant::Unversioned), Breach::Again.name());
    holds("one is behind", world(Variant::Shipped), asked().unwrap_or(STATES));
}

/// The template is changed and changed back. One controller does all of it, and the other sees what has become of the
/// DaemonJob, but of the Jobs no more than the one of template B.
#[test]
fn i7_without_generations_a_job_that_is_seen_too_late_makes_finished_work_run_again() {
    let goes_on = |action: Action| !matches!(action, Action::Edit | Action::List(_, _, true));
    let is_first = |action: Action| goes_on(action) && action.who() != Some(1);
    let world = |variant| {
        World::running(variant, BOTH, 2, 1, Budget { edits: 2, ..NOTHING })
            .going_on(goes_on)
            .after(&[Action::Edit])
            .going_on(|action| goes_on(action) && !matches!(action, Action::End(_)))
            .going_on(is_first)
            .after(&[Action::Edit])
            .going_on(is_first)
            .going_on(|action| action == Action::See(1, Kind::DaemonJobs))
    };
    fails(world(Variant::NewestJobs), Breach::Again.name());
    holds("one is behind", world(Variant::Shipped), asked().unwrap_or(STATES));
}

#[test]
fn m9_without_a_fresh_read_before_creates_finished_work_runs_again() {
    fails(
        World::running(Variant::UnreadCreates, TTL, 1, 1, CRASH),
        Breach::Again.name(),
    );
}
