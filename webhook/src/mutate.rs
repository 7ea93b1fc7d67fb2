//! `/mutate`: stamps the hash of the template and fills in `spec.replace`, nothing else.
//! It never denies a spec; `/validate` does, and sees what all mutating webhooks made of it.

use daemonjob_core::defaulting::{Defaults, defaults};
use daemonjob_core::hash::TemplateHash;
use daemonjob_core::names::TEMPLATE_HASH;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Value, json};

use crate::subject::Subject;
use crate::verdict::{Verdict, warning};

/// What to add to the object. Applied once, it leaves nothing to add.
pub(crate) fn mutate(subject: &Subject) -> Verdict {
    let Defaults {
        hash,
        replace,
        warnings,
    } = defaults(&subject.object, subject.old.as_ref().map(|old| &old.object));
    let mut operations = Vec::new();
    operations.extend(hash.map(|hash| stamp(&subject.object, &hash)));
    if replace {
        operations.push(add(["spec", "replace"], json!(false)));
    }
    Verdict::Allowed {
        patch: Patch(operations),
        warnings: warnings.iter().map(|text| warning(text)).collect(),
    }
}

/// JSON Patch does not create the map around a key; `add` replaces a null and an older value.
fn stamp(object: &Value, hash: &TemplateHash) -> PatchOperation {
    let has_annotations = object.pointer("/metadata/annotations").is_some_and(Value::is_object);
    if has_annotations {
        add(["metadata", "annotations", TEMPLATE_HASH], json!(hash.as_str()))
    } else {
        add(["metadata", "annotations"], json!({ TEMPLATE_HASH: hash.as_str() }))
    }
}

fn add<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: PointerBuf::from_tokens(path),
        value,
    })
}
