//! A read-only merged view of layers for one child process.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

/// Makes `command` start in a mount namespace of its own, where `layers` (topmost first, at least two) are overlaid
/// at `target`. Nobody else sees the mount, and the kernel removes it with the process. Safe to use in a threaded
/// process: all memory is allocated before the fork, and the child only makes system calls.
pub fn overlay_for_child(command: &mut Command, layers: &[PathBuf], target: &Path) -> io::Result<()> {
    // Named by descriptor, so that many layers fit into the one page that mount options may take.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |layer: &PathBuf| rustix::fs::openat(CWD, layer, flags, Mode::empty());
    let layers = layers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = layers.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let options = CString::new(format!("lowerdir={}", names.join(":"))).map_err(io::Error::other)?;
    let target = CString::new(target.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let prepare = move || {
        // The descriptors must live until the mount.
        let _held = &layers;
        // SAFETY: the forked child has one thread, and its file descriptor table is not unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(c"overlay", target.as_c_str(), c"overlay", flags, options.as_c_str())?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls and touches memory that was allocated before the fork; turning
    // their errors into `io::Error` does not allocate.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}
