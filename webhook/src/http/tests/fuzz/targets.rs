//! What must hold of every input.

use std::collections::BTreeMap;

use daemonjob_core::hash::{TemplateHash, canonical};
use daemonjob_core::selection::Selection;
use daemonjob_core::validation;

use super::super::admission::template as sample_template;
use super::super::*;

/// A body gets a review with its uid, or an error.
pub(super) fn body(input: &[u8]) {
    for path in ["/mutate", "/validate"] {
        answered(path, input.to_vec()).check(input);
    }
}

fn review(path: &str, object: &Value) -> Value {
    answered(path, review_of("CREATE", &object.to_string(), "null").into_bytes()).review("u-1")
}

/// A template has one hash in all of its forms, which is the one that is stamped; or none, and then it is denied.
pub(super) fn template(input: &[u8]) {
    let Ok(template) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let object = json!({"metadata": {"name": "x"}, "spec": {"jobTemplate": template}});
    let stamped = review("/mutate", &object);
    let Ok(hash) = TemplateHash::of(&template) else {
        assert_eq!(review("/validate", &object)["allowed"], false);
        return;
    };
    let again: Value = serde_json::from_str(&template.to_string()).unwrap();
    assert_eq!(TemplateHash::of(&again).as_ref(), Ok(&hash));
    let normal: Value = serde_json::from_slice(&canonical(&template).unwrap()).unwrap();
    assert_eq!(TemplateHash::of(&normal).as_ref(), Ok(&hash));
    let is_stamped = stamped["patch"].as_str().is_some_and(|patch| {
        let patch = data_encoding::BASE64.decode(patch.as_bytes()).unwrap();
        String::from_utf8(patch).unwrap().contains(hash.as_str())
    });
    assert_eq!(is_stamped, template.is_object());
}

/// A selector gets one verdict from webhook and core, and if it is valid it means something.
pub(super) fn selector(input: &[u8]) {
    let Ok(selector) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    for member in ["selector", "ingoreSelector", "ignoreSelector"] {
        let mut object =
            json!({"metadata": {"name": "x"}, "spec": {"jobTemplate": sample_template(), "replace": false}});
        object["spec"][member] = selector.clone();
        let hash = TemplateHash::of(&sample_template()).unwrap();
        object["metadata"]["annotations"] = json!({"daemon.justk8s.com/template-hash": hash.as_str()});
        let reading = validation::read("x", &object["spec"]);
        assert_eq!(review("/validate", &object)["allowed"], reading.is_valid(), "{member}");
        let Ok(spec) = reading.runnable() else {
            continue;
        };
        let labels = selector.as_object().into_iter().flatten();
        let carries_all: BTreeMap<String, String> = labels
            .map(|(key, value)| (key.clone(), value.as_str().map_or(value.to_string(), str::to_owned)))
            .collect();
        let (with, without) = (
            spec.selection.matches(&carries_all),
            spec.selection.matches(&BTreeMap::new()),
        );
        let expected = match spec.selection {
            Selection::All => (true, true),
            Selection::Exclude(_) => (false, true),
            Selection::Include(_) => (true, false),
        };
        assert_eq!((with, without), expected, "{member}");
    }
}
