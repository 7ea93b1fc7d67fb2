//! Laws that need no walk: worlds of random lines, and random templates.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::world::{World, at};
use super::super::{Action, Observed, Plan, Slot, Troubles, build_job, plan};
use super::cases;
use super::cluster::Cluster;
use super::controller::{Controller, Fate, Kind};
use crate::defaulting::tests::apply;
use crate::defaulting::{Defaults, defaults};
use crate::hash::TemplateHash;
use crate::names;
use crate::observed::Listed;
use crate::types::DaemonJobStatus;

type Labels = BTreeMap<String, String>;

fn labels(most: usize) -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[ab]", "[xy]", 0..=most)
}

fn written(word: &str, labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{word} {}\n", pairs.join(" "))
}

fn line(node: usize) -> impl Strategy<Value = String> {
    let state = prop::sample::select(&["", "cordoned", "taint=gpu:NoSchedule", "uid=new", "joined=5"][..]);
    let job = prop::sample::select(
        &[
            "",
            "hash=A running",
            "hash=B running",
            "hash=A succeeded@5",
            "hash=B failed@5",
            "hash=B suspended",
            "hash=A running deleted@7",
            "hash=B failed@5 deleted@7",
            "hash=A running owner=older",
            "hash=A running owner=foreign",
        ][..],
    );
    let record = prop::sample::select(&["", "hash=A succeeded", "hash=B failed"][..]);
    (prop::bool::weighted(0.9), state, job, record).prop_map(move |(is_there, state, job, record)| {
        let mut lines = Vec::new();
        lines.extend(is_there.then(|| format!("node n{node} {state}")));
        lines.extend((!job.is_empty()).then(|| format!("job n{node} {job}")));
        lines.extend((!record.is_empty()).then(|| format!("record n{node} {record}")));
        lines.join("\n")
    })
}

/// A template line, lines for eight nodes, and the same lines in another order.
fn shuffled() -> impl Strategy<Value = (String, Vec<String>, Vec<String>)> {
    let first = prop::sample::select(&["template A", "template A replace", "template B replace ttl=0"][..]);
    let lines: Vec<_> = (0..8).map(line).collect();
    (first, lines).prop_flat_map(|(first, lines)| {
        let again = Just(lines.clone()).prop_shuffle();
        (Just(format!("{first}\nnow 20")), Just(lines), again)
    })
}

/// What a plan says, whatever the order of its slots.
fn gist(plan: &Plan, names: &[String]) -> (Vec<String>, Vec<i64>, DaemonJobStatus) {
    let mut actions: Vec<String> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::Create { slot, guard } => format!("create {} {guard:?}", names[*slot]),
            Action::Delete { .. } | Action::RestoreHash { .. } => format!("{action:?}"),
        })
        .collect();
    actions.sort();
    let status = &plan.status;
    let counters = vec![
        status.desired,
        status.active,
        status.succeeded,
        status.failed,
        status.waiting,
        status.outdated,
        status.skipped,
    ];
    let record = DaemonJobStatus {
        finished_nodes: status.finished_nodes.clone(),
        retry: status.retry.clone(),
        ..DaemonJobStatus::default()
    };
    (actions, counters, record)
}

/// A template that the webhook lets in.
fn templates() -> impl Strategy<Value = Value> {
    let text = || prop_oneof!["[a-z]{0,5}", "\\PC{0,4}", Just("1".to_owned()), Just("true".to_owned())];
    let environment = prop::collection::vec((Just("E"), text()), 0..3);
    let annotations = prop::collection::btree_map("[a-z]{1,4}", text(), 0..3);
    (environment, annotations, prop::option::of(0_i32..9), 0_i64..100).prop_map(
        |(environment, annotations, limit, ttl)| {
            let environment: Vec<Value> = environment
                .into_iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            json!({
                "metadata": {"annotations": annotations},
                "spec": {
                    "backoffLimit": limit,
                    "ttlSecondsAfterFinished": ttl,
                    "template": {"spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "c", "image": "i", "env": environment}],
                    }},
                },
            })
        },
    )
}

/// The same template as another tool writes it: nulls for what is absent, whole numbers as fractions.
fn in_other_words(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(in_other_words).collect(),
        Value::Object(members) => {
            let same = members.iter().map(|(key, value)| (key.clone(), in_other_words(value)));
            let mut other: Map<String, Value> = same.collect();
            other.entry("absent").or_insert(Value::Null);
            other.into()
        }
        Value::Number(number) => number.as_f64().map_or_else(|| value.clone(), Value::from),
        Value::Bool(_) | Value::Null | Value::String(_) => value.clone(),
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn l07_selector_precedence(
        selector in labels(2),
        ignored in labels(2),
        nodes in prop::collection::vec(labels(2), 1..6),
    ) {
        let nodes_text: String =
            nodes.iter().enumerate().map(|(n, labels)| written(&format!("node n{n}"), labels)).collect();
        let both = format!("template A\n{}{}{nodes_text}", written("selector", &selector), written("ignore", &ignored));
        let alone = format!("template A\n{}{nodes_text}", written("selector", &selector));
        let excluded = format!("template A\n{}{nodes_text}", written("ignore", &ignored));
        let carries = |node: &Labels, wanted: &Labels| wanted.iter().all(|(key, value)| node.get(key) == Some(value));
        // An empty map means unset.
        let is_conflict = !selector.is_empty() && !ignored.is_empty();
        let expected = nodes.iter().filter(|node| {
            if selector.is_empty() { ignored.is_empty() || !carries(node, &ignored) } else { carries(node, &selector) }
        });
        let plan = World::parse(&both).plan();
        prop_assert_eq!(plan.actions.len(), expected.count());
        let same = World::parse(if selector.is_empty() { &excluded } else { &alone }).plan();
        prop_assert_eq!(&plan.actions, &same.actions);
        prop_assert_eq!(plan.status.waiting, same.status.waiting);
        let told = plan.status.conditions.iter().all(|condition| condition.message.contains("only `selector` takes effect"));
        let warned = plan.events.iter().any(|event| event.warning && event.reason.as_str() == "SelectorsConflict");
        prop_assert_eq!((told, warned), (is_conflict, is_conflict));
    }

    #[test]
    fn l08_order_independent((first, lines, again) in shuffled(), turn in 0_usize..8) {
        let world = World::parse(&format!("{first}\n{}", lines.join("\n")));
        let other = World::parse(&format!("{first}\n{}\n{}", again.join("\n"), lines.join("\n")));
        prop_assert_eq!(world.plan(), other.plan(), "lines in another order, and twice");

        let (subject, slots) = (world.subject(), world.slots());
        let mut slots: Vec<&Slot> = slots.iter().collect();
        let names = |slots: &[&Slot]| slots.iter().map(|slot| slot.name.to_string()).collect::<Vec<_>>();
        let planned = |slots: &[&Slot]| {
            let seen = Observed::new(Listed::for_tests(), &subject, slots, Troubles::default(), at(20));
            gist(&plan(&seen), &names(slots))
        };
        let before = planned(&slots);
        let turn = turn.min(slots.len());
        slots.rotate_left(turn);
        prop_assert_eq!(before, planned(&slots), "slots in another order");
    }

    #[test]
    fn l11_a_refused_template_costs_one_request_a_tick(nodes in 1_usize..20, ticks in 0_usize..8) {
        let lines: String = (0..nodes).map(|n| format!("node n{n}\n")).collect();
        let mut cluster = Cluster::of(World::parse(&format!("template A\n{lines}")));
        cluster.quota = true;
        let mut controller = Controller::default();
        Kind::ALL.iter().for_each(|kind| controller.deliver(*kind, 1, &cluster));
        for _ in 0..=ticks {
            // As the process does: it plans anew after each answer, before it sends the next write.
            while controller.due().is_some_and(|due| due <= cluster.clock) || !controller.is_idle() {
                controller.plan(&cluster);
                controller.guard(Fate::Answered, &mut cluster);
                controller.send(0, Fate::Answered, &mut cluster);
                controller.send_report(Fate::Answered, &mut cluster);
            }
            cluster.clock = controller.due().expect("it tries again").max(cluster.clock);
        }
        prop_assert_eq!(cluster.refused, ticks + 1);
    }

    #[test]
    fn l12_one_hash(template in templates(), replace in prop::option::of(any::<bool>())) {
        let object = |template: &Value| json!({
            "metadata": {"name": "dj", "namespace": "ns", "uid": "u", "generation": 1, "annotations": {}},
            "spec": {"replace": replace, "jobTemplate": template},
        });
        let first = object(&template);
        let stored = apply(&first, &defaults(&first, None));
        prop_assert_eq!(defaults(&stored, Some(&stored)), Defaults::default(), "mutating twice");
        prop_assert_eq!(TemplateHash::of(&in_other_words(&template)), TemplateHash::of(&template));

        let subject = super::super::Subject::new(serde_json::from_value(stored).unwrap());
        let spec = subject.reading().runnable().map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
        prop_assert_eq!(subject.annotated_hash(), Some(spec.template.hash().as_str()));
        let slots = World::parse("template A\nnode n1").slots();
        let seen = [&slots[0]];
        let seen = Observed::new(Listed::for_tests(), &subject, &seen, Troubles::default(), at(0));
        let starts = matches!(plan(&seen).actions[..], [Action::Create { .. }]);
        prop_assert!(starts, "nothing to restore");
        let job = build_job(&subject, &slots[0]).unwrap();
        prop_assert_eq!(job["metadata"]["annotations"][names::TEMPLATE_HASH].as_str(), subject.annotated_hash());
    }
}
