//! The template hash: what counts as the same template, for ever.
//!
//! Every node of every user remembers the hash that it ran. A change here that alters one hash runs finished work
//! again everywhere, so `tests/golden/hash` freezes the outcome for good.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

use crate::template::push_member;

#[cfg(test)]
mod tests;

/// Deepest template. JSON readers, ours and others, give up at 128 levels, and in a list of DaemonJobs or of their Jobs
/// a template stands some levels deep already.
pub(crate) const NESTING_MAX: usize = 100;

/// SHA-256 of a template's canonical form, as 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateHash(pub(crate) Arc<str>);

impl TemplateHash {
    /// The hash of `template`, which is `spec.jobTemplate` as stored.
    pub fn of(template: &Value) -> Result<Self, InexactNumber> {
        check_exact(template)?;
        Ok(Digest::of(template).hash)
    }

    /// Reads a hash back; anything but 64 lower-case hex digits is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hash = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then(|| Self(text.into()))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number that does not survive in a double, so that two readers of the template may see two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InexactNumber {
    /// Where it stands, below the template: `spec.backoffLimit`; empty for the template itself.
    pub path: String,
    /// The number.
    pub text: String,
}

impl fmt::Display for InexactNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the number {} is not exact in a double", self.path, self.text)
    }
}

impl std::error::Error for InexactNumber {}

/// SHA-256 of a value's JSON as it stands, without a copy of it.
pub(crate) fn digest(value: &impl Serialize) -> [u8; 32] {
    let mut digest = Digesting::default();
    serde_json::to_writer(&mut digest, value).expect("JSON values have a JSON form, and digesting does not fail");
    digest.finish()
}

/// Takes bytes without keeping them. They come a few at a time, so that they are collected first:
/// the digest's own bookkeeping would cost more than the digest.
struct Digesting {
    digest: Sha256,
    waiting: [u8; 512],
    count: usize,
    /// Of all that it has taken.
    length: usize,
}

impl Digesting {
    fn finish(mut self) -> [u8; 32] {
        self.digest.update(&self.waiting[..self.count]);
        self.digest.finalize().into()
    }
}

impl Default for Digesting {
    fn default() -> Self {
        Self {
            digest: Sha256::new(),
            waiting: [0; 512],
            count: 0,
            length: 0,
        }
    }
}

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len();
        if self.count + bytes.len() > self.waiting.len() {
            self.digest.update(&self.waiting[..self.count]);
            self.count = 0;
        }
        match self.waiting.get_mut(self.count..self.count + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.count += bytes.len();
            }
            None => self.digest.update(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// RFC 8785 canonical JSON of the template, without null members: a null says no more than an absent member.
///
/// Null *elements* of a list stay, because dropping one would move the others.
pub fn canonical(template: &Value) -> Result<Vec<u8>, InexactNumber> {
    check_exact(template)?;
    let mut out = Vec::new();
    write_value(template, &mut out);
    Ok(out)
}

fn check_exact(template: &Value) -> Result<(), InexactNumber> {
    inexact_numbers(template, 1).pop().map_or(Ok(()), Err)
}

/// What a canonical form comes to, with inexact numbers as they are.
pub(crate) struct Digest {
    pub(crate) hash: TemplateHash,
    /// Its bytes.
    pub(crate) length: usize,
}

impl Digest {
    pub(crate) fn of(template: &Value) -> Self {
        let mut digest = Digesting::default();
        write_value(template, &mut digest);
        let length = digest.length;
        let hash = TemplateHash(HEXLOWER.encode(&digest.finish()).into());
        Self { hash, length }
    }
}

/// The value that the canonical form of `template` holds, or none if it is nested too deeply.
/// Nearly all templates are that value as they stand.
pub(crate) fn normalised(template: &Value) -> Option<Cow<'_, Value>> {
    if !nests_within(NESTING_MAX, template) {
        None
    } else if is_normal(template) {
        Some(Cow::Borrowed(template))
    } else {
        let mut canonical = Vec::new();
        write_value(template, &mut canonical);
        serde_json::from_slice(&canonical).ok().map(Cow::Owned)
    }
}

fn nests_within(levels: usize, value: &Value) -> bool {
    let within = |value| levels > 0 && nests_within(levels - 1, value);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(elements) => elements.iter().all(within),
        Value::Object(members) => members.values().all(within),
    }
}

/// Whether the canonical form holds this very value: no member is null, and all numbers are integers and exact.
fn is_normal(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => !number.is_f64() && is_exact(number),
        Value::Array(elements) => elements.iter().all(is_normal),
        Value::Object(members) => members.values().all(|member| !member.is_null() && is_normal(member)),
    }
}

/// The libraries write the numbers and texts. Given whole objects it would keep a copy of the rest at every level,
/// and admission answers for its memory; so the walk is ours.
/// It recurses with the depth of the value, which JSON parsing limits to 128.
fn write_value(value: &Value, out: &mut impl io::Write) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => write_scalar(value, out),
        Value::String(text) => write_text(text, out),
        Value::Array(elements) => {
            write_bytes(b"[", out);
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    write_bytes(b",", out);
                }
                write_value(element, out);
            }
            write_bytes(b"]", out);
        }
        Value::Object(members) => {
            let present = members.iter().filter(|(_, member)| !member.is_null());
            // They are sorted by UTF-8 already, which differs only where a surrogate is less than a character after it.
            if members.keys().all(|name| name.is_ascii()) {
                write_members(present, out);
            } else {
                let mut present: Vec<_> = present.collect();
                present.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
                write_members(present, out);
            }
        }
    }
}

fn write_members<'a>(members: impl IntoIterator<Item = (&'a String, &'a Value)>, out: &mut impl io::Write) {
    write_bytes(b"{", out);
    for (index, (name, member)) in members.into_iter().enumerate() {
        if index > 0 {
            write_bytes(b",", out);
        }
        write_text(name, out);
        write_bytes(b":", out);
        write_value(member, out);
    }
    write_bytes(b"}", out);
}

fn write_scalar(scalar: &impl Serialize, out: &mut impl io::Write) {
    serde_json_canonicalizer::to_writer(scalar, out)
        .expect("the numbers of a JSON value are finite, and neither memory nor a digest fails to take them");
}

/// Of texts, `serde_json` writes what RFC 8785 asks for: it escapes as little as possible, in lower-case digits.
fn write_text(text: &str, out: &mut impl io::Write) {
    serde_json::to_writer(out, text).expect("texts have a JSON form, and neither memory nor a digest fails to take it");
}

fn write_bytes(bytes: &[u8], out: &mut impl io::Write) {
    out.write_all(bytes)
        .expect("neither memory nor a digest fails to take bytes");
}

/// The first `limit` numbers that a double cannot hold exactly.
pub(crate) fn inexact_numbers(template: &Value, limit: usize) -> Vec<InexactNumber> {
    let mut found = Vec::new();
    collect_inexact(template, &mut Vec::new(), &mut found, limit);
    found
}

/// One step of a path through JSON.
enum Step<'a> {
    Element(usize),
    Member(&'a str),
}

fn collect_inexact<'a>(value: &'a Value, path: &mut Vec<Step<'a>>, found: &mut Vec<InexactNumber>, limit: usize) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => {}
        Value::Number(number) => {
            if found.len() < limit && !is_exact(number) {
                found.push(InexactNumber {
                    path: path_text(path),
                    text: number.to_string(),
                });
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                path.push(Step::Element(index));
                collect_inexact(element, path, found, limit);
                path.pop();
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                path.push(Step::Member(name));
                collect_inexact(member, path, found, limit);
                path.pop();
            }
        }
    }
}

/// Beyond 2^53 a double skips integers: the text that was parsed may have named another number than the one we hold.
/// Fractions are as exact as the API server, which keeps them in doubles too.
fn is_exact(number: &Number) -> bool {
    const LARGEST: u64 = 1 << 53;
    match (number.as_u64(), number.as_i64()) {
        (Some(unsigned), _) => unsigned <= LARGEST,
        (None, Some(signed)) => signed.unsigned_abs() <= LARGEST,
        (None, None) => number.as_f64().is_some_and(|double| double.abs() <= LARGEST as f64),
    }
}

fn path_text(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Element(index) => text.push_str(&format!("[{index}]")),
            Step::Member(name) => push_member(&mut text, name),
        }
    }
    text
}
