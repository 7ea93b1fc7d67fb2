//! The table of situations, read back as the tools read it: statuses that the planner makes in small worlds,
//! through the health check for Argo CD and through the rules of kstatus. They stand in `tests/golden/status`, too.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

mod argo;
mod cluster;
mod kstatus;
mod rows;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value, json};

use self::argo::health;
use self::rows::{ROWS, Row, Situation};

static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| ROWS.iter().map(|row| (row.world)().object()).collect());

/// Every row with what is in the store.
fn objects() -> impl Iterator<Item = (&'static Row, Value)> {
    ROWS.iter().zip(OBJECTS.iter().cloned())
}

fn conditions(object: &Value) -> &[Value] {
    object["status"]["conditions"]
        .as_array()
        .map_or(&[], |conditions| conditions.as_slice())
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition[field].as_str().unwrap()
}

/// The message of the one condition of this type.
fn message<'a>(object: &'a Value, type_: &str) -> &'a str {
    let condition = conditions(object)
        .iter()
        .find(|condition| text(condition, "type") == type_);
    text(condition.unwrap(), "message")
}

/// A second finding must not hide behind the first.
#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_row_has_the_conditions_of_the_table() {
    let mut wrong = Vec::new();
    for (row, object) in objects() {
        let seen: Vec<(&str, &str)> = conditions(&object)
            .iter()
            .map(|condition| (text(condition, "type"), text(condition, "status")))
            .collect();
        if seen != row.situation.conditions() {
            wrong.push(format!("{}: {seen:?}", row.name));
        }
        for condition in conditions(&object) {
            if text(condition, "reason") != row.reason {
                wrong.push(format!("{}: {}", row.name, condition["reason"]));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_row_after_the_first_plan_speaks_of_the_current_generation_and_says_why() {
    let mut wrong = Vec::new();
    for (row, object) in objects().filter(|(row, _)| row.situation != Situation::NotObserved) {
        let generation = &object["metadata"]["generation"];
        let status = &object["status"];
        let of_conditions = conditions(&object)
            .iter()
            .map(|condition| &condition["observedGeneration"]);
        if !of_conditions
            .chain([&status["observedGeneration"]])
            .all(|observed| observed == generation)
        {
            wrong.push(format!("{}: a generation other than {generation}: {status}", row.name));
        }
        let is_silent = |condition: &Value| text(condition, "message").is_empty();
        if conditions(&object).iter().any(is_silent) || status["summary"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{}: no message or no summary: {status}", row.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_patches_leave_in_the_store_what_was_planned() {
    let mut wrong = Vec::new();
    for row in &ROWS {
        let cluster = (row.world)();
        let stored = &cluster.object()["status"];
        if *stored != cluster.planned {
            wrong.push(format!("{}: {stored} instead of {}", row.name, cluster.planned));
        }
    }
    assert_none(&wrong);
}

#[test]
fn l1_a_round_without_news_changes_no_status_once_all_finished() {
    let finished = ROWS
        .iter()
        .filter(|row| matches!(row.situation, Situation::Complete | Situation::Failed));
    for row in finished {
        let mut cluster = (row.world)();
        let before = cluster.object();
        cluster.pass(60);
        cluster.round();
        assert_eq!(cluster.object(), before, "{}", row.name);
    }
}

#[test]
fn g5_the_counters_of_every_row_add_up_and_every_group_is_counted() {
    let mut wrong = Vec::new();
    for (row, object) in objects() {
        let status = &object["status"];
        let count = |field: &str| status[field].as_i64().unwrap_or_default();
        let sum = |field: &str| -> i64 {
            let groups = status[field].as_array().into_iter().flatten();
            groups.map(|group| group["count"].as_i64().unwrap()).sum()
        };
        let failures = status["failures"].as_array().map_or(0, Vec::len);
        let counters: i64 = ["active", "succeeded", "failed", "waiting"].map(count).iter().sum();
        let adds_up = count("desired") == counters
            && count("waiting") == sum("waitingNodes")
            && count("skipped") == sum("skippedNodes")
            && usize::try_from(count("failed")).unwrap() == failures;
        if !adds_up {
            wrong.push(format!("{}: {status}", row.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn argo_cd_reads_every_row_right_and_gives_its_message() {
    let mut wrong = Vec::new();
    for (row, object) in objects() {
        let health = health(&object);
        let expected = match row.situation {
            Situation::NotObserved => "Waiting for the controller to observe this generation",
            Situation::Underway => message(&object, "Reconciling"),
            Situation::Complete | Situation::Ready => message(&object, "Ready"),
            Situation::Failed | Situation::Stalled => message(&object, "Stalled"),
        };
        if (health.status.as_str(), health.message.as_str()) != (row.situation.argo(), expected) {
            wrong.push(format!("{}: {health:?}", row.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn kstatus_reads_every_row_right() {
    let wrong: Vec<String> = objects()
        .filter(|(row, object)| kstatus::compute(object) != row.situation.kstatus())
        .map(|(row, object)| format!("{}: {}", row.name, kstatus::compute(&object)))
        .collect();
    assert_none(&wrong);
}

#[test]
fn a_status_of_another_generation_is_progress_whatever_it_says() {
    for (row, mut object) in objects() {
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        // A backup that was restored with its status has an observed generation above its own.
        for other in [generation + 1, generation - 1] {
            object["metadata"]["generation"] = other.into();
            assert_eq!(health(&object).status, "Progressing", "{} at {other}", row.name);
            assert_eq!(kstatus::compute(&object), "InProgress", "{} at {other}", row.name);
        }
    }
}

#[test]
fn kstatus_reads_what_is_being_deleted_as_terminating() {
    for (row, mut object) in objects() {
        object["metadata"]["deletionTimestamp"] = "2026-03-01T13:00:00Z".into();
        assert_eq!(kstatus::compute(&object), "Terminating", "{}", row.name);
    }
}

#[test]
fn the_health_check_bears_whatever_is_missing() {
    let metadata = json!({"generation": 2});
    for object in [
        json!({}),
        json!({"metadata": metadata}),
        json!({"metadata": metadata, "status": null}),
        json!({"metadata": metadata, "status": {}}),
        json!({"metadata": metadata, "status": {"observedGeneration": null}}),
        json!({"metadata": metadata, "status": {"observedGeneration": 2}}),
        json!({"metadata": metadata, "status": {"observedGeneration": 2, "conditions": null}}),
        json!({"metadata": metadata, "status": {"observedGeneration": 2, "conditions": []}}),
        json!({"metadata": metadata, "status": {"observedGeneration": 2, "conditions": [{"type": "Ready"}]}}),
        json!({"status": {"observedGeneration": -1}}),
    ] {
        let health = health(&object);
        assert_eq!(health.status, "Progressing", "{object}");
        assert!(health.message.starts_with("Waiting for the controller"), "{object}");
    }
}

/// Read by tests in other languages as well, so each says what its readers must find.
fn golden(row: &Row, object: &Value) -> String {
    let golden = json!({
        "row": row.name,
        "argo": row.situation.argo(),
        "kstatus": row.situation.kstatus(),
        "object": object,
    });
    let body = serde_saphyr::to_string(&golden).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&body).unwrap(), golden);
    format!("# Written by `make golden`; do not edit.\n{body}")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/status")
}

#[test]
fn every_row_is_its_golden_file() {
    let is_set = |name: &str, value: &str| std::env::var_os(name).is_some_and(|is| is == value);
    let update = is_set("UPDATE_GOLDEN", "1") && std::env::var_os("CI").is_none();
    let mut wrong = Vec::new();
    for (row, object) in objects() {
        let file = folder().join(format!("{}.yaml", row.name));
        let wanted = golden(row, &object);
        if update {
            fs::write(&file, wanted).unwrap();
        } else if fs::read_to_string(&file).ok() != Some(wanted) {
            wrong.push(format!("{} is out of date: run `make golden`", row.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_golden_file_is_a_row() {
    let rows: BTreeSet<String> = ROWS.iter().map(|row| format!("{}.yaml", row.name)).collect();
    let files = fs::read_dir(folder()).unwrap();
    let files: Vec<String> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|file| !rows.contains(file))
        .collect();
    assert_none(&files);
}
