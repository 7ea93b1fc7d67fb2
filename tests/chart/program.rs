//! The binary takes what the chart says: variables, arguments, paths, names.

use std::process::{Command, Output};

use daemonjob_core::{crd, names};
use serde_json::Value;

use crate::render::{CERT_MANAGER, EXISTING_SECRET, NO_WEBHOOK, Rendered, URL, WATCHED};
use crate::render::{dry_run, list, render, render_test, string, text, yaml};

/// Where there is none: what is wrong with the rest is said before anybody looks for it.
const NO_KUBECONFIG: &str = "/nonexistent";

fn daemonjob(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daemonjob"))
        .env_clear()
        .envs(variables.iter().copied())
        .env("KUBECONFIG", NO_KUBECONFIG)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// It understood everything, and only lacks a cluster.
fn assert_understood(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot read the kubeconfig"), "{said}");
}

/// The environment of the container; what the cluster would fill in, it gets from here.
fn environment(rendered: &Rendered) -> Vec<(&str, &str)> {
    let entries = list(&rendered.container()["env"]).iter();
    entries
        .map(|entry| (string(&entry["name"]), entry["value"].as_str().unwrap_or("filled-in")))
        .collect()
}

#[test]
fn it_understands_the_environment_and_the_arguments_of_its_container() {
    let ports: &[&str] = &["listenAddress=::", "webhook.securePort=10250", "logFormat=text"];
    let extra: &[&str] = &["extraArgs[0]=--passing-taints=example.com/warming-up", "logLevel=trace"];
    for sets in [
        &[],
        WATCHED,
        NO_WEBHOOK,
        CERT_MANAGER,
        EXISTING_SECRET,
        ports,
        extra,
        &["controller.enabled=false", "webhook.tlsMinVersion=1.2"],
    ] {
        let rendered = render(sets);
        let arguments: Vec<&str> = list(&rendered.container()["args"]).iter().map(string).collect();
        assert_understood(&daemonjob(&environment(&rendered), &arguments));
    }
}

#[test]
fn what_it_would_not_understand_fails_this_test() {
    let rendered = render(&["extraArgs[0]=--no-such-flag"]);
    let arguments: Vec<&str> = list(&rendered.container()["args"]).iter().map(string).collect();
    assert_eq!(daemonjob(&environment(&rendered), &arguments).status.code(), Some(2));
}

#[test]
fn it_understands_the_command_in_the_notes() {
    for sets in [URL, &[URL, WATCHED].concat()] {
        let notes = dry_run(sets);
        let command = notes.split("daemonjob run").nth(1).expect("the notes have the command");
        let command = command.split("\n\n").next().expect("a split has a first part");
        let words = command.split_whitespace().filter(|word| *word != "\\");
        let arguments: Vec<&str> = std::iter::once("run").chain(words).collect();
        assert_understood(&daemonjob(&[], &arguments));
        assert_eq!(arguments.contains(&"ours,theirs"), sets.len() > 1, "{notes}");
    }
}

#[test]
fn the_webhooks_are_asked_about_the_one_kind_that_it_serves() {
    let (group, version) = names::API_VERSION.split_once('/').expect("a group has a version");
    let committed = yaml(&text("charts/daemonjob/files/crd.yaml"));
    assert_eq!(committed, yaml(&crd::yaml()));
    let plural = string(&committed["spec"]["names"]["plural"]);
    let rendered = render(&[]);
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let webhook = &rendered.one(kind)["webhooks"][0];
        let rule = &webhook["rules"][0];
        assert_eq!(rule["apiGroups"], serde_json::json!([group]));
        assert_eq!(rule["apiVersions"], serde_json::json!([version]));
        assert_eq!(rule["resources"], serde_json::json!([plural]));
        assert!(webhook["matchConditions"].to_string().contains(names::TEMPLATE_HASH));
    }
    let test = render_test(&[]);
    let it = test.one("DaemonJob");
    assert_eq!(string(&it["apiVersion"]), names::API_VERSION);
    assert_eq!(string(&it["kind"]), names::KIND);
}

/// The constants are private to the binary, so its help tells them.
#[test]
fn names_and_ports_of_a_default_release_are_the_defaults_of_the_binary() {
    let help = daemonjob(&[], &["run", "--help"]);
    let help = String::from_utf8(help.stdout).expect("the program prints UTF-8");
    let rendered = render(&[]);
    let container = rendered.container();
    for entry in list(&container["env"]).iter().filter(|entry| is_as_by_default(entry)) {
        let (variable, value) = (string(&entry["name"]), string(&entry["value"]));
        let told = help.split(&format!("[env: {variable}=]")).nth(1);
        let default = told.and_then(|rest| rest.split("[default: ").nth(1)?.split(']').next());
        assert_eq!(default, Some(value), "{variable}");
    }
}

/// All but what a Pod tells of itself, and the log, which machines read in a cluster.
fn is_as_by_default(entry: &Value) -> bool {
    entry["value"].is_string() && entry["name"] != "DAEMONJOB_LOG_FORMAT"
}
