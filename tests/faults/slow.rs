//! An API server that is slow for some calls, or fails all of them for a while.

use std::time::{Duration, Instant};

use daemonjob_cluster::{Call, is_soak, memory_of, until};

use crate::outages::{in_the_middle, wait_until_it_leads_no_more};
use crate::proxy::{Fault, Refusal, is_write, kind};
use crate::scene::{Scene, done, lasts};
use crate::support::DEADLINE;
use crate::support::manifest::{changed, daemon_job, on, replacing};
use crate::support::trial::show;

/// A little more than a call may take.
const LATENCY: Duration = Duration::from_secs(11);

/// Whether a call is about the DaemonJob of this name, or one of its Jobs.
fn is_about(call: &Call, name: &str) -> bool {
    let owner = &call.body["metadata"]["labels"]["daemon.justk8s.com/daemonjob"];
    call.name == name || call.name.starts_with(&format!("{name}-")) || owner == name
}

/// One whose calls are never answered in time, and one whose creates alone are: those are done all the same, when the
/// process has given them up. The window of a new leader has room for one write: theirs do not keep it.
#[test]
fn f12_calls_that_take_longer_than_they_may_end_and_hold_no_other_daemonjob_up() {
    const NODES: usize = 3;
    let scene = Scene::begin();
    scene.nodes("f12", NODES);
    let mark = scene.proxy.mark();
    let mut late = 2;
    scene.proxy.set(move |call| {
        let is_create = kind(call) == "create jobs" && is_about(call, "late") && late > 0;
        late -= usize::from(is_create);
        if is_create || is_about(call, "slow") {
            Fault::Late(LATENCY)
        } else {
            Fault::None
        }
    });
    scene.accepts(&on(daemon_job("slow"), "f12"));
    scene.accepts(&on(daemon_job("late"), "f12"));
    let asked = |of: &str| {
        scene
            .proxy
            .asked()
            .iter()
            .filter(|call| kind(call) == of && is_about(call, "late"))
            .count()
    };
    until("creates to be on their way", DEADLINE, || {
        Ok((asked("create jobs") >= 2).then_some(()))
    })
    .expect("it asks");
    let begun = Instant::now();
    scene.accepts(&on(daemon_job("other"), "f12"));
    scene.shows("other", "3 desired, 3 succeeded");
    scene.accepts(&replacing(on(changed(daemon_job("other")), "f12")));
    scene.shows("other", "3 desired, 3 succeeded");
    let took = begun.elapsed();
    show(&format!("the other ran twice in {took:?}"));
    assert!(took < LATENCY, "it was held up: {took:?}");
    scene.shows("late", "3 desired, 3 succeeded");
    let is_of_the_slow = |call: &&Call| kind(call) == "create jobs" && is_about(call, "slow");
    let passed = scene.proxy.asked().iter().filter(is_of_the_slow).count();
    assert_eq!(passed, 0, "the read before it never came in time");
    scene.proxy.heal();
    scene.shows("slow", "3 desired, 3 succeeded");
    scene.assert_quiet();
    let calls = scene.proxy.since(mark);
    for (name, deletes) in [("slow", 0), ("late", 0), ("other", NODES)] {
        let count = |of: &str| {
            let done = |call: &&Call| kind(call) == of && (200..300).contains(&call.code) && is_about(call, name);
            calls.iter().filter(done).count()
        };
        assert_eq!(count("create jobs"), NODES + deletes, "{name}");
        assert_eq!(count("delete jobs"), deletes, "{name}");
        assert_eq!(scene.jobs(name).len(), NODES);
    }
}

#[test]
fn f12_a_leader_whose_calls_about_the_lease_take_too_long_fences_itself_until_they_do_not() {
    let mut scene = Scene::begin();
    scene.nodes("f12-lease", 3);
    scene.accepts(&on(daemon_job("it"), "f12-lease"));
    scene.shows("it", "3 desired, 3 succeeded");
    scene.assert_quiet();
    scene.proxy.set(|call| {
        if call.resource == "leases" {
            Fault::Late(LATENCY)
        } else {
            Fault::None
        }
    });
    wait_until_it_leads_no_more(scene.controller());
    let mark = scene.proxy.mark();
    scene.accepts(&replacing(on(changed(daemon_job("it")), "f12-lease")));
    let calls_about_the_lease = if is_soak() { 20 } else { 2 };
    until("it to try on", 10 * DEADLINE, || {
        let tries = scene
            .proxy
            .since(mark)
            .iter()
            .filter(|call| call.resource == "leases")
            .count();
        Ok((tries >= calls_about_the_lease).then_some(()))
    })
    .expect("it does not give up");
    let written: Vec<Call> = scene.proxy.since(mark).into_iter().filter(is_write).collect();
    assert!(written.is_empty(), "I16: {written:#?}");
    assert!(scene.controller().is_running());
    scene.proxy.heal();
    scene.controller().wait_leading(DEADLINE).expect("it leads again");
    scene.shows("it", "3 desired, 3 succeeded");
    assert_eq!(done(&scene, mark, "create jobs"), 3);
    assert_eq!(done(&scene, mark, "delete jobs"), 3);
    scene.assert_quiet();
}

#[test]
fn f11_an_api_server_that_fails_every_call_is_asked_ever_less_often_and_served_when_it_does_not() {
    const NODES: usize = 6;
    /// What the allocator may have kept of it.
    const MORE: u64 = 16 * 1024;
    let mut scene = Scene::begin();
    scene.nodes("f11", NODES);
    let mark = scene.proxy.mark();
    let middle = in_the_middle(&scene.proxy);
    scene.accepts(&on(daemon_job("it"), "f11"));
    middle.recv_timeout(DEADLINE).expect("a fan-out begins");
    let before = memory_of(scene.controller().pid(), "VmRSS").expect("it runs");
    let failing = scene.proxy.mark();
    scene.proxy.set(|_| Fault::Refused(Refusal::new(500, "Unknown")));
    scene.proxy.end(|_| true);
    let begun = Instant::now();
    let time = Duration::from_secs(if is_soak() { 600 } else { 20 });
    lasts(begun, time);
    wait_until_it_leads_no_more(scene.controller());
    assert!(scene.controller().is_running(), "failures are no reason to end");
    let calls = scene.proxy.since(failing);
    let (leases, others): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(|call| call.resource == "leases");
    let after = memory_of(scene.controller().pid(), "VmRSS").expect("it runs");
    show(&format!(
        "{} calls about the Lease and {} others in {time:?}; {before} KiB, then {after}",
        leases.len(),
        others.len()
    ));
    assert!(after < before + MORE, "{before} KiB, then {after}");
    let seconds = usize::try_from(time.as_secs()).expect("a small number");
    // The Lease every two seconds; three watches, each within half a minute.
    assert!(
        leases.len() <= seconds && others.len() <= 60 + seconds / 2,
        "{others:#?}"
    );
    scene.proxy.heal();
    scene.controller().wait_leading(DEADLINE).expect("it leads again");
    scene.eventually("it to run", || {
        Ok((done(&scene, mark, "create jobs") >= NODES).then_some(()))
    });
    scene.shows("it", "6 desired, 6 succeeded");
    scene.assert_quiet();
    assert_eq!(scene.jobs("it").len(), NODES);
    assert_eq!(done(&scene, mark, "delete jobs"), 0);
}
