//! After the rollout: nothing to do, and nothing done.

use daemonjob_cluster::Call;

use crate::calls::{count, table, writes};
use crate::heartbeats;
use crate::scene::{Act, NAME, NODES, SELECTED, assert_all_succeeded};

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
    /// A node leaves the selection: its plan, the status, the plan after the status, and some that find it on its way.
    const NOTICING: f64 = 10.0;
    let mut scene = Act::begin();
    let mark = scene.settle();
    let before = scene.plans();
    let nodes: Vec<String> = (1..=NODES).map(|number| format!("node-{number}")).collect();
    heartbeats::send(&scene.world.cluster.kubeconfig(), &nodes, TIMES).expect("all are taken");
    scene.settle();
    assert_eq!(scene.plans(), before, "no plan");
    assert_no_writes(&scene.calls()[mark..]);

    // A watch keeps the order: once this is noticed, all heartbeats were seen.
    scene.run("label node node-1 test-");
    scene.shows_desired(NODES - 1);
    let noticing = scene.plans() - before;
    assert!(noticing <= NOTICING, "{noticing} plans for one change");
    scene.run(&format!("label node node-1 test={SELECTED}"));
    scene.shows_desired(NODES);
    scene.settle();
    assert_eq!(count(&scene.calls()[mark..], "create jobs"), 0, "it has run there (G2)");
    assert_all_succeeded(&scene.status());
}
