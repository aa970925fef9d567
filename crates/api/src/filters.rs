//! The `filters` parameter of list endpoints.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Filters by key: an object passes a key when it matches **one** of the key's values, and passes the filters when
/// it passes every key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// The parameter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFilters {
    /// Not one of the two JSON forms.
    #[error("invalid filter: {0}")]
    Json(#[source] serde_json::Error),
    /// A key that the endpoint does not know.
    #[error("invalid filter '{0}'")]
    Key(String),
    /// A value that the key does not take.
    #[error("invalid filter '{key}={value}'")]
    Value {
        /// The filter.
        key: String,
        /// What was given.
        value: String,
    },
}

/// The two spellings of a key's values.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    /// `["a", "b"]`
    List(Vec<String>),
    /// `{"a": true}`, as clients before API 1.22 write it; every CLI still sends it at times.
    Map(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads the parameter; empty text is no filter.
    pub fn parse(text: &str) -> Result<Self, InvalidFilters> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parsed: BTreeMap<String, Values> = serde_json::from_str(text).map_err(InvalidFilters::Json)?;
        let keys = parsed.into_iter().map(|(key, values)| {
            let values = match values {
                Values::List(list) => list.into_iter().collect(),
                Values::Map(map) => map.into_iter().filter_map(|(value, on)| on.then_some(value)).collect(),
            };
            (key, values)
        });
        Ok(Self(keys.collect()))
    }

    /// The parameter's text, in the newer form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("text keys and values always serialise")
    }

    /// Adds one value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().insert(value.to_owned());
    }

    /// Whether there is no filter at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses keys that are not among `known`.
    pub fn check(&self, known: &[&str]) -> Result<(), InvalidFilters> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(InvalidFilters::Key(key.clone())),
            None => Ok(()),
        }
    }

    /// The values of a key; none when it is absent.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key is there with at least one value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    /// A key that is a yes or no (`dangling=true`).
    pub fn flag(&self, key: &str) -> Result<Option<bool>, InvalidFilters> {
        let mut flag = None;
        for value in self.values(key) {
            flag = Some(match value {
                "1" | "true" | "True" | "TRUE" => true,
                "0" | "false" | "False" | "FALSE" => false,
                _ => return Err(InvalidFilters::Value { key: key.to_owned(), value: value.to_owned() }),
            });
        }
        Ok(flag)
    }

    /// Whether the key is absent or one of its values satisfies `matches`.
    pub fn any(&self, key: &str, matches: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).any(matches)
    }

    /// Whether the key is absent or one of its values equals `value`.
    #[must_use]
    pub fn matches(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| wanted == value)
    }

    /// Whether **all** values of `key` (`name` or `name=value`) are found by `lookup`, as labels are filtered.
    pub fn labels<'a>(&self, key: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => lookup(name) == Some(value),
            None => lookup(wanted).is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        let new = Filters::parse(r#"{"label":["a","b=c"],"dangling":["true"]}"#).unwrap();
        let old =
            Filters::parse(r#"{"label":{"a":true,"b=c":true,"d":false},"dangling":{"true":true}}"#).unwrap();
        assert_eq!(new, old);
        assert_eq!(new.flag("dangling").unwrap(), Some(true));
        assert_eq!(Filters::parse(&new.to_json()).unwrap(), new);
    }

    #[test]
    fn nonsense_is_named() {
        assert!(Filters::parse("{").is_err());
        assert!(Filters::parse("[]").is_err());
        let filters = Filters::parse(r#"{"colour":["red"],"dangling":["perhaps"]}"#).unwrap();
        assert_eq!(filters.check(&["dangling"]).unwrap_err().to_string(), "invalid filter 'colour'");
        assert_eq!(filters.flag("dangling").unwrap_err().to_string(), "invalid filter 'dangling=perhaps'");
    }

    #[test]
    fn values_are_alternatives_and_labels_add_up() {
        let filters = Filters::parse(r#"{"name":["a","b"],"label":["x","y=1"]}"#).unwrap();
        assert!(filters.matches("name", "b") && !filters.matches("name", "c") && filters.matches("id", "c"));
        let label = |name: &str| match name {
            "x" => Some("0"),
            "y" => Some("1"),
            _ => None,
        };
        assert!(filters.labels("label", label));
        assert!(!filters.labels("label", |name| (name == "x").then_some("")));
    }
}
