//! Reviews: what is patched, allowed, refused and warned of.

use daemonjob_core::hash::TemplateHash;
use data_encoding::BASE64;
use json_patch::Patch;
use rstest::rstest;

use super::*;

pub(super) const HASH: &str = "daemon.justk8s.com/template-hash";

pub(super) fn template() -> Value {
    json!({"spec": {"template": {"spec": {
        "containers": [{
            "name": "hello",
            "image": "busybox:stable",
            "command": ["/bin/sh", "-c"],
            "args": ["date; echo Hello from the Kubernetes cluster v2"],
        }],
        "restartPolicy": "OnFailure",
    }}}})
}

fn sample() -> Value {
    json!({
        "apiVersion": "daemon.justk8s.com/v1alpha1",
        "kind": "DaemonJob",
        "metadata": {"name": "daemonjob-sample", "namespace": "default"},
        "spec": {"jobTemplate": template()},
    })
}

/// The sample with something set.
pub(super) fn sample_with(pointer: &str, value: Value) -> Value {
    let mut object = sample();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

pub(super) fn hash_of(object: &Value) -> String {
    TemplateHash::of(&object["spec"]["jobTemplate"]).unwrap().to_string()
}

pub(super) async fn create(path: &str, object: &Value) -> Value {
    review(path, review_of("CREATE", &object.to_string(), "null")).await
}

pub(super) async fn update(path: &str, object: &Value, old: &Value) -> Value {
    review(path, review_of("UPDATE", &object.to_string(), &old.to_string())).await
}

pub(super) fn patch_of(answer: &Value) -> Value {
    assert_eq!(answer["allowed"], true, "{answer}");
    let Some(text) = answer.get("patch") else {
        return json!([]);
    };
    assert_eq!(answer["patchType"], "JSONPatch");
    serde_json::from_slice(&BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap()).unwrap()
}

/// The object as `/mutate` leaves it.
async fn mutated(object: &Value, old: Option<&Value>) -> Value {
    let answer = match old {
        Some(old) => update("/mutate", object, old).await,
        None => create("/mutate", object).await,
    };
    let patch: Patch = serde_json::from_value(patch_of(&answer)).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

pub(super) async fn stored(object: &Value) -> Value {
    mutated(object, None).await
}

pub(super) fn fields(answer: &Value) -> Vec<&str> {
    assert_eq!(answer["allowed"], false, "{answer}");
    let causes = answer["status"]["details"]["causes"].as_array().unwrap();
    causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect()
}

pub(super) fn warnings(answer: &Value) -> Vec<&str> {
    let warnings = answer["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    warnings.iter().map(|warning| warning.as_str().unwrap()).collect()
}

#[tokio::test]
async fn seed1_the_sample_is_stamped_and_its_replace_defaulted() {
    let answer = create("/mutate", &sample()).await;
    let expected = json!([
        {"op": "add", "path": "/metadata/annotations", "value": {HASH: hash_of(&sample())}},
        {"op": "add", "path": "/spec/replace", "value": false},
    ]);
    assert_eq!(patch_of(&answer), expected);
    assert_eq!(warnings(&answer), Vec::<&str>::new());
}

#[tokio::test]
async fn an_allowed_answer_without_a_patch_has_nothing_but_uid_and_verdict() {
    let answer = create("/validate", &stored(&sample()).await).await;
    assert_eq!(answer, json!({"uid": "u-1", "allowed": true}));
}

#[tokio::test]
async fn b58_a_stamp_beside_other_annotations_escapes_its_slash() {
    let object = sample_with("/metadata/annotations", json!({"a/b": "c"}));
    let answer = create("/mutate", &object).await;
    let path = "/metadata/annotations/daemon.justk8s.com~1template-hash";
    assert_eq!(
        patch_of(&answer)[0],
        json!({"op": "add", "path": path, "value": hash_of(&object)})
    );
    assert_eq!(stored(&object).await["metadata"]["annotations"]["a/b"], "c");
}

#[tokio::test]
async fn b58_annotations_null_become_a_map() {
    let object = sample_with("/metadata/annotations", Value::Null);
    assert_eq!(
        stored(&object).await["metadata"]["annotations"],
        json!({HASH: hash_of(&object)})
    );
}

#[rstest]
#[case::sample(sample())]
#[case::null_annotations(sample_with("/metadata/annotations", Value::Null))]
#[case::empty_annotations(sample_with("/metadata/annotations", json!({})))]
#[case::other_annotations(sample_with("/metadata/annotations", json!({"a/b~c": "d"})))]
#[case::wrong_hash(sample_with("/metadata/annotations", json!({HASH: "0".repeat(64)})))]
#[case::null_hash(sample_with("/metadata/annotations", json!({HASH: null})))]
#[case::null_replace(sample_with("/spec/replace", Value::Null))]
#[case::replace(sample_with("/spec/replace", json!(true)))]
#[case::seed3_selector(sample_with("/spec/selector", json!({"os": "linux"})))]
#[case::seed4_exclusion(sample_with("/spec/ingoreSelector", json!({"ingress": true})))]
#[case::b48_null_timestamp(sample_with("/spec/jobTemplate/metadata", json!({"creationTimestamp": null})))]
#[tokio::test]
async fn l12_mutating_twice_equals_once_and_the_result_is_valid(#[case] object: Value) {
    let once = stored(&object).await;
    assert_eq!(once["metadata"]["annotations"][HASH], hash_of(&object));
    assert!(once["spec"]["replace"].is_boolean());
    assert_eq!(once["spec"]["jobTemplate"], object["spec"]["jobTemplate"]);
    assert_eq!(patch_of(&create("/mutate", &once).await), json!([]));
    assert_eq!(patch_of(&update("/mutate", &once, &object).await), json!([]));
    assert_eq!(create("/validate", &once).await["allowed"], true);
}

#[rstest]
#[case::b33_both(sample_with("/spec", json!({"selector": {"os": "linux"}, "ingoreSelector": {"ingress": true}, "jobTemplate": template()})))]
#[case::b42_no_template(sample_with("/spec", json!({})))]
#[case::b42_text(sample_with("/spec/jobTemplate", json!("x")))]
#[case::no_spec(json!({"metadata": {"name": "x"}}))]
#[case::spec_is_text(sample_with("/spec", json!("x")))]
#[case::b44_always(sample_with("/spec/jobTemplate/spec/template/spec/restartPolicy", json!("Always")))]
#[tokio::test]
async fn i12_mutation_denies_no_spec_and_makes_none_valid(#[case] object: Value) {
    let once = stored(&object).await;
    assert_eq!(patch_of(&create("/mutate", &once).await), json!([]));
    assert_eq!(create("/validate", &once).await["allowed"], false);
}

#[tokio::test]
async fn b33_both_selectors() {
    let mut object = sample_with("/spec/selector", json!({"os": "linux"}));
    object["metadata"]["name"] = json!("daemonjob-both");
    object["spec"]["ingoreSelector"] = json!({"ingress": true});
    let answer = create("/validate", &stored(&object).await).await;

    assert_eq!(answer["allowed"], false);
    let status = &answer["status"];
    assert_eq!((&status["status"], &status["code"]), (&json!("Failure"), &json!(422)));
    assert_eq!(status["reason"], "Invalid");
    let details = &status["details"];
    assert_eq!(
        (&details["name"], &details["kind"]),
        (&json!("daemonjob-both"), &json!("DaemonJob"))
    );
    assert_eq!(details["group"], "daemon.justk8s.com");
    assert_eq!(details["causes"].as_array().unwrap().len(), 1);
    let cause = &details["causes"][0];
    assert!(cause["reason"].as_str().unwrap().starts_with("FieldValue"), "{cause}");
    let (field, text) = (cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap());
    let expected = format!("DaemonJob.daemon.justk8s.com \"daemonjob-both\" is invalid: {field}: {text}");
    assert_eq!(status["message"], expected);
    assert!(
        text.contains("spec.selector") && text.contains("spec.ingoreSelector"),
        "{text}"
    );
}

#[tokio::test]
async fn a_denial_names_all_causes_in_its_message_too() {
    let mut object = sample_with("/spec/selector", json!({"os": 1}));
    object["spec"]["jobTemplate"]["spec"]["template"]["spec"] = json!({"containers": [], "nodeName": "n"});
    let answer = create("/validate", &stored(&object).await).await;
    let fields = fields(&answer);
    assert!(fields.len() >= 4, "{fields:?}");
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(fields.iter().all(|field| message.contains(field)), "{message}");
    assert!(message.contains("is invalid: [") && message.ends_with(']'), "{message}");
}

#[rstest]
#[case::missing(None)]
#[case::wrong(Some("0".repeat(64)))]
#[tokio::test]
async fn an_object_without_the_hash_of_its_template_is_denied(#[case] hash: Option<String>) {
    let annotations = hash.map_or(json!({}), |hash| json!({HASH: hash}));
    let object = sample_with("/metadata/annotations", annotations);
    assert_eq!(
        fields(&create("/validate", &object).await),
        [format!("metadata.annotations[{HASH}]")]
    );
}

#[tokio::test]
async fn b57_a_wrong_hash_of_the_user_is_overwritten_with_a_warning() {
    let object = sample_with("/metadata/annotations", json!({HASH: "BAD"}));
    let answer = create("/mutate", &object).await;
    assert_eq!(warnings(&answer).len(), 1);
    assert!(warnings(&answer)[0].len() < 256 && warnings(&answer)[0].contains(HASH));
    assert_eq!(stored(&object).await["metadata"]["annotations"][HASH], hash_of(&object));
}

#[tokio::test]
async fn b57_a_hash_left_from_the_old_template_is_overwritten_in_silence() {
    let old = stored(&sample()).await;
    let mut new = old.clone();
    new["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(3);
    let answer = update("/mutate", &new, &old).await;
    assert_eq!(warnings(&answer), Vec::<&str>::new());
    assert_eq!(patch_of(&answer).as_array().unwrap().len(), 1);
}

#[rstest]
#[case::kept(false, "`replace` is false")]
#[case::replaced(true, "`replace` is true")]
#[tokio::test]
async fn seed2_a_changed_template_is_allowed_with_a_warning(#[case] replace: bool, #[case] expected: &str) {
    let old = stored(&sample()).await;
    let mut new = old.clone();
    new["spec"]["replace"] = json!(replace);
    new["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(3);
    let new = mutated(&new, Some(&old)).await;
    let answer = update("/validate", &new, &old).await;
    assert_eq!(answer["allowed"], true);
    assert!(
        warnings(&answer).iter().any(|warning| warning.contains(expected)),
        "{answer}"
    );
}

#[tokio::test]
async fn seed4_an_unquoted_boolean_is_allowed_with_a_warning() {
    let object = sample_with("/spec/ingoreSelector", json!({"ingress": true}));
    let answer = create("/validate", &stored(&object).await).await;
    assert_eq!(answer["allowed"], true);
    assert!(
        warnings(&answer)
            .iter()
            .any(|warning| warning.contains("spec.ingoreSelector")),
        "{answer}"
    );
}

/// Refused today, and in the store all the same.
pub(super) async fn invalid_stored() -> Value {
    let object = sample_with("/spec/selector", json!({"os": "linux"}));
    let mut stored = stored(&object).await;
    stored["spec"]["ingoreSelector"] = json!({"ingress": true});
    stored
}

#[tokio::test]
async fn b59_labels_of_an_invalid_object_can_be_edited() {
    let old = invalid_stored().await;
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"team": "a"});
    assert_eq!(
        update("/validate", &new, &old).await,
        json!({"uid": "u-1", "allowed": true})
    );

    new["spec"]["selector"] = json!({"os": "windows"});
    assert_eq!(update("/validate", &new, &old).await["allowed"], false);
}

#[tokio::test]
async fn b59_an_object_stored_without_replace_can_be_edited_too() {
    let mut old = invalid_stored().await;
    old["spec"].as_object_mut().unwrap().remove("replace");
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"team": "a"});
    let new = mutated(&new, Some(&old)).await;
    assert_eq!(new["spec"]["replace"], false);
    assert_eq!(update("/validate", &new, &old).await["allowed"], true);

    let mut flipped = new.clone();
    flipped["spec"]["replace"] = json!(true);
    assert_eq!(update("/validate", &flipped, &old).await["allowed"], false);
}

#[tokio::test]
async fn b59_an_update_of_an_unchanged_spec_still_needs_its_hash() {
    let old = invalid_stored().await;
    let mut new = old.clone();
    new["metadata"]["annotations"][HASH] = json!("0");
    assert_eq!(
        fields(&update("/validate", &new, &old).await),
        [format!("metadata.annotations[{HASH}]")]
    );
}

#[rstest]
#[case::b21_delete("DELETE", "null")]
#[case::b21_connect("CONNECT", "{}")]
#[case::b31_being_deleted("UPDATE", r#"{"metadata":{"name":"x","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#)]
#[tokio::test]
async fn passed_by(#[case] operation: &str, #[case] object: &str) {
    for path in ["/mutate", "/validate"] {
        let answer = review(path, review_of(operation, object, object)).await;
        assert_eq!(answer, json!({"uid": "u-1", "allowed": true}));
    }
}

#[tokio::test]
async fn b25_a_status_write_is_passed_by() {
    let body = review_of("UPDATE", "{}", "{}").replace("\"dryRun\"", "\"subResource\": \"status\", \"dryRun\"");
    for path in ["/mutate", "/validate"] {
        assert_eq!(review(path, body.clone()).await, json!({"uid": "u-1", "allowed": true}));
    }
}

#[rstest]
#[case::kind("\"kind\": \"DaemonJob\"", "\"kind\": \"Pod\"")]
#[case::resource("\"resource\": \"daemonjobs\"", "\"resource\": \"jobs\"")]
#[case::group("daemon.justk8s.com", "batch")]
#[case::version("v1alpha1", "v2")]
#[tokio::test]
async fn b24_another_kind_or_resource_is_denied(#[case] ours: &str, #[case] other: &str) {
    let body = review_of("CREATE", &sample().to_string(), "null").replace(ours, other);
    for path in ["/mutate", "/validate"] {
        let answer = review(path, body.clone()).await;
        assert_eq!(fields(&answer), ["kind"]);
        assert!(
            answer["status"]["message"].as_str().unwrap().contains("not registered"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn b30_a_number_that_no_double_holds_is_denied() {
    let object = sample_with(
        "/spec/jobTemplate/spec/activeDeadlineSeconds",
        json!(9_007_199_254_740_993_u64),
    );
    assert_eq!(patch_of(&create("/mutate", &object).await)[0]["path"], "/spec/replace");
    let answer = create("/validate", &object).await;
    let path = "spec.jobTemplate.spec.activeDeadlineSeconds";
    assert!(fields(&answer).contains(&path), "{answer}");
}

#[tokio::test]
async fn a_name_that_is_not_generated_yet_is_no_fault_of_the_object() {
    let mut object = sample();
    object["metadata"] = json!({"generateName": "daemonjob-", "namespace": "default"});
    assert_eq!(patch_of(&create("/mutate", &object).await).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn b56_a_name_of_64_characters_is_denied() {
    let allowed = stored(&sample_with("/metadata/name", json!("n".repeat(63)))).await;
    assert_eq!(create("/validate", &allowed).await["allowed"], true);
    let denied = stored(&sample_with("/metadata/name", json!("n".repeat(64)))).await;
    assert_eq!(fields(&create("/validate", &denied).await), ["metadata.name"]);
}

#[tokio::test]
async fn the_observer_learns_path_operation_and_outcome() {
    let recorder = Arc::new(Recorder::default());
    let router = router(recorder.clone());
    let body = || review_of("CREATE", &sample().to_string(), "null");
    for request in [
        request("/mutate", body()),
        request("/validate", body()),
        request("/validate", "x"),
    ] {
        router.clone().oneshot(request).await.unwrap();
    }
    let seen = recorder.reviewed.lock().unwrap();
    let seen: Vec<_> = seen
        .iter()
        .map(|review| (review.endpoint, review.operation, review.outcome, review.status))
        .collect();
    let expected = [
        (Endpoint::Mutate, Some(Operation::Create), Outcome::Patched, 200),
        (Endpoint::Validate, Some(Operation::Create), Outcome::Denied, 200),
        (Endpoint::Validate, None, Outcome::Malformed, 400),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_observer_learns_the_kinds_of_the_causes_each_once() {
    let recorder = Arc::new(Recorder::default());
    let body = review_of(
        "CREATE",
        &json!({"metadata": {"name": "x"}, "spec": {}}).to_string(),
        "null",
    );
    let answered = router(recorder.clone()).oneshot(request("/validate", body)).await;
    assert_eq!(answered.unwrap().status(), StatusCode::OK);
    let seen = recorder.reviewed.lock().unwrap();
    assert_eq!(seen[0].denied_for, BTreeSet::from(["FieldValueRequired"]));
}

/// An object as client-side `kubectl apply` sends it: without null members, and with the file's words beside.
async fn applied(selector: Value, sent: Value) -> Value {
    let file = sample_with("/spec/selector", selector).to_string();
    let mut object = sample_with("/spec/selector", sent);
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": file});
    stored(&object).await
}

#[tokio::test]
async fn b37_a_key_without_a_value_is_refused_though_kubectl_apply_left_it_out() {
    let object = applied(json!({"os": "linux", "tier": null}), json!({"os": "linux"})).await;
    let answer = create("/validate", &object).await;
    assert_eq!(fields(&answer), ["spec.selector[tier]"]);
    let said = answer["status"]["message"].as_str().unwrap();
    assert!(said.contains("has no value; quote it"), "{said}");

    let whole = applied(json!({"os": "linux"}), json!({"os": "linux"})).await;
    assert_eq!(create("/validate", &whole).await["allowed"], true);
    let relabelled = review_of("UPDATE", &object.to_string(), &object.to_string());
    let answer = review("/validate", relabelled).await;
    assert_eq!(answer["allowed"], true, "one that is stored can still be labelled");
}
