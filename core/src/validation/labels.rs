//! The syntax of label keys and values, as the Kubernetes API defines it.

/// Longest name part of a key, and longest value.
const NAME_MAX: usize = 63;
/// Longest prefix of a key, the part before the slash.
const PREFIX_MAX: usize = 253;

/// What is wrong with a label or annotation key, if anything is.
pub(super) fn key_fault(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(fault) = prefix.and_then(prefix_fault) {
        return Some(fault);
    }
    if name.contains('/') {
        return Some("the key has more than one `/`: a key is NAME or PREFIX/NAME".to_owned());
    }
    if name.is_empty() {
        return Some("the key has no name: a key is NAME or PREFIX/NAME".to_owned());
    }
    word_fault(name, "name of the key")
}

/// What is wrong with a label value, if anything is. An empty value is fine.
pub(super) fn value_fault(value: &str) -> Option<String> {
    if value.is_empty() {
        None
    } else {
        word_fault(value, "value")
    }
}

fn prefix_fault(prefix: &str) -> Option<String> {
    if prefix.len() > PREFIX_MAX {
        return Some(format!(
            "the prefix of the key has {} bytes, at most {PREFIX_MAX} are allowed",
            prefix.len()
        ));
    }
    let is_part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        part.bytes().all(|byte| inner(byte) || byte == b'-')
            && part.bytes().next().is_some_and(inner)
            && part.bytes().last().is_some_and(inner)
    };
    let is_domain = prefix.split('.').all(is_part);
    (!is_domain).then(|| {
        "the part of the key before the `/` must be a DNS name such as example.com: lower-case letters, digits, `-` and `.`"
            .to_owned()
    })
}

fn word_fault(word: &str, what: &str) -> Option<String> {
    if word.len() > NAME_MAX {
        return Some(format!(
            "the {what} has {} bytes, at most {NAME_MAX} are allowed",
            word.len()
        ));
    }
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_word = edge(word.bytes().next())
        && edge(word.bytes().last())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (!is_word)
        .then(|| format!("the {what} must be letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("os")]
    #[case("A")]
    #[case("kubernetes.io/os")]
    #[case("a.b-c.d/E_f.g-1")]
    fn legal_keys(#[case] key: &str) {
        assert_eq!(key_fault(key), None);
    }

    #[rstest]
    #[case("", "no name")]
    #[case("a/", "no name")]
    #[case("/a", "DNS name")]
    #[case("Example.com/a", "DNS name")]
    #[case("a..b/c", "DNS name")]
    #[case("-a.b/c", "DNS name")]
    #[case("a/b/c", "more than one `/`")]
    #[case("-a", "both ends")]
    #[case("a.", "both ends")]
    #[case("a b", "letters, digits")]
    #[case("ä", "letters, digits")]
    fn b38_illegal_keys(#[case] key: &str, #[case] says: &str) {
        let fault = key_fault(key).unwrap();
        assert!(fault.contains(says), "{fault}");
    }

    #[test]
    fn b38_lengths() {
        assert_eq!(key_fault(&format!("{}/{}", "p".repeat(253), "n".repeat(63))), None);
        assert!(key_fault(&format!("{}/n", "p".repeat(254))).unwrap().contains("254"));
        assert!(key_fault(&"n".repeat(64)).unwrap().contains("64"));
        assert_eq!(value_fault(&"v".repeat(63)), None);
        assert!(value_fault(&"v".repeat(64)).unwrap().contains("64"));
    }

    #[test]
    fn values_may_be_empty_but_not_odd() {
        assert_eq!(value_fault(""), None);
        assert_eq!(value_fault("Linux_5.x-y"), None);
        for value in ["a/b", "a:b", "-a", "a ", "é"] {
            assert!(value_fault(value).is_some(), "{value}");
        }
    }
}
