//! Where an image came from. It is recorded when the image comes in, beside the image itself, and a new name does not change
//! it: so whoever decides by origin what an image may do cannot be led by the nose by `tag`.
//!
//! An image that is made of others has the origins of all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::{Image, Reference};

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A registry, by the name that was pulled.
    Pulled(Reference),
    /// An archive of images (`load`).
    Loaded,
    /// An archive of files (`import`).
    Imported,
    /// Made here of no other image (`FROM scratch`).
    Built,
    /// Nobody knows: it came in before origins were recorded, or from too many places.
    Unknown,
}

/// The words for what is no registry. No registry's name begins so.
const WORDS: [(Origin, &str); 4] = [
    (Origin::Loaded, "@load"),
    (Origin::Imported, "@import"),
    (Origin::Built, "@build"),
    (Origin::Unknown, "@unknown"),
];

impl Origin {
    /// The registry's host and port, or the word for what is none: `@load`, `@import`, `@build`, `@unknown`.
    #[must_use]
    pub fn registry(&self) -> &str {
        match self {
            Self::Pulled(name) => name.registry(),
            other => WORDS.iter().find(|(word, _)| word == other).map_or("@unknown", |(_, text)| text),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pulled(name) => name.fmt(f),
            other => f.write_str(other.registry()),
        }
    }
}

impl FromStr for Origin {
    type Err = std::convert::Infallible;

    /// What cannot be read is [`Origin::Unknown`], which nobody trusts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = WORDS.iter().find(|(_, word)| *word == text).map(|(origin, _)| origin.clone());
        Ok(word.or_else(|| text.parse().ok().map(Self::Pulled)).unwrap_or(Self::Unknown))
    }
}

/// All places that an image came from; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(BTreeSet<Origin>);

impl Origins {
    /// So many are told apart.
    const MOST: usize = 64;

    /// One place.
    #[must_use]
    pub fn of(origin: Origin) -> Self {
        Self(BTreeSet::from([origin]))
    }

    /// Of an image that is made of these: a base image, images that files were copied from. Of none: [`Origin::Built`].
    #[must_use]
    pub fn derived<'a>(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut all = Self(BTreeSet::new());
        for image in images {
            all.add(image.origins());
        }
        if all.0.is_empty() { Self::of(Origin::Built) } else { all }
    }

    /// Adds those of the same image from elsewhere.
    pub fn add(&mut self, others: &Self) {
        for origin in &others.0 {
            if self.0.len() < Self::MOST {
                self.0.insert(origin.clone());
            } else if !self.0.contains(origin) {
                self.0.insert(Origin::Unknown);
            }
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }

    /// As it is stored: words with blanks between. A name has none.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(Origin::to_string).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let mut all = Self(BTreeSet::new());
        for word in text.split_ascii_whitespace() {
            all.add(&Self::of(word.parse().unwrap_or(Origin::Unknown)));
        }
        if all.0.is_empty() { Self::of(Origin::Unknown) } else { all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_back_and_what_is_unreadable_is_trusted_by_nobody() {
        let mut origins = Origins::of("registry.example:5000/a/b:1".parse().unwrap());
        for origin in [Origin::Loaded, Origin::Imported, Origin::Built, Origin::Unknown] {
            assert_eq!(origin.to_string().parse(), Ok(origin.clone()));
            origins.add(&Origins::of(origin));
        }
        assert_eq!(Origins::from_text(&origins.to_text()), origins);
        assert_eq!(origins.iter().next().map(Origin::registry), Some("registry.example:5000"));
        for text in ["", " ", "@trusted", "UPPER"] {
            assert_eq!(Origins::from_text(text), Origins::of(Origin::Unknown), "{text:?}");
        }
    }

    #[test]
    fn too_many_are_unknown() {
        let mut origins = Origins::of(Origin::Loaded);
        for number in 0..200 {
            origins.add(&Origins::of(format!("registry.example/x:{number}").parse().unwrap()));
        }
        assert_eq!(origins.iter().count(), Origins::MOST + 1);
        assert!(origins.iter().any(|origin| *origin == Origin::Unknown));
        assert_eq!(Origins::derived([]), Origins::of(Origin::Built));
    }
}
