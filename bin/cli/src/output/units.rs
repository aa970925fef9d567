//! Sizes for people, as Docker's `go-units` writes and reads them.

/// `4.42MB`: powers of 1000, `digits` significant digits.
#[must_use]
pub fn human_size(bytes: f64, digits: usize) -> String {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// `31.2GiB`: powers of 1024, four significant digits.
#[must_use]
pub fn memory_size(bytes: f64) -> String {
    const UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", significant(value, 4), UNITS[unit])
}

/// Go's `%.4g` for numbers below ten thousand: no trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    let whole = format!("{:.0}", value.abs()).len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_few_digits() {
        for (bytes, digits, want) in [
            (0.0, 3, "0B"),
            (999.0, 3, "999B"),
            (1000.0, 3, "1kB"),
            (4_415_894.0, 3, "4.42MB"),
            (117_000_000.0, 3, "117MB"),
            (1_234_567_890.0, 4, "1.235GB"),
            (10_500.0, 4, "10.5kB"),
        ] {
            assert_eq!(human_size(bytes, digits), want);
        }
        assert_eq!(memory_size(25_278_529_536.0), "23.54GiB");
        assert_eq!(memory_size(1024.0), "1KiB");
    }
}
