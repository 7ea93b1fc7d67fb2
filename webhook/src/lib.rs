//! AdmissionReview in, AdmissionReview out, over TLS.
//!
//! `/mutate` stamps the template hash and fills in `spec.replace`, `/validate` gives the verdict.
//! Both are pure functions of the request: what is valid is decided in `daemonjob-core`,
//! which the controller calls too.
//!
//! This crate opens one listening socket. It never calls an API server, never touches a file, and does not know
//! where its certificate comes from: the resolver is handed in.
//! Whoever can reach the port can send anything, so every input is bounded in size, in time and in number.

mod body;
mod error;
mod http;
mod mutate;
mod observer;
mod pace;
mod parting;
mod review;
mod seats;
mod server;
mod shape;
mod subject;
mod tls;
mod validate;
mod verdict;

pub use error::WebhookError;
pub use observer::{Endpoint, Observer, Outcome, Reviewed};
pub use review::Operation;
pub use server::{Bound, Settings, bind};
pub use tls::TlsVersion;
