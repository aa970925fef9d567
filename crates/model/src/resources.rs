//! What a container may use: `linux.resources` of the OCI runtime specification without its device rules. The daemon
//! writes it, and whoever has a control group to limit applies it: a shim, a guest's agent.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Limits; what is `None` is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Memory,
    /// Processor time and place.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu: Cpu,
    /// Processes and threads.
    #[serde(skip_serializing_if = "is_default")]
    pub pids: Pids,
    /// Disks.
    #[serde(rename = "blockIO", skip_serializing_if = "is_default")]
    pub block_io: BlockIo,
}

/// `memory`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// The most, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most of memory and swap together, in bytes; -1 is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    /// What is left to it when memory is short, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<u64>,
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Whether who exceeds the limit waits instead of being killed.
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
}

/// `cpu`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Relative weight against other groups, 2 to 262144, usually 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds in each period; 0 or less is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Microseconds of real-time scheduling in each of its periods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// Processors: `0-3,5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory nodes: `0-3,5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
}

impl Cpu {
    /// Processor time for each second, in nanoseconds, if it is limited.
    #[must_use]
    pub fn nanos(&self) -> Option<u64> {
        let quota = u64::try_from(self.quota?).ok().filter(|quota| *quota > 0)?;
        let period = self.period.filter(|period| *period > 0).unwrap_or(Self::PERIOD);
        Some(quota.saturating_mul(1_000_000_000) / period)
    }

    /// The period where none is said, in microseconds: the kernel's and Docker's.
    pub const PERIOD: u64 = 100_000;
}

/// `pids`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// The most; 0 or less is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// `blockIO`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Relative weight against other groups, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The same on single disks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<DiskWeight>,
    /// Bytes read in a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<DiskRate>,
    /// Bytes written in a second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<DiskRate>,
    /// Reads in a second.
    #[serde(rename = "throttleReadIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<DiskRate>,
    /// Writes in a second.
    #[serde(rename = "throttleWriteIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_iops_device: Vec<DiskRate>,
}

/// A weight on one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWeight {
    /// The disk's major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate on one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRate {
    /// The disk's major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// In a second.
    pub rate: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The most processors or memory nodes that a list may name, as in Docker.
const MOST: u32 = 8192;

/// Reads a list of processors or memory nodes (`0-3,5`) as numbers in ascending order. `None` when it is none.
#[must_use]
pub fn number_list(text: &str) -> Option<BTreeSet<u32>> {
    let number = |text: &str| -> Option<u32> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number < MOST)
    };
    let mut numbers = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_words_are_the_specifications() {
        let resources = Resources {
            memory: Memory { limit: Some(1), disable_oom_killer: Some(true), ..Memory::default() },
            block_io: BlockIo {
                throttle_read_iops_device: vec![DiskRate { major: 8, minor: 0, rate: 7 }],
                ..BlockIo::default()
            },
            ..Resources::default()
        };
        let text = json!({
            "memory": { "limit": 1, "disableOOMKiller": true },
            "blockIO": { "throttleReadIOPSDevice": [{ "major": 8, "minor": 0, "rate": 7 }] },
        });
        assert_eq!(serde_json::to_value(&resources).unwrap(), text);
        assert_eq!(serde_json::from_value::<Resources>(text).unwrap(), resources);
        let with_devices = json!({ "devices": [{ "allow": false }], "pids": { "limit": -1 } });
        let read: Resources = serde_json::from_value(with_devices).unwrap();
        assert_eq!(read, Resources { pids: Pids { limit: Some(-1) }, ..Resources::default() });
    }

    #[test]
    fn processor_time_is_quota_of_period() {
        let nanos = |quota, period| Cpu { quota, period, ..Cpu::default() }.nanos();
        assert_eq!(nanos(Some(50_000), Some(100_000)), Some(500_000_000));
        assert_eq!(nanos(Some(150_000), None), Some(1_500_000_000));
        assert_eq!([nanos(None, Some(1000)), nanos(Some(-1), None), nanos(Some(0), None)], [None; 3]);
    }

    #[test]
    fn lists_of_numbers() {
        let read = |text: &str| number_list(text).map(|numbers| numbers.into_iter().collect::<Vec<_>>());
        assert_eq!(read("0-2,5\n").unwrap(), [0, 1, 2, 5]);
        assert_eq!(read("3,1,1-2").unwrap(), [1, 2, 3]);
        assert_eq!(read("").unwrap(), [0_u32; 0]);
        for bad in ["a", "1-", "-1", "2-1", "1-2-3", "8192", "0-4294967295", "+1", "1 2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9,-]{0,20}") {
            if let Some(numbers) = number_list(&text) {
                assert!(numbers.len() <= MOST as usize);
            }
        }
    }
}
