//! What the controller makes of the objects of the vectors, once they are stored: I13, and the head of cases.md B.

use std::collections::BTreeSet;
use std::sync::Arc;

use daemonjob_core::index::{Index, Key, Told};
use daemonjob_core::observed::{NodeLite, NodeView, Scope};
use daemonjob_core::plan::{Observed, Plan, Subject, Troubles, check, plan};
use daemonjob_core::types::DaemonJob;
use daemonjob_vectors::Vector;
use serde_json::{Value, json};

use super::{Webhook, send};

/// The object as it would be stored past a webhook that denies it; none if no API server could store it.
fn stored(vector: &Vector) -> Option<Value> {
    if vector.path().is_some() {
        return None;
    }
    let patched = vector.golden.as_ref().and_then(|golden| golden.patched.clone());
    // An update without a patch has its hash; what has neither was not read as far as that.
    let object = match patched {
        None if vector.is_update() => serde_json::from_str(&vector.object()).unwrap(),
        other => other?,
    };
    // What is on its way out is judged by nobody.
    object["metadata"]["deletionTimestamp"].is_null().then_some(object)
}

fn subject(mut object: Value) -> Arc<Subject> {
    object["metadata"]["uid"] = json!("uid");
    object["metadata"]["generation"] = json!(1);
    Arc::new(Subject::new(serde_json::from_value::<DaemonJob>(object).unwrap()))
}

/// The first plan, on a node that both selectors of B34 match, and that no Job has run on.
fn first_plan(subject: &Arc<Subject>) -> Plan {
    let node = json!({"metadata": {
        "name": "n1", "uid": "n1-uid", "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"disk": "ssd", "ingress": "true"},
    }, "spec": {}});
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let mut index = Index::default();
    index.take_daemon_job(&Scope::All, Told::Listed(Arc::clone(subject)));
    index.take_daemon_job(&Scope::All, Told::ListEnds);
    index.take_node(Told::Listed(NodeView::from(
        serde_json::from_value::<NodeLite>(node).unwrap(),
    )));
    index.take_node(Told::ListEnds);
    index.take_job(&Scope::All, Told::ListEnds, now);
    let listed = index.listed(subject.namespace()).unwrap();
    let slots = index.slots(&Key::of(subject));
    let seen = Observed::new(listed, subject, &slots, Troubles::default(), now);
    let plan = plan(&seen);
    assert_eq!(check(&seen, &plan), []);
    plan
}

/// `STATUS REASON MESSAGE` of the condition `Stalled`.
fn stalled(plan: &Plan) -> Option<String> {
    let status = serde_json::to_value(&plan.status).unwrap();
    let mut conditions = status["conditions"].as_array()?.iter();
    let stalled = conditions.find(|condition| condition["type"] == "Stalled")?;
    let [status, reason, message] = ["status", "reason", "message"].map(|name| stalled[name].as_str().unwrap());
    Some(format!("{status} {reason} {message}"))
}

#[tokio::test]
async fn i13_webhook_and_controller_have_one_verdict_on_every_spec() {
    let webhook = Webhook::modern().await;
    let (mut sound, mut faulty, mut exceptions) = (0, 0, BTreeSet::new());
    for vector in Vector::all() {
        let Some(object) = stored(&vector) else { continue };
        // As a new object: an update that leaves the spec alone is not judged (B59).
        let answer = send(&webhook, &vector.as_new(&object)).await;
        let subject = subject(object);
        let errors = &subject.reading().errors;
        let faults = errors.iter().map(|error| (error.path.clone(), error.detail.clone()));
        assert_eq!(answer.causes(), faults.collect::<Vec<_>>(), "{}", vector.name);

        let is_allowed = answer.is_allowed().unwrap();
        let is_run = subject.reading().runnable().is_ok();
        if is_allowed == is_run {
            *(if is_run { &mut sound } else { &mut faulty }) += 1;
        } else {
            assert!(
                is_run && subject.reading().both_selectors() && errors.len() == 1,
                "B34: {}",
                vector.name
            );
            exceptions.insert(vector.row().to_owned());
        }
    }
    assert!(sound > 40 && faulty > 40, "{sound} sound, {faulty} faulty");
    assert_eq!(exceptions, ["B33", "B34", "B59"].map(str::to_owned).into());
    webhook.ended().await;
}

#[test]
fn g6_what_the_webhook_refuses_starts_nothing_once_stored_and_stalls_with_the_same_causes() {
    let mut stuck = 0;
    for vector in Vector::all() {
        let Some(object) = stored(&vector) else { continue };
        let subject = subject(object);
        let plan = first_plan(&subject);
        let Err(causes) = subject.reading().runnable() else {
            assert_eq!(stalled(&plan), None, "{}", vector.name);
            continue;
        };
        assert_eq!(plan.actions, [], "{}", vector.name);
        let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
        assert_eq!(
            stalled(&plan).unwrap(),
            format!("True InvalidSpec {}", causes.join("; ")),
            "{}",
            vector.name
        );
        stuck += 1;
    }
    assert!(stuck > 40, "only {stuck}");
}

#[test]
fn b34_both_selectors_past_the_webhook_run_where_the_selector_says() {
    let vectors = Vector::all();
    let vector = vectors
        .iter()
        .find(|vector| vector.name == "b34-stored-all-the-same")
        .unwrap();
    let subject = subject(stored(vector).unwrap());
    let plan = first_plan(&subject);
    assert_eq!(
        plan.actions.len(),
        1,
        "the exclusion of the node does not count: {plan:?}"
    );
    let warned = plan
        .events
        .iter()
        .find(|event| event.reason.as_str() == "SelectorsConflict")
        .unwrap();
    assert!(warned.warning && warned.note.contains("spec.selector"), "{warned:?}");
}
