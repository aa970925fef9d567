//! Patterns of registries and names: `*` is any text, `?` any character, and the whole has to match.

use regex::Regex;

/// No longer pattern is taken.
const LONGEST: usize = 512;

/// A pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Reads one; case does not matter.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(format!("a pattern has 1 to {LONGEST} bytes"));
        }
        let text = text.to_ascii_lowercase();
        let escaped = regex::escape(&text).replace(r"\*", ".*").replace(r"\?", ".");
        let regex = Regex::new(&format!("^(?s:{escaped})$")).map_err(|error| error.to_string())?;
        Ok(Self { text, regex })
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(&text.to_ascii_lowercase())
    }

    /// How specific it is: a name before a pattern, a long pattern before a short one.
    pub fn specificity(&self) -> (bool, usize) {
        let literal = self.text.chars().filter(|c| !matches!(c, '*' | '?')).count();
        (literal == self.text.chars().count(), literal)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_matches() {
        for (pattern, text, wanted) in [
            ("a.example", "a.example", true),
            ("a.example", "A.Example", true),
            ("a.example", "aXexample", false),
            ("a.example", "a.example.evil", false),
            ("*.example", "b.a.example", true),
            ("*.example", "example", false),
            ("a/*", "a/b/c:1", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("(a|b)", "a", false),
            ("*", "", true),
            ("a*", "b\na", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), wanted, "{pattern} {text}");
        }
        assert!(Pattern::parse("").is_err() && Pattern::parse(&"a".repeat(513)).is_err());
        // Time is linear, whatever the pattern is.
        let long = Pattern::parse(&"*a".repeat(256)).unwrap();
        assert!(!long.matches(&"a".repeat(255)));
    }

    #[test]
    fn names_before_patterns() {
        let of = |text| Pattern::parse(text).unwrap().specificity();
        assert!(of("abc") > of("abcdef*") && of("abcd*") > of("abc*") && of("?") == of("*"));
    }
}
