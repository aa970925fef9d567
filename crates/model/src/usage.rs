//! What a container uses, for `stats`. A guest's figures are its own claims: they are shown, never acted on.

use serde::{Deserialize, Serialize};

/// What a control group, and the network namespace of its processes, have used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Memory in bytes, page cache included.
    pub memory: u64,
    /// The most that it may use: the group's limit, or all that the kernel has.
    pub memory_limit: u64,
    /// The part of it that is page cache which nobody has used lately, in bytes: it can be had back at once.
    pub inactive_file: u64,
    /// CPU time in nanoseconds.
    pub cpu_nanos: u64,
    /// The part of it spent in programs.
    pub cpu_user_nanos: u64,
    /// The part of it spent in the kernel.
    pub cpu_kernel_nanos: u64,
    /// Accounting periods that have passed, where CPU time is limited.
    pub periods: u64,
    /// Those in which the limit was reached.
    pub throttled_periods: u64,
    /// For how long processes were kept waiting then, in nanoseconds.
    pub throttled_nanos: u64,
    /// Processes and threads.
    pub pids: u64,
    /// The most that there may be; 0 is without limit.
    pub pids_limit: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
    /// Network interfaces but loopback.
    pub interfaces: Vec<InterfaceUsage>,
}

/// One interface's counters since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceUsage {
    /// `eth0`
    pub name: String,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were damaged.
    pub errors: u64,
    /// Packets that there was no room for.
    pub dropped: u64,
}

/// What a container uses, and at the hyperv level what its VM does on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskUsage {
    /// The container's own, whatever its level.
    pub container: Usage,
    /// The VM worker process's control group on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Usage>,
}
