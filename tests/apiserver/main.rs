//! Ring 3: the real binary against a real API server, with the chart's own permissions.
//!
//! Two clusters serve all tests, one test at a time each (see [`support::world`]): a test may kill the process,
//! remove the webhook or make nodes, and leaves its cluster as it found it.

mod apply;
mod bad_input;
mod bypass;
mod conformance;
mod deletion;
mod finished;
mod gitops;
mod jobs;
mod leaders;
mod namespaces;
mod nodes;
mod others;
mod process;
#[path = "../gitops/readers.rs"]
mod readers;
mod replacing;
mod requests;
mod retry;
mod rights;
mod rights_used;
mod seed;
mod starts;
mod support;
mod syncs;
mod vectors;
mod watched;
