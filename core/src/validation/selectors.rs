//! `spec.selector` and the exclusion, in either spelling.

use std::collections::BTreeMap;

use serde_json::Value;

use super::labels::{key_fault, value_fault};
use super::place::{Findings, Place};
use super::{ErrorKind, FieldError};
use crate::names::{EXCLUSION, EXCLUSION_ALIAS, INCLUSION};
use crate::selection::{Selection, Wanted, yaml_words};
use crate::template::{described, shorten};

/// Most labels in one selector.
pub(super) const PAIRS_MAX: usize = 32;

/// Keys that people expect on nodes, and the keys that Kubernetes sets.
const LOOKALIKES: [(&str, &str); 7] = [
    ("arch", "kubernetes.io/arch"),
    ("architecture", "kubernetes.io/arch"),
    ("hostname", "kubernetes.io/hostname"),
    ("instance-type", "node.kubernetes.io/instance-type"),
    ("os", "kubernetes.io/os"),
    ("region", "topology.kubernetes.io/region"),
    ("zone", "topology.kubernetes.io/zone"),
];

/// What the selectors say.
pub(super) struct Selectors {
    pub(super) selection: Selection,
    /// Both are set. Kept apart from the other errors: a stored object with this one still runs (cases.md B34).
    pub(super) conflict: Option<FieldError>,
}

#[derive(Clone, Copy, PartialEq)]
enum Sense {
    Exclude,
    Include,
}

pub(super) fn read(spec: &Place<'_>, found: &mut Findings) -> Selectors {
    let inclusion = spec.member(INCLUSION);
    let (own, alias) = (spec.member(EXCLUSION), spec.member(EXCLUSION_ALIAS));
    if own.value.is_some() && alias.value.is_some() {
        let detail = format!(
            "`{}` and `{}` are two names of one field: remove one",
            own.path(),
            alias.path()
        );
        found.error(&alias, ErrorKind::Forbidden, detail);
        // The second one is checked too, for the sake of all causes.
        read_pairs(&alias, Sense::Exclude, found);
    }
    let exclusion = if own.value.is_some() { own } else { alias };

    let include = read_pairs(&inclusion, Sense::Include, found);
    let exclude = read_pairs(&exclusion, Sense::Exclude, found);
    warn_if_empty(&inclusion, &exclusion, found);
    warn_if_empty(&exclusion, &inclusion, found);

    let is_conflict = !inclusion.is_empty() && !exclusion.is_empty();
    let conflict = is_conflict.then(|| FieldError {
        path: exclusion.path(),
        kind: ErrorKind::Forbidden,
        detail: format!(
            "`{}` and `{}` are mutually exclusive: remove one",
            inclusion.path(),
            exclusion.path()
        ),
    });
    let selection = match (include.is_empty(), exclude.is_empty()) {
        (false, _) => Selection::Include(include),
        (true, false) => Selection::Exclude(exclude),
        (true, true) => Selection::All,
    };
    Selectors { selection, conflict }
}

fn warn_if_empty(selector: &Place<'_>, other: &Place<'_>, found: &mut Findings) {
    if selector
        .value
        .is_none_or(|value| value.as_object().is_none_or(|pairs| !pairs.is_empty()))
    {
        return;
    }
    let effect = match other.is_empty() {
        true => "all nodes are selected".to_owned(),
        false => format!("`{}` alone decides", other.path()),
    };
    found.warn(selector, &format!("is empty, which is the same as absent: {effect}"));
}

fn read_pairs(selector: &Place<'_>, sense: Sense, found: &mut Findings) -> BTreeMap<String, Wanted> {
    let pairs = match selector.value {
        None => return BTreeMap::new(),
        Some(Value::Object(pairs)) => pairs,
        Some(other) => {
            let detail = format!(
                "must be a mapping of labels such as `zone: \"a\"`, not {}",
                described(other)
            );
            found.error(selector, ErrorKind::TypeInvalid, detail);
            return BTreeMap::new();
        }
    };
    if pairs.len() > PAIRS_MAX {
        let detail = format!("has {} labels, at most {PAIRS_MAX} are allowed", pairs.len());
        found.error(selector, ErrorKind::TooMany, detail);
    }
    let mut wanted = BTreeMap::new();
    for (key, pair) in selector.pairs() {
        if let Some(fault) = key_fault(key) {
            found.error(&pair, ErrorKind::Invalid, fault);
        } else if let Some((_, standard)) = LOOKALIKES.iter().find(|(lookalike, _)| *lookalike == key) {
            found.warn(
                &pair,
                &format!("Kubernetes sets no node label `{key}`; did you mean `{standard}`?"),
            );
        }
        if let Some(value) = read_value(key, &pair, sense, found) {
            wanted.insert(key.to_owned(), value);
        }
    }
    wanted
}

fn read_value(key: &str, pair: &Place<'_>, sense: Sense, found: &mut Findings) -> Option<Wanted> {
    let key = || shorten(key);
    let detail = match pair.value {
        Some(Value::String(text)) => {
            if let Some(fault) = value_fault(text) {
                found.error(pair, ErrorKind::Invalid, fault);
            }
            return Some(Wanted::Text(text.clone()));
        }
        Some(Value::Bool(boolean)) => {
            found.warn(pair, &boolean_warning(&key(), *boolean, sense));
            return Some(Wanted::Boolean(*boolean));
        }
        Some(Value::Number(number)) => {
            let key = key();
            format!(
                "must be a string, not the number {number}; quote it: `{key}: \"{number}\"` (YAML reads an unquoted 010 as 8)"
            )
        }
        Some(Value::Array(_)) => {
            format!(
                "must be a string, not a list; give one value and quote it: `{}: \"value\"`",
                key()
            )
        }
        Some(Value::Object(_)) => {
            format!(
                "must be a string, not a mapping; give one value and quote it: `{}: \"value\"`",
                key()
            )
        }
        None | Some(Value::Null) => without_value(&key()),
    };
    found.error(pair, ErrorKind::TypeInvalid, detail);
    None
}

/// What to say of a key that stands alone.
pub(super) fn without_value(key: &str) -> String {
    format!("has no value; quote it: `{key}: \"\"` for the empty value, `{key}: \"null\"` for the word")
}

fn boolean_warning(key: &str, boolean: bool, sense: Sense) -> String {
    match sense {
        Sense::Exclude => {
            let [first, second, third, fourth] = yaml_words(boolean);
            format!(
                "the boolean {boolean} excludes the values {first}, {second}, {third} and {fourth} in any case; \
                 for one of them, quote it: `{key}: \"{boolean}\"`"
            )
        }
        Sense::Include => {
            format!(
                "the boolean {boolean} selects only the value \"{boolean}\"; quote what you mean: `{key}: \"{boolean}\"`"
            )
        }
    }
}
