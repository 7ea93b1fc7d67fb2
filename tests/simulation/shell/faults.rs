//! Faults by their numbers that no real API server can be made to show at will.

use std::time::Duration;

use daemonjob_simulation::{Key, Kind, Request, Verb};
use serde_json::json;

use crate::network::{Rule, Weather};
use crate::scene::{NODES, Scene, play};
use crate::world::{Actor, NAMESPACE};

const MINUTE: Duration = Duration::from_secs(60);

fn is(verb: Verb, kind: Kind) -> impl Fn(&Request) -> bool {
    move |request| request.verb == verb && request.kind == kind && !request.metadata_only
}

/// All run, and finish.
async fn runs(scene: &mut Scene) {
    scene.add("one", true, "a");
    scene.start();
    scene.settles(5 * MINUTE).await;
    assert_eq!(scene.made_and_deleted(), (NODES, 0));
}

#[test]
fn f02_a_crash_between_delete_and_create_costs_ten_seconds_at_most() {
    play(async |scene| {
        runs(scene).await;
        scene.edit("one", "b");
        let all_gone = |scene: &Scene| scene.made_and_deleted().1 == NODES && scene.jobs() == 0;
        // None is made again before all are gone: who would make them is killed.
        scene
            .until("the deletes", MINUTE, || scene.made_and_deleted().1 == NODES)
            .await;
        scene.kill();
        scene
            .until("the Jobs to go", MINUTE, || {
                all_gone(scene) || scene.made_and_deleted().0 > NODES
            })
            .await;
        let (made, _) = scene.made_and_deleted();
        scene.start();
        let took = scene
            .until("the creates", MINUTE, || scene.made_and_deleted().0 == 2 * NODES)
            .await;
        assert!(made < 2 * NODES && took <= Duration::from_secs(10), "{made} {took:?}");
        scene.settles(5 * MINUTE).await;
    });
}

#[test]
fn f05_a_history_that_is_gone_is_listed_anew_and_nothing_is_deleted_for_it() {
    play(async |scene| {
        runs(scene).await;
        scene.add("two", false, "b");
        scene.world.lock().weather = Weather {
            watch_closed: 1000,
            compacted: 1000,
            ..Weather::default()
        };
        scene.lasts(5 * MINUTE).await;
        let lists = scene.world.lock().log.count("list jobs/");
        assert!(lists > 3, "{lists} lists");
        scene.settles(MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (2 * NODES, 0));
    });
}

#[test]
fn f07_events_that_come_twice_cause_no_write() {
    let writes = |watch_doubled: u32| {
        let mut writes = 0;
        play(async |scene| {
            scene.world.lock().weather.watch_doubled = watch_doubled;
            runs(scene).await;
            scene.edit("one", "b");
            scene.settles(5 * MINUTE).await;
            scene.lasts(MINUTE).await;
            let state = scene.world.lock();
            writes = state.judge.writes;
            assert_eq!(watch_doubled == 1000, state.doubled > 20);
        });
        writes
    };
    assert_eq!(writes(1000), writes(1));
}

#[test]
fn f08_nothing_is_written_while_the_first_list_of_nodes_takes_a_minute() {
    play(async |scene| {
        scene.add("one", true, "a");
        scene.rule(|request| is(Verb::List, Kind::Node)(request).then_some(Rule::Late(MINUTE)));
        scene.start();
        scene.lasts(MINUTE).await;
        assert_eq!(scene.world.lock().judge.writes, 0);
        scene.settles(2 * MINUTE).await;
    });
}

#[test]
fn f09_a_list_of_nodes_that_is_wrongly_empty_deletes_nothing_and_loses_no_record() {
    play(async |scene| {
        runs(scene).await;
        let record = scene.daemon_job("one")["status"]["finishedNodes"].clone();
        scene.add("two", false, "b");
        scene
            .until("them to start", MINUTE, || scene.made_and_deleted().0 == 2 * NODES)
            .await;
        scene.kill();
        scene.rule(|request| is(Verb::List, Kind::Node)(request).then_some(Rule::Nothing));
        scene.start();
        scene.lasts(5 * MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (2 * NODES, 0));
        assert_eq!(scene.daemon_job("one")["status"]["finishedNodes"], record);
        // The nodes report, as they always do.
        scene.lift_rule();
        for number in 0..NODES {
            let key = Key::new(Kind::Node, "", &format!("n{number}"));
            let heartbeat = json!({"metadata": {"annotations": {"heard": "1"}}});
            scene.world.patch(Actor::User, &key, heartbeat).expect("it is there");
        }
        scene.settles(5 * MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (2 * NODES, 0));
    });
}

#[test]
fn f10_five_minutes_of_too_many_requests_are_over_within_a_minute() {
    play(async |scene| {
        scene.start();
        scene.lasts(MINUTE).await;
        scene.add("one", true, "a");
        scene.rule(|request| (request.kind != Kind::Lease).then_some(Rule::Refused(429, 30)));
        scene.lasts(5 * MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (0, 0));
        scene.lift_rule();
        let took = scene
            .until("all to be made", 5 * MINUTE, || scene.made_and_deleted().0 == NODES)
            .await;
        assert!(took <= MINUTE, "{took:?}");
        scene.settles(5 * MINUTE).await;
    });
}

#[test]
fn f11_ten_minutes_of_failures_end_within_the_longest_back_off() {
    play(async |scene| {
        scene.start();
        scene.lasts(MINUTE).await;
        scene.add("one", true, "a");
        let before = scene.world.lock().refused;
        scene.rule(|_| Some(Rule::Refused(500, 0)));
        scene.lasts(10 * MINUTE).await;
        let asked = scene.world.lock().refused - before;
        assert!(asked < 600, "{asked} requests in ten minutes");
        scene.lift_rule();
        scene
            .until("all to be made", 6 * MINUTE, || scene.made_and_deleted().0 == NODES)
            .await;
        scene.settles(5 * MINUTE).await;
    });
}

#[test]
fn f12_calls_for_one_daemonjob_that_take_ten_seconds_hold_no_other_up() {
    play(async |scene| {
        scene.rule(|request| {
            let text = format!("{} {}", request.name, request.body["metadata"]["name"]);
            text.contains("slow").then_some(Rule::Late(Duration::from_secs(11)))
        });
        scene.add("slow", true, "a");
        scene.start();
        scene.lasts(MINUTE).await;
        scene.add("one", true, "a");
        let took = scene
            .until("the other to start", MINUTE, || {
                scene.daemon_job("one")["status"]["active"] == NODES
            })
            .await;
        assert!(took <= Duration::from_secs(10), "{took:?}");
        scene.lift_rule();
        scene.settles(10 * MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (2 * NODES, 0));
    });
}

#[test]
fn f14_one_daemonjob_that_cannot_be_decoded_is_told_of_and_holds_no_other_up() {
    play(async |scene| {
        runs(scene).await;
        scene.add("two", true, "a");
        let two = Key::new(Kind::DaemonJob, NAMESPACE, "two");
        let garbled = json!({"desired": "many"});
        scene
            .world
            .patch_status(Actor::User, &two, &garbled)
            .expect("it is there");
        scene.edit("one", "b");
        let is_told = || scene.world.lock().log.count("\"Unreadable\"") > 0;
        scene.until("a warning", MINUTE, is_told).await;
        scene
            .until("the other", 5 * MINUTE, || {
                scene.made_and_deleted() == (2 * NODES, NODES)
            })
            .await;
        scene
            .world
            .patch_status(Actor::User, &two, &json!({"desired": null}))
            .expect("it is there");
        scene.settles(5 * MINUTE).await;
    });
}

#[test]
fn f38_while_no_daemonjob_is_served_it_waits_and_goes_on_when_they_are() {
    play(async |scene| {
        runs(scene).await;
        scene.rule(|request| (request.kind == Kind::DaemonJob).then_some(Rule::Refused(404, 0)));
        scene.edit("one", "b");
        scene.world.lock().weather.watch_closed = 1000;
        scene.lasts(5 * MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (NODES, 0));
        scene.lift_rule();
        scene.settles(5 * MINUTE).await;
        assert_eq!(scene.made_and_deleted(), (2 * NODES, NODES));
    });
}
