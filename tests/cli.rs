//! The command line: its help, its output, and one clear sentence for each wrong input.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Any free port, for what is not the subject of a test.
const ANY: [&str; 4] = ["--admin-address", "127.0.0.1:0", "--webhook-address", "127.0.0.1:0"];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs the program without anything of the developer's environment.
fn daemonjob(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daemonjob"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("the program runs")
}

fn printed(arguments: &[&str]) -> String {
    let output = daemonjob(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run(arguments: &[&str]) -> Output {
    daemonjob(&[&["run"], arguments].concat())
}

/// The program ended with 1, and its last line is the one that says why.
fn assert_sentence(output: &Output, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let sentences: Vec<&str> = said.lines().filter(|line| line.starts_with("daemonjob: ")).collect();
    assert_eq!(sentences.len(), 1, "{said}");
    assert_eq!(said.lines().last(), sentences.first().copied(), "{said}");
    for word in words {
        assert!(sentences[0].contains(word), "no `{word}` in: {}", sentences[0]);
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// The program refused its arguments.
fn assert_usage(output: &Output, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

/// A cluster that nobody serves: the port is free, and was just given back.
fn kubeconfig_of_nobody(folder: &Path) -> String {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("there is a free port")
        .port();
    let file = folder.join("kubeconfig");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: x, \
         clusters: [{{name: x, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], users: [{{name: x, user: {{}}}}], \
         contexts: [{{name: x, context: {{cluster: x, user: x}}}}]}}"
    );
    std::fs::write(&file, text).expect("the folder is ours");
    file.to_str().expect("the path is UTF-8").to_owned()
}

#[test]
fn the_help_is_as_committed() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let is_ci = std::env::var_os("CI").is_some();
    for (name, arguments) in [
        ("daemonjob", &["--help"][..]),
        ("crd", &["crd", "--help"]),
        ("hash", &["hash", "--help"]),
        ("run", &["run", "--help"]),
    ] {
        let file = repository(&format!("tests/golden/help-{name}.txt"));
        let help = printed(arguments);
        if update && !is_ci {
            std::fs::write(&file, &help).expect("the repository can be written");
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(help, committed, "{} is out of date: run `make golden`", file.display());
    }
}

/// The variables that `run --help` names.
fn variables() -> BTreeSet<String> {
    let help = printed(&["run", "--help"]);
    help.split("[env: ")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('=')?.0.to_owned()))
        .collect()
}

#[test]
fn the_chart_sets_only_variables_that_the_program_knows() {
    let known = variables();
    assert!(known.contains("KUBECONFIG") && known.len() > 15, "{known:?}");
    let deployment =
        std::fs::read_to_string(repository("charts/daemonjob/templates/deployment.yaml")).expect("there is a template");
    let set: Vec<&str> = deployment
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: "))
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    assert!(set.len() > 8, "{set:?}");
    for variable in set {
        assert!(
            known.contains(variable),
            "{variable} is not a variable of `daemonjob run`"
        );
    }
}

#[test]
fn the_crd_that_is_printed_is_the_charts() {
    let committed = std::fs::read_to_string(repository("charts/daemonjob/files/crd.yaml")).expect("it is committed");
    assert!(
        printed(&["crd"]) == committed,
        "charts/daemonjob/files/crd.yaml is out of date: run `make golden`"
    );
}

#[test]
fn the_hash_of_a_manifest_is_printed_with_its_name() {
    let file = repository("examples/01-sample.yaml");
    let line = printed(&["hash", file.to_str().expect("the path is UTF-8")]);
    let (hash, name) = line.trim_end().split_once("  ").expect("hash and name");
    assert!(
        hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()),
        "{line}"
    );
    assert_eq!(name, "daemonjob-sample");
}

#[test]
fn nothing_to_do_and_unknown_words_show_the_usage() {
    assert_usage(&daemonjob(&[]), &["Usage: daemonjob <COMMAND>"]);
    assert_usage(&daemonjob(&["walk"]), &["unrecognized subcommand 'walk'"]);
    assert_usage(&run(&["--nonsense"]), &["unexpected argument '--nonsense'"]);
    assert_usage(
        &run(&["--certs-mode", "none"]),
        &["'none'", "certManager", "existingSecret", "self"],
    );
    assert_usage(&run(&["--admin-address", "8080"]), &["'8080'", "--admin-address"]);
    assert_usage(&run(&["--controller", "maybe"]), &["'maybe'"]);
}

#[test]
fn a_wrong_variable_is_refused_like_its_flag() {
    let output = Command::new(env!("CARGO_BIN_EXE_daemonjob"))
        .arg("run")
        .env_clear()
        .env("DAEMONJOB_WEBHOOK_ADDRESS", "nowhere")
        .output()
        .expect("the program runs");
    assert_usage(&output, &["'nowhere'", "--webhook-address"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    assert_sentence(
        &daemonjob(&["hash", "missing.yaml"]),
        &["cannot read missing.yaml", "No such file"],
    );
    let output = run(&[&ANY[..], &["--kubeconfig", "missing-kubeconfig"]].concat());
    assert_sentence(
        &output,
        &["cannot read the kubeconfig missing-kubeconfig", "No such file"],
    );
}

#[test]
fn a_kubeconfig_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, "{{{").expect("the folder is ours");
    let file = file.to_str().expect("the path is UTF-8");
    let output = run(&[&ANY[..], &["--kubeconfig", file]].concat());
    // The parser adds a picture of the place, so the sentence is not the last line.
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let sentence = format!("daemonjob: cannot read the kubeconfig {file}: ");
    assert!(said.starts_with(&sentence), "{said}");
}

#[test]
fn a_port_in_use_is_told_before_the_cluster_is_asked() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let nobody = kubeconfig_of_nobody(folder.path());
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let taken = holder.local_addr().expect("it is bound").to_string();
    let begin = Instant::now();
    let admin = [
        "--kubeconfig",
        &nobody,
        "--admin-address",
        &taken,
        "--webhook-address",
        "127.0.0.1:0",
    ];
    assert_sentence(&run(&admin), &[&taken, "health and metrics", "in use"]);
    let webhook = [
        "--kubeconfig",
        &nobody,
        "--webhook-address",
        &taken,
        "--admin-address",
        "127.0.0.1:0",
    ];
    assert_sentence(&run(&webhook), &[&taken, "in use"]);
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        begin.elapsed()
    );
}

#[test]
fn a_cluster_that_cannot_be_reached_is_tried_for_half_a_minute_and_named() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let nobody = kubeconfig_of_nobody(folder.path());
    let begin = Instant::now();
    let output = run(&[&ANY[..], &["--kubeconfig", &nobody]].concat());
    assert_sentence(
        &output,
        &["the API server at http://127.0.0.1:", "cannot be reached", "refused"],
    );
    let took = begin.elapsed();
    assert!(
        took > Duration::from_secs(20) && took < Duration::from_secs(60),
        "it took {took:?}"
    );
}

#[test]
fn without_a_cluster_the_way_to_one_is_told() {
    assert_sentence(&run(&ANY), &["no cluster found", "--kubeconfig"]);
}
