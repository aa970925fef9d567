//! The name of one daemon, which everything that it makes on the host carries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One daemon's name on its host: 1 to 8 lower-case letters and digits, so that an interface name (15 bytes)
/// can carry it. Bridge, nftables table, cgroups, veths, taps and user ids are named after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance(String);

/// The text is not an instance name.
#[derive(Debug, thiserror::Error)]
#[error("invalid instance name {0:?}: want 1 to 8 lower-case letters and digits")]
pub struct InvalidInstance(pub String);

impl Instance {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The default bridge, `cfd-<instance>`: at most 12 of the 15 bytes that an interface name may have.
    #[must_use]
    pub fn bridge(&self) -> String {
        format!("cfd-{}", self.0)
    }

    /// The nftables table, `cofferdam_<instance>`.
    #[must_use]
    pub fn nft_table(&self) -> String {
        format!("cofferdam_{}", self.0)
    }

    /// The parent cgroup of all containers, `/cofferdam-<instance>`.
    #[must_use]
    pub fn cgroup_parent(&self) -> String {
        format!("/cofferdam-{}", self.0)
    }
}

impl FromStr for Instance {
    type Err = InvalidInstance;

    fn from_str(text: &str) -> Result<Self, InvalidInstance> {
        let good = (1..=8).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidInstance(text.to_owned())) }
    }
}

impl TryFrom<String> for Instance {
    type Error = InvalidInstance;

    fn try_from(text: String) -> Result<Self, InvalidInstance> {
        text.parse()
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> Self {
        instance.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_an_interface() {
        assert_eq!("default1".parse::<Instance>().unwrap().bridge(), "cfd-default1");
        for bad in ["", "Upper", "ninechars", "a-b", "a/b"] {
            assert!(bad.parse::<Instance>().is_err(), "{bad}");
        }
    }
}
