//! What is asked, read from an HTTP request.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds::Kind;
use super::status::Status;
use super::store::Key;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Create an object.
    Create,
    /// Delete an object.
    Delete,
    /// Read an object.
    Get,
    /// Read many.
    List,
    /// Change parts of an object.
    Patch,
    /// Replace an object.
    Update,
    /// Be told of changes.
    Watch,
}

impl Verb {
    /// The word of RBAC.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }

    /// Whether it changes something.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Delete | Self::Patch | Self::Update)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub verb: Verb,
    /// With which kind.
    pub kind: Kind,
    /// In which namespace; none means in all.
    pub namespace: Option<String>,
    /// With which object; empty for many.
    pub name: String,
    /// `status`, or nothing.
    pub subresource: String,
    /// What stands behind the `?`.
    pub query: BTreeMap<String, String>,
    /// Only the metadata is wanted.
    pub metadata_only: bool,
    /// What is sent.
    pub body: Value,
}

impl Request {
    /// A request about one object.
    pub fn new(verb: Verb, key: &Key, subresource: &str, body: Value) -> Self {
        Self {
            verb,
            kind: key.kind,
            namespace: (!key.namespace.is_empty()).then(|| key.namespace.clone()),
            name: key.name.clone(),
            subresource: subresource.to_owned(),
            query: BTreeMap::new(),
            metadata_only: false,
            body,
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// What a server says of one that it does not understand.
    pub fn read(method: &str, path_and_query: &str, accept: &str, body: &[u8]) -> Result<Self, Status> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let unknown = || Status::new(404, "NotFound", "the server could not find the requested resource");
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(unknown()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return Err(unknown()),
        };
        let kind = Kind::find(group, version, plural).ok_or_else(unknown)?;
        let is_watch = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
        let verb = match (method, name.is_empty()) {
            ("POST", true) => Verb::Create,
            ("DELETE", false) => Verb::Delete,
            ("GET", false) => Verb::Get,
            ("GET", true) if is_watch => Verb::Watch,
            ("GET", true) => Verb::List,
            ("PATCH", false) => Verb::Patch,
            ("PUT", false) => Verb::Update,
            _ => {
                let message = "the server does not allow this method on the requested resource";
                return Err(Status::new(405, "MethodNotAllowed", message));
            }
        };
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|error| Status::new(400, "BadRequest", error.to_string()))?
        };
        Ok(Self {
            verb,
            kind,
            namespace,
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            query,
            metadata_only: accept.contains("as=PartialObjectMetadata"),
            body,
        })
    }

    /// The object that it is about.
    pub fn key(&self) -> Key {
        Key::new(self.kind, self.namespace.as_deref().unwrap_or_default(), &self.name)
    }

    /// What stands behind the `?` under a name, empty if nothing does.
    pub fn asked(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// `%2F` and `+` as they are meant.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, escaped) {
            (b'%', Some(escaped)) => {
                out.push(escaped);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
