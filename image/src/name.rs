//! The name under which engines file the image.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail, ensure};

/// `REGISTRY/REPOSITORY:TAG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    repository: String,
    tag: String,
}

impl Name {
    /// The part after the last colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.repository, self.tag)
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The colon before a port is followed by a slash.
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            Some(_) | None => bail!("{text} has no tag"),
        };
        let is_of = |part: &str, others: &str| {
            part.chars()
                .all(|each| each.is_ascii_alphanumeric() || others.contains(each))
        };
        // containerd finds an image by its whole name: without a registry it would look elsewhere.
        let parts: Vec<&str> = repository.split('/').collect();
        let registry = parts[0];
        ensure!(
            parts.len() > 1 && (registry == "localhost" || registry.contains(['.', ':'])),
            "{text} has no registry: put localhost/ before it if it is to have none"
        );
        ensure!(
            parts.iter().all(|part| !part.is_empty()) && is_of(repository, "._-/:"),
            "{repository} is no repository"
        );
        ensure!(
            parts[1..]
                .iter()
                .all(|part| !part.contains(':') && *part == part.to_lowercase()),
            "{repository} is no repository: only the registry has a port, and the rest is lower case"
        );
        ensure!(
            !tag.is_empty() && tag.len() <= 128 && is_of(tag, "._-") && !tag.starts_with(['.', '-']),
            "{tag:?} is no tag"
        );
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_has_a_registry_a_repository_and_a_tag() {
        for (text, tag) in [
            ("localhost/daemonjob:0.1.0", "0.1.0"),
            ("localhost:5000/a/b-c_d:v1", "v1"),
            ("registry.example/a:X_y-z.1", "X_y-z.1"),
        ] {
            let name: Name = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.tag()), (text, tag));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in [
            "",
            "daemonjob",
            "daemonjob:1",
            "justk8s/daemonjob:1",
            "localhost/daemonjob",
            "localhost:5000/daemonjob",
            "localhost/daemonjob:",
            "localhost/daemonjob:-1",
            "localhost/daemon job:1",
            "localhost/Daemonjob:1",
            "localhost//daemonjob:1",
            "localhost/a:1/b:2",
            "registry.example/a:1@sha256",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
