//! The answers on file.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::{folded, unfolded};

/// What is answered to a vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// By path.
    pub answers: BTreeMap<String, Answer>,
    /// The object with the patch of `/mutate` applied, as `/validate` sees it; none if nothing is patched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patched: Option<Value>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that say what to do next, in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The patch in the body, decoded for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// The whole body: the JSON of a review, or a text.
    pub body: Value,
}

impl Answer {
    /// An answer from the wire.
    ///
    /// # Panics
    /// If a review is no JSON, or its patch is no base64 of JSON.
    pub fn new(status: u16, headers: BTreeMap<String, String>, body: &str) -> Self {
        let body = match status {
            200 => serde_json::from_str(body).expect("a review is JSON"),
            _ => Value::from(body),
        };
        let patch = body.pointer("/response/patch").map(|patch| {
            let text = patch.as_str().expect("a patch is a text");
            let json = BASE64.decode(text.as_bytes()).expect("a patch is base64");
            serde_json::from_slice(&json).expect("a patch is JSON")
        });
        Self {
            status,
            headers,
            patch,
            body,
        }
    }

    /// Its `response`, if it is a review.
    pub fn response(&self) -> Option<&Value> {
        self.body.get("response")
    }

    /// Whether it lets the object in; none if it is no review.
    pub fn is_allowed(&self) -> Option<bool> {
        self.response()?.get("allowed")?.as_bool()
    }

    /// What is wrong: fields and messages.
    pub fn causes(&self) -> Vec<(String, String)> {
        let causes = self.body.pointer("/response/status/details/causes");
        let text = |cause: &Value, name: &str| cause[name].as_str().unwrap_or_default().to_owned();
        let causes = causes.and_then(Value::as_array).into_iter().flatten();
        causes
            .map(|cause| (text(cause, "field"), text(cause, "message")))
            .collect()
    }

    /// What the user is told although it is allowed.
    pub fn warnings(&self) -> Vec<&str> {
        let warnings = self.body.pointer("/response/warnings").and_then(Value::as_array);
        warnings.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

impl Golden {
    /// As it stands in the file, where texts of thousands of equal characters are folded.
    pub(crate) fn yaml(&self) -> String {
        let mut short = self.clone();
        short.patched = short.patched.as_ref().map(folded);
        for answer in short.answers.values_mut() {
            answer.body = folded(&answer.body);
        }
        let yaml = serde_saphyr::to_string(&short).expect("a JSON value has a YAML form");
        assert_eq!(Self::parse(&yaml), *self, "it reads back as it was written");
        yaml
    }

    pub(crate) fn parse(yaml: &str) -> Self {
        let value: Value = serde_saphyr::from_str(yaml).expect("what was generated is YAML");
        serde_json::from_value(unfolded(&value)).expect("it has the form of answers")
    }
}
