//! Image names as Docker reads them: `[host[:port]/]path[:tag][@digest]`, normalised.
//!
//! Written out by hand rather than with oci-client's pattern: that one takes megabytes of memory for its tables in a
//! daemon that idles at a few, and lets Unicode letters into tags.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Docker's limit for the whole name without tag and digest.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A normalised image name: `debian` is `docker.io/library/debian:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image name, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// It would, in lower case.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It is too long.
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    /// It is an image ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The digest is not one that we support.
    #[error("unsupported digest algorithm")]
    Digest,
}

impl Reference {
    /// The registry's host and port; `docker.io` when none was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: `library/debian`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. Without a digest there always is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when the name has one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository as users write it: `debian`, `localhost:5000/x`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        let whole = || format!("{}/{}", self.registry, self.repository);
        if self.registry != DEFAULT_REGISTRY {
            return whole();
        }
        let short = self.repository.strip_prefix(OFFICIAL).filter(|name| !name.contains('/'));
        let short = short.unwrap_or(&self.repository);
        // `docker.io/localhost/x` would be read as another registry's.
        if split_registry(short).0.is_some() { whole() } else { short.to_owned() }
    }

    /// Whether both are in one repository of one registry.
    #[must_use]
    pub fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }

    /// Whether the text says neither a tag nor a digest.
    #[must_use]
    pub fn is_name_only(text: &str) -> bool {
        split_name(text).1.is_empty()
    }

    /// The whole name as users write it: `debian:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }

    /// The same repository with another tag and no digest. The tag is checked.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository by digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// As [`str::parse`], but the repository's case does not matter: `NanoServer` is `nanoserver:latest`.
    pub fn parse_any_case(text: &str) -> Result<Self, InvalidReference> {
        match text.parse() {
            Err(InvalidReference::Uppercase(_)) => {
                let (name, suffix) = split_name(text);
                format!("{}{suffix}", name.to_ascii_lowercase()).parse()
            }
            other => other,
        }
    }
}

/// Splits `name` from `[:tag][@digest]`.
fn split_name(text: &str) -> (&str, &str) {
    let end = text.find('@').unwrap_or(text.len());
    let path = text[..end].rfind('/').map_or(0, |slash| slash + 1);
    let end = text[path..end].find(':').map_or(end, |colon| path + colon);
    text.split_at(end)
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.len() > 4 * MAX_NAME {
            return Err(InvalidReference::TooLong);
        }
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(InvalidReference::LooksLikeId(text.to_owned()));
        }
        let (name, suffix) = split_name(text);
        let (tag, digest) = match suffix.split_once('@') {
            Some((tag, digest)) => {
                (tag, Some(digest.parse().map_err(|_unsupported| InvalidReference::Digest)?))
            }
            None => (suffix, None),
        };
        let tag = match tag.strip_prefix(':') {
            Some(tag) => Some(check_tag(tag)?.to_owned()),
            None if digest.is_none() => Some(DEFAULT_TAG.to_owned()),
            None => None,
        };
        let (registry, path) = split_registry(name);
        if let Some(registry) = registry {
            check_registry(registry)?;
        }
        check_path(path)?;
        let registry = match registry {
            None | Some(LEGACY_REGISTRY) => DEFAULT_REGISTRY.to_owned(),
            Some(registry) => registry.to_ascii_lowercase(),
        };
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(InvalidReference::TooLong);
        }
        Ok(Self { registry, repository, tag, digest })
    }
}

/// The part before the first slash is a host only when it looks like one.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
        _ => (None, name),
    }
}

fn check_registry(registry: &str) -> Result<(), InvalidReference> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let good_port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let good_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    if good_host && good_port { Ok(()) } else { Err(InvalidReference::Format) }
}

/// Path components: lower-case letters and digits, joined inside by one `.`, one or two `_`, or any number of `-`.
fn check_path(path: &str) -> Result<(), InvalidReference> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        check_path(&path.to_ascii_lowercase())?;
        return Err(InvalidReference::Uppercase(path.to_owned()));
    }
    let good = path.split('/').all(|component| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = component.bytes().next().is_some_and(alphanumeric)
            && component.bytes().last().is_some_and(alphanumeric);
        let separators = component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-'));
        ends && separators
    });
    if good { Ok(()) } else { Err(InvalidReference::Format) }
}

fn check_tag(tag: &str) -> Result<&str, InvalidReference> {
    let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest = tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest && tag.len() <= MAX_TAG { Ok(tag) } else { Err(InvalidReference::Format) }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    /// The whole normalised name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let table = [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12-slim", "docker.io/library/debian:12-slim", "debian:12-slim"),
            ("a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("index.docker.io/x", "docker.io/library/x:latest", "x:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x/y:T", "localhost:5000/x/y:T", "localhost:5000/x/y:T"),
            ("test.com:5000", "docker.io/library/test.com:5000", "test.com:5000"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("a__b.c---d", "docker.io/library/a__b.c---d:latest", "a__b.c---d:latest"),
        ];
        for (text, whole, familiar) in table {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), whole);
            assert_eq!(reference.familiar(), familiar);
        }
        let pinned: Reference = format!("r.example:1/x@{digest}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.to_string(), format!("r.example:1/x@{digest}"));
        let both: Reference = format!("x:1@{digest}").parse().unwrap();
        assert_eq!((both.tag(), both.digest().unwrap().to_string()), (Some("1"), digest));
    }

    #[test]
    fn bad_names_get_dockers_words() {
        let long_tag = format!("x:{}", "t".repeat(129));
        for bad in [
            "",
            ":",
            "x:",
            "/x",
            "x/",
            "x//y",
            "-x",
            "x-",
            "a___b",
            "a..b",
            "x:té",
            "é",
            "x:-t",
            "x y",
            "../x",
            "x@",
            "a@b@c",
            "x:1:2",
            "host:port/x",
            "-h.example/x",
            "x\0",
            "x/../y",
            &long_tag,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
        assert_eq!("x:!".parse::<Reference>().unwrap_err().to_string(), "invalid reference format");
        assert_eq!(
            "NanoServer".parse::<Reference>().unwrap_err().to_string(),
            "invalid reference format: repository name (NanoServer) must be lowercase"
        );
        assert!(matches!("a".repeat(64).parse::<Reference>(), Err(InvalidReference::LooksLikeId(_))));
        assert_eq!("a".repeat(256).parse::<Reference>(), Err(InvalidReference::TooLong));
    }

    #[test]
    fn case_does_not_matter_when_asked() {
        assert_eq!(Reference::parse_any_case("NanoServer").unwrap().familiar(), "nanoserver:latest");
        assert_eq!(Reference::parse_any_case("Me/NanoServer:LTSC").unwrap().familiar(), "me/nanoserver:LTSC");
        assert!(Reference::parse_any_case("Nano Server").is_err());
    }

    proptest! {
        #[test]
        fn what_parses_survives_a_round_trip(text in "[a-zA-Z0-9._:/@-]{0,40}") {
            crate::fuzz_reference(text.as_bytes());
        }

        #[test]
        fn nothing_panics(text in any::<Vec<u8>>()) {
            crate::fuzz_reference(&text);
        }
    }
}
