//! Running a program and telling well what went wrong.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    command: String,
    code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with 0.
    pub const fn is_success(&self) -> bool {
        matches!(self.code, Some(0))
    }

    /// The exit code; none if a signal ended it.
    pub const fn code(&self) -> Option<i32> {
        self.code
    }

    /// The standard output of a program that succeeded.
    ///
    /// # Errors
    /// When it did not: the command line, the exit code and everything it printed.
    pub fn checked(self) -> Result<String> {
        if self.is_success() {
            return Ok(self.stdout);
        }
        let code = self
            .code
            .map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        let printed = [self.stderr.trim(), self.stdout.trim()].join("\n");
        bail!("`{}` ended with {code}: {}", self.command, printed.trim())
    }
}

/// Runs a command to its end, with `input` as its standard input.
pub(crate) fn run(command: &mut Command, input: Option<&str>) -> Result<Output> {
    let line = command_line(command);
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{line}` could not be run"))?;
    let pipe = child.stdin.take();
    // A thread of its own: a long input and a long output would wait for each other.
    let output = thread::scope(|scope| {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // A program may end before it has read everything; its exit code tells more than our broken pipe.
            scope.spawn(move || drop(pipe.write_all(input.as_bytes())));
        }
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("`{line}` could not be awaited"))?;
    Ok(Output {
        command: line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The command as a user would type it: the name of the program without its folder.
fn command_line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: Option<&str>) -> Output {
        run(Command::new("/bin/sh").args(["-c", script]), input).unwrap()
    }

    #[test]
    fn success_gives_the_standard_output() {
        assert_eq!(shell("cat", Some("hello")).checked().unwrap(), "hello");
    }

    #[test]
    fn an_input_and_an_output_larger_than_a_pipe_do_not_block_each_other() {
        let long = "x".repeat(1 << 20);
        assert_eq!(shell("cat", Some(&long)).checked().unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_program_that_reads_nothing_is_no_error() {
        assert!(shell("exit 0", Some(&"x".repeat(1 << 20))).is_success());
    }

    #[test]
    fn failure_shows_command_code_and_output() {
        let error = shell("echo broken >&2; exit 3", None)
            .checked()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c") && error.contains("exit code 3") && error.contains("broken"),
            "{error}"
        );
    }
}
