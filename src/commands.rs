//! The commands that print: `crd` and `hash`.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use daemonjob_core::hash::TemplateHash;
use daemonjob_core::{crd, names};
use serde_json::Value;

/// Prints the CustomResourceDefinition.
///
/// # Errors
/// If the output cannot be written.
pub(crate) fn print_crd(out: &mut impl Write) -> anyhow::Result<()> {
    out.write_all(crd::yaml().as_bytes()).context("cannot write the CRD")
}

/// Prints the template hash of each DaemonJob in a file.
///
/// # Errors
/// If the file cannot be read, or holds no DaemonJob, or one that cannot be hashed.
pub(crate) fn print_hashes(file: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let name = if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    let text = read(file).with_context(|| format!("cannot read {name}"))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{name} is neither YAML nor JSON"))?;
    let mut found = 0;
    for object in documents.iter().flat_map(objects) {
        let Some(template) = object.pointer("/spec/jobTemplate").filter(|_| is_daemon_job(object)) else {
            continue;
        };
        let of = |field: &str| object.pointer(field).and_then(Value::as_str);
        let name = match (of("/metadata/namespace"), of("/metadata/name").unwrap_or_default()) {
            (Some(namespace), name) => format!("{namespace}/{name}"),
            (None, name) => name.to_owned(),
        };
        let hash = TemplateHash::of(template)
            .map_err(|number| anyhow::anyhow!("{name}: {} at {} is not exact in a double", number.text, number.path))?;
        writeln!(out, "{hash}  {name}").context("cannot write the hash")?;
        found += 1;
    }
    if found == 0 {
        bail!("{name} holds no DaemonJob with a spec.jobTemplate");
    }
    Ok(())
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// The objects of a document: itself, or the items of a List.
fn objects(document: &Value) -> Vec<&Value> {
    match document.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().collect(),
        None => vec![document],
    }
}

fn is_daemon_job(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(names::KIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str) -> anyhow::Result<String> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("it.yaml");
        std::fs::write(&file, text)?;
        let mut out = Vec::new();
        print_hashes(&file, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    const SAMPLE: &str = "kind: DaemonJob\nmetadata: {name: a, namespace: ns}\nspec: {jobTemplate: {spec: {a: 1}}}\n";

    #[test]
    fn each_daemonjob_of_a_file_gets_a_line() {
        let out = hashes(&format!("{SAMPLE}---\nkind: Pod\n---\n{SAMPLE}")).unwrap();
        let expected = TemplateHash::of(&serde_json::json!({"spec": {"a": 1}})).unwrap();
        assert_eq!(out, format!("{expected}  ns/a\n{expected}  ns/a\n"));
    }

    #[test]
    fn a_file_without_a_daemonjob_is_an_error() {
        assert!(
            hashes("kind: Pod\n")
                .unwrap_err()
                .to_string()
                .contains("holds no DaemonJob")
        );
        assert!(print_hashes(Path::new("missing.yaml"), &mut Vec::new()).is_err());
    }

    #[test]
    fn b30_an_inexact_number_is_an_error_that_names_it() {
        let text = SAMPLE.replace("a: 1", "a: 9007199254740993");
        assert!(hashes(&text).unwrap_err().to_string().contains("9007199254740993"));
    }
}
