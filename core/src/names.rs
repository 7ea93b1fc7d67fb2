//! Names that users, other programs and our own past versions rely on: the API group, label and annotation keys,
//! and the name of the Job on a node. None of them may change once released.

use std::fmt;
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use sha2::{Digest, Sha256};

/// API group of DaemonJob.
pub const GROUP: &str = "daemon.justk8s.com";
/// The one version served.
pub const VERSION: &str = "v1alpha1";
/// `GROUP/VERSION`, as an object's `apiVersion`.
pub const API_VERSION: &str = "daemon.justk8s.com/v1alpha1";
/// The kind.
pub const KIND: &str = "DaemonJob";
/// Resource name in URLs.
pub const PLURAL: &str = "daemonjobs";

/// Annotation on a DaemonJob and on its Jobs: the hash of the template ([`crate::hash::TemplateHash`]).
pub const TEMPLATE_HASH: &str = "daemon.justk8s.com/template-hash";
/// Annotation on a DaemonJob: run failed nodes, or those named, once more. On a Job: the retry that started it.
pub const RETRY: &str = "daemon.justk8s.com/retry";
/// Annotation on a Job: the generation of the DaemonJob that it was made from. It orders the runs of a node, also where
/// a template was changed and changed back: a Job of an earlier one than what is on record was seen too late.
pub const GENERATION: &str = "daemon.justk8s.com/generation";
/// Label on Jobs and Pods: the name of the DaemonJob.
pub const DAEMONJOB_LABEL: &str = "daemon.justk8s.com/daemonjob";
/// Label on Jobs and Pods: the node, in a form that fits a label ([`node_label`]).
pub const NODE_LABEL: &str = "daemon.justk8s.com/node";
/// Annotation on Jobs: the full node name.
pub const NODE_NAME: &str = "daemon.justk8s.com/node-name";
/// Annotation on Jobs: the UID of the node, its identity.
pub const NODE_UID: &str = "daemon.justk8s.com/node-uid";
/// Everything under this prefix is ours; templates must not use it.
pub const RESERVED_PREFIX: &str = "daemon.justk8s.com/";
/// Standard label that says who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Our value of [`MANAGED_BY_LABEL`], and the field manager of our writes.
pub const MANAGER: &str = "daemonjob";

/// The member of the spec that selects nodes.
pub const INCLUSION: &str = "selector";
/// The member of the spec that excludes nodes, in the spelling of the API.
pub const EXCLUSION: &str = "ingoreSelector";
/// The other name of [`EXCLUSION`].
pub const EXCLUSION_ALIAS: &str = "ignoreSelector";

/// Longest name of a DaemonJob: it is a label value on the Jobs.
pub const DAEMONJOB_NAME_MAX: usize = 63;
/// Longest Job name: Pod names and the host names of Indexed Jobs add up to six characters and must fit into 63.
pub const JOB_NAME_MAX: usize = 57;

const HASH_CHARS: usize = 10;
const LABEL_MAX: usize = 63;
const LABEL_PREFIX_MAX: usize = 52;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub(crate) Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype!(
    /// `metadata.name` of a Node.
    NodeName
);
text_newtype!(
    /// `metadata.uid` of a Node: its identity. A node that comes back under its old name has another.
    NodeUid
);
text_newtype!(
    /// `metadata.name` of a Job, as [`job_name`] makes it.
    JobName
);
text_newtype!(
    /// `metadata.uid` of any object.
    Uid
);

/// The name of the Job of a DaemonJob on a node: `<daemonjob prefix>-<node prefix>-<10 base32 characters>`.
///
/// It depends on the two names and on nothing else, above all not on the template's hash and not on a UID.
/// That makes the API server's uniqueness of names the lock against a second Job on the node, across crashes,
/// two leaders and re-created DaemonJobs. The last part is SHA-256 over both full names (RFC 4648 base32, lower case,
/// 50 bits), so that prefixes may be cut and dots replaced without two pairs meeting.
///
/// Total, always a DNS label (RFC 1123), at most [`JOB_NAME_MAX`] characters.
pub fn job_name(daemon_job: &str, node: &NodeName) -> JobName {
    let mut digest = Sha256::new();
    digest.update(daemon_job.as_bytes());
    // No Kubernetes name holds a slash, so the pair cannot be split in two ways.
    digest.update(b"/");
    digest.update(node.as_str().as_bytes());
    let suffix = BASE32_NOPAD.encode(&digest.finalize()).to_ascii_lowercase();
    let suffix = suffix.get(..HASH_CHARS).unwrap_or(&suffix);

    let readable = JOB_NAME_MAX - HASH_CHARS - 2;
    let node = dns_label_text(node.as_str());
    let daemon_job = dns_label_text(daemon_job);
    // The DaemonJob gets what the node leaves over, and at least half.
    let head = cut(&daemon_job, (readable / 2).max(readable.saturating_sub(node.len())));
    let tail = cut(&node, readable - head.len());
    let parts: Vec<&str> = [head, tail, suffix]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let name = parts.join("-");
    JobName::new(name)
}

/// The node's name as a label value: verbatim up to 63 characters, else 52 characters, `-` and 10 base32 characters
/// of SHA-256 over the full name.
pub fn node_label(node: &NodeName) -> String {
    if node.as_str().len() <= LABEL_MAX {
        return node.as_str().to_owned();
    }
    let suffix = BASE32_NOPAD
        .encode(&Sha256::digest(node.as_str().as_bytes()))
        .to_ascii_lowercase();
    format!(
        "{}-{}",
        cut(node.as_str(), LABEL_PREFIX_MAX),
        suffix.get(..HASH_CHARS).unwrap_or(&suffix)
    )
}

/// The token of a node in `status.finishedNodes`: 10 base64url characters (60 bits) of SHA-256 over the node's UID.
pub fn node_token(node: &NodeUid) -> String {
    let mut token = BASE64URL_NOPAD.encode(&Sha256::digest(node.as_str().as_bytes()));
    token.truncate(HASH_CHARS);
    token
}

fn dns_label_text(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// At most `length` characters of ASCII `text`, without separators at either end.
fn cut(text: &str, length: usize) -> &str {
    let end = text.len().min(length);
    text.get(..end).unwrap_or(text).trim_matches(|c| c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_dns_label(name: &str) -> bool {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.starts_with('-')
            && !name.ends_with('-')
    }

    fn job(daemon_job: &str, node: &str) -> String {
        job_name(daemon_job, &NodeName::new(node)).to_string()
    }

    #[test]
    fn job_names_are_frozen() {
        let names = [
            ("daemonjob-sample", "node-0"),
            ("daemonjob-sample", "ip-10-0-0-1.eu-west-1.compute.internal"),
            ("a", "b"),
        ]
        .map(|(daemon_job, node)| job(daemon_job, node));
        let frozen = [
            "daemonjob-sample-node-0-gcqwpiwb5a",
            "daemonjob-sample-ip-10-0-0-1-eu-west-1-compute-tn54g4jja4",
            "a-b-yfgn3qbt6z",
        ];
        assert_eq!(names, frozen);
    }

    #[test]
    fn e16_long_and_dotted_names_give_dns_labels_of_at_most_57() {
        let long = "n".repeat(200);
        for node in ["a.b.c", &long, &format!("{}.x", "y".repeat(42)), "UPPER.example"] {
            let name = job(&"d".repeat(63), node);
            assert!(is_dns_label(&name) && name.len() <= JOB_NAME_MAX, "{name}");
        }
    }

    #[test]
    fn b56_daemonjobs_equal_in_the_first_52_characters_get_distinct_jobs() {
        let common = "d".repeat(52);
        assert_ne!(job(&format!("{common}a"), "n"), job(&format!("{common}b"), "n"));
    }

    #[test]
    fn names_that_join_to_the_same_text_get_distinct_jobs() {
        assert_ne!(job("a-b", "c"), job("a", "b-c"));
        assert_ne!(job("a", "b.c"), job("a", "b-c"));
    }

    #[test]
    fn e16_node_label_is_verbatim_up_to_63_characters() {
        let fits = NodeName::new("n".repeat(63));
        assert_eq!(node_label(&fits), fits.as_str());
        let long = node_label(&NodeName::new(format!("{}.{}", "n".repeat(51), "m".repeat(100))));
        assert!(long.len() <= 63 && long.starts_with(&"n".repeat(51)), "{long}");
    }

    #[test]
    fn node_token_is_ten_base64url_characters() {
        assert_eq!(
            node_token(&NodeUid::new("0b8e7c1e-5a52-4a7b-9a4c-111111111111")).len(),
            10
        );
    }

    proptest! {
        #[test]
        fn job_name_is_total(daemon_job in "[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", node in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?") {
            let name = job(&daemon_job, &node);
            prop_assert!(is_dns_label(&name) && name.len() <= JOB_NAME_MAX, "{}", name);
        }
    }
}
