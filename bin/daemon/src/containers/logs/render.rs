//! A record as a client sees it.

use cofferdam_api::stdcopy;
use cofferdam_log::{Record, Stream};

use super::Options;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Shown,
    Skipped,
    /// It is later than `until`; so is all that follows.
    End,
}

/// Appends it to `output`, if the client wants it.
pub(super) fn render(record: &Record, options: &Options, output: &mut Vec<u8>) -> Fate {
    let time = i64::try_from(record.time.as_nanosecond()).unwrap_or(i64::MAX);
    if options.until.is_some_and(|until| time > until) {
        return Fate::End;
    }
    let (wanted, stream) = match record.stream {
        Stream::Stdout => (options.stdout, stdcopy::Stream::Stdout),
        Stream::Stderr => (options.stderr, stdcopy::Stream::Stderr),
    };
    if !wanted || options.since.is_some_and(|since| time < since) {
        return Fate::Skipped;
    }
    let mut text = Vec::with_capacity(record.text.len() + 64);
    if options.timestamps {
        text.extend_from_slice(format!("{:.9} ", record.time).as_bytes());
    }
    if options.details {
        text.extend_from_slice(details(record).as_bytes());
        text.push(b' ');
    }
    text.extend_from_slice(&record.text);
    if options.raw {
        output.append(&mut text);
    } else {
        output.extend(stdcopy::encode(stream, &text));
    }
    Fate::Shown
}

/// `name=value,name=value`, escaped as in a URL.
fn details(record: &Record) -> String {
    let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pairs = record.attributes.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}
