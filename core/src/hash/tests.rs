use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Val, read, write};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;

/// A frozen template and its hash. They were computed by another program, written from the text of RFC 8785.
#[derive(Deserialize)]
struct Vector {
    why: String,
    hash: String,
    template: Value,
}

fn vectors() -> BTreeMap<String, Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hash");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| {
            let vector = serde_json::from_slice(&fs::read(&file).unwrap());
            (file.file_stem().unwrap().to_str().unwrap().to_owned(), vector.unwrap())
        })
        .collect()
}

fn hash(template: &Value) -> String {
    TemplateHash::of(template).unwrap().to_string()
}

fn canonical_text(template: &Value) -> String {
    String::from_utf8(canonical(template).unwrap()).unwrap()
}

#[test]
fn e30_golden_vectors_are_frozen() {
    let vectors = vectors();
    assert!(vectors.len() >= 45, "a vector is never removed");
    for (
        name,
        Vector {
            why,
            hash: frozen,
            template,
        },
    ) in vectors
    {
        assert_eq!(
            hash(&template),
            frozen,
            "{name}: {why} A hash that changes re-runs finished work everywhere."
        );
    }
}

#[test]
fn b55_forms_of_one_template_have_one_hash_and_no_others_do() {
    let mut by_hash: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, vector) in vectors() {
        by_hash.entry(vector.hash).or_default().insert(name);
    }
    let groups: BTreeSet<Vec<String>> = by_hash
        .into_values()
        .filter(|names| names.len() > 1)
        .map(|names| names.into_iter().collect())
        .collect();
    let expected = [
        vec!["empty-metadata", "generator-timestamp"],
        vec!["integer", "integer-as-exponent", "integer-as-fraction"],
        vec!["minus-zero", "zero"],
        vec!["sample", "sample-escapes", "sample-key-order", "sample-nulls"],
        vec!["text-unicode", "text-unicode-escaped"],
    ];
    assert_eq!(
        groups,
        expected
            .map(|names| names.into_iter().map(str::to_owned).collect())
            .into()
    );
}

#[test]
fn serde_json_keeps_no_insertion_order() {
    // Feature unification can turn on `preserve_order` from anywhere in the tree. It would reorder every map.
    assert_eq!(
        serde_json::from_str::<Value>(r#"{"b":1,"a":2}"#).unwrap().to_string(),
        r#"{"a":2,"b":1}"#
    );
}

#[test]
fn serde_json_reads_numbers_as_numbers() {
    // The same for `arbitrary_precision`, which would keep the text of numbers.
    assert_eq!(serde_json::from_str::<Value>("1e2").unwrap().to_string(), "100.0");
}

#[test]
fn only_64_lower_case_digits_are_a_hash() {
    let sample = "0efb656d".repeat(8);
    assert_eq!(TemplateHash::parse(&sample).unwrap().as_str(), sample);
    for text in [
        "",
        "0efb656d",
        &sample.to_uppercase(),
        &format!("{sample}0"),
        &sample.replace('e', "g"),
        &"é".repeat(32),
    ] {
        assert_eq!(TemplateHash::parse(text), None, "{text}");
    }
}

#[test]
fn null_members_go_and_null_elements_stay() {
    assert_eq!(
        canonical_text(&json!({"b": [null, {"c": null}], "a": null})),
        r#"{"b":[null,{}]}"#
    );
}

#[test]
fn b30_numbers_that_a_double_cannot_hold_are_named() {
    let template: Value = serde_json::from_str(
        r#"{"spec": {"a": [1, 9007199254740993], "labels": {"x.y/z": -9007199254740993}, "big": 1e300, "huge": 18446744073709551616}}"#,
    )
    .unwrap();
    let found: Vec<_> = inexact_numbers(&template, 10)
        .into_iter()
        .map(|number| (number.path, number.text))
        .collect();
    let expected = [
        ("spec.a[1]", "9007199254740993"),
        ("spec.big", "1e+300"),
        ("spec.huge", "1.8446744073709552e+19"),
        ("spec.labels[x.y/z]", "-9007199254740993"),
    ];
    assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    assert_eq!(canonical(&template).unwrap_err().path, "spec.a[1]");
    assert_eq!(
        canonical(&template).unwrap_err().to_string(),
        "spec.a[1]: the number 9007199254740993 is not exact in a double"
    );
    for exact in [
        "9007199254740992",
        "-9007199254740992",
        "9007199254740992.0",
        "-9007199254740992.0",
    ] {
        assert!(canonical(&serde_json::from_str(exact).unwrap()).is_ok(), "{exact}");
    }
}

/// Pieces of these lengths, each of another byte, digested one after the other and all at once.
#[track_caller]
fn assert_digested_whole(lengths: &[usize]) {
    use std::io::Write as _;
    let pieces: Vec<Vec<u8>> = (0..).zip(lengths).map(|(byte, length)| vec![byte; *length]).collect();
    let mut digest = Digesting::default();
    for piece in &pieces {
        assert_eq!(digest.write(piece).unwrap(), piece.len());
    }
    let whole = pieces.concat();
    assert_eq!(digest.length, whole.len());
    assert_eq!(digest.finish(), <[u8; 32]>::from(Sha256::digest(&whole)), "{lengths:?}");
}

#[test]
fn pieces_that_just_fill_what_is_collected_are_digested_in_their_order() {
    for lengths in [
        &[512, 1][..],
        &[1, 512, 1],
        &[511, 1, 1],
        &[1, 511, 1],
        &[1, 513],
        &[513, 1],
        &[300, 300],
        &[0, 512],
        &[],
    ] {
        assert_digested_whole(lengths);
    }
}

/// The README's way to compute the hash without this program:
/// `kubectl get dj NAME -o json | jq -cS '<filter>' | tr -d '\n' | sha256sum`.
///
/// It agrees for templates of printable ASCII (and line breaks and tabs) whose numbers are integers, which is all that
/// a Job needs. Beyond that jq and RFC 8785 differ: jq 1.6 writes 1e-7 as `1e-07` and later versions may keep a number
/// as it was written, U+007F is escaped, and keys beyond the Basic Multilingual Plane are sorted by code point.
const JQ_FILTER: &str = ".spec.jobTemplate | (.. | objects) |= del(.[] | nulls)";

fn jq(filter: &str, input: &str) -> String {
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(defs).load(&arena, File { code: filter, path: () }).unwrap();
    let filter = Compiler::default().with_funs(funs).compile(modules).unwrap();
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let output = filter
        .id
        .run((context, read::parse_single(input.as_bytes()).unwrap()))
        .map(unwrap_valr);
    let mut text = Vec::new();
    for value in output {
        // What -c and -S do.
        write::write(
            &mut text,
            &write::Pp {
                sort_keys: true,
                ..Default::default()
            },
            0,
            &value.unwrap(),
        )
        .unwrap();
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn jq_recipe_of_the_readme_gives_our_hash() {
    // Beyond the recipe's limits.
    let beyond = [
        "fraction-digits",
        "fraction-plain",
        "fraction-small",
        "keys-utf16",
        "minus-zero",
        "text-controls",
        "text-decomposed",
        "text-unicode",
    ];
    let like_kubectl = |template: &Value| String::from_utf8(canonical(template).unwrap()).unwrap();
    let mut checked = 0;
    for (name, Vector { template, .. }) in vectors() {
        if beyond.contains(&name.as_str()) {
            continue;
        }
        // kubectl prints numbers as the API server stored them: 1.0 and 1e0 as 1.
        let template = if name.starts_with("integer-as-") {
            like_kubectl(&template)
        } else {
            template.to_string()
        };
        let object =
            format!(r#"{{"metadata": {{"name": "x"}}, "spec": {{"jobTemplate": {template}, "replace": false}}}}"#);
        let printed = jq(JQ_FILTER, &object);
        assert_eq!(
            printed.as_bytes(),
            canonical(&serde_json::from_str(&template).unwrap()).unwrap(),
            "{name}"
        );
        checked += 1;
    }
    assert!(checked >= 30);
}

/// JSON of printable ASCII, with integers and nulls.
fn ascii_json() -> impl Strategy<Value = Value> {
    json_of("[ -~\n\t]{0,8}", any::<i32>().prop_map(Value::from).boxed())
}

/// JSON of any text, with numbers of all kinds that have a hash.
fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i32>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        (-1e15..1e15_f64).prop_map(Value::from),
        (-1e-5..1e-5_f64).prop_map(Value::from),
    ];
    json_of(".{0,8}", number.boxed())
}

fn json_of(text: &'static str, number: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The same JSON in another form: members in reverse order, nulls added, integers with a fraction.
fn in_another_form(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) => format!("{integer}.0"),
            None => number.to_string(),
        },
        Value::Array(elements) => format!(
            "[ {} ]",
            elements.iter().map(in_another_form).collect::<Vec<_>>().join(" , ")
        ),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{} : {}", json!(name), in_another_form(value));
            let mut parts: Vec<_> = members.iter().rev().map(member).collect();
            if !members.contains_key("added") {
                parts.push("\"added\": null".to_owned());
            }
            format!("{{ {} }}", parts.join(" , "))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    }
}

/// The same JSON without its null members.
fn without_null_members(value: &Value) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(without_null_members).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, member)| !member.is_null());
            Value::Object(
                kept.map(|(name, member)| (name.clone(), without_null_members(member)))
                    .collect(),
            )
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The same, with all numbers as doubles: two templates mean the same if these are equal.
fn meaning(value: &Value) -> Value {
    match without_null_members(value) {
        Value::Array(elements) => elements.iter().map(meaning).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| (name.clone(), meaning(member)))
                .collect(),
        ),
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        scalar @ (Value::Null | Value::Bool(_) | Value::String(_)) => scalar,
    }
}

/// JSON pointers to everything below and including the value.
fn pointers(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, element)| (index.to_string(), element))
            .collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.replace('~', "~0").replace('/', "~1"), member))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let below = children
        .into_iter()
        .flat_map(|(token, child)| pointers(child).into_iter().map(move |below| format!("/{token}{below}")));
    std::iter::once(String::new()).chain(below).collect()
}

/// The smallest edits that somebody makes: a value set, taken away, added, moved or renamed.
#[derive(Clone, Debug)]
enum Edit {
    Add(Value),
    Rename(String),
    Set(Value),
    Shift(bool),
    Take,
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any_json().prop_map(Edit::Add),
        ".{0,2}".prop_map(Edit::Rename),
        any_json().prop_map(Edit::Set),
        any::<bool>().prop_map(Edit::Shift),
        Just(Edit::Take),
    ]
}

fn edit(value: &mut Value, edit: Edit) {
    match (edit, value) {
        (Edit::Set(new), value) => *value = new,
        (Edit::Add(new), Value::Array(elements)) => elements.push(new),
        (Edit::Add(new), Value::Object(members)) => drop(members.insert("added".to_owned(), new)),
        (Edit::Rename(name), Value::Object(members)) => {
            if let Some(member) = members.keys().next().cloned().and_then(|first| members.remove(&first)) {
                members.insert(name, member);
            }
        }
        (Edit::Shift(is_left), Value::Array(elements)) if !elements.is_empty() => match is_left {
            true => elements.rotate_left(1),
            false => elements.rotate_right(1),
        },
        (Edit::Shift(is_up), Value::Number(number)) => {
            let step = if is_up { 1.0 } else { -1.0 };
            *number = serde_json::Number::from_f64(number.as_f64().unwrap() + step).unwrap();
        }
        (Edit::Take, Value::Array(elements)) => drop(elements.pop()),
        (Edit::Take, Value::Object(members)) => {
            if let Some(name) = members.keys().next().cloned() {
                members.remove(&name);
            }
        }
        (Edit::Take, Value::String(text)) => drop(text.pop()),
        // Nothing to do in this way: then the hash must stay.
        (Edit::Add(_) | Edit::Rename(_) | Edit::Shift(_) | Edit::Take, _) => {}
    }
}

#[test]
fn what_is_normal_is_not_copied() {
    let is_copied = |template: &Value| matches!(normalised(template), Some(Cow::Owned(_)));
    assert!(!is_copied(&json!({"a": [1, null, true, -7, "x"], "b": {}})));
    for template in [json!({"a": null}), json!({"a": [1.0]}), json!(1_u64 << 54)] {
        assert!(is_copied(&template), "{template}");
    }
}

#[test]
fn what_is_nested_too_deeply_has_no_normal_value() {
    let nested = |levels: usize, innermost: Value| (0..levels).fold(innermost, |inner, _| json!([{"a": inner}]));
    let deepest = nested(NESTING_MAX / 2, json!(1));
    assert_eq!(normalised(&deepest).as_deref(), Some(&deepest));
    assert_eq!(normalised(&nested(NESTING_MAX / 2, json!([1]))), None);
    assert_eq!(normalised(&nested(NESTING_MAX / 2, json!({"a": 1}))), None);
}

proptest! {
    #[test]
    fn b55_hash_is_stable_under_key_order_nulls_and_number_form(template in any_json()) {
        let other: Value = serde_json::from_str(&in_another_form(&template)).unwrap();
        prop_assert_eq!(hash(&template), hash(&other));
    }

    #[test]
    fn hash_changes_with_the_meaning_and_only_then(one in any_json(), other in any_json()) {
        prop_assert_eq!(hash(&one) == hash(&other), meaning(&one) == meaning(&other));
    }

    #[test]
    fn e31_hash_changes_when_anything_in_it_does(template in any_json(), text in ".{0,8}") {
        let wrapped = |inner: Value| json!({"spec": {"x": [template, inner]}});
        prop_assert_ne!(hash(&wrapped(json!(text))), hash(&wrapped(json!(format!("{text}a")))));
        prop_assert_ne!(hash(&wrapped(json!(text))), hash(&wrapped(json!({"a": text}))));
    }

    #[test]
    fn e31_one_edit_anywhere_changes_the_hash_if_and_only_if_it_changes_the_meaning(
        template in any_json(),
        at in any::<prop::sample::Index>(),
        change in edits(),
    ) {
        let mut edited = template.clone();
        let pointers = pointers(&template);
        edit(edited.pointer_mut(at.get::<String>(&pointers)).unwrap(), change);
        // A number may have left what a double holds; then there is no hash to compare.
        prop_assume!(canonical(&edited).is_ok());
        prop_assert_eq!(hash(&template) == hash(&edited), meaning(&template) == meaning(&edited));
    }

    #[test]
    fn canonical_form_is_the_one_of_the_library(template in any_json()) {
        let expected = serde_json_canonicalizer::to_vec(&without_null_members(&template)).unwrap();
        prop_assert_eq!(canonical(&template).unwrap(), expected);
    }

    #[test]
    fn what_is_digested_in_pieces_is_digested_whole(lengths in prop::collection::vec(0_usize..700, 0..9)) {
        assert_digested_whole(&lengths);
    }

    #[test]
    fn canonical_form_is_its_own_canonical_form(template in any_json()) {
        let once = canonical(&template).unwrap();
        prop_assert_eq!(canonical(&serde_json::from_slice(&once).unwrap()).unwrap(), once);
    }

    #[test]
    fn the_normal_value_is_what_the_canonical_form_holds(template in any_json()) {
        let read: Value = serde_json::from_slice(&canonical(&template).unwrap()).unwrap();
        prop_assert_eq!(normalised(&template).unwrap().into_owned(), read);
    }

    #[test]
    fn jq_recipe_agrees_on_ascii_and_integers(template in ascii_json()) {
        let object = json!({"spec": {"jobTemplate": template}});
        // A null template is no template; everything below it is the recipe's business.
        prop_assume!(!template.is_null());
        prop_assert_eq!(jq(JQ_FILTER, &object.to_string()), canonical_text(&template));
    }
}
