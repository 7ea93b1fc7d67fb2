//! That the monitor of requests, which watches every test here, would notice: writes that must not be sent.

use daemonjob_cluster::Call;
use daemonjob_core::names::{NODE_NAME, NodeName, TEMPLATE_HASH, job_name};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::rules::complaint;
use crate::support::world::SYSTEM;

fn call(request: &str, name: &str, body: Value) -> Call {
    let (verb, resource) = request.split_once(' ').expect("VERB RESOURCE");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Call {
        verb: verb.into(),
        group: String::new(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: "default".into(),
        name: name.into(),
        user: String::new(),
        user_agent: String::new(),
        code: 200,
        received: String::new(),
        body,
    }
}

fn create() -> Call {
    let name = job_name("it", &NodeName::new("one")).to_string();
    let metadata = json!({
        "annotations": {NODE_NAME: "one", TEMPLATE_HASH: "f00"},
        "ownerReferences": [{"kind": "DaemonJob", "name": "it", "uid": "u", "controller": true}],
    });
    call("create jobs", &name, json!({"metadata": metadata}))
}

fn delete() -> Call {
    let conditions = json!({"uid": "u", "resourceVersion": "7"});
    let body = json!({"propagationPolicy": "Foreground", "preconditions": conditions});
    call("delete jobs", "it-one", body)
}

fn status() -> Call {
    let body = json!({"metadata": {"resourceVersion": "7"}, "status": {"desired": 1}});
    call("patch daemonjobs/status", "it", body)
}

fn hash() -> Call {
    let metadata = json!({"resourceVersion": "7", "annotations": {TEMPLATE_HASH: "f00"}});
    call("patch daemonjobs", "it", json!({"metadata": metadata}))
}

#[rstest]
#[case::create(create())]
#[case::delete(delete())]
#[case::status(status())]
#[case::hash(hash())]
#[case::read(call("list pods", "", Value::Null))]
fn o4_what_the_process_is_there_for_passes(#[case] call: Call) {
    assert_eq!(complaint(&call), None);
}

#[rstest]
#[case::no_owner(create(), "/metadata/ownerReferences", json!([]))]
#[case::no_controller(create(), "/metadata/ownerReferences/0/controller", json!(false))]
#[case::owner_of_another_name(create(), "/metadata/ownerReferences/0/name", json!("other"))]
#[case::another_node(create(), "/metadata/annotations", json!({NODE_NAME: "two", TEMPLATE_HASH: "f00"}))]
#[case::no_hash(create(), "/metadata/annotations", json!({NODE_NAME: "one"}))]
#[case::background(delete(), "/propagationPolicy", json!("Background"))]
#[case::any_uid(delete(), "/preconditions", json!({"resourceVersion": "7"}))]
#[case::any_version(delete(), "/preconditions", json!({"uid": "u"}))]
#[case::blind_status(status(), "/metadata", json!({}))]
#[case::unconditional_status(status(), "/metadata/resourceVersion", Value::Null)]
#[case::blind_hash(hash(), "/metadata/resourceVersion", Value::Null)]
#[case::more_than_the_hash(hash(), "/metadata/annotations", json!({TEMPLATE_HASH: "f00", "mine": ""}))]
#[case::labels(hash(), "/metadata", json!({"resourceVersion": "7", "labels": {}}))]
fn o4_a_write_that_says_less_or_more_than_it_must_is_a_complaint(
    #[case] mut call: Call,
    #[case] pointer: &str,
    #[case] instead: Value,
) {
    *call.body.pointer_mut(pointer).expect("it is there") = instead;
    assert!(complaint(&call).is_some());
}

#[rstest]
#[case("update jobs", "default")]
#[case("deletecollection jobs", "default")]
#[case("delete pods", "default")]
#[case("update daemonjobs", "default")]
#[case("patch nodes", "")]
#[case("create secrets", "default")]
#[case("create leases", "default")]
#[case("update leases", SYSTEM)]
#[case("patch mutatingwebhookconfigurations", "")]
fn o4_other_writes_are_complaints(#[case] request: &str, #[case] namespace: &str) {
    let mut call = call(request, "other", json!({"metadata": {}}));
    namespace.clone_into(&mut call.namespace);
    assert!(complaint(&call).is_some());
}

#[rstest]
#[case::right_taken(delete(), 403)]
#[case::sender_killed(create(), 400)]
#[case::no_time(status(), 429)]
fn o4_what_was_refused_unread_passes(#[case] mut call: Call, #[case] code: u64) {
    call.body = Value::Null;
    call.code = code;
    assert_eq!(complaint(&call), None);
}

#[rstest]
#[case::done(delete(), 200)]
#[case::gone(delete(), 404)]
#[case::changed(delete(), 409)]
#[case::no_write_of_ours(call("delete pods", "it", Value::Null), 403)]
#[case::secret_elsewhere(call("create secrets", "it", Value::Null), 403)]
fn o4_what_says_nothing_is_a_complaint_unless_it_was_unread(#[case] mut call: Call, #[case] code: u64) {
    call.body = Value::Null;
    call.code = code;
    assert!(complaint(&call).is_some());
}
