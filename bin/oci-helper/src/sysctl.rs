//! Kernel parameters of the network. The container's network namespace exists before libcontainer is called, which
//! therefore takes their namespace for the host's and refuses them: they are set here, where this process is in it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Linux;

use crate::failure::Failure;

/// Sets the parameters `net.*` in this process's network namespace and takes them out of the specification.
pub fn apply_network(linux: &mut Linux) -> Result<(), Failure> {
    let Some(parameters) = linux.sysctl_mut() else { return Ok(()) };
    for (key, value) in parameters.iter().filter(|(key, _)| is_network(key)) {
        let path = file(key);
        let set =
            OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
        set.map_err(|error| Failure::new(format_args!("sysctl {key}={value}"), error))?;
    }
    parameters.retain(|key, _| !is_network(key));
    Ok(())
}

fn is_network(key: &str) -> bool {
    key.starts_with("net.") || key.starts_with("net/")
}

/// Dots separate directories. A name cannot lead elsewhere: `..` becomes two slashes.
fn file(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_proc_sys() {
        assert_eq!(file("net.ipv4.ip_forward"), Path::new("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(file("net/../../../etc/passwd"), Path::new("/proc/sys/net/etc/passwd"));
    }
}
