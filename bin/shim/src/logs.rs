//! The container's log in the form that Docker's `json-file` driver gives it: one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

/// Longer lines are recorded in parts of this size, all but the last without their newline, as Docker does.
const LINE_LIMIT: usize = 16 * 1024;

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and all output of a TTY.
    Stdout,
    /// Standard error.
    Stderr,
}

#[derive(Serialize)]
struct Entry<'a> {
    log: &'a str,
    stream: &'static str,
    time: Timestamp,
}

/// The log file.
pub struct Log {
    file: File,
    failed: bool,
}

/// The lines of one stream, which arrive in pieces.
pub struct Lines {
    stream: &'static str,
    rest: Vec<u8>,
}

impl Log {
    /// Opens the file to append; a restarted container continues it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        Ok(Self { file, failed: false })
    }

    /// Writes entries that are whole. A full disk costs log lines, not the container.
    fn append(&mut self, entries: &[u8]) {
        match self.file.write_all(entries) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                tracing::error!("container log: {error}");
                self.failed = true;
            }
            Err(_) => {}
        }
    }
}

impl Lines {
    /// No line yet.
    pub fn new(stream: Stream) -> Self {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        Self { stream, rest: Vec::new() }
    }

    /// Takes a piece of output and records the lines that it completes, in one write.
    pub fn push(&mut self, piece: &[u8], log: &mut Log) {
        let entries = self.take(piece, Timestamp::now());
        if !entries.is_empty() {
            log.append(&entries);
        }
    }

    /// The stream has ended: records what came after the last newline.
    pub fn finish(&mut self, log: &mut Log) {
        if !self.rest.is_empty() {
            let mut entries = Vec::new();
            let rest = std::mem::take(&mut self.rest);
            self.entry(&rest, Timestamp::now(), &mut entries);
            log.append(&entries);
        }
    }

    fn take(&mut self, piece: &[u8], time: Timestamp) -> Vec<u8> {
        let mut entries = Vec::with_capacity(piece.len() + 128);
        let joined;
        let mut left = if self.rest.is_empty() {
            piece
        } else {
            self.rest.extend_from_slice(piece);
            joined = std::mem::take(&mut self.rest);
            &joined[..]
        };
        loop {
            let within = &left[..left.len().min(LINE_LIMIT)];
            let end = match within.iter().position(|&byte| byte == b'\n') {
                Some(newline) => newline + 1,
                None if within.len() == LINE_LIMIT => whole_characters(within),
                None => break,
            };
            self.entry(&left[..end], time, &mut entries);
            left = &left[end..];
        }
        self.rest = left.to_vec();
        entries
    }

    fn entry(&self, line: &[u8], time: Timestamp, entries: &mut Vec<u8>) {
        let entry = Entry { log: &String::from_utf8_lossy(line), stream: self.stream, time };
        // Text, a word and a time always serialise, and memory does not refuse to be written.
        if serde_json::to_writer(&mut *entries, &entry).is_ok() {
            entries.push(b'\n');
        }
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

    fn entries(bytes: &[u8]) -> Vec<serde_json::Value> {
        String::from_utf8(bytes.to_vec())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn take(lines: &mut Lines, piece: &[u8]) -> Vec<String> {
        let time = "2026-01-02T03:04:05.600000007Z".parse().unwrap();
        entries(&lines.take(piece, time))
            .iter()
            .map(|entry| entry["log"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn an_entry_looks_like_dockers() {
        let mut lines = Lines::new(Stream::Stderr);
        let time = "2026-01-02T03:04:05.600000007Z".parse().unwrap();
        let bytes = lines.take(b"a\"b\n", time);
        let text = r#"{"log":"a\"b\n","stream":"stderr","time":"2026-01-02T03:04:05.600000007Z"}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("{text}\n"));
    }

    #[test]
    fn lines_are_put_together() {
        let mut lines = Lines::new(Stream::Stdout);
        assert!(take(&mut lines, b"one, ").is_empty());
        assert_eq!(take(&mut lines, b"two\nthree\nfo"), ["one, two\n", "three\n"]);
        assert_eq!(take(&mut lines, b"ur\n"), ["four\n"]);
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let mut lines = Lines::new(Stream::Stdout);
        let mut long = vec![b'x'; LINE_LIMIT - 1];
        long.extend_from_slice("é\n".as_bytes());
        let parts = take(&mut lines, &long);
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].len(), parts[1].as_str()), (LINE_LIMIT - 1, "é\n"));
        let parts = take(&mut lines, &vec![b'y'; LINE_LIMIT * 2 + 5]);
        assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [LINE_LIMIT, LINE_LIMIT]);
        assert_eq!(take(&mut lines, b"\n"), ["yyyyy\n"]);
    }

    #[test]
    fn any_bytes_are_recorded() {
        let mut lines = Lines::new(Stream::Stdout);
        assert_eq!(take(&mut lines, b"\xff\x00\n"), ["\u{fffd}\u{0}\n"]);
        assert_eq!(take(&mut lines, &[0x80; LINE_LIMIT])[0].chars().count(), LINE_LIMIT);
    }

    #[test]
    fn what_is_left_at_the_end_is_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(&path).unwrap();
        let mut lines = Lines::new(Stream::Stdout);
        lines.push(b"first\nlast", &mut log);
        lines.finish(&mut log);
        let logged: Vec<_> =
            entries(&std::fs::read(&path).unwrap()).iter().map(|entry| entry["log"].clone()).collect();
        assert_eq!(logged, ["first\n", "last"]);
    }
}
