//! What a program may do: its capabilities and its seccomp filter, put on init process and exec alike.

use anyhow::Context as _;
use caps::{CapSet, Capability};
use libcontainer::capabilities;
use libcontainer::syscall::linux::LinuxSyscall;
use oci_spec::runtime::LinuxCapabilities;

use crate::failure::Failure;
use crate::seccomp::Filter;

/// Gives up every capability but these, for good, and the way to gain any (`no_new_privs`). Those of them that this process
/// does not have are left out. The bounding set goes first: dropping from it takes one that is given up next.
pub fn keep_only(kept: &[Capability]) -> anyhow::Result<()> {
    let mine = caps::read(None, CapSet::Permitted)?.into_iter().filter(|one| kept.contains(one)).collect();
    for capability in caps::read(None, CapSet::Bounding)? {
        caps::drop(None, CapSet::Bounding, capability).context("bounding set")?;
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &mine)?;
    caps::set(None, CapSet::Permitted, &mine)?;
    nix::sys::prctl::set_no_new_privs().context("no_new_privs")
}

/// The privileges of a process that is about to run its program.
#[derive(Clone, Debug)]
pub struct Privileges {
    /// The capability sets; `None` leaves them.
    pub capabilities: Option<LinuxCapabilities>,
    /// The filter.
    pub filter: Filter,
    /// Whether `no_new_privs` is set.
    pub no_new_privileges: bool,
}

impl Privileges {
    /// Gives up everything else. The process has its user already, and all capabilities still.
    pub fn assume(&self) -> Result<(), Failure> {
        // Without no_new_privs only CAP_SYS_ADMIN may load a filter; with it, the later the fewer calls it must allow.
        if !self.no_new_privileges {
            self.filter.load()?;
        }
        if let Some(wanted) = &self.capabilities {
            capabilities::drop_privileges(wanted, &LinuxSyscall)
                .map_err(|error| Failure::from_chain(&error))?;
        }
        if self.no_new_privileges {
            self.filter.load()?;
        }
        Ok(())
    }
}
