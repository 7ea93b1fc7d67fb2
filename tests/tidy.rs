//! The rules of this repository that no compiler checks: layers, sizes, files that nobody compiles,
//! and documents that must agree with the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use daemonjob_core::reason::{Reason, Stalls};
use serde_json::Value;

/// Lines of a file without its tests.
const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    text.expect("a file of the repository can be read")
}

/// The path below the repository, for messages and rules.
fn short(path: &Path) -> &str {
    path.strip_prefix(root())
        .ok()
        .and_then(Path::to_str)
        .expect("a path of ours is UTF-8 and below the root")
}

/// All files that are ours: whatever is neither built nor git's own.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_foreign = name == ".git" || path == root().join("target") || path.join("CACHEDIR.TAG").is_file();
            if path.is_dir() && !is_foreign {
                folders.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 100, "only {} files", files.len());
    files
}

fn rust_files() -> Vec<PathBuf> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files().into_iter().filter(is_rust).collect()
}

/// The modules that a file declares, `mod NAME;`, and where each may be.
fn declared(file: &Path, is_root: bool) -> Vec<[PathBuf; 2]> {
    let folder = file.parent().expect("a file has a folder");
    let stem = file.file_stem().expect("a file has a name");
    let own = if is_root || stem == "mod" {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    let text = text(file);
    let names = text.lines().filter_map(|line| {
        let line = line.trim().strip_suffix(';')?;
        let (before, name) = line.rsplit_once(' ')?;
        (before == "mod" || before.ends_with(" mod")).then_some(name)
    });
    names
        .map(|name| [own.join(format!("{name}.rs")), own.join(name).join("mod.rs")])
        .collect()
}

/// The root file of every library, program and test.
fn crate_roots() -> Vec<PathBuf> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("the metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let targets = packages
        .iter()
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    targets
        .filter_map(|target| target["src_path"].as_str().map(PathBuf::from))
        .collect()
}

#[test]
fn every_rust_file_is_compiled() {
    let mut reached = BTreeSet::new();
    let mut open: Vec<(PathBuf, bool)> = crate_roots().into_iter().map(|file| (file, true)).collect();
    while let Some((file, is_root)) = open.pop() {
        if reached.insert(file.clone()) {
            let modules = declared(&file, is_root).into_iter().flatten();
            open.extend(modules.filter(|path| path.is_file()).map(|path| (path, false)));
        }
    }
    let orphans: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|file| !reached.contains(file))
        .collect();
    assert!(orphans.is_empty(), "no `mod` names these: {orphans:#?}");
}

/// Which files (by the start of their path), what they must not name, and why.
/// Names are matched as whole paths: `kube` is in `kube::Api` but not in `kube_core::x` or `my_kube::x`.
const LAYERS: [(&str, &[&str], &[&str], &str); 6] = [
    (
        "core/src/",
        &[],
        &[
            "HashMap",
            "HashSet",
            "RandomState",
            "async fn",
            "daemonjob",
            "daemonjob_certs",
            "daemonjob_cluster",
            "daemonjob_webhook",
            "kube::Api",
            "kube::Client",
            "kube::api",
            "kube::client",
            "kube::runtime",
            "log",
            "rand",
            "std::env",
            "std::fs",
            "std::net",
            "std::thread",
            "tokio",
            "tracing",
        ],
        "core is pure: no I/O, no client, no runtime, no log, no chance, no order by hash",
    ),
    (
        "webhook/src/",
        &[],
        &["anyhow", "daemonjob_certs", "kube", "std::env", "std::fs", "tokio::fs"],
        "admission reads nothing but the request",
    ),
    (
        "certs/src/",
        &[],
        &["anyhow", "daemonjob_core", "daemonjob_webhook"],
        "certs knows nothing of DaemonJobs",
    ),
    (
        "certs/src/",
        &["certs/src/inject.rs", "certs/src/store.rs"],
        &["kube"],
        "only the store and the caBundle speak to a cluster",
    ),
    (
        "src/controller/",
        &[],
        &["daemonjob_certs", "daemonjob_webhook"],
        "webhook, certificates and controller meet in the supervisor alone",
    ),
    (
        "tests/cluster/",
        &[],
        &["daemonjob_core", "daemonjob_certs", "daemonjob_webhook"],
        "the local control plane knows nothing of DaemonJobs",
    ),
];

/// The code of a file: without comments and without the tests at its end.
fn code(file: &Path) -> String {
    let text = text(file);
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let production: Vec<&str> = production(&text).into_iter().filter(|line| !is_comment(line)).collect();
    production.join("\n")
}

/// The lines before `#[cfg(test)] mod NAME {`.
fn production(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let starts_tests =
        |pair: &[&str]| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod ") && next.ends_with('{'));
    let end = lines.windows(2).position(starts_tests).unwrap_or(lines.len());
    lines.into_iter().take(end).collect()
}

/// Whether a path or a word stands in the code, not as a part of a longer word.
/// A crate is named by `use NAME` or by `NAME::`; a word of two or with `::`, and a type, wherever it stands.
fn names(code: &str, word: &str) -> bool {
    let is_crate = word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let is_whole = !before.ends_with(is_part) && !before.ends_with("::") && !after.starts_with(is_part);
        let is_named = after.starts_with("::") || (before.ends_with("use ") && after.starts_with([';', ' ']));
        is_whole && (!is_crate || is_named)
    })
}

/// `use a::{b, c}` hides `a::b`: such a group is opened.
fn opened(code: &str) -> String {
    let groups = code.split("use ").skip(1).filter_map(|rest| {
        let statement = rest.split_once(';')?.0;
        let (prefix, group) = statement.split_once("::{")?;
        let parts: Vec<&str> = group.split([',', '{', '}']).map(str::trim).collect();
        Some(
            parts
                .iter()
                .map(|part| format!("use {prefix}::{part};\n"))
                .collect::<String>(),
        )
    });
    let groups: String = groups.collect();
    format!("{code}\n{groups}")
}

#[test]
fn layers_name_only_what_they_may() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let path = short(&file);
        // Tests beside the code may use files and other people's clients.
        if path.contains("/tests/") && !path.starts_with("tests/") || path.ends_with("/tests.rs") {
            continue;
        }
        let code = opened(&code(&file));
        for (start, but, banned, why) in LAYERS {
            if path.starts_with(start) && !but.contains(&path) {
                let found = banned.iter().filter(|word| names(&code, word));
                wrong.extend(found.map(|word| format!("{path} names {word}: {why}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_is_found_as_a_whole_and_through_groups() {
    assert!(names("use kube::Api;", "kube") && names("let x: kube::Client;", "kube::Client"));
    assert!(!names(
        "use kube_core::x; let kube = 1; my_kube::x; crate::kube::x",
        "kube"
    ));
    assert!(names("HashMap<u8, u8>", "HashMap") && !names("BTreeHashMap<u8, u8>", "HashMap"));
    assert!(names(&opened("use std::{fs, io};"), "std::fs") && !names(&opened("use std::{io};"), "std::fs"));
}

#[test]
fn files_stay_within_their_size() {
    // The planner's laws are tests in a folder of their own name.
    let folders = ["/tests/", "/plan/laws/"];
    let is_test = |path: &str| {
        path.starts_with("tests/") || path.ends_with("/tests.rs") || folders.iter().any(|folder| path.contains(folder))
    };
    let mut long = Vec::new();
    for file in rust_files() {
        let lines = production(&text(&file)).len();
        let path = short(&file);
        if lines > LONGEST && !is_test(path) {
            long.push(format!("{path}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "more than {LONGEST} lines without tests: {long:#?}");
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    // Put together here, or this file would name them.
    let folders = ["work", "root", "tmp"].map(|name| format!("/{name}/"));
    let mut wrong = Vec::new();
    for file in files() {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if folders.iter().any(|folder| line.contains(folder)) {
                wrong.push(format!("{}:{}: {}", short(&file), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_work_is_left_behind_in_comments() {
    let words = ["TO-DO", "FIX-ME", "X-XX"].map(|word| word.replace('-', ""));
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (number, line) in text(&file).lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}: {}", short(&file), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What stands in `ARCHITECTURE.md` between the two marks.
fn table_of_reasons() -> String {
    let row = |reason: &Reason| {
        let stalls = match reason.stalls() {
            Stalls::No => "no",
            Stalls::Yes => "yes",
        };
        format!("| `{}` | {} | {stalls} |\n", reason.as_str(), reason.meaning())
    };
    let rows: String = Reason::ALL.iter().map(row).collect();
    format!("\n| reason | meaning | stalls |\n|---|---|---|\n{rows}")
}

#[test]
fn reasons_are_documented_each_with_its_meaning() {
    const MARKS: [&str; 2] = ["<!-- reasons -->", "<!-- /reasons -->"];
    let file = root().join("ARCHITECTURE.md");
    let text = text(&file);
    let (before, rest) = text.split_once(MARKS[0]).expect("the first mark is there");
    let (table, after) = rest.split_once(MARKS[1]).expect("the second mark is there");
    let wanted = table_of_reasons();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    if update && std::env::var_os("CI").is_none() {
        let whole = format!("{before}{}{wanted}{}{after}", MARKS[0], MARKS[1]);
        fs::write(&file, whole).expect("the repository can be written");
        return;
    }
    assert_eq!(table, wanted, "the table of reasons is out of date: run `make golden`");
}

/// The fenced YAML of a Markdown text.
fn yaml_blocks(markdown: &str) -> Vec<Value> {
    let blocks = markdown
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"));
    blocks
        .flat_map(|(block, _)| serde_saphyr::from_multiple::<Value>(block).expect("YAML in a document parses"))
        .collect()
}

#[test]
fn the_readmes_manifests_are_the_examples() {
    let examples: Vec<Value> = files()
        .iter()
        .filter(|file| short(file).starts_with("examples/") && short(file).ends_with(".yaml"))
        .map(|file| serde_saphyr::from_str(&text(file)).expect("an example is one YAML document"))
        .collect();
    assert!(examples.len() >= 6);
    let name = |manifest: &Value| manifest.pointer("/metadata/name").cloned();
    let shown = yaml_blocks(&text(&root().join("README.md")));
    let claimed: Vec<&Value> = shown
        .iter()
        .filter(|block| block["kind"] == "DaemonJob" && examples.iter().any(|example| name(example) == name(block)))
        .collect();
    assert!(!claimed.is_empty(), "the README shows none of the examples");
    for block in claimed {
        assert!(
            examples.contains(block),
            "the README shows an example that is not so in examples/: {block:#}"
        );
    }
}

#[test]
fn make_help_lists_every_target() {
    let makefile = text(&root().join("Makefile"));
    for line in makefile.lines().filter(|line| line.starts_with(".PHONY: ")) {
        let target = line.trim_start_matches(".PHONY: ");
        let documented = makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")) && line.contains(" ## "));
        assert!(documented, "target {target} has no description");
    }
}
