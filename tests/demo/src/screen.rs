//! Plain lines for a terminal and for a log: no cursor movement, colours only where they are wanted.

use std::io::Write;

use anyhow::{Context, Result};

/// Wide enough for a table of kubectl, narrow enough for half a screen.
const WIDTH: usize = 100;

/// Where the demo speaks.
#[derive(Debug)]
pub(crate) struct Screen {
    is_coloured: bool,
}

impl Screen {
    pub(crate) const fn new(is_coloured: bool) -> Self {
        Self { is_coloured }
    }

    /// The title of a scene.
    pub(crate) fn title(&self, text: &str) -> Result<()> {
        let rule = "─".repeat(WIDTH.saturating_sub(text.chars().count() + 4));
        print(&format!("\n{}\n", self.paint("1", &format!("── {text} {rule}"))))
    }

    /// A paragraph.
    pub(crate) fn say(&self, text: &str) -> Result<()> {
        print(&format!("{}\n", wrap(text, "", "")))
    }

    /// What to notice in the lines above.
    pub(crate) fn notice(&self, text: &str) -> Result<()> {
        print(&format!("\n{}\n", self.paint("33", &wrap(text, "=> ", ""))))
    }

    /// A command as one would type it.
    pub(crate) fn command(&self, line: &str) -> Result<()> {
        print(&format!("\n{}\n", self.paint("36", &wrap(line, "$ ", " \\"))))
    }

    /// What a command printed.
    pub(crate) fn output(&self, text: &str) -> Result<()> {
        text.trim_end()
            .lines()
            .try_for_each(|line| print(&format!("{}\n", line.trim_end())))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.is_coloured {
            format!("\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output is closed")
}

/// Breaks a text between words. The first line starts with a mark, the others are indented below it,
/// and each but the last ends with a sign that it goes on.
fn wrap(text: &str, mark: &str, more: &str) -> String {
    let indent = " ".repeat(mark.len());
    let room = WIDTH - mark.len() - more.len();
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    format!("{mark}{}", lines.join(&format!("{more}\n{indent}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_between_words_and_indented_below_its_mark() {
        let text = wrap(&"word ".repeat(25), "=> ", "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("=> word") && lines[1].starts_with("   word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_long_command_can_be_pasted() {
        let text = wrap(&"word ".repeat(20), "$ ", " \\");
        assert_eq!(text, format!("$ {}word \\\n  word", "word ".repeat(18)));
    }

    #[test]
    fn without_colours_there_is_no_escape() {
        assert_eq!(Screen::new(false).paint("1", "text"), "text");
        assert!(Screen::new(true).paint("1", "text").contains('\u{1b}'));
    }
}
