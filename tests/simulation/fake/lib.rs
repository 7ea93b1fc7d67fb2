//! An API server in memory, as far as a controller of Jobs can tell it from a real one: resource versions, UIDs,
//! generations, optimistic concurrency, finalizers, deletion in the foreground, pages, watches, bookmarks, compaction.
//!
//! It is a state machine without a thread, a clock or a socket: a request is a value, so is its answer, and whoever
//! asks says what time it is. It does what a real server does at once; what controllers of a cluster do (garbage
//! collection, Jobs, kubelets) is somebody else's. `tests/apiserver/conformance.rs` puts the same requests to it and
//! to a real API server and compares what they answer.

mod delete;
mod garbage;
mod kinds;
mod list;
mod request;
mod server;
mod status;
mod store;
mod watch;
mod write;

pub use self::kinds::Kind;
pub use self::request::{Request, Verb};
pub use self::server::{Answer, ApiServer};
pub use self::status::Status;
pub use self::store::{Change, Key};
pub use self::watch::Watch;
