//! What is written from the chart: the table of its values, and the manifest for those who do not use Helm.

use serde_json::Value;

use crate::render::{NAMESPACE, RELEASE, helm, repository, text, yaml};

/// A value with its path, its default and its comment.
struct Row {
    path: String,
    meaning: String,
}

/// The values that have a comment which begins with `--`.
fn rows(values: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut keys: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in values.lines() {
        let bare = line.trim_start();
        if let Some(first) = bare.strip_prefix("# -- ") {
            comment = Some(first.to_owned());
        } else if let (Some(more), Some(comment)) = (bare.strip_prefix("# "), comment.as_mut()) {
            *comment += &format!(" {more}");
        } else if let Some((key, _)) = bare.split_once(':').filter(|_| !bare.starts_with('#')) {
            let indent = line.len() - bare.len();
            keys.retain(|(outer, _)| *outer < indent);
            keys.push((indent, key));
            let path: Vec<&str> = keys.iter().map(|(_, key)| *key).collect();
            let path = path.join(".");
            rows.extend(comment.take().map(|meaning| Row { path, meaning }));
        }
    }
    rows
}

fn value<'a>(values: &'a Value, path: &str) -> &'a Value {
    let found = path.split('.').try_fold(values, |value, key| value.get(key));
    found.expect("the path was read from the same file")
}

fn table() -> String {
    let file = text("charts/daemonjob/values.yaml");
    let values = yaml(&file);
    let row = |Row { path, meaning }: Row| {
        let default = value(&values, &path);
        format!("| `{path}` | `{default}` | {} |\n", meaning.replace('|', "\\|"))
    };
    let rows: String = rows(&file).into_iter().map(row).collect();
    format!("\n| value | default | meaning |\n|---|---|---|\n{rows}")
}

/// Paths of all that is no map with content.
fn leaves(value: &Value, prefix: &str, into: &mut Vec<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map
            .iter()
            .for_each(|(key, child)| leaves(child, &format!("{prefix}.{key}"), into)),
        None => into.push(prefix.trim_start_matches('.').to_owned()),
    }
}

#[test]
fn every_value_has_a_row_or_is_part_of_one() {
    let file = text("charts/daemonjob/values.yaml");
    let rows = rows(&file);
    let mut paths = Vec::new();
    leaves(&yaml(&file), "", &mut paths);
    assert!(paths.len() > 60, "{paths:?}");
    for path in paths {
        let covers = |row: &Row| path == row.path || path.starts_with(&format!("{}.", row.path));
        assert_eq!(rows.iter().filter(|row| covers(row)).count(), 1, "{path}");
    }
}

fn is_to_update() -> bool {
    let is_set = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    is_set && std::env::var_os("CI").is_none()
}

#[test]
fn the_charts_readme_has_the_values() {
    const MARKS: [&str; 2] = ["<!-- values -->", "<!-- /values -->"];
    let readme = text("charts/daemonjob/README.md");
    let (before, rest) = readme.split_once(MARKS[0]).expect("the first mark is there");
    let (committed, after) = rest.split_once(MARKS[1]).expect("the second mark is there");
    let wanted = table();
    if is_to_update() {
        let whole = format!("{before}{}{wanted}{}{after}", MARKS[0], MARKS[1]);
        std::fs::write(repository("charts/daemonjob/README.md"), whole).expect("the repository can be written");
        return;
    }
    assert_eq!(
        committed, wanted,
        "the table of values is out of date: run `make golden`"
    );
}

const HEAD: &str = "\
# DaemonJob without Helm: kubectl apply --server-side -f charts/install.yaml
# The chart with its default values, written by `make golden`. Deleting these objects deletes the CRD, and so every
# DaemonJob with its Jobs.
---
apiVersion: v1
kind: Namespace
metadata:
  name: daemonjob-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

/// Labels that would say that Helm looks after these objects.
fn is_of_helm(line: &str) -> bool {
    let label = line.trim_start();
    label.starts_with("helm.sh/chart:") || label == "app.kubernetes.io/managed-by: Helm"
}

fn install_manifest() -> String {
    let output = helm(&[
        "template",
        RELEASE,
        "daemonjob",
        "--namespace",
        NAMESPACE,
        "--skip-tests",
        // There is no release whose end the CRD could outlive.
        "--set=crds.keep=false",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = String::from_utf8(output.stdout).expect("helm prints UTF-8");
    let lines = rendered.lines().filter(|line| !is_of_helm(line));
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!("{HEAD}{body}")
}

#[test]
fn the_manifest_without_helm_is_the_rendered_chart() {
    let file = repository("charts/install.yaml");
    let wanted = install_manifest();
    if is_to_update() {
        std::fs::write(&file, &wanted).expect("the repository can be written");
    }
    let committed = text("charts/install.yaml");
    // Six thousand lines are no message.
    assert!(
        committed == wanted,
        "charts/install.yaml is out of date: run `make golden`"
    );
    assert!(!committed.contains("helm.sh"), "nothing in it is Helm's");
}
