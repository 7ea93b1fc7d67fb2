//! The rules by which kstatus (Flux, `helm --wait`, `kpt`) reads an object of a kind that it does not know.

use serde_json::Value;

/// The state of an object. First what the API server says of it, then the two conditions made for this, then Ready.
pub(crate) fn compute(object: &Value) -> &'static str {
    let metadata = &object["metadata"];
    if metadata["deletionTimestamp"]
        .as_str()
        .is_some_and(|time| !time.is_empty())
    {
        return "Terminating";
    }
    let observed = object["status"]["observedGeneration"].as_i64();
    let generation = metadata["generation"].as_i64();
    if observed.is_some() && generation.is_some() && observed != generation {
        return "InProgress";
    }
    let conditions: Vec<(&str, &str)> = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|condition| {
            (
                condition["type"].as_str().unwrap(),
                condition["status"].as_str().unwrap(),
            )
        })
        .collect();
    // Of these two the one that stands first decides.
    let abnormal = conditions.iter().find_map(|condition| match condition {
        ("Reconciling", "True") => Some("InProgress"),
        ("Stalled", "True") => Some("Failed"),
        _ => None,
    });
    let ready = conditions.iter().find_map(|condition| match condition {
        ("Ready", "True") => Some("Current"),
        ("Ready", "False" | "Unknown") => Some("InProgress"),
        _ => None,
    });
    abnormal.or(ready).unwrap_or("Current")
}
