//! TLS for the webhook: authority, leaf, rotation, `caBundle`.
//!
//! Two ways to a key: [`SelfSigned`] keeps an authority in a Secret, issues a leaf for this replica and writes
//! `caBundle` into both webhook configurations; [`MountedPair`] serves files that somebody else provides.
//! Either serves through a [`Resolver`], which swaps keys under running handshakes.
//!
//! This crate never reads a clock, an environment variable or a flag, never builds a client, never spawns a task
//! and never lists Secrets. What it did and found is returned as values; the caller logs it and counts it.
//! Private keys are in no `Debug` output and in no error.
//!
//! # The Secret
//! | key | content |
//! |---|---|
//! | `current.crt`, `current.key` | the authority that signs the leaves, as PEM (P-256, PKCS #8) |
//! | `next.crt`, `next.key` | the one that will, trusted already; only during a rotation |
//! | `previous.crt` | those that did and are trusted still; without keys |
//! | `previous.retired` | since when, RFC 3339 |
//!
//! Other keys are left alone, but content that is not ours under one of these is replaced.
//! Empty, garbage, expired, foreign and mismatching content is replaced by a new authority, which the report says;
//! what API servers trusted before stays trusted, so leaves that are still served go on working.
//! Only to a replica that has seen an authority in its time, one that is out of it says first that a clock jumped:
//! it leaves everything as it is for as long as the soak, so that two clocks do not replace authorities in turn.
//! To make a new authority by hand, delete the Secret; the old one stays trusted for [`rotation::RETIREMENT`].
//! If its key has leaked, it must not: stop every replica, delete the Secret, empty `caBundle` in both configurations,
//! and start again.
//!
//! # The order of things
//! One [`SelfSigned::tick`] is: read both configurations → read the Secret → at most one [`rotation::step`], written
//! with the `resourceVersion` that was read → a new leaf if one is due → `caBundle` compared and patched, again with
//! its `resourceVersion` → the served leaf verified against what the *first* read found.
//! So a leaf counts as verified one tick after its authority was published, when the API server itself said so.
//!
//! A leaf of a new authority is served only after that authority has been in both configurations for
//! [`rotation::SOAK`], as this replica saw it, or if the leaf before it is of no use any more.
//!
//! # Lessons
//! Failures seen elsewhere, and the test here that stands against each:
//! - open-policy-agent/gatekeeper#1045: replicas served different certificates for days.
//!   `caBundle` is a union and ready means that the own leaf verifies:
//!   `two_replicas_that_start_at_once_use_one_authority`, `not_verified_until_both_configurations_carry_the_authority`.
//! - volcano-sh/kthena#1273: `caBundle` was filled only when empty and went stale.
//!   It is always compared: `f30_overwritten_bundle_is_restored_by_the_next_tick`.
//! - kubewarden/policy-server#1061: a reload missed the renewed files.
//!   Content is compared on a timer: `the_kubelets_link_swap_is_seen`.
//! - Trust replaced with no overlap refuses every leaf still served:
//!   `a_whole_rotation_never_serves_what_is_not_trusted`, and in every order of events
//!   `i15_f31_no_handshake_fails_whichever_request_is_lost_or_replica_crashes`,
//!   `i15_f29_no_handshake_fails_whenever_the_secret_is_destroyed`.
//! - A bad reload dropped connections: `a_bad_reload_keeps_the_last_good_key`.

mod authority;
mod bundle;
mod files;
mod inject;
mod leaf;
#[cfg(test)]
mod model;
mod resolver;
mod restraint;
pub mod rotation;
mod self_signed;
mod soak;
mod store;
mod time;
mod timing;

pub use authority::{AUTHORITY_BACKDATE, AUTHORITY_LIFE, Anchor, Authority, AuthorityError, Fault};
pub use bundle::VerifyError;
pub use files::{CERTIFICATE_FILE, FilesError, KEY_FILE, Looked, MountedPair, Validity};
pub use inject::{Configuration, InjectError};
pub use leaf::{LEAF_BACKDATE, LEAF_LIFE, Leaf, LeafError};
pub use resolver::{Resolver, ResolverError};
pub use self_signed::{CertsError, Outcome, STEADY, SelfSigned, Settings, TickReport, Trust, UNSETTLED};
pub use store::{CALL_TIMEOUT, CallError, StoreError};
pub use timing::Timing;
