//! The controller's shell as it is shipped (watch, reconcile, execute, report, and the Lease) against an API server in
//! memory, in hours that pass in milliseconds, with everything going wrong that a seed brings up.
//!
//! The files of the shell are compiled here as they are; only the clock is another one. One seed is one thread, one
//! schedule, one story: `SEED=n cargo test --workspace --test simulation every_seed` tells it again, to the letter.

mod clock;
#[path = "../../../src/controller/mod.rs"]
mod controller;
#[path = "../../../src/lease.rs"]
mod lease;
#[expect(dead_code, reason = "what certificates and reviews count is not counted here")]
#[path = "../../../src/metrics.rs"]
mod metrics;
#[path = "../../apiserver/support/rules.rs"]
mod rules;

mod broken;
mod cluster;
mod differential;
mod faults;
mod judge;
mod network;
mod objects;
mod replica;
mod run;
mod scene;
mod seeds;
mod settled;
mod user;
mod world;
