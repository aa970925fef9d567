//! Patterns for names: `*`, `?`, `[a-z]`, `[^a-z]`, and an escape character.

/// A pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    parts: Vec<Part>,
    /// Whether `*` and `?` stop at slashes.
    names: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Path,
    Shell,
    Deep,
}

#[derive(Clone, Debug)]
enum Part {
    Exactly(char),
    Any,
    AnyMany,
    /// Everything, also over slashes.
    AnyDeep,
    /// Nothing, or everything up to a slash.
    AnyDirectories,
    Class {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern {0:?}")]
pub struct BadGlob(String);

impl Glob {
    /// For file names, where wildcards stop at slashes (Go's `filepath.Match`).
    pub fn path(text: &str) -> Result<Self, BadGlob> {
        Self::read(text, Mode::Path)
    }

    /// For any text, as a shell's `${name#pattern}` has it.
    pub fn shell(text: &str) -> Result<Self, BadGlob> {
        Self::read(text, Mode::Shell)
    }

    /// For paths in an ignore file, where `**` stands for any number of directories.
    pub(crate) fn deep(text: &str) -> Result<Self, BadGlob> {
        Self::read(text, Mode::Deep)
    }

    /// Whether it has wildcards at all.
    #[must_use]
    pub fn is_wild(text: &str) -> bool {
        text.contains(['*', '?', '['])
    }

    fn read(text: &str, mode: Mode) -> Result<Self, BadGlob> {
        let bad = || BadGlob(text.chars().take(200).collect());
        let names = mode != Mode::Shell;
        let (mut parts, mut chars) = (Vec::new(), text.chars().peekable());
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' if mode == Mode::Deep && chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_none() { Part::AnyDeep } else { Part::AnyDirectories }
                }
                '*' => Part::AnyMany,
                '?' => Part::Any,
                '\\' => Part::Exactly(chars.next().ok_or_else(bad)?),
                '[' => {
                    let not = chars.next_if(|c| *c == '^' || (!names && *c == '!')).is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let one =
                            |c: Option<char>, chars: &mut std::iter::Peekable<std::str::Chars<'_>>| match c {
                                Some('\\') => chars.next(),
                                c => c,
                            };
                        let first = chars.next();
                        if first == Some(']') && !ranges.is_empty() {
                            break;
                        }
                        let low = one(first, &mut chars).ok_or_else(bad)?;
                        let mut high = low;
                        if chars.next_if_eq(&'-').is_some() {
                            let next = chars.next();
                            high = one(next, &mut chars).filter(|c| *c != ']').ok_or_else(bad)?;
                        }
                        ranges.push((low, high));
                    }
                    Part::Class { not, ranges }
                }
                c => Part::Exactly(c),
            });
        }
        Ok(Self { parts, names })
    }

    /// Whether the whole text fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        // Which positions of the text the parts so far can have reached.
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; text.len() + 1];
            match part {
                Part::AnyMany | Part::AnyDeep => {
                    let stops = self.names && matches!(part, Part::AnyMany);
                    let mut open = false;
                    for at in 0..=text.len() {
                        open |= reached[at];
                        next[at] = open;
                        if stops && text.get(at) == Some(&'/') {
                            open = false;
                        }
                    }
                }
                Part::AnyDirectories => {
                    let mut open = false;
                    for at in 0..=text.len() {
                        next[at] = reached[at] || (open && text[at - 1] == '/');
                        open |= reached[at];
                    }
                }
                single => {
                    for at in 0..text.len() {
                        next[at + 1] = reached[at] && single.fits(text[at], self.names);
                    }
                }
            }
            reached = next;
        }
        reached[text.len()]
    }
}

impl Part {
    fn fits(&self, c: char, names: bool) -> bool {
        match self {
            Self::Exactly(own) => *own == c,
            Self::Any => !(names && c == '/'),
            Self::Class { not, ranges } => {
                !(names && c == '/') && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *not
            }
            Self::AnyMany | Self::AnyDeep | Self::AnyDirectories => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_go_matches_them() {
        for (pattern, name, fits) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("[\\]a]", "]", true),
        ] {
            assert_eq!(Glob::path(pattern).unwrap().matches(name), fits, "{pattern} {name}");
        }
        for bad in ["[", "[a", "[a]x[", "a\\", "[a-]"] {
            assert!(Glob::path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn many_stars_cost_little() {
        let glob = Glob::path(&"*a".repeat(1000)).unwrap();
        assert!(!glob.matches(&"a".repeat(999)));
    }
}
