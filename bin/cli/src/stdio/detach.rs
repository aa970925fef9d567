//! The keys that detach from a container and leave it running.

/// Watches for the sequence in what is typed. The keys still travel: the daemon acts on them and closes the stream;
/// this only knows why it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`
    fn default() -> Self {
        Self { sequence: vec![0x10, 0x11], matched: 0 }
    }
}

impl DetachKeys {
    /// Reads `ctrl-a`, `ctrl-@`, `ctrl-[` or single characters, separated by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = |name: &str| -> Result<u8, String> {
            let invalid = || {
                format!(
                    "invalid detach keys {text:?}: want single characters or ctrl-<letter>, separated by commas"
                )
            };
            let (bytes, control) = match name.strip_prefix("ctrl-") {
                Some(rest) => (rest.as_bytes(), true),
                None => (name.as_bytes(), false),
            };
            match (bytes, control) {
                ([key], false) => Ok(*key),
                ([key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')], true) => {
                    Ok(key.to_ascii_uppercase() & 0x1f)
                }
                _ => Err(invalid()),
            }
        };
        Ok(Self { sequence: text.split(',').map(key).collect::<Result<_, _>>()?, matched: 0 })
    }

    /// Whether the sequence is complete with these bytes.
    pub fn saw(&mut self, typed: &[u8]) -> bool {
        typed.iter().any(|key| {
            self.matched = match self.sequence.get(self.matched) {
                Some(wanted) if wanted == key => self.matched + 1,
                _ => usize::from(self.sequence.first() == Some(key)),
            };
            let complete = self.matched == self.sequence.len();
            if complete {
                self.matched = 0;
            }
            complete
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q").unwrap(), DetachKeys::default());
        let mut keys = DetachKeys::default();
        assert!(!keys.saw(b"abc\x10"));
        assert!(keys.saw(b"\x11"));
        assert!(!keys.saw(b"\x10x\x11"));
        assert!(keys.saw(b"\x10\x10\x11"));
    }

    #[test]
    fn keys_are_checked() {
        assert!(DetachKeys::parse("ctrl-@,a").unwrap().saw(b"\0a"));
        for bad in ["", "ctrl-", "ctrl-1", "ab", "ctrl-a,", "ctrl-ab"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
