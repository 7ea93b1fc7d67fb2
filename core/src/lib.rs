//! All that is true of a DaemonJob without a cluster: the API types and their CRD, names, the template hash,
//! which nodes are selected and may start, what is valid, and the planner.
//!
//! This crate never waits, reads no clock, talks to nobody and keeps no order that depends on a hash map:
//! the same input gives the same output, on every machine and in every version.
//!
//! Its decisions are values of pure functions; the process (crate `daemonjob`) carries them out,
//! and the webhook (crate `daemonjob-webhook`) gives the same verdicts because it calls the same functions.

pub mod crd;
pub mod defaulting;
pub mod eligibility;
pub mod hash;
pub mod index;
pub mod names;
pub mod observed;
pub mod plan;
pub mod reason;
pub mod record;
pub mod retry;
pub mod selection;
pub mod template;
pub mod types;
pub mod validation;
