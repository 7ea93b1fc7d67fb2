//! What holds of every answer, whatever is asked.

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::validation;
use json_patch::Patch;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::admission::HASH;
use super::daemon_jobs::{daemon_job, selector, spec};
use super::*;

/// So many cases, the same in every test run; more, and new ones each time, by proptest's own variable.
fn cases() -> Config {
    let config = Config::default();
    if config.cases > CASES {
        return config;
    }
    Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..config
    }
}

const CASES: u32 = 512;
/// Any number; a test run must not find on one machine what it does not find on another.
const SEED: u64 = 2026;

fn create(path: &str, object: &Value) -> Value {
    let body = review_of("CREATE", &object.to_string(), "null");
    answered(path, body.into_bytes()).review("u-1")
}

fn update(path: &str, object: &Value, old: &Value) -> Value {
    let body = review_of("UPDATE", &object.to_string(), &old.to_string());
    answered(path, body.into_bytes()).review("u-1")
}

/// The object with the patch of the answer, by a library that knows nothing of ours.
fn patched(object: &Value, answer: &Value) -> Value {
    assert_eq!(answer["allowed"], true, "mutation judges nothing: {answer}");
    let mut object = object.clone();
    if let Some(patch) = patch(answer) {
        json_patch::patch(&mut object, &patch).unwrap();
    }
    object
}

fn patch(answer: &Value) -> Option<Patch> {
    answer.get("patch").map(|text| {
        let json = data_encoding::BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap();
        serde_json::from_slice(&json).unwrap()
    })
}

/// The causes of a denial but for that of the hash; none if it is allowed.
fn faults(answer: &Value) -> Vec<Value> {
    let causes = answer["status"]["details"]["causes"].as_array();
    let is_of_the_hash = |cause: &&Value| cause["field"] == format!("metadata.annotations[{HASH}]");
    let faults = causes.into_iter().flatten().filter(|cause| !is_of_the_hash(cause));
    faults.cloned().collect()
}

/// What mutation may write, taken away.
fn without_stamp(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(HASH);
    }
    if object["metadata"]["annotations"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
    {
        object["metadata"]["annotations"] = Value::Null;
    }
    if let Some(spec) = object["spec"].as_object_mut()
        && spec
            .get("replace")
            .is_none_or(|replace| replace.is_null() || replace == false)
    {
        spec.remove("replace");
    }
    object
}

#[test]
fn the_objects_are_neither_all_right_nor_mostly_wrong() {
    let mut runner = proptest::test_runner::TestRunner::new(cases());
    let allowed = std::cell::Cell::new(0);
    let count = |object: Value| {
        let object = patched(&object, &create("/mutate", &object));
        allowed.set(allowed.get() + u32::from(create("/validate", &object)["allowed"] == true));
        Ok(())
    };
    runner.run(&daemon_job(), count).unwrap();
    let share = f64::from(allowed.get()) / f64::from(runner.config().cases);
    assert!((0.25..0.75).contains(&share), "{share}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn l12_mutating_twice_equals_mutating_once(object in daemon_job(), old in prop::option::of(daemon_job())) {
        let mutate = |object: &Value| match &old {
            Some(old) => update("/mutate", object, old),
            None => create("/mutate", object),
        };
        let once = patched(&object, &mutate(&object));
        prop_assert_eq!(patch(&mutate(&once)), None);
        prop_assert_eq!(patch(&create("/mutate", &once)), None);
        prop_assert_eq!(patch(&update("/mutate", &once, &once)), None);
        prop_assert_eq!(without_stamp(&once), without_stamp(&object), "nothing but the stamp is written");
        let template = &once["spec"]["jobTemplate"];
        if let (true, Ok(hash)) = (template.is_object(), TemplateHash::of(template)) {
            prop_assert_eq!(&once["metadata"]["annotations"][HASH], hash.as_str());
            prop_assert!(once["spec"]["replace"].is_boolean() || once["spec"]["replace"] == object["spec"]["replace"]);
        }
    }

    #[test]
    fn i12_mutation_never_changes_the_verdict_on_the_spec(object in daemon_job()) {
        let mutated = patched(&object, &create("/mutate", &object));
        let answer = create("/validate", &mutated);
        prop_assert_eq!(faults(&create("/validate", &object)), faults(&answer));
        prop_assert_eq!(faults(&answer).is_empty(), answer["allowed"] == true, "what is stamped has its hash");
    }

    #[test]
    fn i13_webhook_and_controller_agree_on_every_spec(object in daemon_job()) {
        let mutated = patched(&object, &create("/mutate", &object));
        let reading = validation::read(mutated["metadata"]["name"].as_str().unwrap(), &mutated["spec"]);
        prop_assert_eq!(create("/validate", &mutated)["allowed"] == true, reading.is_valid());
    }

    #[test]
    fn b59_an_update_that_leaves_the_spec_alone_is_allowed_whatever_is_in_it(object in daemon_job()) {
        let old = patched(&object, &create("/mutate", &object));
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"team": "a"});
        prop_assert_eq!(update("/validate", &new, &old), json!({"uid": "u-1", "allowed": true}));
    }

    #[test]
    fn b59_an_update_to_another_spec_is_judged_as_a_new_object(old in daemon_job(), new in spec()) {
        let mut object = old.clone();
        object["spec"] = new;
        prop_assume!(without_stamp(&object) != without_stamp(&old));
        let updated = patched(&object, &update("/mutate", &object, &old));
        let (as_update, as_new) = (update("/validate", &updated, &old), create("/validate", &updated));
        prop_assert_eq!(&as_update["allowed"], &as_new["allowed"]);
        prop_assert_eq!(&as_update["status"], &as_new["status"]);
    }

    #[test]
    fn i14_every_object_is_answered_with_its_uid(uid in "[ -~é\u{7f}-\u{ffff}]{1,30}", object in any_text()) {
        for path in ["/mutate", "/validate"] {
            for (operation, old) in [("CREATE", "null"), ("UPDATE", object.as_str()), ("UPDATE", "{}")] {
                let body = review_of(operation, &object, old).replace("\"u-1\"", &json!(uid).to_string());
                answered(path, body.into_bytes()).review(&uid);
            }
        }
    }

    #[test]
    fn i14_every_body_gets_a_review_of_its_uid_or_an_error(
        object in daemon_job(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, any::<u8>()), 1..4),
    ) {
        let mut body = review_of("CREATE", &object.to_string(), "null").into_bytes();
        for (at, how, byte) in damage {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.truncate(at + 1),
                2 => body.insert(at, byte),
                3 => body.extend_from_within(at..),
                4 => drop(body.drain(at..(at + usize::from(byte)).min(body.len() - 1))),
                _ => drop(body.splice(at..at, *b"null")),
            }
            if body.is_empty() {
                body.push(b' ');
            }
        }
        for path in ["/mutate", "/validate"] {
            answered(path, body.clone()).check(&body);
        }
    }
}

/// The text of an object: a DaemonJob, a spec, other JSON that a decoder of any object takes, deep, or too large.
fn any_text() -> BoxedStrategy<String> {
    let text = |value: Value| value.to_string();
    prop_oneof![
        4 => daemon_job().prop_map(text),
        1 => spec().prop_map(text),
        1 => selector().prop_map(text),
        1 => "[ -~é]{0,40}".prop_map(|text| json!(text).to_string()),
        1 => (1..400_usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
        1 => (1..400_usize).prop_map(|depth| format!("{}0{}", r#"{"metadata":"#.repeat(depth), "}".repeat(depth))),
        1 => (1..30_000_usize).prop_map(|many| format!(r#"{{"metadata":{{}},"spec":[0{}]}}"#, ",0".repeat(many))),
        1 => Just(r#"{"metadata":{"name":"\ud800"},"spec":1e999}"#.to_owned()),
        1 => Just(r#"{"spec":{},"spec":{},"metadata":{}}"#.to_owned()),
    ]
    .boxed()
}
