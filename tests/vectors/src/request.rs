//! A request as it goes over the wire, and how a vector bends it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is sent.
#[derive(Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// All headers but `Host` and `Content-Length`.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// How a request differs from a POST of JSON.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    method: Option<String>,
    /// Asked once, here, instead of `/mutate` and `/validate`.
    pub(crate) path: Option<String>,
    /// So many bytes are added to the path.
    #[serde(default)]
    padding: usize,
    /// Headers to set or, if null, to leave out.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Sent instead of a review.
    body: Option<String>,
}

impl Http {
    pub(crate) fn request(&self, path: &str, review: impl FnOnce() -> Vec<u8>) -> Request {
        let mut headers = BTreeMap::from([("Content-Type".to_owned(), "application/json".to_owned())]);
        for (name, value) in &self.headers {
            match value {
                Some(value) => headers.insert(name.clone(), value.clone()),
                None => headers.remove(name),
            };
        }
        Request {
            method: self.method.clone().unwrap_or_else(|| "POST".to_owned()),
            path: format!("{path}{}", "x".repeat(self.padding)),
            headers,
            body: match &self.body {
                Some(body) => body.clone().into_bytes(),
                None => review(),
            },
        }
    }
}

/// How the text of a review differs from the JSON that it was made from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    /// Stands before it.
    #[serde(default)]
    before: String,
    /// Stands after it.
    #[serde(default)]
    after: String,
    /// What no JSON value can hold, instead of a text that is there.
    #[serde(default)]
    replace: BTreeMap<String, String>,
    /// How deep the lists are nested that stand for the string `NESTED`.
    nested: Option<usize>,
    /// Each character is one byte: what is not ASCII is no UTF-8 then.
    #[serde(default)]
    latin1: bool,
}

impl Text {
    /// The text of an object, as it stands in a review.
    pub(crate) fn bend(&self, json: &str) -> String {
        let mut text = json.to_owned();
        for (from, to) in &self.replace {
            text = text.replace(from, to);
        }
        if let Some(depth) = self.nested {
            text = text.replace("\"NESTED\"", &("[".repeat(depth) + &"]".repeat(depth)));
        }
        text
    }

    /// The bytes of a review.
    pub(crate) fn encode(&self, json: &str) -> Vec<u8> {
        let text = format!("{}{}{}", self.before, self.bend(json), self.after);
        if self.latin1 {
            let bytes = text.chars().map(u8::try_from);
            return bytes.collect::<Result<_, _>>().expect("each character is one byte");
        }
        text.into_bytes()
    }
}
