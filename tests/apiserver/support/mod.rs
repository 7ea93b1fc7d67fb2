//! What the tests stand on: a cluster with the chart ([`world`]), the process ([`operator`]) and a judge of all that it
//! sends ([`monitor`], by [`rules`]), a namespace for each test ([`trial`]), a record of what a watch saw ([`watch`]) and manifests
//! ([`manifest`]).

pub(crate) mod manifest;
pub(crate) mod monitor;
pub(crate) mod operator;
pub(crate) mod rules;
pub(crate) mod trial;
pub(crate) mod watch;
pub(crate) mod world;

use std::time::Duration;

/// For whatever takes a second or two on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) use self::trial::Trial;
