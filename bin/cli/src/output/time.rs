//! Points in time: shown in the local zone, and read from `--since` and its like.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil};

use cofferdam_client::api::{human_duration, parse_duration};

/// `2026-01-02 15:04:05 +0000 UTC`, as Go prints a time of whole seconds.
#[must_use]
pub fn local(unix_seconds: i64) -> String {
    zoned(unix_seconds).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// `2026-01-02T15:04:05.000000000+01:00`, as `events` prints it.
#[must_use]
pub fn clock(unix_nanos: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(unix_nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    text.strip_suffix("+00:00").map(|utc| format!("{utc}Z")).unwrap_or(text)
}

/// `3 minutes ago`
#[must_use]
pub fn ago(unix_seconds: i64) -> String {
    let elapsed = Timestamp::now().as_second().saturating_sub(unix_seconds);
    format!("{} ago", human_duration(elapsed))
}

fn zoned(unix_seconds: i64) -> Zoned {
    Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system())
}

/// A point in time as the API takes it (`seconds.nanoseconds`), from a Unix time, a duration before `now` (`10m`),
/// or a date with or without time and zone.
pub fn point_in_time(text: &str, now: Timestamp) -> Result<String, String> {
    let invalid = || {
        format!(
            "invalid time {text:?}: want a date like 2026-01-02T15:04:05, a Unix time or a duration like 10m"
        )
    };
    let api = |time: Timestamp| format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Ok(text.to_owned());
    }
    if let Ok(before) = parse_duration(text) {
        return now.checked_sub(before).map(api).map_err(|_out_of_range| invalid());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(api(time));
    }
    let local = match text.strip_suffix('Z') {
        Some(utc) => (utc, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let mut civil = local.0.to_owned();
    // Go's layouts allow an hour alone, which the standard does not.
    if civil.len() == "2026-01-02T15".len() && civil.contains('T') {
        civil.push_str(":00");
    }
    let civil: civil::DateTime = civil.parse().map_err(|_not_a_date| invalid())?;
    civil.to_zoned(local.1).map(|time| api(time.timestamp())).map_err(|_out_of_range| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_unix_times() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, want) in [
            ("1234", "1234"),
            ("1234.5", "1234.5"),
            ("10m", "999400.000000000"),
            ("1970-01-02T00:00:00Z", "86400.000000000"),
            ("1970-01-02T00:00:00.5Z", "86400.500000000"),
            ("1970-01-01T01Z", "3600.000000000"),
            ("1970-01-02T01:00:00+01:00", "86400.000000000"),
        ] {
            assert_eq!(point_in_time(text, now).as_deref(), Ok(want));
        }
        assert!(point_in_time("yesterday", now).is_err());
        assert!(point_in_time("", now).is_err());
    }

    #[test]
    fn clocks_have_nanoseconds() {
        assert!(clock(1_500_000_000_000_000_001).contains(".000000001"));
    }
}
