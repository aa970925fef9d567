//! What is safe only because this program has one thread: a fork whose child belongs to our parent, and a new
//! environment.

use std::io;

/// Forks a sibling: the child's parent is this process's parent, which gets its exit status. Returns `None` in the
/// child, else the child's PID as this process's PID namespace counts.
pub fn fork_sibling() -> io::Result<Option<i32>> {
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: this program has one thread, so the child's copy of memory and locks is whole; without CLONE_VM and
    // with a null stack the call behaves as fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Some(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes `environment` this process's environment.
pub fn replace_environment(environment: &[(String, String)]) {
    let old: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in old {
        // SAFETY: this program has one thread, so nobody else reads or writes the environment.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in environment {
        // The C library refuses these; so does `std`, by panicking.
        if !name.is_empty() && !name.contains('\0') && !value.contains('\0') {
            // SAFETY: as above.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

/// Gives SIGPIPE back its ordinary meaning, which Rust's runtime takes away: the program inherits it.
pub fn restore_sigpipe() {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Puts a seccomp program on this process.
pub fn load_seccomp(program: &[u8], flags: u8) -> io::Result<()> {
    // The instructions are copied to where they are aligned.
    let filter: Vec<libc::sock_filter> = program
        .chunks_exact(size_of::<libc::sock_filter>())
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let len =
        u16::try_from(filter.len()).map_err(|_too_long| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` instructions that live until the call has copied them; it writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
