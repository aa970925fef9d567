//! A VM's requests for files of its bind mounts, to a server of a scratch directory.
#![no_main]

use rustix::fs::{Mode, OFlags};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let scratch = tempfile::TempDir::new().expect("the temporary directory is writable");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(scratch.path(), flags, Mode::empty()).expect("it was just made");
    let own = cofferdam_share::OwnFiles::open().expect("there is a /proc");
    cofferdam_share::fuzz(root, &own, data);
});
