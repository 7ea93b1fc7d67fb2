//! Ring 4: the chart, rendered by a real helm and read back as objects.
//!
//! `server` and `syncs` ask a real API server what only it can tell; nothing else here needs a cluster.

mod admission;
mod documents;
mod examples;
mod modes;
mod network;
mod pod;
mod program;
mod rbac;
mod render;
mod server;
mod syncs;
mod values;
mod watched;
