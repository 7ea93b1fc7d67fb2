//! What an update has to know of the spec before it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::hash::{TemplateHash, digest};

/// What is kept of a spec while its successor is judged; admission answers for its memory, and two would be twice as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    digest: [u8; 32],
    template: Option<TemplateHash>,
}

impl Former {
    /// What is kept of this one.
    pub fn of(spec: &Value) -> Self {
        Self {
            digest: spec_digest(spec),
            template: template_hash(spec),
        }
    }

    /// Whether `spec` is the same, but for an absent `replace`, which means false and which `/mutate` fills in:
    /// a label edit of an object stored without it must not count as a change of its spec.
    pub fn is(&self, spec: &Value) -> bool {
        self.digest == spec_digest(spec)
    }

    /// What a change to `spec` means for nodes that already ran.
    /// `known` is the hash of its template, if the caller has computed it already.
    pub fn change_warning(&self, spec: &Value, known: Option<&TemplateHash>) -> Option<String> {
        let after = known.cloned().or_else(|| template_hash(spec))?;
        if *self.template.as_ref()? == after {
            return None;
        }
        let effect = if spec.get("replace") == Some(&Value::Bool(true)) {
            "`replace` is true: stops and re-runs every node"
        } else {
            "`replace` is false: nodes that already ran keep their result"
        };
        Some(format!("spec.jobTemplate: the template has changed; {effect}"))
    }
}

fn template_hash(spec: &Value) -> Option<TemplateHash> {
    TemplateHash::of(spec.get("jobTemplate")?).ok()
}

fn spec_digest(spec: &Value) -> [u8; 32] {
    let Some(members) = spec.as_object() else {
        return digest(spec);
    };
    let says_something = |(name, value): &(&String, &Value)| {
        name.as_str() != "replace" || !matches!(value, Value::Null | Value::Bool(false))
    };
    // As a mapping again, or a list of pairs would be the same.
    digest(&members.iter().filter(says_something).collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"replace": false, "a": 1}))]
    #[case(json!({"a": 1, "replace": null}))]
    fn b59_an_absent_replace_is_false(#[case] spec: Value) {
        assert!(Former::of(&json!({"a": 1})).is(&spec));
        assert!(Former::of(&spec).is(&json!({"a": 1})));
    }

    #[rstest]
    #[case(json!({"replace": true, "a": 1}))]
    #[case(json!({"a": 1.0}))]
    #[case(json!({"a": "1"}))]
    #[case(json!({"a": [1]}))]
    #[case(json!({"a": 1, "b": null}))]
    #[case(json!([["a", 1]]))]
    #[case(json!({}))]
    #[case(json!(null))]
    fn b59_everything_else_is_a_change(#[case] spec: Value) {
        assert!(Former::of(&spec).is(&spec));
        assert!(!Former::of(&json!({"a": 1})).is(&spec));
    }
}
