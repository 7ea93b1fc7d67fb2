//! The second stage of reading: the DaemonJob that a request is about, if it is about one that matters.

use daemonjob_core::names::{GROUP, KIND, PLURAL, VERSION};
use daemonjob_core::validation::{ErrorKind, FieldError};
use serde_json::{Map, Value};

use crate::review::{Operation, Request};
use crate::verdict::Denial;

/// The object of a review and, on an update, what it was before.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The name, or empty while the API server has yet to generate it.
    pub(crate) name: String,
    pub(crate) object: Value,
    pub(crate) old: Option<Value>,
}

impl Subject {
    /// The new spec, null if there is none.
    pub(crate) fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// The spec before an update.
    pub(crate) fn old_spec(&self) -> Option<&Value> {
        self.old.as_ref().map(|old| old.get("spec").unwrap_or(&Value::Null))
    }

    /// Whether this is an update that leaves the spec as it was.
    pub(crate) fn has_unchanged_spec(&self) -> bool {
        self.old_spec().is_some_and(|old| is_same_spec(old, self.spec()))
    }
}

/// Reads what the request is about. None: there is nothing to look at, the request is allowed.
pub(crate) fn read(request: &Request<'_>) -> Result<Option<Subject>, Denial> {
    let deny = |error| Denial {
        name: request.name.clone().unwrap_or_default(),
        errors: vec![error],
    };
    if !is_registered(request) {
        return Err(deny(not_registered(request)));
    }
    if is_passed_by(request) {
        return Ok(None);
    }
    let Some(raw) = request.object else {
        return Err(deny(invalid("object", ErrorKind::Required, "is missing")));
    };
    let object: Value = serde_json::from_str(raw.get()).map_err(|error| deny(unreadable(&error)))?;
    let metadata = metadata(&object).map_err(deny)?;
    if metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Ok(None);
    }
    let name = metadata
        .get("name")
        .and_then(Value::as_str)
        .or(request.name.as_deref())
        .unwrap_or_default();
    // An old object that cannot be read counts as none: the new one is then checked in full.
    let old = request.old_object.and_then(|raw| serde_json::from_str(raw.get()).ok());
    Ok(Some(Subject {
        name: name.to_owned(),
        old,
        object,
    }))
}

fn is_registered(request: &Request<'_>) -> bool {
    let kind = &request.kind.0;
    let resource = &request.resource.0;
    [&kind.group, &resource.group].into_iter().all(|group| group == GROUP)
        && [&kind.version, &resource.version]
            .into_iter()
            .all(|version| version == VERSION)
        && kind.kind == KIND
        && resource.resource == PLURAL
}

fn is_passed_by(request: &Request<'_>) -> bool {
    let of_the_object = match request.operation {
        Operation::Create | Operation::Update => true,
        Operation::Connect | Operation::Delete => false,
    };
    !of_the_object || request.sub_resource.as_deref().is_some_and(|name| !name.is_empty())
}

/// `metadata`, if it has the form that a stamp can be written into.
fn metadata(object: &Value) -> Result<&Map<String, Value>, FieldError> {
    let Some(object) = object.as_object() else {
        return Err(invalid("object", ErrorKind::TypeInvalid, "must be a mapping"));
    };
    let metadata = match object.get("metadata") {
        None | Some(Value::Null) => return Err(invalid("metadata", ErrorKind::Required, "is missing")),
        Some(metadata) => metadata,
    };
    let Some(metadata) = metadata.as_object() else {
        return Err(invalid("metadata", ErrorKind::TypeInvalid, "must be a mapping"));
    };
    match metadata.get("annotations") {
        None | Some(Value::Null | Value::Object(_)) => Ok(metadata),
        Some(_) => Err(invalid(
            "metadata.annotations",
            ErrorKind::TypeInvalid,
            "must be a mapping",
        )),
    }
}

/// Equal but for an absent `replace`, which means false and which `/mutate` fills in:
/// a label edit of an object stored without it must not count as a change of its spec.
fn is_same_spec(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return old == new;
    };
    fn members(spec: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
        spec.iter()
            .filter(|(key, value)| *key != "replace" || !matches!(value, Value::Null | Value::Bool(false)))
    }
    members(old).eq(members(new))
}

fn not_registered(request: &Request<'_>) -> FieldError {
    let (kind, resource) = (&request.kind.0, &request.resource.0);
    let detail = format!(
        "is not registered with this webhook: {:.64}/{:.64} {:.64}, resource {:.64}/{:.64} {:.64}",
        kind.group, kind.version, kind.kind, resource.group, resource.version, resource.resource
    );
    invalid("kind", ErrorKind::Invalid, &detail)
}

fn unreadable(error: &serde_json::Error) -> FieldError {
    let detail = format!("cannot be read (numbers must fit a double, nesting must stay under 128): {error}");
    invalid("object", ErrorKind::Invalid, &detail)
}

fn invalid(path: &str, kind: ErrorKind, detail: &str) -> FieldError {
    FieldError {
        path: path.to_owned(),
        kind,
        detail: detail.to_owned(),
    }
}
