//! What `/mutate` adds to a DaemonJob, and what `/validate` checks of it: the hash of the template, and `replace`.
//!
//! Pure functions of the request, so that a second pass over their result adds nothing.

use serde_json::Value;

use crate::hash::TemplateHash;
use crate::names::TEMPLATE_HASH;
use crate::validation::{ErrorKind, FieldError};

/// What to add to an object. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The hash to stamp; none if it is there already, or if the template has none.
    pub hash: Option<TemplateHash>,
    /// Whether `/spec/replace` must be added, as false.
    pub replace: bool,
    /// What the user should know: a hash that they wrote is overwritten.
    pub warnings: Vec<String>,
}

/// What to add to `object`, which replaces `old` on an update. It judges nothing: that is up to validation.
pub fn defaults(object: &Value, old: Option<&Value>) -> Defaults {
    let replace = object
        .get("spec")
        .is_some_and(|spec| spec.is_object() && spec.get("replace").is_none_or(Value::is_null));
    let stamp = template_hash(object).filter(|hash| annotation(object) != Some(&Value::from(hash.as_str())));
    let Some(hash) = stamp else {
        return Defaults {
            replace,
            ..Defaults::default()
        };
    };

    let written = annotation(object);
    // An update carries the old hash along with a new template. That is nobody's mistake.
    let is_new = written.is_some() && written != old.and_then(annotation);
    let warnings = match is_new {
        true => vec![format!(
            "{}: is computed from spec.jobTemplate; the value that was given is replaced by {hash}",
            path()
        )],
        false => Vec::new(),
    };
    Defaults {
        hash: Some(hash),
        replace,
        warnings,
    }
}

/// What is wrong with the hash annotation. A template that has no hash is for validation to refuse.
/// `known` is the template's hash, if the caller has computed it already.
pub fn hash_mismatch(object: &Value, known: Option<&TemplateHash>) -> Option<FieldError> {
    let hash = known.cloned().or_else(|| template_hash(object))?;
    let (kind, fault) = match annotation(object) {
        Some(written) if written.as_str() == Some(hash.as_str()) => return None,
        Some(_) => (ErrorKind::Invalid, "is not the hash of spec.jobTemplate"),
        None => (ErrorKind::Required, "does not hold the hash of spec.jobTemplate"),
    };
    let detail = format!(
        "{fault}: that is {hash}, and the mutating webhook writes it; \
         check that its configuration is in place and that no other webhook changes the template after it"
    );
    Some(FieldError {
        path: path(),
        kind,
        detail,
    })
}

fn path() -> String {
    format!("metadata.annotations[{TEMPLATE_HASH}]")
}

fn template_hash(object: &Value) -> Option<TemplateHash> {
    let template = object.get("spec")?.get("jobTemplate")?;
    template.is_object().then(|| TemplateHash::of(template).ok())?
}

fn annotation(object: &Value) -> Option<&Value> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(TEMPLATE_HASH)
        .filter(|value| !value.is_null())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}}})
    }

    fn hash() -> TemplateHash {
        TemplateHash::of(&template()).unwrap()
    }

    fn object(annotation: &Value) -> Value {
        json!({
            "metadata": {"name": "x", "annotations": {TEMPLATE_HASH: annotation, "other": "kept"}},
            "spec": {"replace": true, "jobTemplate": template()},
        })
    }

    /// The object after the webhook's patch.
    pub(crate) fn apply(object: &Value, defaults: &Defaults) -> Value {
        let mut object = object.clone();
        if let Some(hash) = &defaults.hash {
            object["metadata"]["annotations"][TEMPLATE_HASH] = json!(hash.as_str());
        }
        if defaults.replace {
            object["spec"]["replace"] = json!(false);
        }
        object
    }

    #[test]
    fn b58_a_new_object_is_stamped_and_gets_replace() {
        for metadata in [json!({}), json!({"annotations": null}), json!({"annotations": {}})] {
            let object = json!({"metadata": metadata, "spec": {"jobTemplate": template()}});
            assert_eq!(
                defaults(&object, None),
                Defaults {
                    hash: Some(hash()),
                    replace: true,
                    warnings: vec![]
                }
            );
        }
    }

    #[test]
    fn g7_a_right_object_is_left_alone() {
        let object = object(&json!(hash().as_str()));
        assert_eq!(defaults(&object, None), Defaults::default());
        assert_eq!(defaults(&object, Some(&object)), Defaults::default());
    }

    #[test]
    fn b57_a_wrong_hash_on_create_is_overwritten_with_a_warning() {
        let upper = hash().as_str().to_uppercase();
        for written in [
            json!("0".repeat(64)),
            json!("short"),
            json!(upper),
            json!(""),
            json!("x".repeat(1 << 20)),
            json!(7),
        ] {
            let defaults = defaults(&object(&written), None);
            assert_eq!(defaults.hash, Some(hash()));
            assert_eq!(
                defaults.warnings,
                [format!(
                    "metadata.annotations[daemon.justk8s.com/template-hash]: is computed from spec.jobTemplate; \
                     the value that was given is replaced by {}",
                    hash()
                )]
            );
        }
    }

    #[test]
    fn b57_the_old_hash_carried_along_is_overwritten_in_silence() {
        let stale = object(&json!("0".repeat(64)));
        assert_eq!(
            defaults(&stale, Some(&stale)),
            Defaults {
                hash: Some(hash()),
                ..Defaults::default()
            }
        );
    }

    #[test]
    fn b57_a_hash_changed_on_update_is_overwritten_with_a_warning() {
        let changed = defaults(&object(&json!("1".repeat(64))), Some(&object(&json!(hash().as_str()))));
        assert_eq!((changed.hash, changed.warnings.len()), (Some(hash()), 1));
    }

    #[test]
    fn e29_a_hash_removed_on_update_is_restored_in_silence() {
        let removed = defaults(&object(&json!(null)), Some(&object(&json!(hash().as_str()))));
        assert_eq!(
            removed,
            Defaults {
                hash: Some(hash()),
                ..Defaults::default()
            }
        );
    }

    #[test]
    fn b41_replace_is_added_where_it_is_absent_or_null_and_never_changed() {
        let with = |replace: Value| json!({"spec": {"replace": replace, "jobTemplate": template()}});
        assert!(defaults(&with(json!(null)), None).replace);
        for written in [json!(true), json!(false), json!("true"), json!(1)] {
            assert!(!defaults(&with(written), None).replace);
        }
    }

    #[test]
    fn a_template_without_a_hash_is_left_to_validation() {
        for template in [
            json!(null),
            json!("x"),
            json!([]),
            json!({"a": 9_007_199_254_740_993_u64}),
        ] {
            let object = json!({"metadata": {"annotations": {TEMPLATE_HASH: "x"}}, "spec": {"jobTemplate": template}});
            assert_eq!(
                defaults(&object, None),
                Defaults {
                    replace: true,
                    ..Defaults::default()
                }
            );
            assert_eq!(hash_mismatch(&object, None), None);
        }
    }

    #[test]
    fn g6_an_annotation_that_is_not_the_hash_is_a_fault() {
        assert_eq!(hash_mismatch(&object(&json!(hash().as_str())), None), None);
        let wrong = hash_mismatch(&object(&json!("0".repeat(64))), None).unwrap();
        assert_eq!(wrong.path, "metadata.annotations[daemon.justk8s.com/template-hash]");
        assert_eq!(wrong.kind, ErrorKind::Invalid);
        assert!(
            wrong
                .detail
                .starts_with(&format!("is not the hash of spec.jobTemplate: that is {}", hash()))
        );
        let missing = hash_mismatch(&object(&json!(null)), None).unwrap();
        assert_eq!(missing.kind, ErrorKind::Required);
        assert!(
            missing
                .detail
                .starts_with("does not hold the hash of spec.jobTemplate: that is"),
            "{}",
            missing.detail
        );
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = || {
            prop_oneof![
                Just(json!(null)),
                Just(json!(1)),
                Just(json!("x")),
                Just(json!({})),
                Just(json!(true))
            ]
        };
        // Metadata is typed: the API server has refused anything else long before.
        let map = |inner: BoxedStrategy<Value>| prop_oneof![Just(json!(null)), Just(json!({})), inner];
        let annotations = map(leaf().prop_map(|value| json!({TEMPLATE_HASH: value})).boxed());
        let metadata = map(annotations.prop_map(|value| json!({"annotations": value})).boxed());
        let template = prop_oneof![leaf(), Just(template())];
        let spec =
            (leaf(), template).prop_map(|(replace, template)| json!({"replace": replace, "jobTemplate": template}));
        let whole = (metadata, prop_oneof![leaf(), spec])
            .prop_map(|(metadata, spec)| json!({"metadata": metadata, "spec": spec}));
        prop_oneof![leaf(), whole]
    }

    proptest! {
        #[test]
        fn l12_mutating_twice_equals_mutating_once(object in any_object(), old in prop::option::of(any_object())) {
            let first = defaults(&object, old.as_ref());
            let mutated = apply(&object, &first);
            prop_assert_eq!(defaults(&mutated, old.as_ref()), Defaults::default());
            prop_assert_eq!(hash_mismatch(&mutated, None), None);
        }
    }
}
