//! Versions of the Docker Engine API, and what changed with them.

use std::fmt;
use std::str::FromStr;

/// A version of the API: `1.44`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Before the dot; always 1 so far.
    pub major: u16,
    /// After the dot.
    pub minor: u16,
}

/// The text is not an API version.
#[derive(Debug, thiserror::Error)]
#[error("invalid API version {0:?}")]
pub struct InvalidVersion(pub String);

impl ApiVersion {
    /// The oldest version that is answered.
    pub const OLDEST: Self = Self::v1(24);
    /// The newest version that is answered: the one that `bollard-stubs` models.
    pub const NEWEST: Self = Self::v1(53);

    /// The version `1.<minor>`.
    #[must_use]
    pub const fn v1(minor: u16) -> Self {
        Self { major: 1, minor }
    }

    /// Whether attached output is announced as `multiplexed-stream` (since 1.42).
    #[must_use]
    pub fn announces_multiplexed_stream(self) -> bool {
        self >= Self::v1(42)
    }

    /// Whether `VirtualSize` is still part of an image's description (before 1.44).
    #[must_use]
    pub fn has_virtual_size(self) -> bool {
        self < Self::v1(44)
    }

    /// Whether an image's description names the container that it was committed from (before 1.45).
    #[must_use]
    pub fn has_image_container(self) -> bool {
        self < Self::v1(45)
    }

    /// Whether an image's config leaves out what is empty, and the container-only fields (since 1.50).
    #[must_use]
    pub fn has_oci_image_config(self) -> bool {
        self >= Self::v1(50)
    }

    /// Whether clients warn when `/info` does not say that bridged traffic passes iptables (before 1.50).
    #[must_use]
    pub fn warns_of_bridge_filter(self) -> bool {
        self < Self::v1(50)
    }

    /// Whether `/events` no longer repeats `status`, `id` and `from` (since 1.52).
    #[must_use]
    pub fn drops_legacy_event_fields(self) -> bool {
        self >= Self::v1(52)
    }
}

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.to_owned());
        let number = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) {
            true => part.parse::<u16>().map_err(|_out_of_range| invalid()),
            false => Err(invalid()),
        };
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_is_the_one_of_the_models() {
        assert_eq!(bollard_stubs::BASE_PATH, format!("/v{}", ApiVersion::NEWEST));
    }

    #[test]
    fn versions_order_by_number_not_by_text() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24"));
        assert!(version("2.0") > ApiVersion::NEWEST);
        assert_eq!(version("1"), ApiVersion::v1(0));
        for bad in ["", "1.", ".1", "1.2.3", "a", "1.+2", "1.99999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }
}
