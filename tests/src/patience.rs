//! Bounds of waiting on a host that is slower than others.

use std::sync::OnceLock;
use std::time::Duration;

/// How many times as slow as an ordinary host this one is, as `COFFERDAM_PATIENCE` says: 1 without it.
const VARIABLE: &str = "COFFERDAM_PATIENCE";

/// A bound that holds on ordinary hosts, on this one.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    limit
        * *FACTOR.get_or_init(|| match std::env::var(VARIABLE) {
            Err(_) => 1,
            Ok(text) => {
                text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is {text:?}, and wants a whole number"))
            }
        })
}
