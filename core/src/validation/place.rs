//! Walking through raw JSON without losing the path, and collecting what is wrong on the way.

use std::iter;

use serde_json::Value;

use super::{ErrorKind, FieldError};
use crate::template::{push_member, shorten};

/// A place in the spec: what is there, and the way to it.
///
/// Nearly all places that are looked at are in order, and nobody asks for their paths; so a path is put together only then.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    holder: Option<&'a Self>,
    step: Step<'a>,
    /// What is there; a null counts as nothing.
    pub(super) value: Option<&'a Value>,
    /// The place is inside of something that cannot have members, so that nobody can tell whether it is missing.
    is_unreachable: bool,
}

/// From what holds a place to the place.
#[derive(Clone, Copy)]
enum Step<'a> {
    Element(usize),
    /// In a map of the user's keys.
    Key(&'a str),
    /// Through all of these members.
    Members(&'a [&'a str]),
    Member(&'a str),
}

impl<'a> Place<'a> {
    pub(super) fn new(path: &'a str, value: &'a Value) -> Self {
        Self {
            holder: None,
            step: Step::Member(path),
            value: some(value),
            is_unreachable: false,
        }
    }

    /// The same place, if this were there.
    pub(super) fn with(&self, value: &'a Value) -> Self {
        Self {
            value: some(value),
            ..*self
        }
    }

    pub(super) fn path(&self) -> String {
        let mut steps: Vec<Step<'_>> = iter::successors(Some(self), |place| place.holder)
            .map(|place| place.step)
            .collect();
        let mut path = String::new();
        while let Some(step) = steps.pop() {
            step.append_to(&mut path);
        }
        path
    }

    fn step<'b>(&'b self, step: Step<'b>, value: Option<&'b Value>) -> Place<'b> {
        Place {
            holder: Some(self),
            step,
            value: value.and_then(some),
            is_unreachable: false,
        }
    }

    /// The member of that name, whether it is there or not.
    pub(super) fn member<'b>(&'b self, name: &'b str) -> Place<'b> {
        let (value, is_unreachable) = self.look_up(name);
        Place {
            is_unreachable,
            ..self.step(Step::Member(name), value)
        }
    }

    /// The member below all these names.
    pub(super) fn below<'b>(&'b self, names: &'b [&'b str]) -> Place<'b> {
        let below = names.iter().fold(*self, |place, name| {
            let (value, is_unreachable) = place.look_up(name);
            Place {
                value: value.and_then(some),
                is_unreachable,
                ..place
            }
        });
        Place {
            holder: Some(self),
            step: Step::Members(names),
            ..below
        }
    }

    fn look_up(&self, name: &str) -> (Option<&'a Value>, bool) {
        let is_mapping = self.value.is_none_or(Value::is_object);
        let value = self.value.and_then(|value| value.get(name));
        (value, self.is_unreachable || !is_mapping)
    }

    /// The pairs of a map. Their paths have the key in brackets.
    pub(super) fn pairs<'b>(&'b self) -> impl Iterator<Item = (&'b str, Place<'b>)> {
        let members = self.value.and_then(Value::as_object).into_iter().flatten();
        members.map(|(key, value)| (key.as_str(), self.step(Step::Key(key), Some(value))))
    }

    /// The elements of a list. A null element is left to the typed check.
    pub(super) fn elements<'b>(&'b self) -> impl Iterator<Item = Place<'b>> {
        let elements = self.value.and_then(Value::as_array).into_iter().flatten();
        elements
            .enumerate()
            .filter(|(_, element)| !element.is_null())
            .map(|(index, element)| self.step(Step::Element(index), Some(element)))
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.and_then(Value::as_str)
    }

    pub(super) fn is_true(&self) -> bool {
        self.value == Some(&Value::Bool(true))
    }

    /// Nothing is there, and something could be.
    pub(super) fn is_missing(&self) -> bool {
        self.value.is_none() && !self.is_unreachable
    }

    /// Nothing is there, or as little as generators write for it: `""`, `[]`, `{}`.
    pub(super) fn is_empty(&self) -> bool {
        self.value.is_none_or(is_empty)
    }
}

impl Step<'_> {
    fn append_to(self, path: &mut String) {
        match self {
            Self::Element(index) => path.push_str(&format!("[{index}]")),
            Self::Key(key) => path.push_str(&format!("[{}]", shorten(key))),
            Self::Members(names) => names.iter().for_each(|name| push_member(path, name)),
            Self::Member(name) => push_member(path, name),
        }
    }
}

fn some(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    errors: Vec<FieldError>,
    uncounted: usize,
    pub(super) warnings: Vec<String>,
}

impl Findings {
    /// An answer with more causes than this helps nobody, and its size would be in the hands of the sender.
    pub(super) const MAX: usize = 100;

    pub(super) fn error(&mut self, place: &Place<'_>, kind: ErrorKind, detail: impl Into<String>) {
        self.error_at(place.path(), kind, detail);
    }

    pub(super) fn error_at(&mut self, path: String, kind: ErrorKind, detail: impl Into<String>) {
        if self.errors.len() < Self::MAX {
            self.errors.push(FieldError {
                path,
                kind,
                detail: detail.into(),
            });
        } else {
            self.uncounted += 1;
        }
    }

    /// Warns of something at a place. The path is part of the text, because that is all that users see.
    pub(super) fn warn(&mut self, place: &Place<'_>, text: &str) {
        if self.warnings.len() < Self::MAX {
            self.warnings.push(format!("{}: {text}", place.path()));
        }
    }

    pub(super) fn has_error_at(&self, path: &str) -> bool {
        self.errors.iter().any(|error| error.path == path)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors, and a last one that counts those that were left out.
    pub(super) fn into_parts(mut self) -> (Vec<FieldError>, Vec<String>) {
        if self.uncounted > 0 {
            let detail = format!("{} more errors are not shown", self.uncounted);
            self.errors.push(FieldError {
                path: "spec".to_owned(),
                kind: ErrorKind::Invalid,
                detail,
            });
        }
        (self.errors, self.warnings)
    }
}
