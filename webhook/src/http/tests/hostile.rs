//! Objects that nobody would write, in reviews that are answered all the same.

use rstest::rstest;

use super::admission::{
    HASH, create, fields, hash_of, invalid_stored, patch_of, sample_with, stored, update, warnings,
};
use super::*;

#[rstest]
#[case::b26_none("null", "object")]
#[case::b27_text("\"x\"", "object")]
#[case::b27_list("[{}]", "object")]
#[case::b28_empty("{}", "metadata")]
#[case::b28_no_metadata(r#"{"spec":{}}"#, "metadata")]
#[case::b28_null_metadata(r#"{"metadata":null}"#, "metadata")]
#[case::b28_text_metadata(r#"{"metadata":"x"}"#, "metadata")]
#[case::text_annotations(r#"{"metadata":{"annotations":"x"}}"#, "metadata.annotations")]
#[case::b29_130_deep(&nested(130), "spec")]
#[case::b29_200000_deep(&nested(200_000), "spec")]
#[case::b30_infinite(r#"{"metadata":{},"spec":{"jobTemplate":{"x":1e400}}}"#, "spec")]
#[case::b15_surrogate_in_the_object(r#"{"metadata":{},"spec":"\ud800"}"#, "spec")]
#[tokio::test]
async fn a_hostile_object_is_denied_with_its_uid(#[case] object: &str, #[case] field: &str) {
    for path in ["/mutate", "/validate"] {
        let answer = review(path, review_of("CREATE", object, "null")).await;
        assert_eq!(fields(&answer), [field]);
        assert_eq!(answer["status"]["details"]["name"], "x");
    }
}

fn nested(depth: usize) -> String {
    format!(
        r#"{{"metadata":{{}},"spec":{}{}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    )
}

/// More values than any template of 64 KiB has, in a spec that is not much longer.
fn crowded() -> String {
    format!(
        r#"{{"metadata":{{}},"spec":{{"jobTemplate":{{"x":[{}[]]}}}}}}"#,
        "[],".repeat(30_000)
    )
}

#[tokio::test]
async fn b53_a_spec_of_too_many_values_is_denied_before_it_is_read() {
    for path in ["/mutate", "/validate"] {
        let answer = review(path, review_of("CREATE", &crowded(), "null")).await;
        assert_eq!(fields(&answer), ["spec"]);
        let message = answer["status"]["message"].as_str().unwrap();
        let says = "is at least 90014 bytes long as canonical JSON, at most 65536 are allowed in jobTemplate";
        assert!(message.contains(says), "{message}");
    }
}

#[rstest]
#[case::b29_nested(nested(200_000))]
#[case::b53_crowded(crowded())]
#[tokio::test]
async fn an_old_object_that_cannot_be_read_leaves_the_new_one_checked_in_full(#[case] old: String) {
    let new = invalid_stored().await;
    let answer = review("/validate", review_of("UPDATE", &new.to_string(), &old)).await;
    assert_eq!(answer["allowed"], false);
}

#[rstest]
#[case::b57_text(json!("x".repeat(1 << 20)))]
#[case::list(json!(vec![json!([]); 1000]))]
#[tokio::test]
async fn b57_a_hash_that_is_too_long_to_be_one_is_overwritten(#[case] written: Value) {
    let object = sample_with("/metadata/annotations", json!({HASH: written}));
    let answer = create("/mutate", &object).await;
    assert_eq!(patch_of(&answer)[0]["value"], hash_of(&object));
    assert_eq!(warnings(&answer).len(), 1, "the user wrote it");
    let answer = update("/mutate", &object, &object).await;
    assert_eq!(warnings(&answer), Vec::<&str>::new(), "it was there before");
    assert_eq!(
        fields(&create("/validate", &object).await),
        [format!("metadata.annotations[{HASH}]")]
    );
}

/// The API server asks about names before it checks them, and mutation has no verdict.
#[tokio::test]
async fn b56_a_name_of_a_mebibyte_is_stamped_and_then_denied() {
    let long = "n".repeat(1 << 20);
    let named = |path| {
        let object = sample_with("/metadata/name", json!(long));
        let body = review_of("CREATE", &object.to_string(), "null");
        review(
            path,
            body.replace(
                r#""name": "x""#,
                &json!({"name": long}).to_string().replace(['{', '}'], ""),
            ),
        )
    };
    assert_eq!(patch_of(&named("/mutate").await)[1]["path"], "/spec/replace");
    let answer = named("/validate").await;
    assert_eq!(fields(&answer)[0], "metadata.name");
    assert_eq!(answer["status"]["details"]["name"].as_str().unwrap().len(), 253);
    assert!(answer.to_string().len() < 4096, "{answer:.5000}");
}

#[tokio::test]
async fn a_denial_shows_a_hundred_causes_and_counts_the_rest() {
    let labels: serde_json::Map<String, Value> = (0..500).map(|index| (format!("-{index}"), json!("a"))).collect();
    let object = sample_with("/spec/jobTemplate/metadata", json!({"labels": labels}));
    let answer = create("/validate", &stored(&object).await).await;
    assert_eq!(fields(&answer).len(), 101);
    let last = &answer["status"]["details"]["causes"][100]["message"];
    assert_eq!(last, "400 more errors are not shown");
}

#[tokio::test]
async fn paths_of_a_denial_are_cut() {
    let mut numbers = json!(vec![9_007_199_254_740_993_u64; 500]);
    for _ in 0..50 {
        numbers = json!({"n".repeat(80): numbers});
    }
    let object = sample_with("/spec/jobTemplate/spec/x", numbers);
    let answer = create("/validate", &object).await;
    assert_eq!(fields(&answer).len(), 100);
    assert!(fields(&answer).iter().all(|path| path.chars().count() == 512));
}
