//! Reading what a container's first program will need before the VM is saved. A clone then finds it in memory: under
//! emulation its first read of a disk costs more than the program (docs/templates.md).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Where a program is looked for that is named without a directory.
const PATH: [&str; 4] = ["usr/local/bin", "usr/bin", "bin", "usr/sbin"];
/// What nearly every program maps, by where Debian, Fedora, Arch and Alpine have it.
const LOADERS_AND_LIBC: [&str; 5] = [
    "lib64/ld-linux-x86-64.so.2",
    "lib/x86_64-linux-gnu/libc.so.6",
    "lib64/libc.so.6",
    "usr/lib/libc.so.6",
    "lib/ld-musl-x86_64.so.1",
];
/// As much of a file as is read.
const ENOUGH: u64 = 16 << 20;

/// Reads these programs of the root file system, a shell, and what they are linked with. It is a hint only: what is not
/// there is left out.
pub fn read(root: &Path, programs: &[String]) {
    let Ok(root) = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return;
    };
    let read = |path: &str| -> io::Result<u64> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(rustix::fs::openat2(&root, path, flags, Mode::empty(), how)?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        io::copy(&mut file.take(ENOUGH), &mut io::sink())
    };
    for path in LOADERS_AND_LIBC {
        read(path).ok();
    }
    for program in programs.iter().map(String::as_str).chain(["sh"]) {
        if program.contains('/') {
            read(program).ok();
        } else {
            PATH.iter().find(|directory| read(&format!("{directory}/{program}")).is_ok());
        }
    }
}
