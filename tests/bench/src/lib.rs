//! The webhook under load: beside a bare echo of the same stack, and under half-open connections.
//!
//! What is measured runs in a process of its own ([`Served`]), so that its processor time is its own too;
//! the load comes from this one. Nothing here knows how the webhook works inside.

mod client;
mod echo;
mod flood;
mod genuine;
mod load;
mod reviews;
mod serve;
mod served;
mod statistics;

pub use client::{Client, Connection};
pub use flood::{Flood, KINDS, Kind, Persistence};
pub use genuine::{Genuine, Took};
pub use load::{Kept, kept_connections, new_connections};
pub use reviews::{Sample, request};
pub use serve::{Arm, serve};
pub use served::{Served, allow_files};
pub use statistics::{Spread, percentile};
