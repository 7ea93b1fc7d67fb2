//! The controller's shell: watch → observe → plan → execute → report.
//!
//! One task owns everything that is known ([`reconcile`]); watches feed it, writes run beside it and report back.
//! It makes no decision of its own about a DaemonJob: those are `daemonjob_core::plan`'s.

mod api;
mod census;
mod error;
mod execute;
mod isolate;
mod log;
mod pace;
mod preflight;
mod reconcile;
mod report;
mod schedule;
mod term;
mod watch;
mod window;

pub(crate) use self::execute::Write;
pub(crate) use self::preflight::preflight;
pub(crate) use self::reconcile::{Clients, Settings};
pub(crate) use self::term::follow_lead;
