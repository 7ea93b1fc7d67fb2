//! Which nodes are selected.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::selection::Wanted;

#[rstest]
#[case("ingoreSelector")]
#[case("ignoreSelector")]
fn b33_both_selectors(#[case] spelling: &str) {
    let spec = set(
        with("selector", json!({"disk": "ssd"})),
        spelling,
        json!({"ingress": "true"}),
    );
    let reading = reading(&spec);
    let detail = format!("`spec.selector` and `spec.{spelling}` are mutually exclusive: remove one");
    let path = format!("spec.{spelling}");
    assert_eq!(
        reading.errors,
        [FieldError {
            path,
            kind: ErrorKind::Forbidden,
            detail
        }]
    );
    assert!(!reading.is_valid());
}

#[test]
fn b34_both_selectors_stored_all_the_same_run_by_selector_alone() {
    let spec = set(
        with("selector", json!({"disk": "ssd"})),
        "ingoreSelector",
        json!({"ingress": true}),
    );
    let reading = reading(&spec);
    assert!(reading.both_selectors());
    let wanted = [("disk".to_owned(), Wanted::Text("ssd".to_owned()))].into();
    assert_eq!(reading.runnable().unwrap().selection, Selection::Include(wanted));
}

#[test]
fn b34_another_fault_beside_both_selectors_runs_nothing() {
    let spec = set(
        with("selector", json!({"disk": "ssd"})),
        "ingoreSelector",
        json!({"ingress": "true"}),
    );
    let reading = reading(&set(spec, "replace", json!("true")));
    assert!(reading.both_selectors());
    assert_eq!(reading.runnable().unwrap_err().len(), 2);
}

#[rstest]
#[case("selector")]
#[case("ingoreSelector")]
#[case("ignoreSelector")]
fn b35_an_empty_selector_selects_all_nodes_and_says_so(#[case] field: &str) {
    let spec = with(field, json!({}));
    warns(
        &spec,
        &format!("spec.{field}: is empty, which is the same as absent: all nodes are selected"),
    );
    assert_eq!(accepts(&spec).runnable().unwrap().selection, Selection::All);
    accepts_silently(&with(field, json!(null)));
}

#[test]
fn b35_an_empty_selector_beside_the_other_one_is_no_conflict() {
    let spec = set(
        with("selector", json!({})),
        "ingoreSelector",
        json!({"ingress": "true"}),
    );
    warns(
        &spec,
        "spec.selector: is empty, which is the same as absent: `spec.ingoreSelector` alone decides",
    );
    assert!(matches!(
        accepts(&spec).runnable().unwrap().selection,
        Selection::Exclude(_)
    ));
}

#[test]
fn b36_the_correct_spelling_is_the_same_field() {
    let own = accepts_silently(&with("ingoreSelector", json!({"ingress": "true"})));
    let alias = accepts_silently(&with("ignoreSelector", json!({"ingress": "true"})));
    assert_eq!(own, alias);
    assert!(matches!(own.selection, Selection::Exclude(_)));
}

#[test]
fn b36_both_spellings_at_once() {
    let spec = set(
        with("ingoreSelector", json!({"a": "b"})),
        "ignoreSelector",
        json!({"a": "b"}),
    );
    let says = "`spec.ingoreSelector` and `spec.ignoreSelector` are two names of one field: remove one";
    rejects(&spec, "spec.ignoreSelector", ErrorKind::Forbidden, says);
}

#[test]
fn b37_an_excluding_boolean_is_accepted_with_a_warning() {
    let spec = with("ingoreSelector", json!({"ingress": true}));
    warns(
        &spec,
        "spec.ingoreSelector[ingress]: the boolean true excludes the values true, yes, on and y in any case; \
         for one of them, quote it: `ingress: \"true\"`",
    );
    let wanted = [("ingress".to_owned(), Wanted::Boolean(true))].into();
    assert_eq!(accepts(&spec).runnable().unwrap().selection, Selection::Exclude(wanted));
}

#[test]
fn b37_a_selecting_boolean_is_accepted_with_a_warning() {
    let spec = with("selector", json!({"gpu": false}));
    warns(
        &spec,
        "spec.selector[gpu]: the boolean false selects only the value \"false\"; quote what you mean: `gpu: \"false\"`",
    );
}

#[rstest]
#[case(json!(1), "not the number 1; quote it: `tier: \"1\"`")]
#[case(json!(1.5), "not the number 1.5; quote it: `tier: \"1.5\"`")]
#[case(json!(null), "has no value; quote it: `tier: \"\"`")]
#[case(json!(["a"]), "not a list; give one value and quote it: `tier: \"value\"`")]
#[case(json!({"a": "b"}), "not a mapping; give one value and quote it: `tier: \"value\"`")]
fn b37_values_that_are_no_texts(#[case] value: Value, #[case] says: &str) {
    for field in ["selector", "ingoreSelector", "ignoreSelector"] {
        rejects(
            &with(field, json!({"tier": value})),
            &format!("spec.{field}[tier]"),
            ErrorKind::TypeInvalid,
            says,
        );
    }
}

#[rstest]
#[case(json!("linux"))]
#[case(json!(["linux"]))]
#[case(json!(true))]
fn a_selector_that_is_no_mapping(#[case] value: Value) {
    rejects(
        &with("selector", value),
        "spec.selector",
        ErrorKind::TypeInvalid,
        "must be a mapping of labels",
    );
}

#[test]
fn b38_illegal_label_keys_and_values() {
    rejects(
        &with("selector", json!({"a b": "c"})),
        "spec.selector[a b]",
        ErrorKind::Invalid,
        "name of the key must be",
    );
    rejects(
        &with("selector", json!({"": "c"})),
        "spec.selector[]",
        ErrorKind::Invalid,
        "the key has no name",
    );
    rejects(
        &with("selector", json!({"a": "b c"})),
        "spec.selector[a]",
        ErrorKind::Invalid,
        "the value must be",
    );
    let long = json!({"a": "v".repeat(64)});
    rejects(
        &with("selector", long),
        "spec.selector[a]",
        ErrorKind::Invalid,
        "the value has 64 bytes, at most 63",
    );
    let prefix = format!("{}/a", "p".repeat(254));
    let reading = reading(&with("selector", json!({prefix: "b"})));
    assert!(
        reading.errors[0]
            .detail
            .contains("the prefix of the key has 254 bytes, at most 253")
    );
    assert!(reading.errors[0].path.len() < 120, "{}", reading.errors[0].path);
    accepts_silently(&with("selector", json!({"example.com/a": ""})));
}

#[test]
fn b39_at_most_32_pairs() {
    rejects(
        &with("selector", labels(33)),
        "spec.selector",
        ErrorKind::TooMany,
        "has 33 labels, at most 32",
    );
    rejects(
        &with("ingoreSelector", labels(33)),
        "spec.ingoreSelector",
        ErrorKind::TooMany,
        "has 33 labels",
    );
    accepts_silently(&with("selector", labels(32)));
}

#[test]
fn b40_a_selector_that_may_match_no_node_is_accepted_without_warning() {
    accepts_silently(&with("selector", json!({"no-such-label": "no-such-value"})));
}
