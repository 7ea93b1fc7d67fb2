//! A console of a document: commands after `$ `, and what they print.
//! A line `…` stands for any lines, and `^C` after the output of a command for the key that ends it.

/// A command, and the lines that it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: String,
    pub(crate) output: Vec<String>,
    /// Whether it goes on until somebody ends it.
    pub(crate) is_interrupted: bool,
}

/// The commands of all consoles in a part of a document.
pub(crate) fn commands(document: &str) -> Vec<Command> {
    let fences = document.split("```console\n").skip(1);
    let lines = fences.flat_map(|rest| rest.split("```").next().unwrap_or_default().lines());
    let mut commands: Vec<Command> = Vec::new();
    for line in lines {
        if let Some(line) = line.strip_prefix("$ ") {
            commands.push(Command {
                line: line.to_owned(),
                output: Vec::new(),
                is_interrupted: false,
            });
            continue;
        }
        let last = commands.last_mut().expect("output follows a command");
        if line == "^C" {
            last.is_interrupted = true;
        } else {
            last.output.push(line.to_owned());
        }
    }
    commands
}

/// Whether the lines are what was printed.
pub(crate) fn shows(expected: &[String], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => (0..=printed.len()).any(|skipped| shows(rest, &printed[skipped..])),
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, printed)| is_same(first, line) && shows(rest, printed)),
    }
}

/// Columns may be of another width, ages and the time of day are never the same.
fn is_same(expected: &str, printed: &str) -> bool {
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let (expected, printed) = (words(expected), words(printed));
    let is_clock = |word: &String| word.len() == 8 && word.matches(':').count() == 2;
    if expected.iter().any(is_clock) && printed.iter().any(is_clock) {
        return expected.len() == printed.len();
    }
    let is_age = |word: &str| word.ends_with(['s', 'm']) && word.starts_with(|first: char| first.is_ascii_digit());
    expected.len() == printed.len()
        && expected
            .iter()
            .zip(&printed)
            .all(|(a, b)| a == b || (is_age(a) && is_age(b)))
}

#[test]
fn output_is_compared_but_for_ages_times_and_widths() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let is = |expected: &str, printed: &str| shows(&lines(expected), &printed.lines().collect::<Vec<_>>());
    assert!(is("NAME  AGE\nit    2s", "NAME    AGE\nit      1m3s"));
    assert!(is("Sat Nov 28 15:11:58 UTC 2026", "Sun Nov 29 01:02:03 UTC 2026"));
    assert!(is("a\n…\nz", "a\nb\nc\nz") && is("…", "") && is("a\n…", "a"));
    assert!(!is("0/1 done", "1/1 done") && !is("a", "a\nb") && !is("a\nb", "a") && !is("a\n…\nz", "a\nb"));
}

#[test]
fn a_console_is_read_as_commands_and_their_output() {
    let text = "Text.\n```console\n$ one\na\nb\n$ two\nc\n^C\n```\nMore.\n```console\n$ three\n```\n";
    let command = |line: &str, output: &[&str], is_interrupted| Command {
        line: line.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
        is_interrupted,
    };
    let expected = [
        command("one", &["a", "b"], false),
        command("two", &["c"], true),
        command("three", &[], false),
    ];
    assert_eq!(commands(text), expected);
}
