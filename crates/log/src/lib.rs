//! Containers' logs as their shims write them and the daemon reads them, so that both cannot disagree.
//!
//! ```text
//! output ─► Lines ─► Log ─► Writer ─► file, file.1, file.2.gz, …  ─► Files ─► Format ─► Record
//!                      └──► Journal ─► systemd's journal
//! ```
//!
//! * [`Lines`] cuts a stream into lines;
//! * [`Format`] is how a line is written into a file, and how it is found again: [`json`] or [`local`];
//! * [`Files`] is a log's file with the older ones beside it, and the lock that keeps their names from changing while
//!   somebody opens them;
//! * [`Writer`] appends and rotates; it may die at any moment, and loses no more than the line that it was writing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod compress;
mod files;
mod format;
mod journal;
mod json;
mod lines;
mod local;
mod log;
mod tail;
mod writer;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use files::{Files, Identity, Source};
pub use format::{Format, Taken};
pub use journal::is_present as journal_is_present;
pub use lines::{Cut, Lines};
pub use log::Log;
pub use tail::{count, start_of_last};
pub use writer::Writer;

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and all output of a TTY.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As logs name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What was read of a log: a line, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it was written to.
    pub stream: Stream,
    /// When.
    pub time: Timestamp,
    /// The line, with its newline.
    pub text: Vec<u8>,
    /// What the log's options add to every line.
    pub attributes: BTreeMap<String, String>,
}

/// Entry points for the fuzzer: they must neither panic nor take memory out of proportion to their input.
pub mod fuzz {
    use std::io::Cursor;

    use bytes::BytesMut;

    use crate::{Format, Taken, count, start_of_last};

    /// Reads arbitrary bytes as a log of each format, forwards and from the end.
    pub fn fuzz_log(data: &[u8]) {
        for format in [Format::Json, Format::Local] {
            let mut input = BytesMut::from(data);
            let mut records = 0;
            while let Taken::Record(_) | Taken::Skipped = format.take(&mut input) {
                records += 1;
            }
            let counted = count(data, format).expect("memory is read without errors");
            assert_eq!(counted, records);
            for lines in [0, 1, 3, usize::MAX] {
                let mut file = Cursor::new(data);
                let (start, found) = start_of_last(&mut file, format, lines).expect("memory can be read");
                assert!(start <= data.len() as u64 && found <= lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_input_upsets_the_readers(data in proptest::collection::vec(any::<u8>(), 0..512)) {
            crate::fuzz::fuzz_log(&data);
        }
    }
}
