//! What a specification asks for and this host cannot give.
//!
//! A daemon that runs with fewer capabilities than a host's root (inside a container, on a hardened host) can give
//! no capability that it lacks, and raise no limit above its own. Refusing every container for that would make such
//! hosts useless: the container gets what there is, and the log says what it did not get.

use std::collections::HashSet;

use caps::{CapSet, Capability as HostCapability};
use libcontainer::capabilities::CapabilityExt;
use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::{
    Capabilities, LinuxCapabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
};

use crate::failure::Failure;

/// Takes out of `process` what this process could not hand on.
pub fn adapt(process: &mut Process) -> Result<(), Failure> {
    let bounding = caps::read(None, CapSet::Bounding).map_err(|error| Failure::new("capabilities", error))?;
    let capabilities = process.capabilities().as_ref().map(|asked| limit_capabilities(asked, &bounding));
    process.set_capabilities(capabilities);
    if !bounding.contains(&HostCapability::CAP_SYS_RESOURCE) {
        let limits: Option<Result<_, _>> =
            process.rlimits().as_ref().map(|limits| limits.iter().map(limit_to_own).collect());
        process.set_rlimits(limits.transpose()?);
    }
    // libcontainer takes a plain `false` for "loads the seccomp filter after dropping privileges", which needs
    // CAP_SYS_ADMIN then; not saying anything is the same to everybody else.
    if process.no_new_privileges() == Some(false) {
        process.set_no_new_privileges(None);
    }
    Ok(())
}

fn limit_capabilities(asked: &LinuxCapabilities, bounding: &HashSet<HostCapability>) -> LinuxCapabilities {
    for missing in asked.bounding().iter().flatten().filter(|one| !bounding.contains(&one.to_cap())) {
        eprintln!("cofferdam-oci: this host cannot give {missing}");
    }
    let available = |set: &Option<Capabilities>| -> Option<Capabilities> {
        set.as_ref().map(|set| set.iter().copied().filter(|one| bounding.contains(&one.to_cap())).collect())
    };
    let mut given = asked.clone();
    given
        .set_bounding(available(asked.bounding()))
        .set_effective(available(asked.effective()))
        .set_permitted(available(asked.permitted()))
        .set_inheritable(available(asked.inheritable()))
        .set_ambient(available(asked.ambient()));
    given
}

fn limit_to_own(asked: &PosixRlimit) -> Result<PosixRlimit, Failure> {
    let kind = asked.typ();
    let (_, highest) =
        getrlimit(resource(kind)).map_err(|error| Failure::new(format_args!("limit {kind}"), error))?;
    if asked.hard() > highest {
        eprintln!("cofferdam-oci: this host limits {kind} to {highest}");
    }
    let hard = asked.hard().min(highest);
    let given = PosixRlimitBuilder::default().typ(kind).hard(hard).soft(asked.soft().min(hard)).build();
    given.map_err(|error| Failure::new(format_args!("limit {kind}"), error))
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Capability, LinuxCapabilitiesBuilder};

    use super::*;

    #[test]
    fn only_what_the_host_has_is_given() {
        let asked: Capabilities = [Capability::Chown, Capability::SysResource].into();
        let asked =
            LinuxCapabilitiesBuilder::default().bounding(asked.clone()).effective(asked).build().unwrap();
        let given = limit_capabilities(&asked, &[HostCapability::CAP_CHOWN].into());
        assert_eq!(given.bounding(), &Some([Capability::Chown].into()));
        assert_eq!(given.effective(), &Some([Capability::Chown].into()));
    }
}
