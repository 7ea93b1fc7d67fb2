//! Ring 3 under load: two replicas of the real binary behind a balancer, a real API server that asks them, and a load
//! of creates that must all be admitted whatever happens to certificates and processes (G6, G7).
//!
//! One cluster serves all tests, one at a time (see [`stage`]).
//! `SOAK=1` asks for the full numbers: a thousand rotations, a hundred rolling restarts.

mod balancer;
mod load;
mod mounted;
mod outage;
mod probe;
mod repair;
mod restarts;
mod rotation;
mod stage;
#[path = "../apiserver/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests/apiserver uses the rest of it")]
mod support;
