use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": {"group": "daemon.justk8s.com", "version": "v1alpha1", "kind": "DaemonJob"},
            "resource": {"group": "daemon.justk8s.com", "version": "v1alpha1", "resource": "daemonjobs"},
            "name": "x",
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:masters"]},
            "object": {"spec": {}},
            "oldObject": null,
        },
    })
}

fn with(pointer: &str, value: Value) -> String {
    let mut review = review();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    review.pointer_mut(parent).unwrap()[key] = value;
    review.to_string()
}

fn without(pointer: &str) -> String {
    let mut review = review();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    review.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    review.to_string()
}

#[test]
fn a_review_is_read() {
    let text = review().to_string();
    let request = parse(text.as_bytes()).unwrap();
    assert_eq!(request.uid, "u-1");
    assert_eq!(request.operation, Operation::Create);
    assert_eq!(request.object.unwrap().get(), r#"{"spec":{}}"#);
    assert!(request.old_object.is_none() && request.sub_resource.is_none());
}

#[rstest]
#[case::b04_empty("")]
#[case::b13_null("null")]
#[case::b13_list("[]")]
#[case::b13_empty_map("{}")]
#[case::b13_text("\"x\"")]
#[case::b14_trailing(&format!("{} x", review()))]
#[case::b14_two(&format!("{}{}", review(), review()))]
#[case::b14_bom(&format!("\u{feff}{}", review()))]
#[case::b14_comment(&format!("/* */{}", review()))]
#[case::b14_nan(&with("/request/dryRun", json!("NaN")).replace("\"NaN\"", "NaN"))]
#[case::b15_control(&review().to_string().replace("u-1", "u\u{1}1"))]
#[case::b15_surrogate(&review().to_string().replace("u-1", "\\ud800"))]
#[case::b16_no_request(&without("/request"))]
#[case::b16_only_response(&without("/request").replace("\"kind\"", "\"response\":{},\"kind\""))]
#[case::b17_kind(&with("/kind", json!("Pod")))]
#[case::b17_version(&with("/apiVersion", json!("v1")))]
#[case::b18_v1beta1(&with("/apiVersion", json!("admission.k8s.io/v1beta1")))]
#[case::b19_no_uid(&without("/request/uid"))]
#[case::b19_number(&with("/request/uid", json!(1)))]
#[case::b19_empty(&with("/request/uid", json!("")))]
#[case::b19_10_kib(&with("/request/uid", json!("u".repeat(10 << 10))))]
#[case::b20_patch(&with("/request/operation", json!("PATCH")))]
#[case::b20_lower_case(&with("/request/operation", json!("create")))]
#[case::b20_null(&with("/request/operation", json!(null)))]
#[case::b20_map(&with("/request/operation", json!({"CREATE": null})))]
#[case::b22_no_user_info(&without("/request/userInfo"))]
#[case::b22_null(&with("/request/userInfo", json!(null)))]
#[case::b23_dry_run_text(&with("/request/dryRun", json!("true")))]
#[case::no_kind(&without("/request/kind"))]
#[case::kind_as_a_list(&with("/request/kind", json!(["daemon.justk8s.com", "v1alpha1", "DaemonJob"])))]
#[case::review_as_a_list(&json!(["admission.k8s.io/v1", "AdmissionReview", review()["request"]]).to_string())]
#[case::uid_twice(&review().to_string().replace("\"uid\"", "\"uid\":\"u-2\",\"uid\""))]
fn malformed(#[case] body: &str) {
    assert!(parse(body.as_bytes()).is_err(), "{body:.500}");
}

#[test]
fn b15_invalid_utf8_is_malformed() {
    let mut body = review().to_string().into_bytes();
    let at = body.windows(3).position(|bytes| bytes == b"u-1").unwrap();
    body[at] = 0xff;
    assert!(matches!(parse(&body), Err(Malformed::Utf8)));
}

#[test]
fn b18_the_error_names_the_version() {
    let error = parse(with("/apiVersion", json!("admission.k8s.io/v1beta1")).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("got admission.k8s.io/v1beta1"), "{error}");
}

#[test]
fn b23_dry_run_null_is_false() {
    let text = with("/request/dryRun", json!(null));
    assert_eq!(parse(text.as_bytes()).unwrap().dry_run, None);
}

#[test]
fn b29_an_object_nested_200000_deep_leaves_the_envelope_readable() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let text = with("/request/object", json!("HERE")).replace("\"HERE\"", &deep);
    assert_eq!(parse(text.as_bytes()).unwrap().object.unwrap().get().len(), 400_000);
}

#[test]
fn b32_unknown_fields_are_ignored() {
    let text = with("/request/newIn1Point99", json!({"deep": [1, 2, {"x": null}]}));
    assert!(parse(text.as_bytes()).is_ok());
}

#[rstest]
#[case::dry_run("/request/dryRun")]
#[case::kind("/kind")]
#[case::operation("/request/operation")]
#[case::resource("/request/resource")]
#[case::uid("/request/uid")]
#[case::user("/request/userInfo")]
#[case::version("/request/kind/version")]
fn an_error_does_not_repeat_what_it_was_sent(#[case] pointer: &str) {
    // Rust writes each of these as eight characters.
    let long = "\u{300}".repeat(100_000);
    let error = parse(with(pointer, json!(long)).as_bytes()).unwrap_err();
    assert!(error.to_string().len() < 300, "{error:.300}");
}

#[test]
fn names_that_are_only_shown_may_be_of_any_length() {
    let long = json!("n".repeat(1 << 20));
    for pointer in ["/request/name", "/request/namespace", "/request/userInfo/username"] {
        let text = with(pointer, long.clone());
        let request = parse(text.as_bytes()).unwrap();
        let names = [&request.name, &request.namespace, &request.user_info.username];
        assert_eq!(names.into_iter().flatten().count(), 2, "{pointer}");
    }
}
