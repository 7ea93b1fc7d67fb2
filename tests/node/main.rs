//! Ring 5: installed as its users install it, on a node with a kubelet and containers of its own.
//!
//! It needs root, for that node, and says so where it is skipped.
//! One cluster serves all tests, one at a time (see [`stage`]); only the first steps of the README have clusters of
//! their own.
//! `SOAK=1` asks for the full numbers: twenty fresh clusters, half a minute of grace, two minutes without a kubelet, a
//! thousand nodes.

mod console;
mod figures;
mod first_steps;
mod image;
#[path = "../admission/load.rs"]
#[expect(dead_code, reason = "tests/admission uses the rest of it")]
mod load;
mod outage;
mod release;
mod replacing;
mod replicas;
mod sample;
mod stage;
#[path = "../apiserver/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests/apiserver uses the rest of it")]
mod support;
mod upgrades;
