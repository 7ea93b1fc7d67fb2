//! The webhook's patches through the library that API servers apply them with, which is Go's (I14).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemonjob_vectors::Vector;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

const MODULE: &str = "gopkg.in/evanphx/json-patch.v4";

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A `go` for the module; none if there is no Go on a machine where that may be so.
fn go() -> Option<Command> {
    match daemonjob_cluster::go(&tests().join("json-patch")) {
        Ok(go) => Some(go),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error:#}");
            skipped(&format!("{error:#}"));
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that shows nothing must say so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// A vector whose object is patched.
#[derive(Serialize)]
struct Patched {
    name: String,
    /// As it was sent, down to the text of its numbers.
    object: Box<RawValue>,
    /// As it was answered: base64.
    patch: Value,
    /// What it should be then.
    patched: Value,
}

fn all_patched() -> Vec<Patched> {
    let vectors = Vector::all().into_iter();
    let patched = vectors.filter_map(|vector| {
        let golden = vector.golden.as_ref().expect("it has been played");
        let mutate = golden.answers.iter().find(|(path, _)| path.starts_with("/mutate"));
        Some(Patched {
            patched: golden.patched.clone()?,
            patch: mutate.expect("who patches has been asked").1.body["response"]["patch"].clone(),
            object: RawValue::from_string(vector.object()).expect("what can be patched is JSON"),
            name: vector.name,
        })
    });
    patched.collect()
}

#[test]
fn i14_gos_json_patch_makes_the_same_objects() {
    let Some(mut go) = go() else { return };
    let patched = all_patched();
    assert!(patched.len() > 100, "only {} patches", patched.len());
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let file = folder.path().join("vectors.json");
    let text = serde_json::to_string(&patched).expect("it has a JSON form");
    fs::write(&file, text).expect("it can be written");
    let output = go
        .args(["test", "-count=1", "-v", "./..."])
        .env("VECTORS", &file)
        .output()
        .expect("Go has just been asked for its version");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for Patched { name, .. } in &patched {
        assert!(
            said.contains(&format!("--- PASS: TestPatches/{name} (")),
            "{name}: {said}"
        );
    }
}

#[test]
fn i14_it_is_the_version_of_the_api_server() {
    let version = |file: &str| {
        let text = fs::read_to_string(tests().join(file)).expect("the file is there");
        let mut words = text.split_whitespace().skip_while(|word| *word != MODULE);
        words.nth(1).expect("it names the module").to_owned()
    };
    assert_eq!(version("json-patch/go.mod"), version("cluster/tools/kubernetes/go.mod"));
}
