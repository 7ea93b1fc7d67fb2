//! `/validate`: the verdict on a DaemonJob, which is `daemonjob-core`'s.

use daemonjob_core::defaulting::hash_mismatch;
use daemonjob_core::validation;
use json_patch::Patch;

use crate::subject::Subject;
use crate::verdict::{Denial, Verdict, warning};

/// All that is wrong with the object.
///
/// An update that leaves the spec alone is checked for its hash only: an object that is older than a rule,
/// or that got past the webhook, can still be labelled.
pub(crate) fn validate(subject: &Subject) -> Verdict {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut hash = None;
    if !subject.has_unchanged_spec() {
        let judgement = validation::judge(&subject.name, subject.spec());
        hash = judgement.hash;
        errors = judgement.errors;
        warnings = judgement.warnings;
        let applied = subject.applied.as_deref();
        errors.extend(applied.map_or_else(Vec::new, |manifest| validation::left_out(manifest, subject.spec())));
        if let Some(former) = subject.former() {
            warnings.extend(former.change_warning(subject.spec(), hash.as_ref()));
        }
    }
    errors.extend(hash_mismatch(&subject.object, hash.as_ref()));
    if !errors.is_empty() {
        return Verdict::Denied(Denial {
            name: subject.name.clone(),
            errors,
        });
    }
    Verdict::Allowed {
        patch: Patch::default(),
        warnings: warnings.iter().map(|text| warning(text)).collect(),
    }
}
