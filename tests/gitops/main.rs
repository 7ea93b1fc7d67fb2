//! What GitOps tools make of a DaemonJob, in their own code, and the manifests for them in `docs/gitops`.
//! The same tools on a real API server: `tests/apiserver/gitops.rs` and `tests/apiserver/syncs.rs`.

#[expect(dead_code, reason = "tests/apiserver uses the rest of it")]
mod readers;

use std::fs;
use std::path::{Path, PathBuf};

use daemonjob_core::validation;
use serde_json::Value;

use self::readers::{Situation, State};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).expect("the file is committed")
}

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).expect("the file is YAML")
}

fn document(path: &str) -> Value {
    let mut all = documents(path);
    assert_eq!(all.len(), 1, "documents in {path}");
    all.remove(0)
}

/// Whether a condition of this type is true.
fn is_true(object: &Value, type_: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut of_type = conditions.filter(|condition| condition["type"] == type_);
    of_type.any(|condition| condition["status"] == "True")
}

/// A status that the planner made, with how it must be read.
fn golden(file: &Path) -> Situation {
    let golden: Value = serde_saphyr::from_str(&fs::read_to_string(file).expect("it can be read")).expect("it is YAML");
    let (state, argo) = match golden["kstatus"].as_str() {
        Some("Current") => (State::Current, "Healthy"),
        Some("Failed") => (State::Failed, "Degraded"),
        _ => (State::InProgress, "Progressing"),
    };
    assert_eq!(golden["argo"], argo, "{}", file.display());
    Situation {
        name: golden["row"].as_str().expect("it has a name").to_owned(),
        is_complete: is_true(&golden["object"], "Complete"),
        object: golden["object"].clone(),
        state,
    }
}

/// Whether there is no Go on a machine where that may be so.
#[expect(clippy::print_stderr, reason = "a test that shows nothing must say so")]
fn has_no_go() -> bool {
    match daemonjob_cluster::go(&repository("tests/gitops/readers")) {
        Ok(_) => false,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error:#}");
            eprintln!("skipped: {error:#}");
            true
        }
    }
}

#[test]
fn g7_kstatus_flux_and_argo_cd_read_every_golden_status_as_the_table_says() {
    if has_no_go() {
        return;
    }
    let entries = fs::read_dir(repository("tests/golden/status")).expect("the goldens are committed");
    let situations: Vec<Situation> = entries.flatten().map(|entry| golden(&entry.path())).collect();
    assert!(situations.len() >= 26, "only {} statuses", situations.len());
    for state in [State::Current, State::Failed, State::InProgress] {
        assert!(situations.iter().any(|it| it.state == state), "none is {state:?}");
    }
    readers::read(&situations).expect("all are read as they must be");
}

#[test]
fn the_config_map_for_argo_cd_holds_the_health_check_of_the_chart() {
    let config_map = document("docs/gitops/argocd-cm.yaml");
    let shipped = &config_map["data"]["resource.customizations.health.daemon.justk8s.com_DaemonJob"];
    assert_eq!(
        shipped.as_str(),
        Some(text("charts/daemonjob/files/argocd/health.lua").as_str()),
        "copy health.lua into argocd-cm.yaml"
    );
}

#[test]
fn the_hook_is_a_valid_daemonjob_that_argo_cd_waits_for_and_makes_anew() {
    let hook = document("docs/gitops/argocd-presync.yaml");
    let name = hook["metadata"]["name"].as_str().expect("it has a name");
    let reading = validation::read(name, &hook["spec"]);
    assert!(reading.is_valid(), "{:?}", reading.errors);
    let annotation = |name: &str| &hook["metadata"]["annotations"][format!("argocd.argoproj.io/{name}")];
    assert_eq!(annotation("hook"), "PreSync");
    assert_eq!(annotation("hook-delete-policy"), "BeforeHookCreation");
    assert_eq!(annotation("sync-wave"), "-1");
}

#[test]
fn the_applications_come_in_waves_and_name_what_is_in_this_repository() {
    let applications = documents("docs/gitops/argocd-applications.yaml");
    let waves = applications.iter().map(|application| {
        assert_eq!(application["apiVersion"], "argoproj.io/v1alpha1");
        assert_eq!(application["kind"], "Application");
        let annotations = &application["metadata"]["annotations"];
        let wave = annotations["argocd.argoproj.io/sync-wave"].as_str();
        wave.and_then(|wave| wave.parse::<i32>().ok())
    });
    assert_eq!(waves.collect::<Vec<_>>(), [Some(0), Some(1)]);
    for application in &applications {
        let path = application["spec"]["source"]["path"].as_str().expect("it has a path");
        assert!(repository(path).is_dir(), "{path}");
    }
    let included = applications[1]["spec"]["source"]["directory"]["include"].as_str();
    let files = included.expect("it names files").trim_matches(['{', '}']).split(',');
    let mut names: Vec<Value> = files
        .map(|file| document(&format!("examples/{file}"))["metadata"]["name"].clone())
        .collect();
    let all = names.len();
    names.dedup();
    assert_eq!((all, names.len()), (3, 3), "one object each");
}

#[test]
fn every_manifest_for_a_gitops_tool_is_told_of_in_the_document() {
    let told = text("docs/gitops.md");
    let files = fs::read_dir(repository("docs/gitops")).expect("there are manifests");
    let names: Vec<String> = files
        .flatten()
        .filter_map(|file| file.file_name().into_string().ok())
        .collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        assert!(told.contains(&format!("(gitops/{name})")), "{name} is not told of");
    }
}
