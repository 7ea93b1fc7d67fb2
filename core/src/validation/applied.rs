//! What client-side `kubectl apply` left out: keys of a selector without a value.
//!
//! It sends no member that is null, so that `selector: {tier: }` arrives as `{}`, which selects all nodes.
//! The annotation that it writes beside still has the file's own words.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::selectors::{PAIRS_MAX, without_value};
use super::{ErrorKind, FieldError};
use crate::names::{EXCLUSION, EXCLUSION_ALIAS, INCLUSION};
use crate::template::shorten;

/// The faults of selectors in the manifest that `kubectl apply` noted, as far as the spec does not show them.
///
/// A manifest that is none has no faults: the annotation is anybody's to write.
pub fn left_out(manifest: &str, spec: &Value) -> Vec<FieldError> {
    #[derive(Deserialize)]
    struct Manifest<'a> {
        #[serde(borrow)]
        spec: Selectors<'a>,
    }

    #[derive(Deserialize)]
    struct Selectors<'a> {
        #[serde(borrow, rename = "selector")]
        inclusion: Option<&'a RawValue>,
        #[serde(borrow, rename = "ingoreSelector")]
        exclusion: Option<&'a RawValue>,
        #[serde(borrow, rename = "ignoreSelector")]
        alias: Option<&'a RawValue>,
    }

    let Ok(Manifest { spec: noted }) = serde_json::from_str(manifest) else {
        return Vec::new();
    };
    let fields = [
        (INCLUSION, noted.inclusion),
        (EXCLUSION, noted.exclusion),
        (EXCLUSION_ALIAS, noted.alias),
    ];
    let of = |(field, pairs): (&str, Option<&RawValue>)| faults(field, pairs?, spec.get(field));
    fields.into_iter().filter_map(of).flatten().collect()
}

fn faults(field: &str, noted: &RawValue, pairs: Option<&Value>) -> Option<Vec<FieldError>> {
    let noted: BTreeMap<String, Option<IgnoredAny>> = serde_json::from_str(noted.get()).ok()?;
    // One that is still there is told by the selectors' own check.
    let is_lost = |key: &str| pairs.and_then(|pairs| pairs.get(key)).is_none();
    let lost = noted.iter().filter(|(key, value)| value.is_none() && is_lost(key));
    let fault = |key: &str| FieldError {
        path: format!("spec.{field}[{}]", shorten(key)),
        kind: ErrorKind::TypeInvalid,
        detail: without_value(&shorten(key)),
    };
    Some(lost.take(PAIRS_MAX).map(|(key, _)| fault(key)).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn paths(noted: &Value, spec: &Value) -> Vec<String> {
        let manifest = json!({"kind": "DaemonJob", "spec": noted}).to_string();
        left_out(&manifest, spec).into_iter().map(|error| error.path).collect()
    }

    #[rstest]
    #[case::alone(json!({"selector": {"tier": null}}), json!({"selector": {}}), "spec.selector[tier]")]
    #[case::emptied(json!({"selector": {"tier": null}}), json!({}), "spec.selector[tier]")]
    #[case::beside_another(
        json!({"selector": {"os": "linux", "tier": null}}),
        json!({"selector": {"os": "linux"}}),
        "spec.selector[tier]"
    )]
    #[case::excluding(json!({"ingoreSelector": {"tier": null}}), json!({}), "spec.ingoreSelector[tier]")]
    #[case::by_the_other_name(json!({"ignoreSelector": {"tier": null}}), json!({}), "spec.ignoreSelector[tier]")]
    fn b37_a_key_that_apply_left_out_is_named(#[case] noted: Value, #[case] spec: Value, #[case] path: &str) {
        assert_eq!(paths(&noted, &spec), [path]);
    }

    #[rstest]
    #[case::nothing_lost(json!({"selector": {"os": "linux"}}), json!({"selector": {"os": "linux"}}))]
    #[case::given_since(json!({"selector": {"tier": null}}), json!({"selector": {"tier": "web"}}))]
    #[case::told_by_its_own_check(json!({"selector": {"tier": null}}), json!({"selector": {"tier": null}}))]
    #[case::no_selector(json!({"selector": null}), json!({}))]
    #[case::empty(json!({"selector": {}}), json!({"selector": {}}))]
    #[case::no_mapping(json!({"selector": ["tier"]}), json!({}))]
    #[case::below_the_template(json!({"jobTemplate": {"selector": {"tier": null}}}), json!({}))]
    #[case::no_spec(json!(null), json!({}))]
    fn b37_nothing_else_is_a_fault(#[case] noted: Value, #[case] spec: Value) {
        assert!(paths(&noted, &spec).is_empty());
    }

    #[test]
    fn what_is_no_manifest_has_no_faults() {
        for text in [
            "",
            "{",
            "null",
            "[]",
            r#"{"spec":{"selector":{"a":null},"selector":{}}}"#,
        ] {
            assert!(left_out(text, &json!({})).is_empty(), "{text}");
        }
    }
}
