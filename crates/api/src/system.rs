//! `/info` and `/version` with what we add.

use bollard_stubs::models::{SystemInfo, SystemVersion};
use serde::{Deserialize, Serialize};

use crate::InfoExtension;

/// The answer to `/info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Docker's part.
    #[serde(flatten)]
    pub system: SystemInfo,
    /// Ours; absent when the engine is not Cofferdam.
    #[serde(rename = "Cofferdam", default, skip_serializing_if = "Option::is_none")]
    pub cofferdam: Option<InfoExtension>,
}

/// The answer to `/version`.
pub type Version = SystemVersion;
