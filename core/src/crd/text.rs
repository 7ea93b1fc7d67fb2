//! Descriptions, cut to size.

/// Words whose dot ends no sentence.
const ABBREVIATIONS: [&str; 5] = ["e.g", "etc", "i.e", "ie", "vs"];

/// The first sentence of a description, on one line.
///
/// Kubernetes' own descriptions make up more than half of a full Job schema; their first sentences say what a field is.
/// One of a single word ("Required.") says nothing, so the next one comes with it.
pub(super) fn first_sentence(description: &str) -> String {
    let paragraph = description.trim().split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.split(" More info:").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let ends = words.windows(2).enumerate().skip(1).find_map(|(at, pair)| match pair {
        [word, next] => ends_sentence(word, next).then_some(at),
        _ => None,
    });
    words.get(..=ends.unwrap_or(words.len())).unwrap_or(&words).join(" ")
}

/// The description on one line: the line breaks of a doc comment mean nothing to `kubectl explain`, which wraps again.
pub(super) fn one_line(description: &str) -> String {
    description.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ends_sentence(word: &str, next: &str) -> bool {
    let Some(stem) = word
        .trim_end_matches([')', '"', '\'', '`'])
        .strip_suffix(['.', '!', '?'])
    else {
        return false;
    };
    let stem = stem.trim_start_matches(['(', '"', '\'', '`']).to_lowercase();
    !ABBREVIATIONS.contains(&stem.as_str()) && !next.starts_with(|first: char| first.is_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_ends_where_a_reader_ends_it() {
        for (description, sentence) in [
            ("The one. The other.", "The one."),
            ("Required. A list. Another.", "Required. A list."),
            ("Without a dot More info: https://x.example", "Without a dot"),
            ("No dot at all", "No dot at all"),
            ("Names (e.g. X) and so on. More.", "Names (e.g. X) and so on."),
            (
                "Version v1.2 of it, i.e. The old one. More.",
                "Version v1.2 of it, i.e. The old one.",
            ),
            ("Broken\nover lines.  More info.", "Broken over lines."),
            ("A paragraph\n\nAnother", "A paragraph"),
            ("(In brackets.) More.", "(In brackets.)"),
            ("", ""),
        ] {
            assert_eq!(first_sentence(description), sentence);
        }
    }
}
