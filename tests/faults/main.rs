//! Faults on the real thing: the real binary, the real API server, and between them a proxy that can let every request
//! go wrong ([`proxy`]).
//!
//! The process that answers reviews stays; controllers beside it are started, killed and stopped by each test
//! ([`scene`]). `SOAK=1` asks for the full numbers, where some rows are cut short.

mod answers;
mod crd;
mod history;
mod kills;
mod leaders;
mod outages;
mod proxy;
mod scene;
mod slow;
#[path = "../apiserver/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests/apiserver uses the rest of it")]
mod support;
mod views;
