//! The Job template of a DaemonJob: raw JSON from end to end, with a typed view for checks.

use k8s_openapi::api::batch::v1::JobTemplateSpec;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Volume, VolumeProjection};
use serde::de::DeserializeOwned;
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

    /// A view to look at, without containers and volumes. Never to write back: decoding drops fields newer than this
    /// program and rewrites quantities.
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
    let is_field = (1..=SHOWN).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    if MAPS.contains(&parent) || !is_field {
        path.push_str(&format!("[{}]", shorten(name)));
    } else if path.is_empty() {
        path.push_str(name);
    } else {
        path.push('.');
        path.push_str(name);
    }
}

/// Longest text of a user in a message.
const SHOWN: usize = 80;

/// Text of a user as a message shows it: without control characters, and cut where it no longer helps.
pub(crate) fn shorten(text: &str) -> String {
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

/// How many values of a wrong type are looked for: each needs a pass of its own over what holds it.
const MISTYPED_MAX: usize = 16;

/// Decodes a template, or names its values of a wrong type. Unknown fields are no error.
///
/// Containers and volumes are decoded one at a time, and are not in the result: nobody looks at them there, and their
/// types take kilobytes each, so that a template of 64 KiB could take a hundred megabytes.
pub(crate) fn decode(template: &Value) -> Result<JobTemplateSpec, Vec<Mistyped>> {
    const POD: [&str; 3] = ["spec", "template", "spec"];
    const LISTS: [&str; 4] = ["containers", "ephemeralContainers", "initContainers", "volumes"];
    let mut found = Vec::new();
    let typed = decode_value(&without(template, &POD, &LISTS), "", &mut found);
    let (pod, path) = (template.pointer("/spec/template/spec"), POD.join("."));
    decode_elements::<Container>(pod, &path, "containers", &mut found);
    decode_elements::<EphemeralContainer>(pod, &path, "ephemeralContainers", &mut found);
    decode_elements::<Container>(pod, &path, "initContainers", &mut found);
    for (path, volume) in elements(pod, &path, "volumes") {
        if found.len() >= MISTYPED_MAX {
            break;
        }
        decode_value::<Volume>(&without(volume, &["projected"], &["sources"]), &path, &mut found);
        let path = join(&path, "projected");
        decode_elements::<VolumeProjection>(volume.get("projected"), &path, "sources", &mut found);
    }
    typed.filter(|_| found.is_empty()).ok_or(found)
}

/// A copy without the elements of these lists of the mapping below `way`.
fn without(value: &Value, way: &[&str], lists: &[&str]) -> Value {
    let Value::Object(members) = value else {
        return value.clone();
    };
    let copied = members.iter().map(|(name, member)| {
        let copy = match way.split_first() {
            Some((next, rest)) if next == name => without(member, rest, lists),
            None if member.is_array() && lists.contains(&name.as_str()) => Value::Array(Vec::new()),
            Some(_) | None => member.clone(),
        };
        (name.clone(), copy)
    });
    Value::Object(copied.collect())
}

/// The elements of a list, with their paths.
fn elements<'a>(holder: Option<&'a Value>, path: &str, list: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let path = join(path, list);
    let elements = holder.and_then(|holder| holder.get(list)?.as_array());
    let elements = elements.into_iter().flatten().enumerate();
    elements.map(move |(index, element)| (format!("{path}[{index}]"), element))
}

fn decode_elements<T: DeserializeOwned>(holder: Option<&Value>, path: &str, list: &str, found: &mut Vec<Mistyped>) {
    for (path, element) in elements(holder, path, list) {
        if found.len() >= MISTYPED_MAX {
            return;
        }
        decode_value::<T>(element, &path, found);
    }
}

/// Decodes what stands at `base`.
///
/// Decoding stops at the first value of a wrong type, so each is replaced by something harmless and the rest is tried again.
fn decode_value<T: DeserializeOwned>(value: &Value, base: &str, found: &mut Vec<Mistyped>) -> Option<T> {
    // Nearly all values are right, and keeping track of paths takes as long as decoding.
    if let Ok(typed) = T::deserialize(value) {
        return Some(typed);
    }
    let mut value = value.clone();
    let mut outcome = try_decode(&value);
    loop {
        let fault = match outcome {
            Ok(typed) => return Some(typed),
            Err(fault) => fault,
        };
        found.push(Mistyped {
            path: join(base, &fault.path),
            detail: detail(value.pointer(&fault.pointer), &fault.message),
        });
        if found.len() >= MISTYPED_MAX {
            return None;
        }
        outcome = decode_without(&mut value, &fault)?;
    }
}

/// The path of what stands at `below` in what stands at `base`.
pub(crate) fn join(base: &str, below: &str) -> String {
    let dot = if base.is_empty() || below.is_empty() || below.starts_with('[') {
        ""
    } else {
        "."
    };
    format!("{base}{dot}{below}")
}

/// Where and why decoding stopped.
struct Fault {
    /// JSON pointer to the value.
    pointer: String,
    /// The same as users read it.
    path: String,
    message: String,
}

fn try_decode<T: DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
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
fn decode_without<T: DeserializeOwned>(value: &mut Value, fault: &Fault) -> Option<Result<T, Fault>> {
    // A null is an absent member; the elements of a list and the values of a map must be something.
    let harmless = [Value::Null, Value::Object(Map::new()), Value::from(""), Value::from(0)];
    harmless.into_iter().find_map(|instead| {
        *value.pointer_mut(&fault.pointer)? = instead;
        let outcome = try_decode(value);
        let is_same = outcome.as_ref().is_err_and(|next| next.pointer == fault.pointer);
        (!is_same).then_some(outcome)
    })
}

/// Says what is there and what should be, in the words of JSON rather than of Rust.
fn detail(value: Option<&Value>, message: &str) -> String {
    let Some((_, expected)) = message.rsplit_once("expected ") else {
        return shorten(message);
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
        other => &shorten(other),
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
