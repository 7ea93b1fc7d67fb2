//! One request, one answer.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::kinds::Kind;
use super::request::{Request, Verb};
use super::status::Status;
use super::store::{Change, Key, Store};
use super::watch::Watch;

/// What is answered.
#[derive(Debug)]
pub enum Answer {
    /// An object, a list, or the end of an object, with its HTTP status.
    Body(u16, Value),
    /// A stream, to be read with [`ApiServer::news`].
    Watch(Watch),
}

/// The server.
#[derive(Debug, Default)]
pub struct ApiServer {
    pub(crate) store: Store,
}

impl ApiServer {
    /// Answers a request, and does what it asks for.
    ///
    /// # Errors
    /// The refusal.
    pub fn call(&mut self, request: &Request, now: Timestamp) -> Result<Answer, Status> {
        match request.verb {
            Verb::Create => self.create(request, now).map(|object| Answer::Body(201, object)),
            Verb::Delete => self.delete(request, now).map(|gone| Answer::Body(200, gone)),
            Verb::Get => {
                let found = self.store.get(&request.key());
                let found = found.ok_or_else(|| Status::not_found(request.kind, &request.name))?;
                Ok(Answer::Body(200, Value::clone(found)))
            }
            Verb::List => self.list(request, self.store.version(), usize::MAX),
            Verb::Patch => self.patch(request).map(|object| Answer::Body(200, object)),
            Verb::Update => self
                .update(request, now)
                .map(|(code, object)| Answer::Body(code, object)),
            Verb::Watch => Watch::start(request, &self.store).map(Answer::Watch),
        }
    }

    /// The version of the store: that of the last change.
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// All that ever happened, in order.
    pub fn log(&self) -> &[Change] {
        self.store.log()
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.store.get(key)
    }

    /// All objects of a kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.store.all(kind, None)
    }

    /// Up to which version the history is forgotten.
    pub fn forgotten(&self) -> u64 {
        self.store.compacted
    }

    /// Forgets what happened up to a version: watches and pages that need it are told that it is gone.
    pub fn compact(&mut self, version: u64) {
        self.store.compacted = self.store.compacted.max(version.min(self.store.version()));
    }
}
