//! Docker's `json-file`: one JSON object a line, with `log`, `stream`, `attrs` where there are any, and `time`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::BytesMut;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::format::{LONGEST, Taken};
use crate::{Record, Stream};

#[derive(Serialize)]
struct Written<'a> {
    log: &'a str,
    stream: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attrs: Option<&'a RawValue>,
    time: Timestamp,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(default, borrow)]
    log: Cow<'a, str>,
    #[serde(default, borrow)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

pub(crate) fn encode(
    stream: Stream,
    time: Timestamp,
    line: &[u8],
    attributes: Option<&RawValue>,
    output: &mut Vec<u8>,
) {
    let written =
        Written { log: &String::from_utf8_lossy(line), stream: stream.as_str(), attrs: attributes, time };
    // Text, a word and a time always serialise, and memory does not refuse to be written.
    if serde_json::to_writer(&mut *output, &written).is_ok() {
        output.push(b'\n');
    }
}

pub(crate) fn take(input: &mut BytesMut) -> Taken {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        if input.len() > LONGEST {
            // Not the shim's: a broken file must not fill the memory.
            input.clear();
        }
        return Taken::Incomplete;
    };
    let line = input.split_to(end + 1);
    // A line torn by a crash is no reason to hide the others.
    let Ok(read) = serde_json::from_slice::<Read>(&line) else { return Taken::Skipped };
    Taken::Record(Record {
        stream: if read.stream == "stderr" { Stream::Stderr } else { Stream::Stdout },
        time: read.time,
        text: read.log.into_owned().into_bytes(),
        attributes: read.attrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_looks_like_dockers() {
        let time = "2026-01-02T03:04:05.600000007Z".parse().unwrap();
        let mut output = Vec::new();
        encode(Stream::Stderr, time, b"a\"b\n", None, &mut output);
        let attributes = RawValue::from_string(r#"{"tag":"x"}"#.to_owned()).unwrap();
        encode(Stream::Stdout, time, b"\xff\0\n", Some(&attributes), &mut output);
        let text = concat!(
            r#"{"log":"a\"b\n","stream":"stderr","time":"2026-01-02T03:04:05.600000007Z"}"#,
            "\n",
            r#"{"log":""#,
            "\u{fffd}",
            r#"\u0000\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-01-02T03:04:05.600000007Z"}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(output).unwrap(), text);
    }
}
