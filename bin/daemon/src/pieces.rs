//! Finding the programs and files that belong to the daemon, with no flags: beside its own executable first (a build
//! directory, an unpacked archive), then where a distribution puts them.

use std::path::{Path, PathBuf};

/// Where a distribution puts what is not for users.
const LIBRARY: &str = "/usr/lib/cofferdam";

/// The pieces, found once at start.
#[derive(Clone, Debug)]
pub struct Pieces {
    /// `cofferdam-shim`, started once per container.
    pub shim: PathBuf,
    /// `cofferdam-oci`, the single-threaded helper.
    pub oci: PathBuf,
    /// The utility VM's kernel and initial RAM disk.
    pub guest: Option<Guest>,
    /// QEMU.
    pub qemu: Option<PathBuf>,
}

/// What a utility VM boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk with the agent.
    pub initrd: PathBuf,
    /// The kernel's `uname -r`, when it is recorded beside it.
    pub release: String,
}

impl Pieces {
    /// Looks around. A missing shim or helper is found out by the first start, with its path named; a missing guest
    /// or QEMU only concerns the `hyperv` level. The guest is in `guest_directory` alone, when one is given.
    pub fn find(guest_directory: Option<&Path>) -> Self {
        let executable = std::env::current_exe().unwrap_or_default();
        let directory = executable.parent().unwrap_or(Path::new("/"));
        Self {
            shim: program(directory, "cofferdam-shim"),
            oci: program(directory, "cofferdam-oci"),
            guest: match guest_directory {
                Some(given) => guest_in(given),
                None => [&directory.join("../guest"), &Path::new(LIBRARY).join("guest")]
                    .into_iter()
                    .find_map(|place| guest_in(place)),
            },
            qemu: in_path("qemu-system-x86_64"),
        }
    }
}

fn program(directory: &Path, name: &str) -> PathBuf {
    let beside = directory.join(name);
    if beside.is_file() { beside } else { Path::new(LIBRARY).join(name) }
}

fn guest_in(place: &Path) -> Option<Guest> {
    // Without `..`, since the path is shown to users and handed to a jail.
    let place = place.canonicalize().ok()?;
    let (kernel, initrd) = (place.join("vmlinuz"), place.join("initrd.img"));
    let release = std::fs::read_to_string(place.join("release")).unwrap_or_default();
    let found = kernel.is_file() && initrd.is_file();
    found.then(|| Guest { kernel, initrd, release: release.trim().to_owned() })
}

/// A program in `PATH`, or in the system's directories, which a service manager's `PATH` may lack.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/libexec"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}
