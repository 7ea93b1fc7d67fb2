//! The objects, and all that ever happened to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::Kind;

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, empty if it is in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object in a namespace.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One thing that happened to one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version of the store that it made.
    pub version: u64,
    /// Of which object.
    pub key: Key,
    /// The object before it; none if it was created.
    pub before: Option<Arc<Value>>,
    /// The object after it; none if it went.
    pub after: Option<Arc<Value>>,
}

/// A versioned map. Versions are of the whole store, as etcd's are.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    log: Vec<Change>,
    uids: u64,
    /// What happened up to then is forgotten for watches and pages.
    pub(crate) compacted: u64,
}

/// Versions begin here: a store is never empty when a controller meets it.
const FIRST: u64 = 100;

impl Store {
    pub(crate) fn version(&self) -> u64 {
        self.log.last().map_or(FIRST, |change| change.version)
    }

    pub(crate) fn log(&self) -> &[Change] {
        &self.log
    }

    /// What happened after a version.
    pub(crate) fn since(&self, version: u64) -> &[Change] {
        let start = self.log.partition_point(|change| change.version <= version);
        &self.log[start..]
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects of a kind, in one namespace or in all, by namespace and name.
    pub(crate) fn all(&self, kind: Kind, namespace: Option<&str>) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let first = Key::new(kind, namespace.unwrap_or_default(), "");
        let is_in = move |key: &Key| key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace);
        self.objects.range(first..).take_while(move |(key, _)| is_in(key))
    }

    /// The objects of a kind as they were at a version.
    pub(crate) fn at(&self, kind: Kind, version: u64) -> BTreeMap<Key, Arc<Value>> {
        let now = self.all(kind, None);
        let mut objects: BTreeMap<Key, Arc<Value>> =
            now.map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        for change in self
            .since(version)
            .iter()
            .rev()
            .filter(|change| change.key.kind == kind)
        {
            match &change.before {
                Some(before) => drop(objects.insert(change.key.clone(), Arc::clone(before))),
                None => drop(objects.remove(&change.key)),
            }
        }
        objects
    }

    pub(crate) fn new_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Stores an object and gives it its version.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        let version = self.version() + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.log.push(Change {
            version,
            key,
            before,
            after: Some(Arc::clone(&object)),
        });
        object
    }

    /// Takes an object away. What a watch tells of it has the version of its end.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.log.push(Change {
            version: self.version() + 1,
            key: key.clone(),
            before: Some(Arc::clone(&before)),
            after: None,
        });
        Some(before)
    }
}
