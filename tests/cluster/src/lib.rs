//! A real control plane on loopback, for the demo and the tests: etcd, kube-apiserver, kube-controller-manager,
//! kube-scheduler and nodes that kwok plays.
//!
//! [`Tools`] builds the programs from pinned Go modules, once per machine and user.
//! A node with a kubelet and containers of its own may stand beside the others, where root is ([`Options::real_node`]).
//! [`Cluster`] starts them through kwokctl and deletes everything when it is dropped,
//! also when its process panics, is interrupted or is killed.
//! All calls block: use `spawn_blocking` or a thread of its own in asynchronous code.
//!
//! It never speaks to a cluster that it did not start, and it knows nothing of DaemonJobs.

mod audit;
mod builder;
mod cluster;
mod command;
mod component;
mod containers;
mod environment;
mod golang;
mod launch;
mod network;
mod node;
mod ports;
mod process;
mod program;
mod real;
mod reaper;
mod registry;
mod tools;
mod wait;

pub use audit::{AuditLog, Call};
pub use cluster::Cluster;
pub use command::Output;
pub use component::Component;
pub use environment::is_soak;
pub use golang::go;
pub use launch::{ExtraArg, Options};
pub use node::Node;
pub use process::memory_of;
pub use program::Program;
pub use real::obstacle as real_node_obstacle;
pub use registry::{Entry, State, default_workdir, list, remove};
pub use tools::Tools;
pub use wait::until;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
