//! Which nodes a DaemonJob selects. Precedence between the fields is decided in [`crate::validation`];
//! what comes out of it is one of three cases.

use std::collections::BTreeMap;

/// Which nodes to run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All nodes.
    All,
    /// All nodes but those that carry every one of these labels.
    Exclude(BTreeMap<String, Wanted>),
    /// The nodes that carry every one of these labels.
    Include(BTreeMap<String, Wanted>),
}

/// The value that a label must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An unquoted YAML boolean. YAML 1.1 turned `yes`, `on` and `y` into it before anybody could see the word,
    /// so in doubt it runs on fewer nodes: an exclusion takes every spelling, an inclusion only `true` or `false`.
    Boolean(bool),
    /// This text.
    Text(String),
}

impl Selection {
    /// Whether a node with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Exclude(wanted) => !wanted
                .iter()
                .all(|(key, value)| labels.get(key).is_some_and(|is| value.excludes(is))),
            Self::Include(wanted) => wanted
                .iter()
                .all(|(key, value)| labels.get(key).is_some_and(|is| value.includes(is))),
        }
    }

    /// The keys of the labels that it looks at.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let wanted = match self {
            Self::All => None,
            Self::Exclude(wanted) | Self::Include(wanted) => Some(wanted),
        };
        wanted.into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }
}

impl Wanted {
    fn includes(&self, label: &str) -> bool {
        match self {
            Self::Boolean(true) => label == "true",
            Self::Boolean(false) => label == "false",
            Self::Text(text) => label == text,
        }
    }

    fn excludes(&self, label: &str) -> bool {
        match self {
            Self::Boolean(value) => yaml_words(*value).iter().any(|word| label.eq_ignore_ascii_case(word)),
            Self::Text(text) => label == text,
        }
    }
}

/// Every word that YAML 1.1 reads as this boolean, in lower case.
pub(crate) fn yaml_words(value: bool) -> [&'static str; 4] {
    if value {
        ["true", "yes", "on", "y"]
    } else {
        ["false", "no", "off", "n"]
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn text(pairs: &[(&str, &str)]) -> BTreeMap<String, Wanted> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Wanted::Text((*value).to_owned())))
            .collect()
    }

    fn boolean(key: &str, value: bool) -> BTreeMap<String, Wanted> {
        BTreeMap::from([(key.to_owned(), Wanted::Boolean(value))])
    }

    #[test]
    fn include_needs_every_label() {
        let selection = Selection::Include(text(&[("os", "linux"), ("zone", "a")]));
        assert!(selection.matches(&labels(&[("os", "linux"), ("zone", "a"), ("more", "x")])));
        assert!(!selection.matches(&labels(&[("os", "linux"), ("zone", "b")])));
        assert!(!selection.matches(&labels(&[("os", "linux")])));
    }

    #[test]
    fn exclude_spares_a_node_that_lacks_one_of_the_labels() {
        let selection = Selection::Exclude(text(&[("ingress", "true"), ("zone", "a")]));
        assert!(!selection.matches(&labels(&[("ingress", "true"), ("zone", "a")])));
        assert!(selection.matches(&labels(&[("ingress", "true")])));
        assert!(selection.matches(&labels(&[])));
    }

    #[test]
    fn all_matches_a_node_without_labels() {
        assert!(Selection::All.matches(&labels(&[])));
    }

    #[rstest]
    #[case("true", Some(true))]
    #[case("false", Some(false))]
    #[case("True", None)]
    #[case("yes", None)]
    #[case("on", None)]
    #[case("y", None)]
    #[case("no", None)]
    fn b37_a_selecting_boolean_takes_only_the_word_itself(#[case] label: &str, #[case] means: Option<bool>) {
        for value in [true, false] {
            let selects = Selection::Include(boolean("ingress", value)).matches(&labels(&[("ingress", label)]));
            assert_eq!(selects, means == Some(value), "{value}");
        }
    }

    #[rstest]
    #[case(true, &["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"])]
    #[case(false, &["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"])]
    fn b37_an_excluding_boolean_takes_every_yaml_spelling(#[case] value: bool, #[case] spellings: &[&str]) {
        for label in spellings {
            assert!(
                !Selection::Exclude(boolean("ingress", value)).matches(&labels(&[("ingress", label)])),
                "{label}"
            );
            assert!(
                Selection::Exclude(boolean("ingress", !value)).matches(&labels(&[("ingress", label)])),
                "{label}"
            );
        }
        assert!(Selection::Exclude(boolean("ingress", value)).matches(&labels(&[("ingress", "1")])));
    }

    #[test]
    fn quoted_text_takes_no_other_spelling() {
        assert!(Selection::Exclude(text(&[("ingress", "true")])).matches(&labels(&[("ingress", "yes")])));
    }
}
