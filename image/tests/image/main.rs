//! The image as others read it, and the real one where nothing else is.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the helpers of a test may fail it, and figures are shown"
)]

mod built;
mod layout;
mod reader;
