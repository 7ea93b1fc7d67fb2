//! Differences from a sample, and values that are too long to be written out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Members to set and to take away, by JSON pointer.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default)]
    set: BTreeMap<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
}

impl Change {
    pub(crate) fn apply(&self, to: &mut Value) {
        for (pointer, value) in &self.set {
            set(to, pointer, unfolded(value));
        }
        for pointer in &self.remove {
            remove(to, pointer);
        }
    }
}

fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// Objects on the way are made.
fn set(root: &mut Value, pointer: &str, value: Value) {
    let mut at = root;
    for token in tokens(pointer) {
        at = if at.is_array() {
            let index: usize = token.parse().expect("a list has indices");
            &mut at[index]
        } else {
            &mut at[token]
        };
    }
    *at = value;
}

fn remove(root: &mut Value, pointer: &str) {
    let (parent, member) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let parent = root.pointer_mut(parent).and_then(Value::as_object_mut);
    let removed = parent.and_then(|parent| parent.remove(&member.replace("~1", "/")));
    assert!(removed.is_some(), "{pointer} is not there");
}

/// The text that is repeated, and how often; both stand in the place of a long text.
const REPEATED: [&str; 2] = ["$repeat", "$times"];
/// From here on a text of one character is folded.
const LONG: usize = 256;

/// The value with every `{$repeat: x, $times: 1000}` in it written out.
pub(crate) fn unfolded(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let [text, times] = REPEATED.map(|name| members.get(name));
            if let (Some(Value::String(text)), Some(times)) = (text, times.and_then(Value::as_u64)) {
                let times = usize::try_from(times).expect("it fits into memory");
                return Value::from(text.repeat(times));
            }
            let members = members.iter().map(|(key, value)| (key.clone(), unfolded(value)));
            Value::Object(members.collect())
        }
        Value::Array(elements) => elements.iter().map(unfolded).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The reverse.
pub(crate) fn folded(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let first = text.chars().next().unwrap_or_default();
            if text.len() >= LONG && text.chars().all(|c| c == first) {
                return json!({ REPEATED[0]: first.to_string(), REPEATED[1]: text.chars().count() });
            }
            value.clone()
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), folded(value)));
            Value::Object(members.collect())
        }
        Value::Array(elements) => elements.iter().map(folded).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_folded_and_written_out_again() {
        let value = json!({"a": ["x".repeat(300), "short"], "b": "ä".repeat(300)});
        let short = json!({"a": [{"$repeat": "x", "$times": 300}, "short"], "b": {"$repeat": "ä", "$times": 300}});
        assert_eq!(folded(&value), short);
        assert_eq!(unfolded(&short), value);
    }

    #[test]
    fn changes_make_the_objects_on_the_way() {
        let change: Change = serde_json::from_value(json!({
            "set": {"/a/b~1c": 1, "/list/0/x": null}, "remove": ["/gone"],
        }))
        .unwrap();
        let mut value = json!({"list": [{}], "gone": 1});
        change.apply(&mut value);
        assert_eq!(value, json!({"a": {"b/c": 1}, "list": [{"x": null}]}));
    }
}
