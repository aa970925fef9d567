//! Spans of time as flags.

use cofferdam_client::api::parse_duration;

/// A span in Go's form (`1m30s`), in nanoseconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    i64::try_from(span.as_nanos()).map_err(|_too_long| format!("duration {text:?} is too long"))
}
