//! Output cut into lines.

/// Longer lines are recorded in parts of this size, all but the last without their newline, as Docker does.
const LONGEST: usize = 16 * 1024;

/// One stream, which arrives in pieces.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

/// Lines that are complete.
#[derive(Debug, Default)]
pub struct Cut {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    last: bool,
}

impl Lines {
    /// Takes a piece of output; the lines that it completes.
    pub fn push(&mut self, piece: &[u8]) -> Cut {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let (mut ends, mut start) = (Vec::new(), 0);
        loop {
            let left = &bytes[start..];
            let within = &left[..left.len().min(LONGEST)];
            let length = match within.iter().position(|&byte| byte == b'\n') {
                Some(newline) => newline + 1,
                None if within.len() == LONGEST => whole_characters(within),
                None => break,
            };
            start += length;
            ends.push(start);
        }
        self.rest = bytes.split_off(start);
        Cut { bytes, ends, last: false }
    }

    /// The stream has ended: what came after the last newline.
    pub fn finish(&mut self) -> Cut {
        let bytes = std::mem::take(&mut self.rest);
        let ends = if bytes.is_empty() { Vec::new() } else { vec![bytes.len()] };
        Cut { bytes, ends, last: true }
    }
}

impl Cut {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The lines, each with its newline unless it is a part of a long one or the stream's last.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Whether more of this line is to come.
    #[must_use]
    pub fn is_partial(&self, line: &[u8]) -> bool {
        !self.last && !line.ends_with(b"\n")
    }
}

/// The length of `text` without a character that is cut off at its end.
fn whole_characters(text: &[u8]) -> usize {
    match std::str::from_utf8(text) {
        // Nothing but the last character is wrong, and that only because more is to come.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cut: &Cut) -> Vec<String> {
        cut.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn lines_are_put_together() {
        let mut lines = Lines::default();
        assert!(lines.push(b"one, ").is_empty());
        assert_eq!(texts(&lines.push(b"two\nthree\nfo")), ["one, two\n", "three\n"]);
        assert_eq!(texts(&lines.push(b"ur\nlast")), ["four\n"]);
        let cut = lines.finish();
        assert_eq!(texts(&cut), ["last"]);
        assert!(!cut.is_partial(b"last"));
        assert!(lines.finish().is_empty());
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let mut lines = Lines::default();
        let mut long = vec![b'x'; LONGEST - 1];
        long.extend_from_slice("é\n".as_bytes());
        let cut = lines.push(&long);
        let parts = texts(&cut);
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].len(), parts[1].as_str()), (LONGEST - 1, "é\n"));
        assert_eq!(cut.iter().map(|line| cut.is_partial(line)).collect::<Vec<_>>(), [true, false]);
        let cut = lines.push(&vec![b'y'; LONGEST * 2 + 5]);
        assert_eq!(cut.iter().map(<[u8]>::len).collect::<Vec<_>>(), [LONGEST, LONGEST]);
        assert_eq!(texts(&lines.push(b"\n")), ["yyyyy\n"]);
    }

    #[test]
    fn any_bytes_are_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(&[0x80; LONGEST]).iter().next().unwrap().len(), LONGEST);
        assert_eq!(lines.push(b"\xff\x00\n").iter().next().unwrap(), b"\xff\x00\n");
    }
}
