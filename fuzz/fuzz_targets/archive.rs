//! An archive that a client copies into a container. Links in it lead where they say, as in a container, so it is extracted
//! by a thread whose root is a scratch directory: this target runs as root.
#![no_main]

use rustix::thread::UnshareFlags;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let scratch = tempfile::TempDir::new().expect("the temporary directory is writable");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // SAFETY: the root and working directory become this thread's own; no other state is shared less.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.expect("a root of its own");
            rustix::process::chroot(scratch.path()).expect("root may change its root");
            rustix::process::chdir("/").expect("the scratch directory");
            let _ = cofferdam_archive::write("/", data, cofferdam_archive::Options::default());
        });
    });
});
