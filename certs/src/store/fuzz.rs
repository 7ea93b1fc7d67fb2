//! Anything at all in the Secret or in a `caBundle`: the pieces of `certs/corpus`, whole, mixed up and damaged.
//! `FUZZ_SECONDS` says how long to go on; without it, it is a second or so.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use rstest::rstest;

use super::*;
use crate::bundle;
use crate::leaf::{LEAF_BACKDATE, Leaf};
use crate::rotation::{CertState, RotationStep, step};
use crate::time;

const NAME: &str = "hook.jobs.svc";

/// As much as a Secret can hold.
const HUGE: usize = 1 << 20;

/// Every file of the corpus, by its name.
fn corpus() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(folder).expect("the corpus is there");
    let read = files.map(|file| {
        let file = file.expect("readable");
        let name = file.file_name().into_string().expect("a name");
        (name, fs::read(file.path()).expect("readable"))
    });
    read.collect()
}

fn piece(name: &str) -> Vec<u8> {
    corpus().remove(name).expect("it is in the corpus")
}

/// A piece with some of its bytes replaced, mostly by others that PEM may hold, and perhaps cut off.
fn damaged(pieces: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![9 => select(b"ABCabc0189+/=\n-".to_vec()), 1 => any::<u8>()];
    let edits = vec((any::<Index>(), byte), 0..4);
    let end = prop_oneof![3 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (select(pieces), edits, end).prop_map(|(mut bytes, edits, end)| {
        for (at, byte) in edits.into_iter() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.map_or(usize::MAX, |end| end.index(bytes.len() + 1)));
        bytes
    })
}

fn value(ending: &str) -> impl Strategy<Value = Vec<u8>> {
    let of_its_kind = corpus().into_iter().filter(|(name, _)| name.ends_with(ending));
    let pieces: Vec<_> = of_its_kind.map(|(_, bytes)| bytes).collect();
    let any_piece: Vec<_> = corpus().into_values().collect();
    prop_oneof![
        4 => select(pieces.clone()),
        4 => damaged(pieces),
        2 => vec(damaged(any_piece), 0..4).prop_map(|pieces| pieces.concat()),
        1 => vec(any::<u8>(), 0..64),
    ]
}

fn time_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (-99_999_999_999_i64..=99_999_999_999, any::<bool>()).prop_map(|(second, whole)| {
            let time = Timestamp::new(second, if whole { 0 } else { 123_456_789 }).expect("within the years");
            time.to_string().into_bytes()
        }),
        select(vec![
            "",
            "yesterday",
            "2026-05-01",
            "2026-05-01T12:00:00+02:00",
            "-009999-01-01T00:00:00Z"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..32),
    ]
}

/// Any data of a Secret; the key that matches is there more often than chance would have it.
fn data() -> impl Strategy<Value = Data> {
    let pair = || {
        prop_oneof![
            1 => (value(".crt"), value(".key")),
            1 => (damaged(vec![piece("good.crt")]), Just(piece("good.key"))),
        ]
    };
    let rest = (value(".crt"), time_text(), value(".key"));
    (pair(), pair(), rest, vec(any::<bool>(), 7)).prop_map(|(current, next, (previous, retired, other), is_there)| {
        let values = [current.0, current.1, next.0, next.1, previous, retired, other];
        let keys = DATA_KEYS.into_iter().chain(["tls.key"]);
        let all = keys.zip(values).zip(is_there).filter(|(_, is_there)| *is_there);
        all.map(|((key, value), _)| (key.to_owned(), ByteString(value)))
            .collect()
    })
}

/// Runs `test` on values of `strategy`, until the time is over.
fn fuzz<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let asked = std::env::var_os("FUZZ_SECONDS").map(|asked| asked.to_string_lossy().parse());
    let seconds = asked.map_or(0, |asked| asked.expect("FUZZ_SECONDS is a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let config = Config {
            cases: 1000,
            failure_persistence: None,
            ..Config::default()
        };
        if let Err(failure) = TestRunner::new(config).run(strategy, &test) {
            panic!("{failure}");
        }
        if Instant::now() >= end {
            return;
        }
    }
}

/// What must hold of any data at all.
fn check(data: &Data) -> Result<(), TestCaseError> {
    let slots = decode(data);
    let written = encode(&slots);
    prop_assert_eq!(
        encode(&decode(&written)),
        written,
        "what is written is read as it was meant"
    );
    for slot in [&slots.current, &slots.next] {
        slot.filled().map_or(Ok(()), signs)?;
    }
    shows_no_key(data, &format!("{slots:?}"))?;
    is_repaired(slots)
}

/// An authority that was taken makes leaves that API servers which trust it accept.
fn signs(authority: &Authority) -> Result<(), TestCaseError> {
    let anchor = authority.anchor();
    let now = time::earlier(anchor.not_after(), LEAF_BACKDATE);
    if anchor.check_time(time::earlier(now, LEAF_BACKDATE)).is_err() {
        return Ok(());
    }
    let leaf = Leaf::issue(authority, &[NAME.to_owned()], now);
    let leaf = leaf.map_err(|error| TestCaseError::fail(format!("{anchor:?} does not sign: {error:?}")))?;
    let trusted = bundle::encode(&BTreeSet::from([anchor.clone()]));
    prop_assert_eq!(
        bundle::verify(leaf.certificate(), &trusted, NAME, now),
        Ok(()),
        "{}",
        anchor.pem()
    );
    Ok(())
}

fn shows_no_key(data: &Data, shown: &str) -> Result<(), TestCaseError> {
    let keys = data.iter().filter(|(name, _)| name.ends_with(".key"));
    for line in keys.flat_map(|(_, key)| key.0.split(|byte| *byte == b'\n')) {
        let line = String::from_utf8_lossy(line);
        prop_assert!(line.len() < 32 || !shown.contains(&*line), "{shown}");
    }
    Ok(())
}

fn good() -> Authority {
    Authority::from_pem(&piece("good.crt"), &piece("good.key")).expect("good")
}

/// A time at which what is good in the corpus is valid.
fn new_year() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().expect("a time")
}

/// A few steps later there is an authority that signs, and nothing left to repair.
fn is_repaired(slots: Slots) -> Result<(), TestCaseError> {
    let now = new_year();
    let mut state = CertState {
        slots,
        ..CertState::default()
    };
    for _ in 0..5 {
        let taken = step(&state, now);
        if matches!(taken, RotationStep::Keep | RotationStep::Publish) {
            let current = state.slots.current.filled();
            prop_assert!(current.is_some_and(|current| current.anchor().check_time(now).is_ok()));
            return Ok(());
        }
        let Ok(slots) = state.slots.after(&taken, now, || Ok::<_, Infallible>(good()));
        state.slots = decode(&encode(&slots));
        prop_assert_eq!(&state.slots, &slots);
    }
    Err(TestCaseError::fail(format!("it is repaired without end: {state:?}")))
}

#[test]
fn f29_any_content_of_the_secret_is_read_repaired_and_never_shown() {
    fuzz(&data(), |data| check(&data));
}

#[rstest]
#[case::good("good.crt", "good.key", None)]
#[case::windows_lines("crlf.crt", "crlf.key", None)]
#[case::two_certificates("two.crt", "good.key", None)]
#[case::expired("expired.crt", "expired.key", None)]
#[case::text_after_the_certificate("trailing.crt", "good.key", None)]
#[case::text_after_the_key("good.crt", "trailing.key", Some(Fault::UnreadableKey))]
#[case::byte_order_mark("bom.crt", "good.key", Some(Fault::UnreadableCertificate))]
#[case::byte_order_mark_in_the_key("good.crt", "bom.key", None)]
#[case::truncated("truncated.crt", "good.key", Some(Fault::UnreadableCertificate))]
#[case::truncated_key("good.crt", "truncated.key", Some(Fault::UnreadableKey))]
#[case::wrong_label("label.crt", "good.key", Some(Fault::UnreadableCertificate))]
#[case::another_label_of_the_key("good.crt", "label.key", None)]
#[case::encrypted("good.crt", "encrypted.key", Some(Fault::UnreadableKey))]
#[case::key_of_the_old_form("good.crt", "sec1.key", Some(Fault::UnreadableKey))]
#[case::rsa("rsa.crt", "rsa.key", Some(Fault::UnreadableKey))]
#[case::p384("p384.crt", "p384.key", Some(Fault::UnreadableKey))]
#[case::another_key("good.crt", "other.key", Some(Fault::KeyMismatch))]
#[case::an_authority_of_somebody_else("foreign.crt", "foreign.key", Some(Fault::Foreign))]
fn f29_a_piece_of_the_corpus(#[case] certificate: &str, #[case] key: &str, #[case] fault: Option<Fault>) {
    let read = Authority::from_pem(&piece(certificate), &piece(key));
    assert_eq!(read.err(), fault);
}

/// Somebody who may write a configuration may put a megabyte there; it is read at every look.
#[test]
fn a_huge_bundle_is_read_in_a_moment() {
    let ours = [piece("good.crt"), piece("other.crt"), piece("foreign.crt")].concat();
    let certificates = ours.repeat(HUGE / ours.len());
    let noise = b"-----BEGIN CERTIFICATE-----\n".repeat(HUGE / 28);
    for bundle in [certificates, noise, vec![b'A'; HUGE], vec![b'\n'; HUGE]] {
        let began = Instant::now();
        let found: BTreeSet<_> = Anchor::all_in_pem(&bundle).into_iter().collect();
        assert!(found.len() <= 2);
        let data = [
            (CURRENT_CERTIFICATE, &bundle),
            (CURRENT_KEY, &bundle),
            (PREVIOUS_CERTIFICATES, &bundle),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.clone())));
        decode(&data.into());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[test]
fn any_bundle_is_read() {
    fuzz(&value(""), |bundle| {
        let found = Anchor::all_in_pem(&bundle);
        let written: String = found.iter().map(Anchor::pem).collect();
        prop_assert_eq!(Anchor::all_in_pem(written.as_bytes()), found);
        Ok(())
    });
}
