//! What may come in from outside: licences, sources, versions and features, checked without a network.
//! Advisories are not checked here: they change without our doing, so they must not fail a build.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than their text and a notice.
const LICENCES: [&str; 11] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Libraries of which several versions that exclude each other are in the tree, and why that is borne.
const SEVERAL_VERSIONS: [(&str, &str); 9] = [
    ("base64", "k8s-openapi is a version behind the client"),
    ("foldhash", "jaq, in tests, is a version behind hashbrown"),
    ("getrandom", "ring, ahash and rand each follow another generation"),
    ("hashbrown", "kube-runtime and dashmap are behind indexmap"),
    ("r-efi", "comes with getrandom and is built for UEFI alone"),
    ("rand", "stateright, in tests, is a version behind proptest"),
    ("rand_core", "comes with rand"),
    (
        "syn",
        "half of the derive macros have moved on; it is built, not shipped",
    ),
    ("windows-sys", "built for Windows alone"),
];

/// Crates that must not be anywhere in the tree.
const BANNED: [(&str, &str); 3] = [
    (
        "aws-lc-rs",
        "a second TLS provider beside ring: rustls would panic at the first handshake",
    ),
    ("openssl-sys", "the binary is static and has its TLS in Rust"),
    ("native-tls", "the binary is static and has its TLS in Rust"),
];

/// Crates that `core` must not even reach through others.
const BANNED_IN_CORE: [&str; 8] = [
    "hyper",
    "kube-client",
    "kube-runtime",
    "rand",
    "reqwest",
    "tokio",
    "tower",
    "tracing",
];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        // Crates of other platforms are not there after a first build; cargo fetches them.
        .arg("--locked")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn packages() -> Vec<Value> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1"])).expect("the metadata is JSON");
    metadata["packages"].as_array().expect("there are packages").clone()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether a licence expression can be met by allowed licences: `OR` is a choice, `AND` and parentheses are not.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn licences_are_on_the_list() {
    let packages = packages();
    let bad: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(text(package, "license")))
        .map(|package| format!("{}: {}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(bad.is_empty(), "licences that are not on the list: {bad:#?}");
}

#[test]
fn an_expression_is_allowed_if_each_of_its_parts_offers_an_allowed_choice() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-2.0-only OR MIT",
        "(Apache-2.0 OR MIT) AND BSD-3-Clause",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-2.0-only", "MIT AND GPL-2.0-only", "MITT"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn everything_comes_from_the_one_registry() {
    for package in packages() {
        let source = text(&package, "source");
        let is_ours = source.is_empty();
        let is_registry = source.starts_with("registry+") && source.ends_with("/crates.io-index");
        assert!(is_ours || is_registry, "{} comes from {source}", text(&package, "name"));
    }
}

/// The part of a version that must agree for two versions to be one in the tree.
fn generation(version: &str) -> String {
    let numbers: Vec<&str> = version.split('.').collect();
    match numbers.as_slice() {
        ["0", "0", patch, ..] => format!("0.0.{patch}"),
        ["0", minor, ..] => format!("0.{minor}"),
        [major, ..] => (*major).to_owned(),
        [] => String::new(),
    }
}

#[test]
fn there_is_one_version_of_each_library_but_for_those_with_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let name = text(&package, "name").to_owned();
        versions
            .entry(name)
            .or_default()
            .insert(generation(text(&package, "version")));
    }
    versions.retain(|_, generations| generations.len() > 1);
    let found: Vec<&str> = versions.keys().map(String::as_str).collect();
    let listed = SEVERAL_VERSIONS.map(|(name, _)| name);
    assert_eq!(found, listed, "left: in the tree, right: in this file; {versions:#?}");
}

#[test]
fn banned_crates_are_not_in_the_tree() {
    for package in packages() {
        let name = text(&package, "name");
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            panic!("{name} is in the tree: {why}");
        }
    }
}

#[test]
fn maps_of_json_stay_sorted() {
    let features = cargo(&[
        "tree",
        "--workspace",
        "--edges=features",
        "--prefix=none",
        "--format={p} {f}",
    ]);
    for line in features.lines().filter(|line| line.starts_with("serde_json")) {
        assert!(
            !line.contains("preserve_order"),
            "{line}: the order of maps would be that of the input"
        );
    }
}

#[test]
fn core_reaches_no_runtime_no_client_and_no_randomness() {
    let tree = cargo(&["tree", "--package=daemonjob-core", "--edges=normal", "--prefix=none"]);
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("k8s-openapi"), "the tree is not what it was: {names:?}");
    for banned in BANNED_IN_CORE {
        assert!(!names.contains(banned), "core reaches {banned}");
    }
}

#[test]
fn every_crate_builds_with_the_lints_of_the_workspace() {
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        let manifest = std::fs::read_to_string(text(package, "manifest_path")).expect("the manifest is there");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} has lints of its own",
            text(package, "name")
        );
    }
}
