//! Ring 3 at scale: a thousand nodes, and every call of the process counted from the API server's audit log.
//!
//! One cluster serves all tests, one at a time (see [`scene`]).
//! A binary of its own: the control plane of a thousand nodes would slow the tests of `tests/apiserver` down, of which
//! some measure time, and they would blur its figures.

mod calls;
mod full;
mod heartbeats;
mod rollout;
mod scene;
mod steady;
#[path = "../apiserver/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests/apiserver uses the rest of it")]
mod support;
