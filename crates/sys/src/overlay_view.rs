//! A read-only merged view of layers for one child process.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

/// Room for `/proc/self/fd/` with the longest number and a separator.
const NAME: usize = 26;

/// Makes `command` start in a mount namespace of its own, where `layers` (topmost first, at least two) are overlaid
/// at `target`. Nobody else sees the mount, and the kernel removes it with the process. Safe to use in a threaded
/// process: all memory is allocated before the fork, and the child only makes system calls.
pub fn overlay_for_child(command: &mut Command, layers: &[PathBuf], target: &Path) -> io::Result<()> {
    let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let target = c_string(target)?;
    let layers = layers.iter().map(|layer| c_string(layer)).collect::<Result<Vec<_>, _>>()?;
    let mut options = Vec::with_capacity("lowerdir=".len() + NAME * layers.len() + 1);
    let mut opened: Vec<OwnedFd> = Vec::with_capacity(layers.len());
    let prepare = move || {
        // SAFETY: the forked child has one thread, and its file descriptor table is not unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Layers are named by descriptor, so that many fit into the one page that mount options may take. They must
        // be opened in this mount namespace: overlayfs takes no layer from another.
        options.extend_from_slice(b"lowerdir=");
        for layer in &layers {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let layer = rustix::fs::openat(CWD, layer.as_c_str(), flags, Mode::empty())?;
            let separator = if opened.is_empty() { "" } else { ":" };
            // Within the capacity set aside above, so nothing is allocated.
            write!(options, "{separator}/proc/self/fd/{}", layer.as_raw_fd())?;
            opened.push(layer);
        }
        options.push(0);
        let options = CStr::from_bytes_with_nul(&options).map_err(|_never| io::ErrorKind::InvalidInput)?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(c"overlay", target.as_c_str(), c"overlay", flags, options)?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls and touches memory that was allocated before the fork; turning
    // their errors into `io::Error` does not allocate.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}
