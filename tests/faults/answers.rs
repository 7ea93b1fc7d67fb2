//! Answers that are lost, late or wrong: each costs time and nothing else.

use std::time::{Duration, Instant};

use daemonjob_cluster::{Call, is_soak, until};

use crate::proxy::{Fault, Refusal, kind};
use crate::scene::{Scene, done};
use crate::support::DEADLINE;
use crate::support::manifest::{daemon_job, on};
use crate::support::trial::show;

/// The first answers of this kind go wrong, the rest go through.
fn first(count: usize, of: &'static str, fault: fn() -> Fault) -> impl FnMut(&Call) -> Fault + Send {
    let mut left = count;
    move |call| {
        let is_meant = left > 0 && kind(call) == of;
        left -= usize::from(is_meant);
        if is_meant { fault() } else { Fault::None }
    }
}

fn assert_a_lost_answer_costs_no_second_job(test: &str, fault: fn() -> Fault) {
    let scene = Scene::begin();
    scene.nodes(test, 3);
    let mark = scene.proxy.mark();
    scene.proxy.set(first(2, "create jobs", fault));
    scene.accepts(&on(daemon_job("it"), test));
    scene.shows("it", "3 desired, 3 succeeded");
    assert_eq!(done(&scene, mark, "create jobs"), 3, "one a node");
    assert_eq!(done(&scene, mark, "delete jobs"), 0);
    assert_eq!(scene.jobs("it").len(), 3);
    scene.assert_quiet();
}

#[test]
fn f03_a_create_whose_connection_broke_after_it_was_done_is_counted_once() {
    assert_a_lost_answer_costs_no_second_job("f03-cut", || Fault::Cut);
}

#[test]
fn f03_a_create_answered_with_504_after_it_was_done_is_counted_once() {
    assert_a_lost_answer_costs_no_second_job("f03-504", || Fault::AnsweredBy(Refusal::TIMEOUT));
}

#[test]
fn f04_a_status_that_meets_50_conflicts_is_planned_anew_at_a_bounded_rate() {
    let scene = Scene::begin();
    scene.nodes("f04", 2);
    let mark = scene.proxy.mark();
    let begun = Instant::now();
    let conflicts = if is_soak() { 50 } else { 10 };
    let conflict = || Fault::Refused(Refusal::CONFLICT);
    scene.proxy.set(first(conflicts, "patch daemonjobs/status", conflict));
    scene.accepts(&on(daemon_job("it"), "f04"));
    until("a status that is stored", 2 * DEADLINE, || {
        Ok((done(&scene, mark, "patch daemonjobs/status") > 0).then_some(()))
    })
    .expect("it is tried again");
    let took = begun.elapsed();
    show(&format!("{conflicts} conflicts took {took:?}"));
    // One a second, and the first of each condition that changes.
    let shortest = u32::try_from(conflicts - 2).expect("a small number");
    assert!(took >= Duration::from_secs(1) * shortest / 2, "{took:?}");
    scene.shows("it", "2 desired, 2 succeeded");
    assert_eq!(done(&scene, mark, "create jobs"), 2);
    scene.assert_quiet();
}

#[test]
fn f13_a_create_that_is_never_answered_ends_after_10_seconds_and_the_others_go_on() {
    let scene = Scene::begin();
    scene.nodes("f13", 3);
    let mark = scene.proxy.mark();
    scene.proxy.set(first(1, "create jobs", || Fault::Lost));
    let begun = Instant::now();
    scene.accepts(&on(daemon_job("it"), "f13"));
    scene.accepts(&on(daemon_job("other"), "f13"));
    scene.shows("it", "3 desired, 3 succeeded");
    scene.shows("other", "3 desired, 3 succeeded");
    assert!(begun.elapsed() >= Duration::from_secs(10), "one of them waited");
    assert_eq!(done(&scene, mark, "create jobs"), 6);
    scene.assert_quiet();
}

#[test]
fn f10_too_many_requests_are_asked_again_only_after_the_time_that_the_server_named() {
    const WAIT: u16 = 15;
    let scene = Scene::begin();
    scene.nodes("f10", 3);
    let mark = scene.proxy.mark();
    let busy = || Fault::Refused(Refusal::busy(WAIT));
    scene.proxy.set(first(1, "create jobs", busy));
    let begun = Instant::now();
    scene.accepts(&on(daemon_job("it"), "f10"));
    scene.shows("it", "3 desired, 3 succeeded");
    assert!(begun.elapsed() >= Duration::from_secs(WAIT.into()), "too early");
    assert_eq!(done(&scene, mark, "create jobs"), 3);
    scene.assert_quiet();
}

#[test]
fn f06_a_watch_that_falls_silent_is_found_within_65_seconds_and_nothing_wrong_is_done() {
    const FOUND: Duration = Duration::from_secs(65);
    let scene = Scene::begin();
    scene.nodes("f06", 2);
    scene.accepts(&on(daemon_job("it"), "f06"));
    scene.shows("it", "2 desired, 2 succeeded");
    let mark = scene.proxy.mark();
    scene.proxy.silence(|call| call.resource == "nodes");
    let begun = Instant::now();
    scene.add_node("f06-new", "f06");
    until("the Job of the new node", FOUND + DEADLINE, || {
        Ok((done(&scene, mark, "create jobs") > 0).then_some(()))
    })
    .expect("the silence is found");
    let took = begun.elapsed();
    show(&format!("found after {took:?}"));
    assert!(took < FOUND + Duration::from_secs(5), "{took:?}");
    scene.shows("it", "3 desired, 3 succeeded");
    assert_eq!(done(&scene, mark, "create jobs"), 1);
    assert_eq!(done(&scene, mark, "delete jobs"), 0);
}
