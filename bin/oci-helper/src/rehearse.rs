//! `cofferdam-oci rehearse [wait]`: a program that runs in a container before its VM is frozen, and does what programs
//! begin with. So the emulator has translated the guest kernel's part of it when real programs come.
//!
//! Nothing of an image is executed: its files are only read. Whatever the container does not allow is left out.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::{SigSet, Signal};

/// Files that programs read, or look for, when they start.
const FILES: [&str; 8] = [
    "/etc/ld.so.cache",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/bin/sh",
    "/etc/passwd",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/localtime",
];

/// Runs the subcommand. With `wait` it is a container's init process and stays until SIGTERM.
pub fn run(how: Option<&str>) -> ExitCode {
    if how == Some("short") {
        return ExitCode::SUCCESS;
    }
    // An init process loses signals that it does not expect yet.
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.thread_block().ok();
    for name in FILES {
        File::open(name).and_then(map).ok();
        fs::metadata(name).ok();
    }
    for directory in ["/", "/proc/self/fd", "/dev"] {
        fs::read_dir(directory).map(Iterator::count).ok();
    }
    fs::read_link("/proc/self/exe").ok();
    std::env::current_dir().ok();
    talk().ok();
    run_another().ok();
    if how == Some("wait") {
        set.wait().ok();
    }
    ExitCode::SUCCESS
}

/// Maps a file as a program's loader does, reads each page and writes one.
fn map(mut file: File) -> io::Result<()> {
    let mut head = [0; 64];
    file.read_exact(&mut head)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(1 << 20);
    cofferdam_sys::memory::touch(&file, length)
}

/// Pipes, output, the terminal, sockets.
fn talk() -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    writer.write_all(b"x")?;
    reader.read_exact(&mut [0])?;
    std::os::unix::net::UnixStream::pair()?;
    std::net::UdpSocket::bind("127.0.0.1:0")?;
    io::stdout().write_all(b"rehearsal\n")?;
    io::stdout().flush()?;
    io::stderr().write_all(b"rehearsal\n")
}

/// A shell's work: another program, whose output is read.
fn run_another() -> io::Result<()> {
    let own = std::env::args().next().unwrap_or_default();
    Command::new(own).args(["rehearse", "short"]).stdin(Stdio::null()).output().map(drop)
}
