//! Before anything else: kernel file systems, modules, and a root file system that containers can leave.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};
use cofferdam_runtime::vm::guest_paths;
use rustix::mount::{MountFlags, MountPropagationFlags};

/// Modules in the initial RAM disk, and the lists of what to load in which order.
const MODULES: &str = "/modules";
/// Where the real root is put together.
const ROOT: &str = "/root";

/// Does it.
pub fn prepare() -> Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // A container's root is entered by pivot_root, which the kernel refuses on the initial RAM disk's root: a tmpfs
    // is moved over it.
    fs::create_dir_all(ROOT).context(ROOT)?;
    mount("tmpfs", ROOT, "tmpfs", MountFlags::NOSUID, c"mode=0755")?;
    for directory in ["dev", "proc", "sys", "run", "tmp", "modules"] {
        fs::create_dir(inside(directory)).with_context(|| directory.to_owned())?;
    }
    mount("devtmpfs", &inside("dev"), "devtmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755")?;
    mount("proc", &inside("proc"), "proc", quiet, c"")?;
    mount("sysfs", &inside("sys"), "sysfs", quiet, c"")?;
    // Moving a process into namespaces and control groups waits for every processor to have been elsewhere: some 40 ms
    // for one `exec`. Expedited, they are asked instead (kernel-parameters: rcupdate.rcu_expedited). A kernel for one
    // processor has no such file, and no such wait.
    match fs::write(inside("sys/kernel/rcu_expedited"), "1") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("rcu_expedited");
        }
        _ => {}
    }
    mount("cgroup2", &inside("sys/fs/cgroup"), "cgroup2", quiet, c"nsdelegate")?;
    fs::create_dir_all(inside("dev/pts")).context("/dev/pts")?;
    mount(
        "devpts",
        &inside("dev/pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"ptmxmode=0666,mode=0620",
    )?;

    let helper = inside(guest_paths::OCI_HELPER.trim_start_matches('/'));
    fs::write(&helper, "").context(guest_paths::OCI_HELPER)?;
    rustix::mount::mount_bind(guest_paths::OCI_HELPER, &helper).context(guest_paths::OCI_HELPER)?;
    rustix::mount::mount_bind(MODULES, inside("modules")).context(MODULES)?;

    rustix::process::chdir(ROOT).context(ROOT)?;
    rustix::mount::mount_move(".", "/").context("move the root")?;
    rustix::process::chroot(".").context("enter the root")?;
    rustix::process::chdir("/").context("enter the root")?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("private mounts")?;
    load_modules("boot")
}

/// Loads the modules of one list, in its order.
pub fn load_modules(list: &str) -> Result<()> {
    let path = Path::new(MODULES).join(list);
    let names = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for name in names.lines() {
        let path = Path::new(MODULES).join(name);
        let module = File::open(&path).with_context(|| path.display().to_string())?;
        match rustix::system::finit_module(&module, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("module {name}")),
        }
    }
    Ok(())
}

fn mount(source: &str, target: &str, kind: &str, flags: MountFlags, data: &std::ffi::CStr) -> Result<()> {
    rustix::mount::mount(source, target, kind, flags, data).with_context(|| format!("mount {target}"))
}

fn inside(path: &str) -> String {
    format!("{ROOT}/{path}")
}
