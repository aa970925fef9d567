//! The kernel's random number generator: giving it entropy from outside.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `struct rand_pool_info` with room for [`MAX_SEED`] bytes (linux/random.h).
#[repr(C)]
struct RandPoolInfo {
    entropy_count: libc::c_int,
    buf_size: libc::c_int,
    buf: [u8; MAX_SEED],
}

/// The most bytes that [`reseed`] takes.
pub const MAX_SEED: usize = 256;

/// `_IOW('R', 0x03, int[2])` and `_IO('R', 0x07)` (linux/random.h).
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;

/// Mixes `seed`, which must be secret and fresh, into the generator, and reseeds it at once: whatever is drawn
/// afterwards depends on it.
pub fn reseed(seed: &[u8]) -> io::Result<()> {
    let mut buf = [0; MAX_SEED];
    let (Some(space), Ok(size)) = (buf.get_mut(..seed.len()), libc::c_int::try_from(seed.len())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "seed too long"));
    };
    space.copy_from_slice(seed);
    let pool = RandPoolInfo { entropy_count: size * 8, buf_size: size, buf };
    let device = File::options().write(true).open("/dev/urandom")?;
    // SAFETY: the argument points to a rand_pool_info whose buf_size bytes are initialised; the kernel only reads it.
    if unsafe { libc::ioctl(device.as_raw_fd(), RNDADDENTROPY as _, &raw const pool) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no argument.
    if unsafe { libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG as _, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_beyond_the_limit_is_refused() {
        assert_eq!(reseed(&[0; MAX_SEED + 1]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
