//! Which nodes a DaemonJob runs on, which it skips and which wait; nodes that go, come back and change.

use rstest::rstest;
use serde_json::json;

use super::super::world::World;
use super::super::{Action, build_job};
use super::{NOTHING, assert_outcome, check, news, round, settle};
use crate::names;
use crate::observed::Run;

#[test]
fn every_selected_node_starts() {
    check(
        "template A\nnode n1\nnode n2",
        "create n1
         create n2
         0/2 done, 2 waiting (Starting)
         Reconciling Running",
    );
}

#[test]
fn e02_a_job_is_replaced_only_where_its_successor_may_start() {
    check(
        "template B replace\nnode n1 cordoned\nnode n2 cordoned\njob n1 hash=A running\nrecord n2 hash=A succeeded",
        "0/2 done, 1 waiting (Cordoned), 2 outdated
         Reconciling Running
         wake 600",
    );
}

#[test]
fn e06_the_job_of_a_gone_node_is_deleted() {
    check(
        "template A\njob n1 hash=A running",
        "delete a gone node (NodeGone)
         no node selected
         Ready NoNodesSelected
         Complete NoNodesSelected
         Finished NoNodesSelected",
    );
}

#[test]
fn e07_recreated_node_runs_again() {
    check(
        "template A\nnode n1 uid=new\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded",
        "delete n1 (NodeRecreated)
         0/1 done, 1 waiting (Replacing)
         Reconciling Running",
    );
    check(
        "template A\nnode n1 uid=new\nrecord n1 hash=A succeeded",
        "create n1
         0/1 done, 1 waiting (Starting)
         Reconciling Running",
    );
}

#[test]
fn e09_deselected_an_unfinished_job_goes_and_a_finished_one_stays() {
    check(
        "template A\nselector os=linux\nnode n1 os=windows\nnode n2 os=windows\nnode n3 os=linux
         job n1 hash=A running\njob n2 hash=A succeeded@5\njob n3 hash=A succeeded@5",
        "delete n1 (NodeNotSelected)
         1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[rstest]
#[case::foreign("job n1 hash=A running owner=foreign")]
#[case::finished_and_gone("ended n1 hash=A succeeded@5")]
#[case::going("job n1 hash=A running deleted@5")]
fn e09_what_is_on_a_node_that_is_not_selected_is_not_counted(#[case] job: &str) {
    check(
        &format!("template A\nselector os=linux\nnode n1\n{job}"),
        "no node selected
         Ready NoNodesSelected
         Complete NoNodesSelected
         Finished NoNodesSelected",
    );
}

#[test]
fn b34_with_both_selectors_only_selector_counts_and_the_status_says_so() {
    let world = World::parse("template A\nselector os=linux\nignore os=linux\nnode n1 os=linux\nnode n2");
    let plan = world.plan();
    assert_eq!(plan.actions.len(), 1);
    assert!(
        plan.status
            .conditions
            .iter()
            .all(|condition| condition.message.contains("only `selector` takes effect"))
    );
    assert!(plan.events[0].warning && plan.events[0].reason.as_str() == "SelectorsConflict");
}

#[test]
fn e11_nothing_selected_is_complete_and_all_skipped_is_not() {
    check(
        "template A\nselector os=linux\nnode n1",
        "no node selected
         Ready NoNodesSelected
         Complete NoNodesSelected
         Finished NoNodesSelected",
    );
    check(
        "template A\nnode n1 taint=gpu:NoSchedule",
        "all nodes skipped
         Reconciling AllNodesSkipped",
    );
    let plan = World::parse("template A\nnode n1 taint=gpu:NoSchedule").plan();
    assert!(
        plan.events[0].warning && plan.events[0].note.contains("gpu"),
        "{:?}",
        plan.events
    );
}

#[test]
fn e06_the_unknown_outcome_of_a_gone_node_is_told() {
    let told = |job: &str| match &World::parse(&format!("template A\njob n1 hash=A {job}")).plan().actions[..] {
        [Action::Delete { news, .. }] => news.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(told("running") && !told("succeeded@5"));
}

#[test]
fn e01_a_cordoned_node_waits_and_starts_when_it_is_uncordoned() {
    let mut world = World::parse("template A\nnode n1 cordoned");
    assert_outcome(
        &world,
        "0/1 done, 1 waiting (Cordoned)
         Reconciling Waiting
         wake 600",
    );
    assert_eq!(round(&mut world), NOTHING);
    world.say("node n1");
    assert_eq!(settle(&mut world), ["create n1"]);
}

#[test]
fn e01_a_template_that_tolerates_the_cordon_starts_at_once() {
    check(
        r#"template A
           pod {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]}
           node n1 cordoned
           node n2 cordoned taint=node.kubernetes.io/unschedulable:NoSchedule"#,
        "create n1
         create n2
         0/2 done, 2 waiting (Starting)
         Reconciling Running",
    );
}

#[rstest]
#[case::cordoned("cordoned")]
#[case::no_new_work("taint=gpu:NoSchedule")]
#[case::evicting("taint=gpu:NoExecute")]
#[case::not_ready("taint=node.kubernetes.io/not-ready:NoExecute")]
#[case::unreachable("taint=node.kubernetes.io/unreachable:NoExecute")]
fn e02_e03_what_comes_over_a_node_later_stops_nothing_and_runs_nothing_again(#[case] state: &str) {
    let world = format!(
        "template A
         node n1 {state}\nnode n2 {state}\nnode n3 {state}\nnode n4 {state}
         job n1 hash=A running\njob n2 hash=A succeeded@5\njob n3 hash=A failed@5\nrecord n4 hash=A succeeded"
    );
    check(
        &world,
        "2/4 done, 1 failed
         Reconciling Running",
    );
    let status = World::parse(&world).plan().status;
    assert_eq!((status.active, status.succeeded, status.failed), (1, 2, 1));
    assert_eq!((status.waiting, status.skipped), (0, 0));
}

#[rstest]
#[case::policy("taint=gpu:NoExecute", (1, 0, 1))]
#[case::passing("taint=node.kubernetes.io/unreachable:NoExecute", (1, 1, 0))]
fn e02_e03_only_a_start_that_is_still_needed_is_skipped_or_waits(
    #[case] state: &str,
    #[case] active_waiting_skipped: (i64, i64, i64),
) {
    let world = World::parse(&format!(
        "template B replace
         node n1 {state}\nnode n2 {state}\nnode n3 {state}
         job n1 hash=A running\njob n2 hash=A succeeded@5\njob n3 hash=B succeeded@5\nrecord n2 hash=A succeeded"
    ));
    let plan = world.plan();
    assert_eq!(world.actions(&plan), NOTHING);
    let status = plan.status;
    assert_eq!((status.active, status.waiting, status.skipped), active_waiting_skipped);
    assert_eq!((status.outdated, status.succeeded), (2, 1), "n1 and n2; n3");
}

#[rstest]
#[case("node.kubernetes.io/not-ready", "NotReady")]
#[case("node.kubernetes.io/unreachable", "Unreachable")]
#[case("node.kubernetes.io/unschedulable", "Cordoned")]
#[case("node.kubernetes.io/memory-pressure", "MemoryPressure")]
#[case("node.kubernetes.io/disk-pressure", "DiskPressure")]
#[case("node.kubernetes.io/pid-pressure", "PidPressure")]
#[case("node.kubernetes.io/network-unavailable", "NetworkUnavailable")]
#[case("node.kubernetes.io/out-of-service", "Shutdown")]
#[case("node.cloudprovider.kubernetes.io/uninitialized", "Initializing")]
#[case("node.cloudprovider.kubernetes.io/shutdown", "Shutdown")]
#[case("karpenter.sh/unregistered", "Initializing")]
#[case("startup-taint.cluster-autoscaler.kubernetes.io/x", "Initializing")]
#[case("status-taint.cluster-autoscaler.kubernetes.io/x", "Initializing")]
#[case("node.cilium.io/agent-not-ready", "Initializing")]
#[case("example.com/warming-up", "Initializing")]
fn e04_e05_a_node_that_cannot_take_work_now_waits_and_starts_when_it_can(#[case] key: &str, #[case] reason: &str) {
    for effect in ["NoSchedule", "NoExecute"] {
        let mut world = World::parse(&format!(
            "template A\npassing example.com/warming-up\nnode n1 taint={key}:{effect}"
        ));
        assert_outcome(
            &world,
            &format!(
                "0/1 done, 1 waiting ({reason})
                 Reconciling Waiting
                 wake 600"
            ),
        );
        assert_eq!(round(&mut world), NOTHING);
        world.say("node n1");
        assert_eq!(settle(&mut world), ["create n1"]);
    }
    let tolerant = format!(r#"pod {{"tolerations": [{{"key": "{key}", "operator": "Exists"}}]}}"#);
    let world = format!("template A\n{tolerant}\nnode n1 taint={key}:NoSchedule");
    assert!(World::parse(&world).outcome().starts_with("create n1"), "{key}");
}

#[rstest]
#[case("gpu")]
#[case("node-role.kubernetes.io/control-plane")]
#[case("node.kubernetes.io/os")]
#[case("example.com/warming-up")]
fn e05_a_policy_taint_skips_with_its_key_and_is_decided_anew_when_taints_change(#[case] key: &str) {
    let mut world = World::parse(&format!("template A\nnode n1 taint={key}:NoSchedule\nnode n2"));
    assert_outcome(
        &world,
        "create n2
         0/1 done, 1 waiting (Starting)
         Reconciling Running",
    );
    let skipped = world.plan().status.skipped_nodes;
    let told: Vec<_> = skipped
        .iter()
        .map(|group| (group.reason.as_str(), group.count, group.message.as_deref()))
        .collect();
    assert_eq!(told, [("UntoleratedTaint", 1, Some(format!("taint {key}").as_str()))]);
    assert_eq!(settle(&mut world), ["create n2"]);
    world.say("node n1");
    assert_eq!(settle(&mut world), ["create n1"]);
}

#[test]
fn e06_a_gone_node_leaves_desired_at_once_and_its_token_once_a_complete_list_says_so() {
    let world = "template A\nnode n1\njob n1 hash=A succeeded@5\nrecord n2 hash=A failed";
    let tokens = |text: &str| {
        let status = World::parse(text).plan().status;
        let record = crate::record::Record::read(&status.finished_nodes, 1);
        let is_known = |node: &str| record.of(&names::NodeUid::new(format!("{node}-uid"))).is_some();
        (status.desired, is_known("n1"), is_known("n2"))
    };
    assert_eq!(tokens(world), (1, true, true));
    assert_eq!(tokens(&format!("{world}\ngone n2")), (1, true, false));
}

#[test]
fn e06_a_job_that_is_going_with_its_node_is_not_told_twice() {
    check(
        "template A\nnode n1\njob n1 hash=A succeeded@5\njob n2 hash=A running deleted@5",
        "1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[rstest]
#[case::running("running", true)]
#[case::finished("failed@5", false)]
fn e07_f21_a_node_made_again_runs_once_its_leftover_job_is_gone(#[case] leftover: &str, #[case] unknown: bool) {
    let mut world = World::parse(&format!("template A\nnode n1 uid=new\njob n1 hash=A {leftover}"));
    let plan = world.plan();
    let [Action::Delete { news, .. }] = &plan.actions[..] else {
        panic!("{:?}", plan.actions)
    };
    let told = news.as_ref().map(|news| (news.warning, news.reason.as_str()));
    assert_eq!(
        told,
        unknown.then_some((true, "NodeRecreated")),
        "an outcome that nobody will know"
    );
    assert_eq!(
        plan.status.finished_nodes,
        [],
        "what the leftover did is not the new node's"
    );
    assert_eq!(settle(&mut world), ["delete n1 (NodeRecreated)", "create n1"]);
    assert_eq!(world.status.unwrap().succeeded, 1);
}

#[test]
fn e09_f20_a_label_that_comes_and_goes_starts_and_stops_what_is_unfinished_and_nothing_else() {
    let mut world = World::parse("template A\nselector os=linux\nnode n1 os=linux\nnode n2 os=linux");
    assert_eq!(round(&mut world), ["create n1", "create n2"]);
    world.end("n2", Run::Succeeded { at: Some(world.now()) });
    for _ in 0..10 {
        world.say("node n1\nnode n2");
        assert_eq!(round(&mut world), ["delete n1 (NodeNotSelected)"]);
        assert_eq!(round(&mut world), NOTHING);
        world.say("node n1 os=linux\nnode n2 os=linux");
        assert_eq!(round(&mut world), ["create n1"]);
        assert_eq!(round(&mut world), NOTHING);
    }
}

#[rstest]
#[case::node_selector(r#"{"nodeSelector": {"zone": "a"}}"#)]
#[case::affinity(
    r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}}}"#
)]
fn e09_a_label_that_only_the_template_asks_for_stops_nothing_when_it_goes(#[case] pod: &str) {
    let pod = pod.replace('\n', " ");
    check(
        &format!(
            "template A\npod {pod}\nnode n1 zone=b\nnode n2 zone=b
             job n1 hash=A running\njob n2 hash=A succeeded@5"
        ),
        "1/2 done
         Reconciling Running",
    );
}

#[test]
fn e11_a_node_that_matches_later_runs() {
    let mut world = World::parse("template A\nselector os=linux\nnode n1");
    assert_eq!(settle(&mut world), NOTHING);
    world.say("node n1 os=linux");
    assert_eq!(settle(&mut world), ["create n1"]);
    assert!(world.outcome().starts_with("1/1 done\nReady AllSucceeded"));
}

#[test]
fn e11_all_skipped_is_told_in_one_warning_though_other_nodes_are_not_selected() {
    let mut world = World::parse("template A\nselector os=linux\nnode n1 os=linux taint=gpu:NoSchedule\nnode n2");
    let plan = world.plan();
    assert_eq!((plan.status.desired, plan.status.skipped), (0, 1));
    let is_false = |type_: &str| {
        let condition = plan.status.conditions.iter().find(|condition| condition.type_ == type_);
        condition.is_some_and(|condition| condition.status == "False" && condition.reason == "AllNodesSkipped")
    };
    assert!(
        is_false("Ready") && is_false("Complete"),
        "{:?}",
        plan.status.conditions
    );
    let told = news(&plan);
    assert!(
        matches!(&told[..], [event] if event.starts_with("Warning AllNodesSkipped ")),
        "{told:?}"
    );
    world.apply(&plan);
    assert_eq!(news(&world.plan()), NOTHING, "once");
}

#[test]
fn e12_virtual_nodes_are_skipped_by_their_taints_or_left_out_by_their_labels() {
    check(
        "template A\nnode n1
         node fargate taint=eks.amazonaws.com/compute-type:NoSchedule
         node virtual taint=virtual-kubelet.io/provider:NoSchedule",
        "create n1
         0/1 done, 1 waiting (Starting)
         Reconciling Running",
    );
    for label in ["type=virtual-kubelet", "eks.amazonaws.com/compute-type=fargate"] {
        let world = World::parse(&format!("template A\nignore {label}\nnode n1\nnode v {label}"));
        assert_eq!(world.actions(&world.plan()), ["create n1"], "{label}");
        assert_eq!(world.plan().status.skipped, 0, "{label}");
    }
}

#[rstest]
#[case::node_selector(r#"{"nodeSelector": {"kubernetes.io/arch": "arm64"}}"#, "NodeSelectorMismatch")]
#[case::affinity(
    r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "NotIn", "values": ["amd64"]}]}]}}}}"#,
    "NodeAffinityMismatch"
)]
#[case::os(r#"{"os": {"name": "linux"}}"#, "OsMismatch")]
fn e13_nodes_that_the_template_filters_out_are_skipped(#[case] pod: &str, #[case] reason: &str) {
    let pod = pod.replace('\n', " ");
    let world = World::parse(&format!(
        "template A\npod {pod}
         node n1 kubernetes.io/arch=arm64 kubernetes.io/os=linux
         node n2 kubernetes.io/arch=amd64 kubernetes.io/os=windows"
    ));
    let plan = world.plan();
    assert_eq!(world.actions(&plan), ["create n1"]);
    let status = plan.status;
    assert_eq!((status.desired, status.skipped), (1, 1));
    assert_eq!(
        (
            status.skipped_nodes[0].reason.as_str(),
            &status.skipped_nodes[0].nodes[..]
        ),
        (reason, &["n2".to_owned()][..])
    );
}

#[test]
fn e15_e16_the_pin_is_the_nodes_name_however_long_and_whatever_its_hostname_label_says() {
    let name = format!("{}.example.com", "n".repeat(188));
    let world = World::parse(&format!("template A\nnode {name} kubernetes.io/hostname=other"));
    let job = build_job(&world.subject(), &world.slots()[0]).unwrap();
    let terms = job.pointer(
        "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    let pin = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]);
    assert_eq!(terms, Some(&pin));
    assert_eq!(job["metadata"]["annotations"][names::NODE_NAME], name);
    let length = |pointer: &str| job.pointer(pointer).and_then(|text| text.as_str()).map(str::len);
    assert!(length("/metadata/name").is_some_and(|length| length <= 57), "{job}");
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        let label = length(&format!("{labels}/daemon.justk8s.com~1node"));
        assert!(label.is_some_and(|length| length <= 63), "{job}");
    }
}
