//! Detach keys: the sequence by which a client on a TTY leaves without ending the program.

/// Docker's default.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The sequence cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid detach keys ({0}): unknown character: '{1}'")]
pub struct InvalidKeys(String, String);

/// Reads `ctrl-p,ctrl-q`: single characters, or `ctrl-` with a letter or one of `@[\]^_`.
pub fn parse(text: &str) -> Result<Vec<u8>, InvalidKeys> {
    let key = |word: &str| -> Option<u8> {
        if let Some(control) = word.to_ascii_lowercase().strip_prefix("ctrl-") {
            let [byte] = control.as_bytes() else { return None };
            return match byte {
                b'a'..=b'z' => Some(byte - b'a' + 1),
                b'@' => Some(0),
                b'[' => Some(27),
                b'\\' => Some(28),
                b']' => Some(29),
                b'^' => Some(30),
                b'_' => Some(31),
                _ => None,
            };
        }
        match word.as_bytes() {
            [byte] => Some(*byte),
            _ => None,
        }
    };
    text.split(',')
        .map(|word| key(word).ok_or_else(|| InvalidKeys(text.to_owned(), word.to_owned())))
        .collect()
}

/// Watches input for the sequence. Bytes that may begin it are held back until it is decided.
#[derive(Debug)]
pub struct Watcher {
    keys: Vec<u8>,
    matched: usize,
}

impl Watcher {
    /// For this sequence; an empty one never matches.
    #[must_use]
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes input; appends what is to be passed on. `true` when the sequence is complete: the rest is dropped.
    pub fn pass(&mut self, input: &[u8], output: &mut Vec<u8>) -> bool {
        for &byte in input {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
                continue;
            }
            output.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if self.keys.first() == Some(&byte) && self.keys.len() > 1 {
                self.matched = 1;
            } else if self.keys.first() == Some(&byte) {
                return true;
            } else {
                output.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut watcher = Watcher::new(parse(DEFAULT).unwrap());
        let mut output = Vec::new();
        let left = pieces.iter().any(|piece| watcher.pass(piece, &mut output));
        (output, left)
    }

    #[test]
    fn the_sequence_leaves_and_nothing_else_is_lost() {
        assert_eq!(run(&[b"ls\n"]), (b"ls\n".to_vec(), false));
        assert_eq!(run(&[b"a\x10\x11b"]), (b"a".to_vec(), true));
        assert_eq!(run(&[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(run(&[b"a\x10", b"b"]), (b"a\x10b".to_vec(), false));
        assert_eq!(run(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn keys_read_as_docker_reads_them() {
        assert_eq!(parse("ctrl-a,x,ctrl-[").unwrap(), [1, b'x', 27]);
        assert_eq!(parse("CTRL-@").unwrap(), [0]);
        assert_eq!(
            parse("ctrl-1").unwrap_err().to_string(),
            "Invalid detach keys (ctrl-1): unknown character: 'ctrl-1'"
        );
        assert!(parse("shift-a").is_err());
        assert!(parse("").is_err());
    }
}
