//! Makes inputs from a corpus: half of the edits are of bytes, half know what JSON is made of.
//!
//! It is our own because the crates for this want a nightly compiler and are guided by coverage, or make bytes from
//! nothing, which an envelope that must be right refuses nearly all.

use proptest::prelude::Rng;
use proptest::test_runner::TestRunner;

use super::INPUT_MAX;

/// What JSON, and ours in particular, has its trouble with.
const TOKENS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "-0.0",
    "1e400",
    "1e-400",
    "9007199254740993",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "[[],[]]",
    "{\"\":0}",
    "\\ud800",
    "\\u0000",
    "\"\\u00e9\"",
    "\u{feff}",
    "\u{10ffff}",
    "\"replace\":null,",
    "\"selector\":{\"os\":1},",
    "\"ingoreSelector\":{},",
    "\"ignoreSelector\":{\"a\":\"b\"},",
    "\"metadata\":{},",
    "\"annotations\":null,",
    "\"spec\":{},",
    "\"containers\":[{}],",
    "\"daemon.justk8s.com/template-hash\":\"\",",
    "\"uid\":\"v\",",
    "\"labels\":{\"a/b/c\":\"-\"},",
    "\"restartPolicy\":\"Always\",",
];

/// An endless stream of inputs.
pub(super) struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    runner: TestRunner,
}

impl<'a> Mutator<'a> {
    pub(super) fn new(corpus: &'a [Vec<u8>], runner: TestRunner) -> Self {
        Self { corpus, runner }
    }

    /// A file of the corpus after a few edits.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let at = self.below(self.corpus.len());
        let mut input = self.corpus[at].clone();
        for _ in 0..=self.below(4) {
            self.edit(&mut input);
            input.truncate(INPUT_MAX);
        }
        input
    }

    /// A number from 0 to `end`, without it.
    fn below(&mut self, end: usize) -> usize {
        self.runner.rng().next_u32() as usize % end.max(1)
    }

    /// A part of an input, of no more than 64 bytes.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let length = self.below(64).min(input.len() - start);
        start..start + length
    }

    fn edit(&mut self, input: &mut Vec<u8>) {
        let at = self.range(input);
        let token = TOKENS[self.below(TOKENS.len())].bytes();
        match self.below(10) {
            0 if !input.is_empty() => {
                let bit = self.below(8);
                let at = at.start.min(input.len() - 1);
                input[at] ^= 1 << bit;
            }
            0 | 1 => drop(input.drain(at)),
            2 => {
                let copy = input[at.clone()].repeat(1 + self.below(64));
                input.splice(at.start..at.start, copy);
            }
            3 => {
                let other = self.below(self.corpus.len());
                let other = &self.corpus[other];
                let part = self.range(other);
                let part = other[part].to_vec();
                input.splice(at, part);
            }
            4 | 5 => drop(input.splice(at, token)),
            6 => drop(input.splice(at.start..at.start, token)),
            _ => self.replace_value(input),
        }
    }

    /// What stands after some colon, up to the next comma or bracket, becomes a token. It often stays JSON.
    fn replace_value(&mut self, input: &mut Vec<u8>) {
        let colons: Vec<usize> = (0..input.len()).filter(|at| input[*at] == b':').collect();
        if colons.is_empty() {
            return;
        }
        let start = colons[self.below(colons.len())] + 1;
        let rest = &input[start..];
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
        let token = TOKENS[self.below(TOKENS.len())].trim_end_matches(',').bytes();
        input.splice(start..start + end.unwrap_or(rest.len()), token);
    }
}
