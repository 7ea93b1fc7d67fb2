//! Golden vectors of admission: a request each, and what is answered to it.
//!
//! A vector is a file in `rows/`. Its upper part is written by hand: its row in the table of bad inputs, why it exists,
//! and how its request differs from the review of a sample. The lower part is written by `make golden`:
//! the answers in full, the patch decoded beside its base64, and the object that the patch makes.
//!
//! The webhook's tests send the vectors through TLS; others apply the patches with Go, or the objects with kubectl.
//! This crate reads files and builds requests. It sends nothing, and it judges nothing.

mod change;
mod golden;
mod request;
mod vector;

pub use golden::{Answer, Golden};
pub use request::Request;
pub use vector::Vector;
