//! Opening a TAP device.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Creates the TAP device `name` in the calling thread's network namespace and returns its queue: each read is one
/// frame and each write another, with a virtio-net header before it and no packet information. The device lasts as
/// long as the descriptor; who may use it is decided by who is given the descriptor.
pub fn open(name: &str) -> io::Result<OwnedFd> {
    let tun =
        rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no interface name")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives beyond the call.
    if unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &mut request) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(tun)
}

/// Does what QEMU does for a modern virtio-net driver, on behalf of one that has done it to another device: the header's
/// length of virtio 1.0, and the offloads.
pub fn set_up_as_qemu(tap: &OwnedFd) -> io::Result<()> {
    let header: libc::c_int = 12;
    // SAFETY: TUNSETVNETHDRSZ reads one `int`, which lives beyond the call.
    if unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header) } == -1 {
        return Err(io::Error::last_os_error());
    }
    set_offload(tap)
}

/// Offers what a virtio-net guest can take: unfinished checksums and large TCP segments. QEMU does this itself
/// according to its guest's driver.
pub fn set_offload(tap: &OwnedFd) -> io::Result<()> {
    let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    if unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offload)) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
