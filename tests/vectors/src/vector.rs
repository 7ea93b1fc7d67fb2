//! A vector: its file, and the request that is made of it.

use std::fs;
use std::path::{Path, PathBuf};

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::names::{API_VERSION, GROUP, KIND, PLURAL, TEMPLATE_HASH, VERSION};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::change::Change;
use crate::golden::Golden;
use crate::request::{Http, Request, Text};

/// Where the part begins that is not written by hand.
const MARK: &str = "# Written by `make golden` from here on: read the difference before you commit it.\n";

/// One request, and what is answered to it.
#[derive(Debug)]
pub struct Vector {
    /// The name of its file without the extension, such as `b33-both-selectors`; also the uid of its review.
    pub name: String,
    by_hand: String,
    question: Question,
    /// What is on file; none before it was written for the first time.
    pub golden: Option<Golden>,
}

/// The part by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The row of the table that it shows.
    row: String,
    why: String,
    /// Makes it an update: how the object in the store differs from the sample.
    stored: Option<Change>,
    /// That object came into the store without its hash and without defaults.
    #[serde(default)]
    past_the_webhook: bool,
    /// How the object differs from the sample or, in an update, from the one in the store.
    #[serde(default)]
    object: Change,
    /// How the review differs from an ordinary one.
    #[serde(default)]
    review: Change,
    #[serde(default)]
    text: Text,
    #[serde(default)]
    http: Http,
    /// `/validate` sees the object as if `/mutate` had not been asked.
    #[serde(default)]
    unpatched: bool,
    /// An API server refuses it in these words if kubectl applies it; the verdict of the webhook is not asked for.
    api_server: Option<String>,
}

/// The DaemonJob that vectors change.
fn sample() -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "sample", "namespace": "default"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": {
            "containers": [{"name": "main", "image": "busybox:stable"}],
            "restartPolicy": "OnFailure",
        }}}}},
    })
}

/// What the webhook makes of an object: its hash, and the default of `replace`.
fn stamp(object: &mut Value) {
    let hash = TemplateHash::of(&object["spec"]["jobTemplate"]).expect("what is stored has a hash");
    object["metadata"]["annotations"][TEMPLATE_HASH] = json!(hash.as_str());
    if object["spec"]["replace"].is_null() {
        object["spec"]["replace"] = json!(false);
    }
}

impl Vector {
    /// All of them, by name.
    ///
    /// # Panics
    /// If a file is not a vector.
    pub fn all() -> Vec<Self> {
        let files = fs::read_dir(folder()).expect("the folder is there");
        let mut files: Vec<PathBuf> = files.map(|entry| entry.expect("it can be listed").path()).collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Self {
        let name = file
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("names are UTF-8");
        let text = fs::read_to_string(file).expect("a vector can be read");
        let (by_hand, written) = match text.split_once(MARK) {
            Some((by_hand, written)) => (by_hand.to_owned(), Some(written)),
            None => (text, None),
        };
        let question = serde_saphyr::from_str(&by_hand).map_err(|error| format!("{name}: {error}"));
        Self {
            name: name.to_owned(),
            question: question.expect("the part by hand is well-formed"),
            by_hand,
            golden: written.map(Golden::parse),
        }
    }

    /// Puts the answers on file. Only tests that were asked to rewrite golden files call this.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, golden: &Golden) {
        let text = format!("{}\n{MARK}{}", self.by_hand.trim_end(), golden.yaml());
        fs::write(folder().join(format!("{}.yaml", self.name)), text).expect("the repository can be written");
    }

    /// The row of the table that it shows, such as `B33`.
    pub fn row(&self) -> &str {
        &self.question.row
    }

    /// Why it exists.
    pub fn why(&self) -> &str {
        &self.question.why
    }

    /// The path that is asked, if it is neither `/mutate` nor `/validate`, one after the other.
    pub fn path(&self) -> Option<&str> {
        self.question.http.path.as_deref()
    }

    /// Whether `/validate` is to see the object as if there were no `/mutate`.
    pub fn is_unpatched(&self) -> bool {
        self.question.unpatched
    }

    /// Whether it changes a stored object.
    pub fn is_update(&self) -> bool {
        self.question.stored.is_some()
    }

    /// Whether it is a creation in which nothing but the object is out of the ordinary, so that kubectl can send it.
    pub fn is_plain_creation(&self) -> bool {
        !self.is_update() && self.is_about_its_object()
    }

    /// Whether it is a change of the sample, as the webhook let that in, in which nothing else is out of the ordinary.
    pub fn is_plain_update_of_the_sample(&self) -> bool {
        let is_stored = self.question.stored == Some(Change::default()) && !self.question.past_the_webhook;
        is_stored && self.is_about_its_object()
    }

    fn is_about_its_object(&self) -> bool {
        let Question { review, http, .. } = &self.question;
        !self.is_unpatched() && *review == Change::default() && *http == Http::default()
    }

    /// The sample itself.
    pub fn sample() -> Value {
        sample()
    }

    /// In what words an API server refuses it by itself, if kubectl applies it.
    pub fn api_server(&self) -> Option<&str> {
        self.question.api_server.as_deref()
    }

    /// The object in the store, before an update.
    pub fn old(&self) -> Option<Value> {
        let stored = self.question.stored.as_ref()?;
        let mut object = sample();
        stored.apply(&mut object);
        if !self.question.past_the_webhook {
            stamp(&mut object);
        }
        Some(object)
    }

    /// The object as it is sent, in the very text of its numbers.
    pub fn object(&self) -> String {
        let mut object = self.old().unwrap_or_else(sample);
        self.question.object.apply(&mut object);
        self.question.text.bend(&object.to_string())
    }

    /// The request about this object.
    pub fn request(&self, path: &str, object: Option<&Value>) -> Request {
        self.question
            .http
            .request(path, || self.question.text.encode(&self.review(object)))
    }

    /// A request to `/validate` that asks about this object as a new one, whatever else the vector says.
    pub fn as_new(&self, object: &Value) -> Request {
        let review = review(&self.name, None, object);
        Http::default().request("/validate", || review.to_string().into_bytes())
    }

    fn review(&self, patched: Option<&Value>) -> String {
        let old = self.old();
        let object = patched.cloned().unwrap_or_else(|| {
            let mut object = old.clone().unwrap_or_else(sample);
            self.question.object.apply(&mut object);
            object
        });
        let mut review = review(&self.name, old.as_ref(), &object);
        self.question.review.apply(&mut review);
        review.to_string()
    }
}

/// A review as API servers write it: of an update if there is an old object.
fn review(uid: &str, old: Option<&Value>, object: &Value) -> Value {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": GROUP, "version": VERSION, "kind": KIND},
            "resource": {"group": GROUP, "version": VERSION, "resource": PLURAL},
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "operation": operation,
            "userInfo": {"username": "admin"},
            "object": object,
            "oldObject": old,
            "dryRun": false,
        },
    })
}

/// Where the vectors are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rows")
}
