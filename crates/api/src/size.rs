//! Sizes in bytes, as people write them.

/// `512m`, `1.5GiB`, `64K`, `100`: powers of 1024 whatever the spelling, as Docker's.
pub fn bytes(text: &str) -> Result<i64, String> {
    read(text, 1024)
}

/// The same with powers of 1000, which Docker has for the sizes of logs.
pub fn decimal_bytes(text: &str) -> Result<i64, String> {
    read(text, 1000)
}

fn read(text: &str, base: u64) -> Result<i64, String> {
    let invalid = || format!("invalid size {text:?}: want a number with b, k, m, g, t or p");
    let split = text.rfind(|c: char| c.is_ascii_digit()).ok_or_else(invalid)? + 1;
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 1u64,
        "k" => base,
        "m" => base.pow(2),
        "g" => base.pow(3),
        "t" => base.pow(4),
        "p" => base.pow(5),
        _ => return Err(invalid()),
    };
    // Whole numbers stay exact.
    if let Ok(whole) = number.parse::<u64>() {
        let bytes = whole.checked_mul(factor).and_then(|bytes| i64::try_from(bytes).ok());
        return bytes.ok_or_else(invalid);
    }
    let value: f64 = number.parse().map_err(|_not_a_number| invalid())?;
    let bytes = value * factor as f64;
    // 2^63 bytes is beyond every machine, and f64 is exact enough below.
    if value.is_sign_negative() || !(0.0..9.2e18).contains(&bytes) {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation, reason = "the range was checked")]
    Ok(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, want) in [
            ("0", 0),
            ("100", 100),
            ("64k", 65_536),
            ("64KB", 65_536),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("1 GiB", 1 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        assert_eq!(decimal_bytes("10k"), Ok(10_000));
        assert_eq!(decimal_bytes("1.5mb"), Ok(1_500_000));
        for bad in ["", "m", "5x", "-1", "-5m", "1e400", "99999999p", "1..5"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
