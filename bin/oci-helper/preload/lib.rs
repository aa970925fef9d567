//! Loaded into the hypervisor of a clone (`LD_PRELOAD`, see `jail.rs`). The clone's memory is a private view of its
//! template's memory file, which nobody may write; QEMU, up to version 8, opens such a file for writing all the same,
//! which the jail's read-only mount refuses. Here it is opened for reading.
//!
//! For the same reason QEMU's request to punch freed pages out of that file succeeds here without doing anything: what
//! follows it in QEMU (`madvise`) drops the private copies, which is all there is to free.
//!
//! It guards nothing: the mount and the file's mode do. It has no dependencies and no state but one number.

#![no_std]

use core::ffi::{c_char, c_int, c_long, CStr};
use core::sync::atomic::{AtomicI32, Ordering};

/// `GuestMemory::INSIDE`
const MEMORY: &CStr = c"/guest/memory";
/// `<fcntl.h>` and `<asm/unistd_64.h>`.
const AT_FDCWD: c_long = -100;
const ACCESS_MODE: c_int = 3;
const SYS_OPENAT: c_long = 257;
const SYS_FALLOCATE: c_long = 285;

/// The memory file's descriptor, once it is open.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// `open(2)`. It is variadic in C; on x86-64 a third argument is passed the same way.
///
/// # Safety
/// As `open(2)`: `path` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let is_memory = unsafe { CStr::from_ptr(path) } == MEMORY;
    let flags = if is_memory { flags & !ACCESS_MODE } else { flags };
    // SAFETY: the arguments are those of the system call.
    let fd = unsafe { syscall(SYS_OPENAT, AT_FDCWD, path, c_long::from(flags), c_long::from(mode)) } as c_int;
    if is_memory {
        DESCRIPTOR.store(fd, Ordering::Relaxed);
    }
    fd
}

/// What a call of `open(2)` without a mode becomes in a program that is compiled with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As `open(2)`: `path` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open64(path, flags, 0) }
}

/// `fallocate(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fallocate64(fd: c_int, mode: c_int, offset: i64, length: i64) -> c_int {
    if fd >= 0 && fd == DESCRIPTOR.load(Ordering::Relaxed) {
        return 0;
    }
    // SAFETY: the arguments are those of the system call.
    unsafe { syscall(SYS_FALLOCATE, c_long::from(fd), c_long::from(mode), offset, length) as c_int }
}

#[panic_handler]
fn panic(_information: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
