//! The container's cgroup: joined by an exec, and given its device rules on cgroup v2.

use cofferdam_sys::cgroup::Cgroup;
use cofferdam_sys::device_filter::{Access, DeviceKind, DeviceRule};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};

use crate::failure::Failure;

fn of_spec(spec: &Spec) -> Result<Cgroup, Failure> {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let path = path.ok_or_else(|| Failure::new("config.json", "it has no linux.cgroupsPath"))?;
    Cgroup::named(&path.to_string_lossy()).map_err(|error| Failure::from_chain(&error))
}

/// Moves this process into the container's cgroup.
pub fn join(spec: &Spec) -> Result<(), Failure> {
    // 0 is the writer itself, whatever its PID is called in which PID namespace.
    of_spec(spec)?.add(0).map_err(|error| Failure::from_chain(&error))
}

/// cgroup v2 has no device controller: the rules become a program on the container's cgroup, before the container's
/// own program can run. On version 1 libcontainer has written them.
pub fn filter_devices(spec: &Spec) -> Result<(), Failure> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let rules = resources.and_then(|resources| resources.devices().as_ref()).map_or(&[][..], Vec::as_slice);
    let rules = rules.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    of_spec(spec)?.filter_devices(&rules).map(drop).map_err(|error| Failure::from_chain(&error))
}

fn rule(rule: &LinuxDeviceCgroup) -> Result<DeviceRule, Failure> {
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::All,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Character,
        Some(LinuxDeviceType::P) => return Err(Failure::new("device rule", "a FIFO is no device")),
    };
    let letters = rule.access().as_deref().unwrap_or_default();
    let access =
        Access::parse(letters).ok_or_else(|| Failure::new("device rule", format!("access {letters:?}")))?;
    // Negative numbers stand for any.
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    Ok(DeviceRule {
        allow: rule.allow(),
        kind,
        major: number(rule.major()),
        minor: number(rule.minor()),
        access,
    })
}
