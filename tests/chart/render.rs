//! Runs helm on the chart and reads what it prints.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use daemonjob_cluster::{Program, Tools};
use serde_json::Value;

/// The release and the namespace of every render that does not name its own.
pub(crate) const RELEASE: &str = "daemonjob";
pub(crate) const NAMESPACE: &str = "daemonjob-system";

/// Values for the modes that need some.
pub(crate) const URL: &[&str] = &["webhook.url=https://127.0.0.1:9443"];
pub(crate) const WATCHED: &[&str] = &["watchNamespaces={ours,theirs}"];
pub(crate) const NO_WEBHOOK: &[&str] = &["webhook.enabled=false"];
pub(crate) const CERT_MANAGER: &[&str] = &["webhook.certs.mode=certManager"];
pub(crate) const EXISTING_SECRET: &[&str] = &[
    "webhook.certs.mode=existingSecret",
    "webhook.certs.secretName=serving",
    "webhook.certs.caBundle=YWJj",
];

/// What no mode renders by itself, together.
pub(crate) const OPTIONS: &[&str] = &[
    WATCHED[0],
    "commonLabels.team=ours",
    "extraVolumes[0].name=scratch",
    "extraVolumes[0].emptyDir.sizeLimit=1Mi",
    "hostNetwork=true",
    "networkPolicy.egress[0].ports[0].port=6443",
    "networkPolicy.enabled=true",
    "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
    "networkPolicy.webhookFrom[0].ipBlock.cidr=10.0.0.0/8",
];

/// All modes, for what must hold in each.
pub(crate) const MODES: [&[&str]; 5] = [&[], URL, NO_WEBHOOK, CERT_MANAGER, EXISTING_SECRET];

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).expect("the file is committed")
}

/// A YAML document, as JSON.
pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("the text is one YAML document")
}

/// The programs, built once if need be.
pub(crate) fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let mut progress = |line: &str| {
            // The only sign of life of a cold build; a closed stderr is no reason to fail.
            drop(writeln!(std::io::stderr(), "{line}"));
        };
        Tools::ensure(&mut progress).expect("the tools are there or can be built")
    })
}

/// Runs helm without a cluster: a kubeconfig of the developer must not matter.
pub(crate) fn helm(arguments: &[&str]) -> Output {
    Command::new(tools().path(Program::Helm))
        .args(arguments)
        .current_dir(repository("charts"))
        .env("KUBECONFIG", "/nonexistent")
        .output()
        .expect("helm is a program that runs here")
}

fn with_sets<'a>(start: &[&'a str], sets: &[&'a str]) -> Vec<&'a str> {
    start
        .iter()
        .copied()
        .chain(sets.iter().flat_map(|set| ["--set", set]))
        .collect()
}

fn template(release: &str, sets: &[&str]) -> Output {
    let start = [
        "template",
        release,
        "daemonjob",
        "--namespace",
        NAMESPACE,
        "--skip-tests",
    ];
    helm(&with_sets(&start, sets))
}

/// What `helm test` sends.
pub(crate) fn render_test(sets: &[&str]) -> Rendered {
    let start = [
        "template",
        RELEASE,
        "daemonjob",
        "--namespace",
        NAMESPACE,
        "--show-only=templates/tests/admission.yaml",
    ];
    read(&helm(&with_sets(&start, sets)))
}

/// What helm prints for an installation with these values, notes included.
pub(crate) fn dry_run(sets: &[&str]) -> String {
    let start = [
        "install",
        RELEASE,
        "daemonjob",
        "--namespace",
        NAMESPACE,
        "--dry-run=client",
    ];
    printed(&helm(&with_sets(&start, sets)))
}

fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "helm failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).expect("helm prints UTF-8")
}

/// Why helm does not render the chart with these values.
pub(crate) fn refusal(sets: &[&str]) -> String {
    let output = template(RELEASE, sets);
    assert!(
        !output.status.success(),
        "rendered, but should have been refused: {sets:?}"
    );
    String::from_utf8(output.stderr).expect("helm prints UTF-8")
}

/// A rendered chart.
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) objects: Vec<Value>,
}

/// The chart with these values (`--set` each), without the CRD: it is large, and the same in every mode.
pub(crate) fn render(sets: &[&str]) -> Rendered {
    render_as(RELEASE, sets)
}

/// The same as a release of another name.
pub(crate) fn render_as(release: &str, sets: &[&str]) -> Rendered {
    read(&template(release, &[&["crds.enabled=false"], sets].concat()))
}

/// The whole chart with these values.
pub(crate) fn render_whole(sets: &[&str]) -> Rendered {
    read(&template(RELEASE, sets))
}

fn read(output: &Output) -> Rendered {
    let text = printed(output);
    let objects = serde_saphyr::from_multiple::<Value>(&text).expect("helm renders YAML");
    Rendered {
        objects: objects.into_iter().filter(|object| !object.is_null()).collect(),
        text,
    }
}

impl Rendered {
    /// `Kind/name` of every object, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .objects
            .iter()
            .map(|object| format!("{}/{}", kind(object), name(object)))
            .collect();
        names.sort();
        names
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, wanted: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| kind(object) == wanted).collect()
    }

    /// Whether there is an object of this kind.
    pub(crate) fn has(&self, kind: &str) -> bool {
        !self.all(kind).is_empty()
    }

    /// The object of a kind that has one.
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let found = self.all(kind);
        assert_eq!(found.len(), 1, "objects of kind {kind}");
        found[0]
    }

    /// The object of a kind with this name.
    pub(crate) fn named(&self, kind: &str, wanted: &str) -> &Value {
        let mut found = self.all(kind).into_iter();
        found
            .find(|object| name(object) == wanted)
            .expect("an object of that kind and name is rendered")
    }

    /// The container of the Deployment.
    pub(crate) fn container(&self) -> &Value {
        &self.pod()["containers"][0]
    }

    /// The Pod spec of the Deployment.
    pub(crate) fn pod(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]["spec"]
    }

    /// The value of a variable in the Deployment's environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        list(&self.container()["env"])
            .iter()
            .find(|entry| entry["name"] == name)
            .and_then(|entry| entry["value"].as_str())
    }
}

/// An object's kind.
pub(crate) fn kind(object: &Value) -> &str {
    string(&object["kind"])
}

/// An object's name.
pub(crate) fn name(object: &Value) -> &str {
    string(&object["metadata"]["name"])
}

/// A value that is a string.
pub(crate) fn string(value: &Value) -> &str {
    value.as_str().expect("the value is a string")
}

/// A value that is a list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("the value is a list")
}

/// A list of strings.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().map(string).collect()
}
