//! Query strings.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The parameters of a request. What is empty or false is left out: it is the default everywhere in the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A text, left out when empty.
    pub(crate) fn text(mut self, key: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.push((key, value.to_owned()));
        }
        self
    }

    /// A text that may be absent.
    pub(crate) fn option(self, key: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// A yes or no.
    pub(crate) fn flag(self, key: &'static str, value: bool) -> Self {
        if value { self.text(key, "1") } else { self }
    }

    /// A number that may be absent.
    pub(crate) fn number(self, key: &'static str, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.text(key, &value.to_string()),
            None => self,
        }
    }

    /// Filters, left out when there are none.
    pub(crate) fn filters(self, filters: &cofferdam_api::Filters) -> Self {
        if filters.is_empty() { self } else { self.text("filters", &filters.to_json()) }
    }

    /// The path with its query.
    pub(crate) fn attach_to(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish();
        format!("{path}?{query}")
    }
}

/// A name as part of a path. Image references keep their slashes, colons and at-signs.
pub(crate) fn segment(name: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'/')
        .remove(b':')
        .remove(b'@');
    utf8_percent_encode(name, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_left_out_and_text_is_escaped() {
        let query = Query::new().flag("all", false).text("name", "").option("tag", None).number("t", None);
        assert_eq!(query.attach_to("/x"), "/x");
        let query = Query::new().flag("all", true).text("name", "a b&c").number("t", Some(-1));
        assert_eq!(query.attach_to("/x"), "/x?all=1&name=a+b%26c&t=-1");
        assert_eq!(segment("localhost:5000/a/b@sha256:1"), "localhost:5000/a/b@sha256:1");
        assert_eq!(segment("a?b c#d%"), "a%3Fb%20c%23d%25");
    }
}
