//! After the rollout: nothing to do, and nothing done.

use daemonjob_cluster::{Call, until};

use crate::calls::{table, writes};
use crate::heartbeats;
use crate::scene::{Act, NAME, NODES, assert_all_succeeded};
use crate::support::DEADLINE;

fn assert_no_writes(calls: &[Call]) {
    assert!(writes(calls).is_empty(), "{}", table(calls));
}

#[test]
fn i10_at_the_fixed_point_a_forced_plan_writes_nothing() {
    const TIMES: usize = 20;
    let mut scene = Act::begin();
    let mark = scene.settle();
    for number in 1..=TIMES {
        scene.makes_it_plan(&format!("annotate dj {NAME} note={number} --overwrite"));
    }
    scene.makes_it_plan("cordon node-1");
    scene.makes_it_plan("uncordon node-1");
    scene.settle();
    assert_no_writes(&scene.calls()[mark..]);
    assert_all_succeeded(&scene.status());
}

#[test]
fn p05_10000_heartbeats_cost_no_plan_and_no_write() {
    const TIMES: u8 = 10;
    const HEARTBEATS: f64 = 10_000.0;
    let mut scene = Act::begin();
    let mark = scene.settle();
    let (plans, seen) = (scene.plans(), scene.node_events());
    let nodes: Vec<String> = (1..=NODES).map(|number| format!("node-{number}")).collect();
    heartbeats::send(&scene.world.cluster.kubeconfig(), &nodes, TIMES).expect("all are taken");
    until("the process to see them", DEADLINE, || {
        Ok((scene.node_events() >= seen + HEARTBEATS).then_some(()))
    })
    .expect("its watch brings them");
    scene.settle();
    assert_eq!(scene.plans(), plans, "no plan");
    assert_no_writes(&scene.calls()[mark..]);
}
