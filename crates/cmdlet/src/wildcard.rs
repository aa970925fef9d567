//! PowerShell's wildcards: `*`, `?`, `[a-c]`, and a backtick before what is meant as it is. Case does not matter.

/// Whether a pattern has any.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

enum Piece {
    Any,
    One,
    Letter(char),
    Class(Vec<(char, char)>),
}

/// Whether `text` matches. The time is bounded by the product of the lengths.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let pieces = compile(&pattern.to_lowercase());
    let letters: Vec<char> = text.to_lowercase().chars().collect();
    // reached[i]: the pieces so far can match the first i letters.
    let mut reached = vec![false; letters.len() + 1];
    reached[0] = true;
    for piece in &pieces {
        let mut next = vec![false; letters.len() + 1];
        if matches!(piece, Piece::Any) {
            let mut seen = false;
            for (place, is) in next.iter_mut().zip(&reached) {
                seen |= is;
                *place = seen;
            }
        } else {
            for (index, letter) in letters.iter().enumerate() {
                let fits = match piece {
                    Piece::Letter(wanted) => wanted == letter,
                    Piece::Class(ranges) => ranges.iter().any(|(from, to)| (from..=to).contains(&letter)),
                    Piece::One | Piece::Any => true,
                };
                next[index + 1] = reached[index] && fits;
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

fn compile(pattern: &str) -> Vec<Piece> {
    let letters: Vec<char> = pattern.chars().collect();
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(&letter) = letters.get(at) {
        at += 1;
        pieces.push(match letter {
            '*' => Piece::Any,
            '?' => Piece::One,
            '`' if at < letters.len() => {
                at += 1;
                Piece::Letter(letters[at - 1])
            }
            '[' => match letters[at..].iter().skip(1).position(|letter| *letter == ']') {
                Some(end) => {
                    let inside = &letters[at..=at + end];
                    at += end + 2;
                    Piece::Class(class(inside))
                }
                None => Piece::Letter('['),
            },
            other => Piece::Letter(other),
        });
    }
    pieces
}

fn class(letters: &[char]) -> Vec<(char, char)> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        if at + 2 < letters.len() && letters[at + 1] == '-' {
            ranges.push((letters[at], letters[at + 2]));
            at += 3;
        } else {
            ranges.push((letters[at], letters[at]));
            at += 1;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_are_powershells() {
        for (pattern, text) in [
            ("S*", "sales"),
            ("*", ""),
            ("t?t", "TST"),
            ("[a-c]x", "bx"),
            ("[ab]*", "apple"),
            ("a`*", "a*"),
            ("[", "["),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("S*", "tales"), ("t?t", "tt"), ("[a-c]x", "dx"), ("a`*", "ab"), ("", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
