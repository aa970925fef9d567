//! How lines are written into a file and taken out of it again.

use bytes::BytesMut;
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::{Record, Stream, json, local};

/// A record longer than this is not the shim's.
pub(crate) const LONGEST: usize = 1 << 20;

/// A format of log files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Docker's `json-file`.
    Json,
    /// The compact one.
    Local,
}

/// What was at the begin of some input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A record, which was taken out.
    Record(Record),
    /// Something unreadable, which was taken out.
    Skipped,
    /// Not all of a record yet.
    Incomplete,
    /// Nothing that could be a record, so nobody knows where the next one begins.
    Broken,
}

impl Format {
    /// Appends a line to `output`; `attributes` are those of every line.
    pub(crate) fn encode(
        self,
        stream: Stream,
        time: Timestamp,
        line: &[u8],
        attributes: Option<&RawValue>,
        output: &mut Vec<u8>,
    ) {
        match self {
            Self::Json => json::encode(stream, time, line, attributes, output),
            Self::Local => local::encode(stream, time, line, attributes.map_or("", RawValue::get), output),
        }
    }

    /// Takes the first record out of `input`.
    pub fn take(self, input: &mut BytesMut) -> Taken {
        match self {
            Self::Json => json::take(input),
            Self::Local => local::take(input),
        }
    }
}
