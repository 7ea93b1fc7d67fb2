//! What the documents say, tried: manifests, commands, flags, metrics, fields, links and the names of tests.

#![expect(clippy::panic, reason = "the helpers of a test fail it in words")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemonjob_core::crd;
use daemonjob_core::validation::{self, Reading};
use serde_json::Value;

const DOCUMENTS: [&str; 9] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "charts/daemonjob/README.md",
    "docs/gitops.md",
    "examples/README.md",
    "tests/cluster/README.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn readme() -> String {
    text("README.md")
}

/// What stands between two texts, the first time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?}")).0
}

/// The bodies of the fences of this language.
fn fences(document: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info == language, String::new())),
            (Some(_), Some(_)) => {
                let closed = open.take().filter(|(is_wanted, _)| *is_wanted);
                found.extend(closed.map(|(_, body)| body));
            }
            (Some((_, body)), None) => body.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}

/// The `code` in running text and tables.
fn spans(document: &str) -> Vec<String> {
    let mut in_fence = false;
    let mut found = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Everything that a reader may type: the lines of consoles, without prompts and remarks, and the spans.
fn commands() -> Vec<String> {
    let lines = fences(&readme(), "console").concat();
    let typed = lines.lines().map(|line| line.trim_start_matches("$ ").to_owned());
    typed.chain(spans(&readme())).collect()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

fn sample() -> Value {
    yaml(&text("examples/01-sample.yaml"))
}

/// Reads a manifest, or the sample with these members in its spec.
fn read(block: &Value) -> Reading {
    let mut manifest = sample();
    if block.get("kind").is_some() {
        manifest = block.clone();
    } else {
        let members = block.as_object().expect("a manifest is a mapping");
        for (name, value) in members {
            manifest["spec"][name] = value.clone();
        }
    }
    validation::read(
        manifest["metadata"]["name"].as_str().expect("a manifest has a name"),
        &manifest["spec"],
    )
}

fn daemonjob(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_daemonjob"))
        .args(arguments)
        .current_dir(root())
        .env_clear()
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "daemonjob {arguments:?}");
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

/// The schema of `spec` or `status` in the CRD.
fn properties(part: &str) -> BTreeMap<String, Value> {
    let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}/properties");
    let properties = crd::manifest()
        .pointer(&pointer)
        .cloned()
        .expect("the CRD has a schema");
    serde_json::from_value(properties).expect("properties are a mapping")
}

#[test]
fn every_manifest_is_valid() {
    let blocks = fences(&readme(), "yaml");
    assert!(blocks.len() >= 2);
    for block in blocks {
        let reading = read(&yaml(&block));
        assert!(reading.is_valid(), "{block}{:?}", reading.errors);
    }
}

#[test]
fn the_first_manifest_is_the_sample() {
    let example = text("examples/01-sample.yaml");
    let without_remarks: Vec<&str> = example.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(fences(&readme(), "yaml")[0].trim_end(), without_remarks.join("\n"));
}

#[test]
fn b37_booleans_match_what_the_table_says() {
    let readme = readme();
    let table = between(&readme, "| written | matches the label values |", "\n\n");
    let mut tried = 0;
    for row in table.lines().filter(|row| row.contains("elector: ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let block = yaml(spans(cells[0])[0].as_str());
        let values: Vec<String> = spans(cells[1]);
        let any_case = cells[1].contains("any case");
        let excludes = block.get("ingoreSelector").is_some();
        for word in ["true", "True", "yes", "YES", "on", "y", "Y", "1", "false", "no"] {
            let labels = BTreeMap::from([("ingress".to_owned(), word.to_owned())]);
            let reading = read(&block);
            let selected = reading.runnable().unwrap().selection.matches(&labels);
            let listed = values
                .iter()
                .any(|value| value == word || (any_case && value.eq_ignore_ascii_case(word)));
            assert_eq!(selected != excludes, listed, "{row}: {word}");
            tried += 1;
        }
    }
    assert_eq!(tried, 20);
}

#[test]
fn the_hash_is_what_the_program_prints() {
    let printed = daemonjob(&["hash", "examples/01-sample.yaml"]);
    let shown = format!("$ daemonjob hash examples/01-sample.yaml\n{printed}");
    assert!(readme().contains(&shown), "the README does not show:\n{shown}");
}

#[test]
fn the_jq_line_is_the_one_that_core_proves() {
    let proof = text("core/src/hash/tests.rs");
    let filter = between(&proof, "const JQ_FILTER: &str = \"", "\";");
    let line = format!("kubectl get dj NAME -o json | jq -cS '{filter}' | tr -d '\\n' | sha256sum\n");
    assert!(readme().contains(&line), "the README does not show:\n{line}");
}

#[test]
fn every_command_and_flag_of_the_program_exists() {
    let help = daemonjob(&["--help"]);
    let run = daemonjob(&["run", "--help"]);
    let mut tried = 0;
    for command in commands() {
        if let Some((_, rest)) = command.split_once("daemonjob ")
            && (rest.starts_with("run ") || rest.starts_with("crd ") || rest.starts_with("hash "))
        {
            let name = rest.split(' ').next().unwrap();
            assert!(help.contains(&format!("\n  {name} ")), "{command}");
        }
        let arguments = match command.split_once("daemonjob run ") {
            Some((_, arguments)) => arguments,
            None if command.starts_with("--") && !command.starts_with("--set ") && !command.starts_with("--wait") => {
                &command
            }
            None => continue,
        };
        for word in arguments.split(' ').filter(|word| word.starts_with("--")) {
            let flag = word.split('=').next().unwrap();
            let known = run
                .lines()
                .any(|line| line.trim_start().split([' ', '[']).next() == Some(flag) || flag == "--help");
            assert!(known, "{flag} in: {command}");
            tried += 1;
        }
    }
    assert!(tried >= 7, "{tried}");
}

#[test]
fn every_value_of_the_chart_exists() {
    let values = yaml(&text("charts/daemonjob/values.yaml"));
    let mut tried = 0;
    for command in commands() {
        for set in command.split("--set ").skip(1) {
            let path = set.split('=').next().unwrap().replace('.', "/");
            assert!(values.pointer(&format!("/{path}")).is_some(), "{path} in: {command}");
            tried += 1;
        }
    }
    assert!(tried >= 4, "{tried}");
}

#[test]
fn the_table_of_metrics_is_what_is_registered() {
    let readme = readme();
    let table = between(&readme, "| metric | counts |", "\n\n");
    let rows = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    // Counters get their suffix when they are printed.
    let told: BTreeSet<&str> = rows.map(|name| name.trim_end_matches("_total")).collect();
    let source = text("src/metrics.rs");
    let registered: BTreeSet<&str> = source
        .split("registry.register(")
        .skip(1)
        .map(|call| call.trim_start().trim_start_matches('"').split('"').next().unwrap())
        .collect();
    assert_eq!(told, registered, "left: README, right: src/metrics.rs");
}

#[test]
fn the_table_of_fields_is_the_spec_of_the_crd() {
    let readme = readme();
    let table = between(&readme, "<!-- fields -->", "<!-- /fields -->");
    let rows: Vec<&str> = table.lines().filter(|row| row.starts_with("| `")).collect();
    let told: BTreeSet<String> = rows.iter().map(|row| spans(row)[0].clone()).collect();
    let spec = properties("spec");
    assert_eq!(told, spec.keys().cloned().collect(), "left: README, right: the CRD");
    let defaults = spec.iter().filter(|(_, schema)| schema.get("default").is_some());
    for (name, schema) in defaults {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}`"))).unwrap();
        assert!(row.ends_with(&format!("| `{}` |", schema["default"])), "{row}");
    }
}

#[test]
fn the_status_is_told_in_fields_and_conditions_that_exist() {
    let readme = readme();
    let section = between(&readme, "\n## Status\n", "\n## ");
    let status = properties("status");
    let conditions = &status["conditions"]["items"]["properties"]["type"]["description"];
    let mut tried = 0;
    for span in spans(section) {
        for word in span
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            let is_condition = conditions.as_str().unwrap().contains(word);
            assert!(status.contains_key(word) || is_condition, "{word}");
            tried += 1;
        }
    }
    assert!(tried >= 15, "{tried}");
    for command in fences(section, "console").concat().lines() {
        let condition = between(command, "--for=condition=", " ");
        assert!(conditions.as_str().unwrap().contains(condition), "{command}");
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = text("Makefile");
    let mut tried = 0;
    for document in DOCUMENTS {
        let document = text(document);
        let lines = fences(&document, "console").concat();
        let typed = spans(&document).into_iter().chain(lines.lines().map(str::to_owned));
        for command in typed {
            let Some(rest) = command
                .strip_prefix("KEEP=1 ")
                .unwrap_or(&command)
                .strip_prefix("make ")
            else {
                continue;
            };
            let target = rest.split(' ').next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{command}");
            tried += 1;
        }
    }
    assert!(tried >= 10, "{tried}");
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut tried = 0;
    for document in DOCUMENTS {
        let text = text(document);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.starts_with("https://"))
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(document),
                file => root().join(document).with_file_name(file),
            };
            assert!(target.is_file(), "{link} in {document}");
            let there = fs::read_to_string(&target).unwrap();
            let found = there
                .lines()
                .any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(heading.is_empty() || found, "{link} in {document}");
            tried += 1;
        }
    }
    assert!(tried >= 15, "{tried}");
}

#[test]
fn every_fence_names_its_language_and_none_is_ignored() {
    for document in DOCUMENTS {
        let mut is_open = false;
        for line in text(document).lines().filter(|line| line.starts_with("```")) {
            let info = line.trim_start_matches('`');
            assert!(is_open || !info.is_empty(), "a fence without a language in {document}");
            assert!(!info.contains("ignore"), "{line} in {document}");
            is_open = !is_open;
        }
    }
}

/// All Rust of the repository in one text.
fn all_rust() -> String {
    let mut all = String::new();
    let mut folders: Vec<PathBuf> = ["certs", "core", "image", "src", "tests", "webhook"]
        .map(|folder| root().join(folder))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(path).expect("a Rust file is UTF-8"));
            }
        }
    }
    all
}

#[test]
fn every_test_that_is_named_exists() {
    let rust = all_rust();
    let mut tried = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "certs/src/lib.rs"] {
        let lines = text(document).replace("//! ", "");
        // A name of three words or more is a test's.
        let is_test = |span: &String| {
            span.matches('_').count() >= 2
                && span
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        for name in spans(&lines).into_iter().filter(is_test) {
            assert!(rust.contains(&format!("fn {name}(")), "{name} in {document}");
            tried += 1;
        }
    }
    assert!(tried >= 30, "{tried}");
}

#[test]
fn every_sentence_on_attackers_names_what_holds_it() {
    let security = text("SECURITY.md");
    let attackers = between(&security, "## An attacker", "## Whoever has a node");
    let bullets: Vec<String> = attackers.split("\n- ").skip(1).map(str::to_owned).collect();
    assert!(bullets.len() >= 20, "{}", bullets.len());
    for bullet in bullets {
        let bullet = bullet.split("\n\n").next().unwrap();
        let is_test = |span: &String| span.matches('_').count() >= 2;
        assert!(spans(bullet).iter().any(is_test), "nothing holds: {bullet}");
    }
}

#[test]
fn the_code_map_names_every_folder() {
    let architecture = text("ARCHITECTURE.md");
    let map = between(&architecture, "| folder | what it is |", "\n\n");
    let told: BTreeSet<String> = map
        .lines()
        .filter_map(|row| Some(row.strip_prefix("| `")?.split_once("/`")?.0.to_owned()))
        .collect();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let is_built = name == "target" || path.join("CACHEDIR.TAG").is_file();
        path.is_dir() && !is_built && (!name.starts_with('.') || name == ".ci")
    };
    let entries = fs::read_dir(root()).unwrap().flatten().map(|entry| entry.path());
    let folders: BTreeSet<String> = entries
        .filter(is_ours)
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, folders, "left: ARCHITECTURE.md, right: the repository");
}
