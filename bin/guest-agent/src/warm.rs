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

/// Reads these programs of the root file system, a shell, and what they are linked with; how many bytes. It is a hint
/// only: what is not there is left out.
pub fn read(root: &Path, programs: &[String]) -> u64 {
    let Ok(root) = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return 0;
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
    let mut total = 0;
    for path in LOADERS_AND_LIBC {
        total += read(path).unwrap_or(0);
    }
    for program in programs.iter().map(String::as_str).chain(["sh"]) {
        total += match program.contains('/') {
            true => read(program).unwrap_or(0),
            false => {
                PATH.iter().find_map(|directory| read(&format!("{directory}/{program}")).ok()).unwrap_or(0)
            }
        };
    }
    total
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn programs_are_read_inside_the_root_only() {
        let root = std::env::temp_dir().join(format!("cofferdam-warm-{}", cofferdam_model::random_hex(6)));
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/busybox"), [0; 1000]).unwrap();
        // Links lead where they would lead inside; none leads out.
        symlink("/bin/busybox", root.join("bin/sh")).unwrap();
        symlink("/etc/passwd", root.join("bin/out")).unwrap();
        symlink("../../../../etc/passwd", root.join("bin/up")).unwrap();
        // Nobody writes to it: opening it must not wait.
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("bin/fifo"),
            rustix::fs::FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        let programs = ["/bin/busybox", "out", "up", "fifo", "/bin", "nowhere", ""].map(str::to_owned);
        let total = read(&root, &programs);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(total, 2000, "the program, and the shell that is a link to it");
    }
}
