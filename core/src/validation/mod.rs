//! The one definition of a valid DaemonJob, called by the webhook and by the controller alike.
//!
//! It looks at raw JSON, finds all faults at once, and is total: whatever the JSON is, there is a verdict.
//! Fields that it does not know are none of its business: the API server has its schema for them.

use std::fmt;

use serde_json::Value;

use crate::hash::TemplateHash;
use crate::names::DAEMONJOB_NAME_MAX;
use crate::selection::Selection;
use crate::template::{Template, described};

mod applied;
mod former;
mod job;
mod labels;
mod place;
mod pod;
mod selectors;
#[cfg(test)]
mod tests;

pub use applied::left_out;
pub use former::Former;
pub use job::TEMPLATE_MAX;
use place::{Findings, Place};

/// What kind of fault it is, in the terms of the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Must not be set here.
    Forbidden,
    /// A value out of its range or syntax.
    Invalid,
    /// Not one of the values that are allowed.
    NotSupported,
    /// Missing.
    Required,
    /// Too long.
    TooLong,
    /// Too many members.
    TooMany,
    /// Another JSON type than it must be.
    TypeInvalid,
}

impl ErrorKind {
    /// The `reason` of a cause in a Kubernetes Status.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Forbidden => "FieldValueForbidden",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Required => "FieldValueRequired",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One fault. Written out it is `PATH: DETAIL`, as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: `spec.jobTemplate.spec.template.spec.restartPolicy`.
    pub path: String,
    /// What kind.
    pub kind: ErrorKind,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.detail)
    }
}

/// A spec that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Whether nodes on another template run again.
    pub replace: bool,
    /// Which nodes.
    pub selection: Selection,
    /// What to run.
    pub template: Template,
}

/// What [`judge`] says of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// All faults; none if the spec is valid.
    pub errors: Vec<FieldError>,
    /// What a user should know although it is allowed.
    pub warnings: Vec<String>,
    /// The hash of its template, if it is known by now.
    pub hash: Option<TemplateHash>,
}

/// What [`read`] made of a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// All faults; none if the spec is valid.
    pub errors: Vec<FieldError>,
    /// What a user should know although it is allowed.
    pub warnings: Vec<String>,
    both_selectors: bool,
    spec: Option<Spec>,
}

impl Reading {
    /// Whether the webhook lets it in.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Whether nodes are both selected and excluded, which only an object that got past the webhook can say.
    pub fn both_selectors(&self) -> bool {
        self.both_selectors
    }

    /// What the controller may run: a valid spec, or one whose only fault is that it has both selectors.
    /// Then `selector` alone counts (cases.md B34).
    pub fn runnable(&self) -> Result<&Spec, &[FieldError]> {
        self.spec.as_ref().ok_or(&self.errors)
    }
}

/// Judges the spec of the DaemonJob `name`, as [`read`] does, and keeps nothing of it.
pub fn judge(name: &str, spec: &Value) -> Judgement {
    let examined = examine(name, spec);
    Judgement {
        errors: examined.errors,
        warnings: examined.warnings,
        hash: examined.sound.map(|sound| sound.template.hash),
    }
}

/// Reads the spec of the DaemonJob `name`.
pub fn read(name: &str, spec: &Value) -> Reading {
    let examined = examine(name, spec);
    let spec = examined.sound.map(|sound| Spec {
        replace: sound.replace,
        selection: sound.selection,
        template: Template::new(spec["jobTemplate"].clone(), sound.template.hash, sound.template.typed),
    });
    Reading {
        errors: examined.errors,
        warnings: examined.warnings,
        both_selectors: examined.both_selectors,
        spec,
    }
}

/// What was found in a spec.
struct Examined {
    errors: Vec<FieldError>,
    warnings: Vec<String>,
    both_selectors: bool,
    sound: Option<Sound>,
}

/// The parts of a spec that can be run.
struct Sound {
    replace: bool,
    selection: Selection,
    template: job::Known,
}

fn examine(name: &str, spec: &Value) -> Examined {
    let mut found = Findings::default();
    check_name(name, &mut found);
    let place = Place::new("spec", spec);
    if !spec.is_object() {
        let (kind, detail) = if spec.is_null() {
            (ErrorKind::Required, "is missing".to_owned())
        } else {
            (
                ErrorKind::TypeInvalid,
                format!("must be a mapping, not {}", described(spec)),
            )
        };
        found.error(&place, kind, detail);
        let (errors, warnings) = found.into_parts();
        return Examined {
            errors,
            warnings,
            both_selectors: false,
            sound: None,
        };
    }

    let replace = read_replace(&place.member("replace"), &mut found);
    let selectors = selectors::read(&place, &mut found);
    let job_template = place.member("jobTemplate");
    let template = job::read(&job_template, &mut found);
    if replace {
        job::warn_of_release_labels(&job_template, &mut found);
    }

    let sound = if found.is_clean() { template } else { None };
    let sound = sound.map(|template| Sound {
        replace,
        selection: selectors.selection,
        template,
    });
    let both_selectors = selectors.conflict.is_some();
    let (mut errors, warnings) = found.into_parts();
    errors.splice(0..0, selectors.conflict);
    Examined {
        errors,
        warnings,
        both_selectors,
        sound,
    }
}

fn check_name(name: &str, found: &mut Findings) {
    let length = name.chars().count();
    if length > DAEMONJOB_NAME_MAX {
        let detail = format!(
            "has {length} characters, at most {DAEMONJOB_NAME_MAX} are allowed: the name becomes the value of a label on the Jobs"
        );
        found.error_at("metadata.name".to_owned(), ErrorKind::TooLong, detail);
    }
}

fn read_replace(replace: &Place<'_>, found: &mut Findings) -> bool {
    match replace.value {
        None => false,
        Some(Value::Bool(value)) => *value,
        Some(other) => {
            let detail = format!("must be true or false, without quotes, not {}", described(other));
            found.error(replace, ErrorKind::TypeInvalid, detail);
            false
        }
    }
}
