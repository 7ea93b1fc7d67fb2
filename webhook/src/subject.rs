//! The second stage of reading: the DaemonJob that a request is about, if it is about one that matters.

use daemonjob_core::names::{GROUP, KIND, PLURAL, TEMPLATE_HASH, VERSION};
use daemonjob_core::validation::{ErrorKind, FieldError, Former, TEMPLATE_MAX};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::review::{Operation, Request};
use crate::shape::{Shape, pick};
use crate::verdict::Denial;

/// Longest shape of a spec. A template of the largest size has no longer one, and selectors and the rest are small.
const SHAPE_MAX: usize = TEMPLATE_MAX + (4 << 10);
/// Longest text of a manifest that `kubectl apply` noted; API servers store no more annotations than this.
const APPLIED_MAX: usize = 256 << 10;
/// The annotation that holds it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Longest text of a hash annotation that is decoded; a hash has 64 characters.
const HASH_MAX: usize = 1 << 10;

/// The object of a review and, on an update, what it was before.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The name, or empty while the API server has yet to generate it.
    pub(crate) name: String,
    /// What is looked at of the object: the hash annotation and the spec, which is null if there is none.
    pub(crate) object: Value,
    pub(crate) old: Option<Old>,
    /// The manifest that client-side `kubectl apply` was given.
    pub(crate) applied: Option<String>,
}

/// The object before an update.
#[derive(Debug)]
pub(crate) struct Old {
    /// Its hash annotation alone.
    pub(crate) object: Value,
    pub(crate) spec: OldSpec,
}

/// Two specs in memory would be one too many.
#[derive(Debug)]
pub(crate) enum OldSpec {
    Other(Former),
    Same,
}

impl Subject {
    /// The new spec, null if there is none.
    pub(crate) fn spec(&self) -> &Value {
        &self.object["spec"]
    }

    /// The spec before an update that changes it.
    pub(crate) fn former(&self) -> Option<&Former> {
        match &self.old.as_ref()?.spec {
            OldSpec::Other(former) => Some(former),
            OldSpec::Same => None,
        }
    }

    /// Whether this is an update that leaves the spec as it was.
    pub(crate) fn has_unchanged_spec(&self) -> bool {
        matches!(
            self.old,
            Some(Old {
                spec: OldSpec::Same,
                ..
            })
        )
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
    let new = Parts::read(raw).map_err(deny)?;
    if new.is_being_deleted {
        return Ok(None);
    }
    // An old object that cannot be read counts as none: the new one is then checked in full.
    let old = request.old_object.and_then(|raw| Parts::read(raw).ok());
    let former = match &old {
        Some(old) if old.spec != new.spec => read_spec(old.spec).ok().map(|spec| Former::of(&spec)),
        Some(_) | None => None,
    };
    let spec = read_spec(new.spec).map_err(deny)?;
    let old = old.and_then(|old| {
        let is_same = old.spec == new.spec || former.as_ref().is_some_and(|former| former.is(&spec));
        let spec = if is_same {
            OldSpec::Same
        } else {
            OldSpec::Other(former?)
        };
        Some(Old {
            object: json!({"metadata": {"annotations": old.annotations}}),
            spec,
        })
    });
    let mut object = json!({"metadata": {"annotations": new.annotations}});
    object["spec"] = spec;
    Ok(Some(Subject {
        name: new.name.or_else(|| request.name.clone()).unwrap_or_default(),
        object,
        old,
        applied: new.applied,
    }))
}

fn is_registered(request: &Request<'_>) -> bool {
    let kind = &request.kind;
    let resource = &request.resource;
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

/// An object in parts, as far as they matter, with its spec unread.
struct Parts<'a> {
    name: Option<String>,
    is_being_deleted: bool,
    /// Null, or a mapping that holds the hash annotation alone.
    annotations: Value,
    applied: Option<String>,
    spec: &'a str,
}

impl<'a> Parts<'a> {
    /// Whatever else the object holds is read and left, for what nobody can read is nobody's to pass on.
    fn read(raw: &'a RawValue) -> Result<Self, FieldError> {
        let [metadata, spec] = members("object", raw, ["metadata", "spec"])?;
        let Some(metadata) = metadata.and_then(present) else {
            return Err(invalid("metadata", ErrorKind::Required, "is missing"));
        };
        let [name, deleted, annotated] = members("metadata", metadata, ["name", "deletionTimestamp", "annotations"])?;
        for unread in [name, deleted].into_iter().flatten() {
            serde_json::from_str::<Shape>(unread.get()).map_err(|error| unreadable("metadata", &error))?;
        }
        let (annotations, applied) = annotated
            .and_then(present)
            .map_or(Ok((Value::Null, None)), annotations)?;
        Ok(Self {
            name: name.and_then(|name| serde_json::from_str(name.get()).ok()),
            is_being_deleted: deleted.and_then(present).is_some(),
            annotations,
            applied,
            spec: spec.map_or("null", RawValue::get),
        })
    }
}

/// The members of a mapping that have these names, unread.
fn members<'a, const N: usize>(
    path: &str,
    raw: &'a RawValue,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], FieldError> {
    if !raw.get().starts_with('{') {
        return Err(invalid(path, ErrorKind::TypeInvalid, "must be a mapping"));
    }
    pick(raw.get(), names).map_err(|error| unreadable(path, &error))
}

/// A null member counts as absent.
fn present(raw: &RawValue) -> Option<&RawValue> {
    (raw.get() != "null").then_some(raw)
}

/// A mapping that holds the hash annotation alone, and the manifest that `kubectl apply` noted.
fn annotations(annotations: &RawValue) -> Result<(Value, Option<String>), FieldError> {
    let [hash, applied] = members("metadata.annotations", annotations, [TEMPLATE_HASH, LAST_APPLIED])?;
    for unread in [hash, applied].into_iter().flatten() {
        serde_json::from_str::<Shape>(unread.get()).map_err(|error| unreadable("metadata.annotations", &error))?;
    }
    let applied = applied.map(RawValue::get).filter(|text| text.len() <= APPLIED_MAX);
    let applied = applied.and_then(|text| serde_json::from_str(text).ok());
    let Some(hash) = hash.and_then(present).map(RawValue::get) else {
        return Ok((json!({}), applied));
    };
    // What is too long for a hash is only compared with what was there before, which its text does as well.
    let short = (hash.len() <= HASH_MAX)
        .then(|| serde_json::from_str(hash).ok())
        .flatten();
    let hash = short.unwrap_or_else(|| Value::from(hash));
    Ok((json!({ TEMPLATE_HASH: hash }), applied))
}

/// Reads a spec into memory, unless its values would take many times the memory of their text.
fn read_spec(text: &str) -> Result<Value, FieldError> {
    if text.len() > SHAPE_MAX {
        let Shape(length) = serde_json::from_str(text).map_err(|error| unreadable("spec", &error))?;
        if length > SHAPE_MAX {
            let detail = format!(
                "is at least {length} bytes long as canonical JSON, at most {TEMPLATE_MAX} are allowed in jobTemplate: \
                 move files and scripts into a ConfigMap or the image"
            );
            return Err(invalid("spec", ErrorKind::TooLong, &detail));
        }
    }
    serde_json::from_str(text).map_err(|error| unreadable("spec", &error))
}

fn not_registered(request: &Request<'_>) -> FieldError {
    let (kind, resource) = (&request.kind, &request.resource);
    let detail = format!(
        "is not registered with this webhook: {:.64}/{:.64} {:.64}, resource {:.64}/{:.64} {:.64}",
        kind.group, kind.version, kind.kind, resource.group, resource.version, resource.resource
    );
    invalid("kind", ErrorKind::Invalid, &detail)
}

fn unreadable(path: &str, error: &serde_json::Error) -> FieldError {
    let detail = format!("cannot be read (numbers must fit a double, nesting must stay under 128): {error}");
    invalid(path, ErrorKind::Invalid, &detail)
}

fn invalid(path: &str, kind: ErrorKind, detail: &str) -> FieldError {
    FieldError {
        path: path.to_owned(),
        kind,
        detail: detail.to_owned(),
    }
}
