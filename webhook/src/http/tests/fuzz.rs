//! Fuzz targets over a committed corpus. A test run makes a fixed number of inputs of it, the same each time;
//! `FUZZ_SECONDS=600` goes on for that long with others.
//!
//! What an input breaks goes into the corpus, and a line about it into its README.

mod mutator;
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngSeed, TestRunner};

use self::mutator::Mutator;

/// Inputs of a target in a test run.
const ROUNDS: usize = 10_000;
/// Any number; a test run must not find on one machine what it does not find on another.
const SEED: u64 = 2026;
/// Longest input: what is long is slow, and what needs length has tests of its own.
const INPUT_MAX: usize = 16 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// The files of a part of the corpus, in the order of their names.
fn corpus(part: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder().join(part)).unwrap();
    let paths: BTreeSet<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Checks the corpus as it is, and then what is made of it.
fn fuzz(corpus: Vec<Vec<u8>>, check: fn(&[u8])) {
    assert!(corpus.len() > 5, "a corpus is never empty");
    for input in &corpus {
        try_input(input, check);
    }
    let corpus: Vec<_> = corpus.into_iter().filter(|input| input.len() <= INPUT_MAX).collect();
    let mut mutator = Mutator::new(&corpus, rng(RngSeed::Fixed(SEED)));
    for _ in 0..ROUNDS {
        try_input(&mutator.next(), check);
    }
    let Some(seconds) = std::env::var_os("FUZZ_SECONDS") else {
        return;
    };
    let seconds = seconds.to_str().and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.expect("FUZZ_SECONDS is a whole number"));
    let mut mutator = Mutator::new(&corpus, rng(RngSeed::Random));
    while Instant::now() < end {
        try_input(&mutator.next(), check);
    }
}

fn rng(rng_seed: RngSeed) -> TestRunner {
    TestRunner::new(Config {
        rng_seed,
        ..Config::default()
    })
}

fn try_input(input: &[u8], check: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
        panic!("this breaks it, put it into the corpus: {}", input.escape_ascii());
    }
}

#[test]
fn i14_fuzz_bodies() {
    let vectors = daemonjob_vectors::Vector::all();
    let bodies = vectors.iter().map(|vector| vector.request("/validate", None).body);
    fuzz(bodies.chain(corpus("body")).collect(), targets::body);
}

#[test]
fn b55_fuzz_templates() {
    fuzz(corpus("template"), targets::template);
}

#[test]
fn i13_fuzz_selectors() {
    fuzz(corpus("selector"), targets::selector);
}

#[test]
fn every_file_of_the_corpus_has_its_reason_in_the_readme() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let told: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, _)| name.to_owned())
        .collect();
    let parts = ["body", "selector", "template"];
    let names = |part| fs::read_dir(folder().join(part)).unwrap().map(move |file| (part, file));
    let files = parts.into_iter().flat_map(names);
    let files = files.map(|(part, file)| format!("{part}/{}", file.unwrap().file_name().display()));
    assert_eq!(files.collect::<BTreeSet<_>>(), told);
}
