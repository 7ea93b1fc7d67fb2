//! Whether a program can run where there is nothing but itself.

use anyhow::{Context, Result, ensure};

/// Class and byte order of a 64-bit little-endian file, after the magic number.
const IDENTITY: [u8; 6] = *b"\x7fELF\x02\x01";
/// The number of x86-64 among machines.
const AMD64: usize = 62;
/// A program header that names the dynamic loader.
const INTERPRETER: usize = 3;

fn part(file: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    let rest = file.get(at..).and_then(|rest| rest.get(..size));
    rest.context("it ends too early")
}

/// A number of `size` bytes.
fn number(file: &[u8], at: usize, size: usize) -> Result<usize> {
    let bytes = part(file, at, size)?;
    Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

/// The dynamic loader that an amd64 ELF file asks for; a static program asks for none.
///
/// # Errors
///
/// When it is no such file.
pub fn interpreter(file: &[u8]) -> Result<Option<String>> {
    ensure!(file.starts_with(&IDENTITY), "it is no 64-bit ELF file");
    ensure!(number(file, 18, 2)? == AMD64, "it is for another processor than amd64");
    let (table, width, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
    for header in (0..count).map(|index| table + index * width) {
        if number(file, header, 4)? == INTERPRETER {
            let (start, length) = (number(file, header + 8, 8)?, number(file, header + 32, 8)?);
            let path = String::from_utf8_lossy(part(file, start, length)?);
            return Ok(Some(path.trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

// The file that they look at is the test itself.
#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::interpreter;

    #[test]
    fn what_is_no_program_is_refused() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut other = this.clone();
        other[18] = 183;
        for (file, why) in [
            (&b"#!/bin/sh\n"[..], "no 64-bit ELF"),
            (&this[..40], "too early"),
            (&other, "another processor"),
        ] {
            let error = interpreter(file).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_loader_of_this_very_test_is_found() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let loader = interpreter(&this).unwrap().expect("a test is linked dynamically");
        assert!(loader.contains("ld-"), "{loader}");
    }
}
