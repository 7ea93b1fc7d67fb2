//! Walking through raw JSON without losing the path, and collecting what is wrong on the way.

use std::cell::OnceCell;
use std::rc::Rc;

use serde_json::Value;

use super::{ErrorKind, FieldError};
use crate::template::push_member;

/// A place in the spec: what is there, and its path.
///
/// Nearly all places that are looked at are in order, and nobody asks for their paths; so these are put together late.
#[derive(Clone)]
pub(super) struct Place<'a> {
    /// The path of what holds it.
    holder: Rc<str>,
    step: Step<'a>,
    own: OnceCell<Rc<str>>,
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
    Member(&'a str),
    /// Its path is that of the holder.
    Here,
}

impl<'a> Place<'a> {
    pub(super) fn new(path: &str, value: &'a Value) -> Self {
        Self {
            holder: path.into(),
            step: Step::Here,
            own: OnceCell::new(),
            value: some(value),
            is_unreachable: false,
        }
    }

    pub(super) fn path(&self) -> &str {
        self.shared_path()
    }

    fn shared_path(&self) -> &Rc<str> {
        self.own.get_or_init(|| match self.step {
            Step::Element(index) => format!("{}[{index}]", self.holder).into(),
            Step::Here => Rc::clone(&self.holder),
            Step::Key(key) => format!("{}[{}]", self.holder, crate::template::shorten(key)).into(),
            Step::Member(name) => {
                let mut path = String::from(&*self.holder);
                push_member(&mut path, name);
                path.into()
            }
        })
    }

    fn step(&self, step: Step<'a>, value: Option<&'a Value>) -> Self {
        Self {
            holder: Rc::clone(self.shared_path()),
            step,
            own: OnceCell::new(),
            value: value.and_then(some),
            is_unreachable: false,
        }
    }

    /// The member of that name, whether it is there or not.
    pub(super) fn member(&self, name: &'a str) -> Self {
        let is_mapping = self.value.is_none_or(Value::is_object);
        Self {
            is_unreachable: self.is_unreachable || !is_mapping,
            ..self.step(Step::Member(name), self.value.and_then(|value| value.get(name)))
        }
    }

    /// The member below all these names.
    pub(super) fn below(&self, names: &[&'a str]) -> Self {
        names.iter().fold(self.clone(), |place, name| place.member(name))
    }

    /// The pairs of a map. Their paths have the key in brackets.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, Self)> {
        let members = self.value.and_then(Value::as_object).into_iter().flatten();
        members.map(|(key, value)| (key.as_str(), self.step(Step::Key(key), Some(value))))
    }

    /// The elements of a list. A null element is left to the typed check.
    pub(super) fn elements(&self) -> impl Iterator<Item = Self> {
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
        self.error_at(place.path().to_owned(), kind, detail);
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
