//! What holds a DaemonJob up from outside: refusals of the API server, hashes and specs that are wrong.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::world::{World, at, template};
use super::super::{Action, Finished, Plan};
use super::{NOTHING, check, news, round, settle};
use crate::hash::TemplateHash;
use crate::record::Finish;

#[test]
fn e29_a_wrong_hash_is_restored_and_nothing_else_happens() {
    check("template A\nhash=wrong\nnode n1", "restore hash");
}

#[test]
fn e34_a_refused_template_costs_one_create_a_tick() {
    check(
        "template A\nrefused QuotaExceeded\nnode n1\nnode n2",
        "0/2 done, 2 waiting (QuotaExceeded)
         Stalled QuotaExceeded
         wake 1000000",
    );
    check(
        "template A\nrefused QuotaExceeded due\nnode n1\nnode n2",
        "create n1
         0/2 done, 2 waiting (QuotaExceeded)
         Stalled QuotaExceeded",
    );
    let in_time = World::parse("template A\nrefused QuotaExceeded due\nnow -1\nnode n1\nnode n2");
    assert_eq!(in_time.actions(&in_time.plan()), ["create n1"]);
}

#[test]
fn e35_a_job_whose_pods_are_refused_waits_with_the_words_of_its_event() {
    let world = "template A\nnode n1\njob n1 hash=A running podless@10";
    check(
        &format!("{world}\nnow 15"),
        "0/1 done
         Reconciling Running
         wake 20",
    );
    assert!(World::parse(&format!("{world}\nnow 20")).plan().look_for_events);
    check(
        &format!("{world}\nnow 15\npodless n1 last"),
        "0/1 done
         Reconciling Running
         wake 20",
    );
    check(
        &format!("{world}\nnow 25\npodless n1"),
        "0/1 done, 1 waiting (PodsRefused)
         Stalled PodsRefused",
    );
    let admitted = "template A\nnode n1\njob n1 hash=A running\nnow 25\npodless n1";
    check(
        admitted,
        "0/1 done
         Reconciling Running",
    );
}

#[test]
fn e46_a_contested_hash_is_restored_ever_less_often_and_told_after_five_times() {
    let world = "template A\nhash=wrong\nnode n1\nnow 10";
    check(&format!("{world}\nrestored 1 30"), "wake 30");
    check(&format!("{world}\nrestored 1 10"), "restore hash");
    check(
        &format!("{world}\nrestored 5 30"),
        "held: the template hash is contested
         Stalled TemplateHashContested
         wake 30",
    );
}

#[test]
fn e34_a_refusal_counts_only_while_a_node_of_the_beginning_wants_a_job() {
    let done = "1/1 done\nReady AllSucceeded\nComplete AllSucceeded\nFinished AllSucceeded";
    check(
        "template A\nrefused QuotaExceeded\nnode n1\njob n1 hash=A succeeded@5",
        done,
    );
    let late = World::parse(
        "template A\nrefused QuotaExceeded\nnow 20\nnode n1\nnode n2 joined=10\njob n1 hash=A succeeded@5",
    );
    assert!(late.outcome().contains("Ready AllSucceeded"), "{}", late.outcome());
    assert_eq!(late.plan().status.waiting_nodes[0].reason, "QuotaExceeded");
}

#[test]
fn e46_a_contest_from_the_creation_on_is_told_for_this_generation() {
    let status = World::parse("template A\nhash=wrong\nnode n1\nrestored 5 30")
        .plan()
        .status;
    assert_eq!((status.observed_generation, status.start_time), (1, None));
}

#[test]
fn b33_what_finishes_while_the_spec_is_invalid_is_recorded() {
    let world =
        World::parse("template A\nnode n1\njob n1 hash=A succeeded@5\nstarted").with_template(json!({"spec": {}}));
    let plan = world.plan();
    assert_eq!((plan.actions.len(), plan.status.finished_nodes.len()), (0, 1));
    assert!(
        plan.status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Stalled")
    );
}

#[rstest]
#[case::edited("hash=wrong")]
#[case::stripped("hash=none")]
fn e29_a_hash_past_the_webhook_is_restored_and_nothing_happens_before_the_right_one_is_seen(#[case] hash: &str) {
    let left = "node n1\nnode n2\njob n2 hash=A running\njob n3 hash=B running";
    let mut world = World::parse(&format!("template B replace\n{hash}\n{left}"));
    let plan = world.plan();
    let [
        Action::RestoreHash {
            hash,
            resource_version,
            news,
        },
    ] = &plan.actions[..]
    else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!(
        (hash, resource_version.as_str()),
        (&TemplateHash::of(&template("B")).unwrap(), "7")
    );
    assert_eq!((news.warning, news.reason.as_str()), (true, "TemplateHashRestored"));
    assert_eq!(&plan.status, world.subject().status(), "nothing has been planned");
    world.apply(&plan);
    assert_eq!(
        round(&mut world),
        [
            "create n1",
            "delete n2 (TemplateReplaced)",
            "delete a gone node (NodeGone)"
        ]
    );
}

#[rstest]
#[case::selector(json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), "spec.jobTemplate.spec.selector")]
#[case::manual_selector(json!({"spec": {"manualSelector": true}}), "spec.jobTemplate.spec.manualSelector")]
#[case::managed_by(json!({"spec": {"managedBy": "example.com/q"}}), "spec.jobTemplate.spec.managedBy")]
#[case::suspend(json!({"spec": {"suspend": true}}), "spec.jobTemplate.spec.suspend")]
#[case::reserved_label(json!({"metadata": {"labels": {"daemon.justk8s.com/x": "y"}}}), "spec.jobTemplate.metadata.labels")]
#[case::always(
    json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
    "spec.jobTemplate.spec.template.spec.restartPolicy"
)]
#[case::missing(
    json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}),
    "spec.jobTemplate.spec.template.spec.restartPolicy"
)]
fn e32_a_refused_template_that_is_stored_all_the_same_starts_and_deletes_nothing(
    #[case] change: Value,
    #[case] path: &str,
) {
    let mut refused = template("A");
    json_patch::merge(&mut refused, &change);
    let mut world = World::parse(
        "template A replace\nnode n1\nnode n2\njob n2 hash=B running\njob n3 hash=A running
         job n4 hash=B succeeded@5 owner=older",
    )
    .with_template(refused);
    let plan = world.plan();
    assert_eq!(world.actions(&plan), NOTHING);
    let told = news(&plan);
    assert!(
        matches!(&told[..], [event] if event.starts_with("Warning InvalidSpec ")),
        "{told:?}"
    );
    assert!(
        world.outcome().ends_with("\nStalled InvalidSpec"),
        "{}",
        world.outcome()
    );
    assert!(
        plan.status
            .conditions
            .iter()
            .all(|condition| condition.message.contains(path)),
        "{:?}",
        plan.status.conditions
    );
    world.apply(&plan);
    assert_eq!(news(&world.plan()), NOTHING, "once");
}

#[test]
fn e32_an_indexed_job_is_allowed() {
    let mut indexed = template("A");
    indexed["spec"]["completionMode"] = "Indexed".into();
    indexed["spec"]["completions"] = 3.into();
    let mut world = World::parse("template A\nnode n1").with_template(indexed);
    assert_eq!(settle(&mut world), ["create n1"]);
}

#[rstest]
#[case("QuotaExceeded")]
#[case("Refused")]
fn e34_while_jobs_are_refused_nothing_starts_between_two_probes_and_one_event_says_so(#[case] reason: &str) {
    let nodes = "node n1\nnode n2\nnode n3\nnode n4\nnode n5 cordoned";
    let mut world = World::parse(&format!("template A\nrefused {reason}\n{nodes}"));
    let plan = world.plan();
    assert_eq!(world.actions(&plan), NOTHING);
    assert_eq!(
        news(&plan),
        [format!("Warning {reason} exceeded quota: q")],
        "the server's words"
    );
    let stalled = plan
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Stalled")
        .unwrap();
    assert_eq!(
        (stalled.reason.as_str(), stalled.message.as_str()),
        (reason, "exceeded quota: q")
    );
    let groups: Vec<_> = plan
        .status
        .waiting_nodes
        .iter()
        .map(|group| (group.reason.as_str(), group.count))
        .collect();
    assert!(
        groups.contains(&(reason, 4)) && groups.contains(&("Cordoned", 1)),
        "{groups:?}"
    );
    let refused = plan.status.waiting_nodes.iter().find(|group| group.reason == reason);
    assert_eq!(refused.unwrap().message.as_deref(), Some("exceeded quota: q"));
    world.apply(&plan);
    for _ in 0..3 {
        world.pass(SignedDuration::from_secs(60));
        let plan = world.plan();
        assert_eq!(
            (world.actions(&plan), news(&plan)),
            (Vec::new(), Vec::new()),
            "no flood"
        );
    }
    world.say(&format!("refused {reason} due"));
    let plan = world.plan();
    assert_eq!(
        (world.actions(&plan), news(&plan)),
        (vec!["create n1".to_owned()], Vec::new()),
        "one probe"
    );
}

#[test]
fn e34_what_needs_no_create_goes_on_under_a_refusal_and_all_starts_after_it() {
    let lines = "selector os=linux
         node n1 os=linux\nnode n2 os=linux\nnode n3\nnode n4 os=linux\nnode n5 os=linux\nnode n6 os=linux
         job n2 hash=A running\njob n3 hash=B running\njob n4 hash=B succeeded@5\njob n7 hash=B running
         record n4 hash=B succeeded";
    let refused = World::parse(&format!(
        "template B replace ttl=0\nrefused QuotaExceeded\nnow 9\n{lines}"
    ));
    assert_eq!(
        refused.actions(&refused.plan()),
        [
            "delete n2 (TemplateReplaced)",
            "delete n3 (NodeNotSelected)",
            "delete n4 (TtlExpired)",
            "delete a gone node (NodeGone)",
        ]
    );
    let free = World::parse(&format!("template B replace\n{lines}"));
    let creates = free
        .actions(&free.plan())
        .into_iter()
        .filter(|action| action.starts_with("create"));
    assert_eq!(creates.collect::<Vec<_>>(), ["create n1", "create n5", "create n6"]);
}

#[test]
fn e35_a_refused_pod_waits_with_the_words_of_its_jobs_event_and_others_go_on() {
    let mut world = World::parse("template A\nnode n1\nnode n2\njob n1 hash=A running podless@10\npodless n1\nnow 25");
    let plan = world.plan();
    assert_eq!(world.actions(&plan), ["create n2"]);
    let group = plan
        .status
        .waiting_nodes
        .iter()
        .find(|group| group.reason == "PodsRefused")
        .unwrap();
    assert_eq!(
        (group.count, group.message.as_deref()),
        (1, Some("exceeded quota: pods"))
    );
    assert_eq!(plan.status.failed, 0);
    world.say("job n1 hash=A running");
    assert_eq!(world.plan().status.active, 1, "its Pod is there: no longer refused");
}

#[test]
fn e46_while_the_hash_is_contested_nothing_starts_or_stops_and_what_was_known_stays() {
    let left = "node n1\nnode n2\nnode n3\njob n1 hash=A running\njob n4 hash=B running\nrecord n2 hash=B succeeded";
    let mut world = World::parse(&format!("template B replace\nhash=wrong\n{left}\nrestored 5 300"));
    let before = world.subject().status().finished_nodes.clone();
    let plan = world.plan();
    assert_eq!(world.actions(&plan), NOTHING);
    assert_eq!(plan.status.finished_nodes, before);
    let told = news(&plan);
    assert!(
        matches!(&told[..], [event] if event.starts_with("Warning TemplateHashContested ")),
        "{told:?}"
    );
    world.apply(&plan);
    assert_eq!(news(&world.plan()), NOTHING, "once");
    world.pass(SignedDuration::from_secs(300));
    assert_eq!(world.actions(&world.plan()), ["restore hash"]);
}

#[test]
fn e46_the_other_writer_is_named() {
    let world = "template A\nhash=wrong\nnode n1\nrestored 5 300";
    let message = |world: &str| World::parse(world).plan().status.conditions[0].message.clone();
    let named = message(&format!("{world}\nmanager argocd"));
    assert!(
        named.starts_with("the field manager \"argocd\" keeps changing"),
        "{named}"
    );
    let unnamed = message(world);
    assert!(unnamed.starts_with("another writer keeps changing"), "{unnamed}");
}

#[rstest]
#[case::restored_now("hash=wrong")]
#[case::restored_later("hash=none\nrestored 2 30")]
#[case::contested("hash=wrong\nrestored 5 300")]
fn e29_e46_what_finishes_while_the_hash_is_wrong_is_recorded_and_does_not_run_again(#[case] hash: &str) {
    let ran = "node n1\nnode n2\njob n1 hash=A succeeded@5\njob n2 hash=A failed@5";
    let mut world = World::parse(&format!("template A\nstarted\n{hash}\n{ran}"));
    let plan = world.plan();
    assert!(
        news(&plan).contains(&"Warning JobFailed node n2: BackoffLimitExceeded: m".to_owned()),
        "{:?}",
        news(&plan)
    );
    world.apply(&plan);
    world.lose("job", "n1");
    world.lose("job", "n2");
    world.say("hash=right");
    assert_eq!(settle(&mut world), NOTHING);
    assert!(
        world.outcome().starts_with("1/2 done, 1 failed\nStalled NodesFailed"),
        "{}",
        world.outcome()
    );
}

#[rstest]
#[case::invalid("pod {\"restartPolicy\": \"Always\"}")]
#[case::hash_restored("hash=wrong")]
#[case::contested("hash=wrong\nrestored 5 300")]
fn e45_a_run_or_a_retry_that_is_seen_while_nothing_is_planned_is_remembered(#[case] why: &str) {
    let plan = World::parse(&format!(
        "template A\nstarted\n{why}\nnode n1\njob n1 hash=A running retry=again\nnode n2\njob n2 hash=A failed@5
         retry again\npending again n1"
    ))
    .plan();
    assert_eq!(plan.status.retry.unwrap().pending, "");
    let finished = Finished {
        finish: Finish::Failed,
        reason: "BackoffLimitExceeded",
    };
    assert_eq!(plan.finished, [finished], "for the metrics");
}

#[rstest]
#[case::invalid("pod {\"restartPolicy\": \"Always\"}")]
#[case::contested("hash=wrong\nrestored 5 300")]
fn what_is_held_has_not_completed_and_is_told_at_once(#[case] why: &str) {
    let mut world = World::parse(&format!("template A\ncompleted\n{why}\nnode n1"));
    let plan = world.plan();
    let times = |plan: &Plan| (plan.status.start_time, plan.status.completion_time);
    assert_eq!((times(&plan), plan.urgent), ((Some(at(0)), None), true));
    world.apply(&plan);
    assert!(!world.plan().urgent, "nothing new");
    world.say("edited");
    let plan = world.plan();
    assert_eq!(
        (times(&plan), plan.urgent),
        ((None, None), true),
        "no run of this generation"
    );
}

#[rstest]
#[case::invalid("pod {\"restartPolicy\": \"Always\"}", 21)]
#[case::hash_restored("hash=wrong", 20)]
fn many_failures_while_nothing_is_planned_are_recorded_and_no_flood_of_events(#[case] why: &str, #[case] most: usize) {
    let nodes: String = (0..50)
        .map(|n| format!("node n{n}\njob n{n} hash=A failed@5\n"))
        .collect();
    let plan = World::parse(&format!("template A\nstarted\n{why}\n{nodes}")).plan();
    assert_eq!(plan.events.len(), most, "twenty failures, and why nothing is planned");
    assert_eq!(plan.status.finished_nodes[0].failed.split(' ').count(), 50);
}

#[test]
fn e33_a_terminating_namespace_is_not_asked_again() {
    let mut world = World::parse("template A\nrefused NamespaceTerminating due\nnode n1\nnode n2");
    let plan = world.plan();
    assert_eq!(world.actions(&plan), NOTHING);
    assert_eq!(plan.wake_at, None);
    assert!(news(&plan)[0].starts_with("Warning NamespaceTerminating"));
    world.apply(&plan);
    assert_eq!(news(&world.plan()), NOTHING);
}
