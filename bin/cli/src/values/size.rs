//! Sizes in bytes, and CPUs.

pub use cofferdam_client::api::size::bytes;

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
    fn cpus_are_exact() {
        assert_eq!(cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(cpus(".01"), Ok(10_000_000));
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        for bad in ["", ".", "x", "-1", "1e3", "0.1234567891"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }
}
