//! The Job template of a DaemonJob: raw JSON from end to end, with a typed view for checks.

use k8s_openapi::api::batch::v1::JobTemplateSpec;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::hash::TemplateHash;

/// A template that passed validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    raw: Value,
    hash: TemplateHash,
    typed: JobTemplateSpec,
}

impl Template {
    pub(crate) fn new(raw: Value, hash: TemplateHash, typed: JobTemplateSpec) -> Self {
        Self { raw, hash, typed }
    }

    /// `spec.jobTemplate` as stored: what Jobs are made from.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Its hash.
    pub fn hash(&self) -> &TemplateHash {
        &self.hash
    }

    /// A view to look at, never to write back: decoding drops fields newer than this program and rewrites quantities.
    pub fn typed(&self) -> &JobTemplateSpec {
        &self.typed
    }
}

/// Adds a member's name to a path, in the way that Kubernetes writes paths: fields with a dot, map keys in brackets.
pub(crate) fn push_member(path: &mut String, name: &str) {
    const MAPS: [&str; 6] = [
        "annotations",
        "labels",
        "limits",
        "matchLabels",
        "nodeSelector",
        "requests",
    ];
    let parent = path.rsplit('.').next().unwrap_or_default();
    let is_field = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    if MAPS.contains(&parent) || !is_field {
        path.push_str(&format!("[{}]", shorten(name)));
    } else if path.is_empty() {
        path.push_str(name);
    } else {
        path.push('.');
        path.push_str(name);
    }
}

/// Text of a user as a message shows it: without control characters, and cut where it no longer helps.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    // escape_debug also escapes quotes, which read worse than they are.
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// A value that the Job API cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistyped {
    /// Where it stands, below the template.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) detail: String,
}

/// How many values of a wrong type are looked for: each needs a pass of its own over the template.
const MISTYPED_MAX: usize = 16;

/// Decodes a template, or names its values of a wrong type. Unknown fields are no error.
///
/// Decoding stops at the first such value, so each one is replaced by something harmless and the rest is tried again.
pub(crate) fn decode(mut template: Value) -> Result<JobTemplateSpec, Vec<Mistyped>> {
    let mut found = Vec::new();
    let mut outcome = try_decode(&template);
    loop {
        match outcome {
            Ok(typed) if found.is_empty() => return Ok(typed),
            Ok(_) => return Err(found),
            Err(fault) => {
                let detail = detail(template.pointer(&fault.pointer), &fault.message);
                found.push(Mistyped {
                    path: fault.path.clone(),
                    detail,
                });
                match decode_without(&mut template, &fault) {
                    Some(next) if found.len() < MISTYPED_MAX => outcome = next,
                    Some(_) | None => return Err(found),
                }
            }
        }
    }
}

/// Where and why decoding stopped.
struct Fault {
    /// JSON pointer to the value.
    pointer: String,
    /// The same as users read it.
    path: String,
    message: String,
}

fn try_decode(template: &Value) -> Result<JobTemplateSpec, Fault> {
    serde_path_to_error::deserialize(template).map_err(|error| {
        let (mut pointer, mut path) = (String::new(), String::new());
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => {
                    pointer.push_str(&format!("/{index}"));
                    path.push_str(&format!("[{index}]"));
                }
                Segment::Map { key } => {
                    pointer.push('/');
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    push_member(&mut path, key);
                }
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        Fault {
            pointer,
            path,
            message: error.inner().to_string(),
        }
    })
}

/// Decodes again with something harmless in the place of the fault; none if nothing helps.
fn decode_without(template: &mut Value, fault: &Fault) -> Option<Result<JobTemplateSpec, Fault>> {
    // A null is an absent member; the elements of a list and the values of a map must be something.
    let harmless = [Value::Null, Value::Object(Map::new()), Value::from(""), Value::from(0)];
    harmless.into_iter().find_map(|value| {
        *template.pointer_mut(&fault.pointer)? = value;
        let outcome = try_decode(template);
        let is_same = outcome.as_ref().is_err_and(|next| next.pointer == fault.pointer);
        (!is_same).then_some(outcome)
    })
}

/// Says what is there and what should be, in the words of JSON rather than of Rust.
fn detail(value: Option<&Value>, message: &str) -> String {
    let Some((_, expected)) = message.rsplit_once("expected ") else {
        return message.to_owned();
    };
    let expected = match expected {
        "a 32-bit integer" | "i32" => "a whole number of 32 bits",
        "i64" => "a whole number of 64 bits",
        "a boolean" => "true or false, without quotes",
        "a map" => "a mapping",
        "a sequence" => "a list",
        "a string" => "a string",
        "IntOrString" => "a whole number or a string",
        "Quantity" => "a quantity such as 100m or 1Gi",
        kind if kind.starts_with(|c: char| c.is_ascii_uppercase()) => "a mapping",
        other => other,
    };
    match value {
        Some(value) => format!("must be {expected}, not {}", described(value)),
        None => format!("must be {expected}"),
    }
}

/// A value in a few words.
pub(crate) fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(boolean) => boolean.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the string \"{}\"", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}
