//! Sizes in bytes, and CPUs.

/// `512m`, `1.5GiB`, `64K`, `100`: powers of 1024 whatever the spelling, as Docker's.
pub fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size {text:?}: want a number with b, k, m, g, t or p");
    let split = text.rfind(|c: char| c.is_ascii_digit()).ok_or_else(invalid)? + 1;
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 1u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
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

/// [`bytes`], or -1 for no limit.
pub fn swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// `1.5` CPUs, in billionths.
pub fn cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid number of CPUs {text:?}");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return Err(invalid());
    }
    format!("{whole}{fraction:0<9}").parse().map_err(|_too_big| invalid())
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
        for bad in ["", "m", "5x", "-1", "-5m", "1e400", "99999999p", "1..5"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(swap("-1"), Ok(-1));
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(cpus(".01"), Ok(10_000_000));
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        for bad in ["", ".", "x", "-1", "1e3", "0.1234567891"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }
}
