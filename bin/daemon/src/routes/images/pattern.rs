//! Shell patterns as the `reference` filter takes them: `*` and `?` stop at a slash, `[a-c]` and `[^a]` are sets, a
//! backslash takes the next character as it is.

/// Whether `text` matches `pattern` as a whole. A malformed pattern matches nothing.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // The place after the last star, and how much of the text that star has taken so far. Going back to the last
    // star only is enough, so that no pattern takes more than quadratic time.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let Some(next) = one(&pattern, p, text[t]) {
            (p, t) = (next, t + 1);
            continue;
        }
        match star {
            Some((after, taken)) if text[taken] != '/' => {
                star = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character at `p`; the place after what matched it.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => (c != '/').then_some(p + 1),
        '\\' => (*pattern.get(p + 1)? == c).then_some(p + 2),
        '[' => set(pattern, p + 1, c),
        literal => (literal == c).then_some(p + 1),
    }
}

/// Matches one character against the set whose first character is at `p`.
fn set(pattern: &[char], mut p: usize, c: char) -> Option<usize> {
    let negated = pattern.get(p) == Some(&'^');
    p += usize::from(negated);
    let (mut found, mut empty) = (false, true);
    loop {
        let (low, next) = match *pattern.get(p)? {
            ']' if !empty => break,
            '\\' => (*pattern.get(p + 1)?, p + 2),
            low => (low, p + 1),
        };
        let (high, next) = match (pattern.get(next), pattern.get(next + 1)) {
            (Some('-'), Some(high)) if *high != ']' => (*high, next + 2),
            _ => (low, next),
        };
        found |= (low..=high).contains(&c);
        (p, empty) = (next, false);
    }
    (found != negated && c != '/').then_some(p + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_the_shells() {
        for (pattern, text) in [
            ("busybox", "busybox"),
            ("busy*", "busybox"),
            ("*box", "busybox"),
            ("b*b*x", "busybox"),
            ("*/*", "localhost:5000/x"),
            ("busybo?", "busybox"),
            ("[a-c]usybox", "busybox"),
            ("[^x]usybox", "busybox"),
            ("*:latest", "busybox:latest"),
            ("**", "busybox"),
            (r"a\*b", "a*b"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("busy", "busybox"),
            ("*", "a/b"),
            ("a?b", "a/b"),
            ("[", "["),
            ("[]", "x"),
            ("[x", "x"),
            ("[^x]", "x"),
            ("a", ""),
            ("\\", "\\"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1999)));
    }
}
