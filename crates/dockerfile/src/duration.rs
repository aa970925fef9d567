//! Go's spans of time.

/// A span (`1m30s`, `1.5h`, `100ms`) in nanoseconds.
pub(crate) fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..end].parse().map_err(|_letters| invalid())?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| end + n);
        let unit = match &rest[end..unit_end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return Err(invalid()),
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    if text.is_empty() || total >= 9e18 {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation)] // Checked just now.
    let nanoseconds = total as i64;
    Ok(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(nanoseconds("1m30s"), Ok(90_000_000_000));
        assert_eq!(nanoseconds("1.5s"), Ok(1_500_000_000));
        assert_eq!(nanoseconds("0"), Ok(0));
        for bad in ["", "5", "s", "1x", "-1s", "99999999999999h", "1..5s"] {
            assert!(nanoseconds(bad).is_err(), "{bad}");
        }
    }
}
