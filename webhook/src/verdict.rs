//! What comes out of a review, and how a denial is worded.
//!
//! kubectl prints the causes of a denial with reason Invalid line by line and ignores its message;
//! Helm, Argo CD and Flux print the message alone. So both say all.

use std::collections::BTreeSet;

use daemonjob_core::names::{GROUP, KIND};
use daemonjob_core::validation::FieldError;
use json_patch::Patch;
use serde::Serialize;

/// Longest name of an object in Kubernetes. An answer must not grow with what a hostile one calls itself.
const NAME_MAX: usize = 253;
/// Longest path and longest sentence of a cause. There are a hundred causes at most, but users choose names in paths.
const CAUSE_MAX: usize = 512;
/// API servers may cut warnings from 256 characters on.
const WARNING_MAX: usize = 255;

const ELLIPSIS: &str = "...";

/// The result of a review.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Allowed { patch: Patch, warnings: Vec<String> },
    Denied(Denial),
}

impl Verdict {
    /// Nothing to say.
    pub(crate) fn allowed() -> Self {
        Self::Allowed {
            patch: Patch::default(),
            warnings: Vec::new(),
        }
    }

    /// The kinds of the causes of a denial.
    pub(crate) fn denied_for(&self) -> BTreeSet<&'static str> {
        match self {
            Self::Allowed { .. } => BTreeSet::new(),
            Self::Denied(denial) => denial.errors.iter().map(|error| error.kind.cause()).collect(),
        }
    }
}

/// Why an object is refused: all of it, in the order of the fields.
#[derive(Debug, PartialEq)]
pub(crate) struct Denial {
    /// Name of the object, as far as it has one.
    pub(crate) name: String,
    pub(crate) errors: Vec<FieldError>,
}

/// `metav1.Status` of a refused object.
#[derive(Serialize)]
pub(crate) struct Status {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: String,
    details: Details,
}

#[derive(Serialize)]
struct Details {
    name: String,
    group: &'static str,
    kind: &'static str,
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Denial {
    /// As the API server passes it on.
    pub(crate) fn status(&self) -> Status {
        let name = cut(&self.name, NAME_MAX);
        let causes: Vec<Cause> = self.errors.iter().map(Cause::from).collect();
        let line = |cause: &Cause| format!("{}: {}", cause.field, cause.message);
        let lines = match causes.as_slice() {
            [only] => line(only),
            all => format!("[{}]", all.iter().map(line).collect::<Vec<_>>().join(", ")),
        };
        Status {
            status: "Failure",
            code: 422,
            reason: "Invalid",
            message: format!("{KIND}.{GROUP} \"{name}\" is invalid: {lines}"),
            details: Details {
                name,
                group: GROUP,
                kind: KIND,
                causes,
            },
        }
    }
}

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Self {
            reason: error.kind.cause(),
            message: cut(&error.detail, CAUSE_MAX),
            field: cut(&error.path, CAUSE_MAX),
        }
    }
}

/// A text in the form that a `Warning` header takes: one line of printable ASCII.
pub(crate) fn warning(text: &str) -> String {
    let text = text.replace('…', ELLIPSIS);
    let ascii: String = text
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    cut(&ascii, WARNING_MAX)
}

fn cut(text: &str, characters: usize) -> String {
    if text.chars().nth(characters).is_none() {
        return text.to_owned();
    }
    text.chars()
        .take(characters - ELLIPSIS.len())
        .chain(ELLIPSIS.chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_fit_into_a_header() {
        let long = warning(&format!("label \"größe\"…\n{}", "x".repeat(400)));
        assert!(long.is_ascii() && long.len() == WARNING_MAX, "{long}");
        assert!(
            long.starts_with("label \"gr??e\"...?x") && long.ends_with("x..."),
            "{long}"
        );
        assert_eq!(warning("short"), "short");
    }

    #[test]
    fn a_text_of_just_the_limit_is_not_cut() {
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcde", 4), "a...");
    }
}
