//! `.dockerignore`: which files of a directory a build does not see.

use crate::Glob;

/// The most patterns.
const MAX_PATTERNS: usize = 10_000;

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error reading .dockerignore: line {line}: {reason}")]
pub struct BadPattern {
    /// Where it is.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The patterns of a `.dockerignore`, in order: the last one that fits a file decides.
#[derive(Clone, Debug, Default)]
pub struct IgnoreList {
    patterns: Vec<(Glob, bool)>,
}

impl IgnoreList {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut patterns = Vec::new();
        for (n, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let bad = |reason: String| BadPattern { line: n + 1, reason };
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (pattern, keeps) = match line.trim().strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line.trim(), false),
            };
            if pattern.is_empty() {
                return Err(bad("illegal exclusion pattern: \"!\"".to_owned()));
            }
            let pattern = clean(pattern);
            if pattern.is_empty() {
                // The directory itself cannot be left out.
                continue;
            }
            if patterns.len() == MAX_PATTERNS {
                return Err(bad(format!("more than {MAX_PATTERNS} patterns")));
            }
            patterns.push((Glob::deep(&pattern).map_err(|error| bad(error.to_string()))?, keeps));
        }
        Ok(Self { patterns })
    }

    /// Whether there is no pattern at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a file is left out: its path, or a directory above it, fits.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        let ends = path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at).chain([path.len()]);
        let prefixes: Vec<&str> = ends.map(|end| &path[..end]).collect();
        let mut ignored = false;
        for (glob, keeps) in &self.patterns {
            if *keeps == ignored && prefixes.iter().any(|prefix| glob.matches(prefix)) {
                ignored = !keeps;
            }
        }
        ignored
    }

    /// Whether something below a directory that is left out may be wanted all the same.
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|(_, keeps)| *keeps)
    }
}

/// A path without empty parts, `.` and `..`, and without slashes at its ends.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_reference() {
        let list = IgnoreList::parse(
            "# comment\n*/temp*\n*/*/temp*\ntemp?\n/rooted\n**/*.go\n\nlogs/**\n*.md\n!README.md\ndir/\n./x/../y\n",
        )
        .unwrap();
        for ignored in [
            "a/temporary.txt",
            "a/b/temp",
            "tempa",
            "rooted",
            "rooted/below",
            "x.go",
            "a/b/x.go",
            "logs/a/b",
            "NOTES.md",
            "dir/file",
            "y",
        ] {
            assert!(list.ignores(ignored), "{ignored}");
        }
        for kept in ["temp", "README.md", "a/rooted", "x.gox", "a/b/c/temp", "x"] {
            assert!(!list.ignores(kept), "{kept}");
        }
    }

    #[test]
    fn exceptions_depend_on_order() {
        let list = IgnoreList::parse("*\n!src\nsrc/secret").unwrap();
        assert!(list.ignores("other") && list.ignores("src/secret"));
        assert!(!list.ignores("src") && !list.ignores("src/main.rs"));
        assert!(list.has_exceptions());
        assert_eq!(IgnoreList::parse("a\n!").unwrap_err().line, 2);
        assert_eq!(IgnoreList::parse("[").unwrap_err().line, 1);
        assert!(!IgnoreList::parse("/\n.").unwrap().ignores("a"));
    }
}
