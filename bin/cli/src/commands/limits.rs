//! The limits that can be set when a container is made, and changed later.

use clap::Args;

use crate::values;

/// Limits, as Docker names their flags.
#[derive(Debug, Default, PartialEq, Args)]
pub struct Limits {
    /// Memory limit
    #[arg(short, long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Limits")]
    pub memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Limits")]
    pub memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = values::swap, allow_hyphen_values = true, help_heading = "Limits")]
    pub memory_swap: Option<i64>,
    /// Kernel memory limit (no kernel of today has it: ignored, as by Docker)
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, hide = true)]
    pub kernel_memory: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "NUMBER", value_parser = values::cpus, help_heading = "Limits")]
    pub cpus: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "WEIGHT", help_heading = "Limits")]
    pub cpu_shares: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true, help_heading = "Limits")]
    pub cpu_quota: Option<i64>,
    /// Limit CPU real-time period
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_rt_period: Option<i64>,
    /// Limit CPU real-time runtime
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "CPUS", help_heading = "Limits")]
    pub cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "NODES", help_heading = "Limits")]
    pub cpuset_mems: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = "Limits")]
    pub pids_limit: Option<i64>,
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "WEIGHT", help_heading = "Limits")]
    pub blkio_weight: Option<u16>,
}

impl Limits {
    /// Says what is not done.
    pub fn warn(&self) {
        if self.kernel_memory.is_some() {
            eprintln!(
                "WARNING: --kernel-memory is ignored: no kernel of today limits it apart from other memory"
            );
        }
    }
}
