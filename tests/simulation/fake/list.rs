//! Lists: selected, in pages, as of now or as of an earlier version.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::request::Request;
use super::server::{Answer, ApiServer};
use super::status::Status;
use super::store::Key;

impl ApiServer {
    /// The list as it was at a version, in pages of at most so many, whatever is asked for.
    ///
    /// # Errors
    /// The next page of a list is asked for whose version is forgotten.
    pub fn list(&self, request: &Request, version: u64, page: usize) -> Result<Answer, Status> {
        let (version, after) = match request.asked("continue").split_once('.') {
            Some((version, after)) => (version.parse().unwrap_or_default(), after),
            None => (version, ""),
        };
        if !after.is_empty() && version < self.store.compacted {
            return Err(Status::expired());
        }
        let limit = request.asked("limit").parse().unwrap_or(usize::MAX).min(page).max(1);
        let selection = Selection::of(request);
        let objects = self.store.at(request.kind, version);
        let chosen = objects
            .iter()
            .filter(|(key, object)| selection.takes(key, object) && place(key).as_str() > after);
        let chosen: Vec<(&Key, &Arc<Value>)> = chosen.collect();
        let items: Vec<Value> = chosen
            .iter()
            .take(limit)
            .map(|(_, object)| item(request, object))
            .collect();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if let (true, Some((last, _))) = (chosen.len() > limit, chosen.get(limit - 1)) {
            metadata["continue"] = json!(format!("{version}.{}", place(last)));
            if selection.is_plain() {
                metadata["remainingItemCount"] = json!(chosen.len() - limit);
            }
        }
        let (api_version, kind) = if request.metadata_only {
            ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned())
        } else {
            (request.kind.api_version(), format!("{}List", request.kind.kind()))
        };
        let list = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items});
        Ok(Answer::Body(200, list))
    }
}

/// Where an object stands in a list.
fn place(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn item(request: &Request, object: &Value) -> Value {
    if request.metadata_only {
        return json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
        });
    }
    let mut item = object.clone();
    if let (false, Some(fields)) = (request.kind.is_custom(), item.as_object_mut()) {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    item
}

/// Which objects are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    kind: Kind,
    namespace: Option<String>,
    labels: Vec<Wanted>,
    fields: Vec<(String, String)>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug)]
enum Wanted {
    Absent(String),
    Equal(String, String),
    Present(String),
}

impl Selection {
    pub(crate) fn of(request: &Request) -> Self {
        let parts = |name: &str| -> Vec<String> {
            let text = request.asked(name).to_owned();
            text.split(',')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let wanted = |part: &String| match (part.split_once('='), part.strip_prefix('!')) {
            (Some((key, value)), _) => Wanted::Equal(key.to_owned(), value.trim_start_matches('=').to_owned()),
            (None, Some(key)) => Wanted::Absent(key.to_owned()),
            (None, None) => Wanted::Present(part.clone()),
        };
        let field = |part: &String| {
            part.split_once('=')
                .map(|(field, value)| (field.to_owned(), value.to_owned()))
        };
        Self {
            kind: request.kind,
            namespace: request.namespace.clone(),
            labels: parts("labelSelector").iter().map(wanted).collect(),
            fields: parts("fieldSelector").iter().filter_map(field).collect(),
        }
    }

    fn is_plain(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn takes(&self, key: &Key, object: &Value) -> bool {
        let is_here = key.kind == self.kind && self.namespace.as_ref().is_none_or(|name| *name == key.namespace);
        let no_labels = Map::new();
        let labels = object["metadata"]["labels"].as_object().unwrap_or(&no_labels);
        let has = |wanted: &Wanted| match wanted {
            Wanted::Absent(key) => !labels.contains_key(key),
            Wanted::Equal(key, value) => labels.get(key).is_some_and(|held| held == value),
            Wanted::Present(key) => labels.contains_key(key),
        };
        let is = |(field, value): &(String, String)| {
            let pointer = format!("/{}", field.replace('.', "/"));
            object.pointer(&pointer).is_some_and(|held| held == value)
        };
        is_here && self.labels.iter().all(has) && self.fields.iter().all(is)
    }
}
