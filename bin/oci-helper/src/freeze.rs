//! `cofferdam-oci freeze`: writes a VM worker process to disk, from where it goes on any number of times, as itself
//! (`thaw.rs`). What the emulator has translated for its guest is frozen with it, and is what makes this worth while:
//! a clone of a saved VM must translate everything again.
//!
//! The process stands still meanwhile, every thread in a system call that waits and can be made again. What the kernel
//! keeps for it is few things of known kinds; a process that has anything else is refused. Not kept are: signal handlers
//! (a hypervisor's end it; the default actions do so, too), timers and thread IDs (it uses none).

mod memory;
mod threads;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use cofferdam_model::{FreezeSpec, FrozenFile, FrozenParts, GuestMemory, JailReply};

use crate::frozen_layout::{BASE, Header, MAGIC, Region, Special, Thread};
use crate::jail_socket;

/// Runs the subcommand.
pub fn run() -> ExitCode {
    jail_socket::serve("freeze", |socket, spec, fds| {
        let reply = match freeze(&spec, fds) {
            Ok(parts) => JailReply::Frozen(parts),
            Err(error) => JailReply::Failed { message: format!("{error:#}") },
        };
        jail_socket::reply(socket, &reply);
        ExitCode::SUCCESS
    })
}

fn freeze(spec: &FreezeSpec, fds: Vec<OwnedFd>) -> Result<FrozenParts> {
    let [process, pages]: [OwnedFd; 2] =
        fds.try_into().map_err(|_fds| anyhow::anyhow!("two files were to be passed"))?;
    let threads = threads::Threads::stop(spec.pid)?;
    let files = open_files(spec).context("open files")?;
    let memory = memory::write(spec.pid, File::from(pages)).context("memory")?;
    let ignored = ignored_signals(spec.pid).context("signals")?;
    let text = layout(&memory, &threads.states()?, ignored);
    File::from(process).write_all(&text).context("description")?;
    Ok(FrozenParts { files, libraries: memory.libraries() })
}

/// Its open files. Each must be of a kind that can be made again.
fn open_files(spec: &FreezeSpec) -> Result<Vec<(i32, FrozenFile)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", spec.pid))? {
        let name = entry?.file_name();
        let number: i32 = name.to_string_lossy().parse().context("a file's number")?;
        files.push((number, open_file(spec, number)?));
    }
    Ok(files)
}

fn open_file(spec: &FreezeSpec, number: i32) -> Result<FrozenFile> {
    let place = PathBuf::from(format!("/proc/{}/fd/{number}", spec.pid));
    let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", spec.pid))?;
    let flags = field(&info, "flags", 8).context("flags")?;
    let waits = flags & u64::from(libc::O_NONBLOCK.unsigned_abs()) == 0;
    let target = std::fs::read_link(&place)?;
    // QEMU has several descriptors of the disks that it got, and none under its first number.
    let file = std::fs::metadata(&place)?;
    let index = spec.passed.iter().position(|passed| *passed == (file.dev(), file.ino()));
    Ok(match (target.to_string_lossy().as_ref(), index) {
        (GuestMemory::INSIDE, _) => FrozenFile::Memory,
        ("/dev/null", _) => FrozenFile::Null,
        (_, Some(index)) => FrozenFile::Passed(index, !waits),
        ("anon_inode:[eventfd]", None) if !waits => {
            FrozenFile::Event(field(&info, "eventfd-count", 16).context("eventfd-count")?)
        }
        // QEMU fills it only when there are many files.
        ("anon_inode:[eventpoll]", None) if !info.contains("tfd:") => FrozenFile::Poll,
        ("anon_inode:[signalfd]", None) if !waits => {
            FrozenFile::Signals(field(&info, "sigmask", 16).context("sigmask")?)
        }
        (other, _) => bail!("{number} is {other}, which cannot be frozen"),
    })
}

/// A number of a file in `/proc`.
fn field(text: &str, name: &str, radix: u32) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), radix).ok()
}

fn ignored_signals(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    field(&status, "SigIgn", 16).context("SigIgn")
}

/// The description (`frozen_layout`).
fn layout(memory: &memory::Memory, threads: &[threads::State], ignored: u64) -> Vec<u8> {
    let lists = [
        (size_of::<Region>(), memory.regions.len()),
        (size_of::<Thread>(), threads.len()),
        (size_of::<Special>(), memory.specials.len()),
    ];
    let mut place = size_of::<Header>();
    let [regions_at, threads_at, specials_at] = lists.map(|(size, count)| {
        let at = place;
        place += size * count;
        address(at)
    });
    // Behind the lists are the frames, each where the processor wants it, and the paths.
    let mut tail = Vec::new();
    let tail_at = place;
    let mut frames = Vec::new();
    for thread in threads {
        while !(tail_at + tail.len()).is_multiple_of(64) {
            tail.push(0);
        }
        let at = address(tail_at + tail.len());
        tail.extend(thread.frame(at));
        frames.push(at);
    }
    let paths: Vec<u64> = memory
        .paths
        .iter()
        .map(|path| {
            let at = address(tail_at + tail.len());
            tail.extend(path.as_bytes());
            tail.push(0);
            at
        })
        .collect();
    let count = |length: usize| length as u64;
    let mut numbers = vec![
        MAGIC,
        regions_at,
        count(memory.regions.len()),
        threads_at,
        count(threads.len()),
        specials_at,
        count(memory.specials.len()),
        ignored,
    ];
    for region in &memory.regions {
        let source = region.source(&paths);
        numbers.extend([region.address, region.length, region.protection, source, region.offset]);
    }
    for (thread, frame) in threads.iter().zip(frames) {
        numbers.extend([thread.registers.fs_base, frame]);
    }
    for (address, length) in &memory.specials {
        numbers.extend([*address, *length]);
    }
    let mut text: Vec<u8> = numbers.into_iter().flat_map(u64::to_ne_bytes).collect();
    text.extend(tail);
    text
}

/// Where a byte of the description is mapped.
fn address(place: usize) -> u64 {
    BASE + place as u64
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_what_can_be_made_again_is_frozen() {
        let mut command = Command::new("sleep");
        command.arg("1000").stdout(Stdio::null()).stderr(Stdio::null());
        let mut standard_input = |stdin: Stdio| {
            let mut child = command.stdin(stdin).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let file = open_file(&FreezeSpec { pid, passed: Vec::new() }, 0);
            child.kill().unwrap();
            child.wait().unwrap();
            file.map_err(|error| error.to_string())
        };
        assert_eq!(standard_input(Stdio::null()), Ok(FrozenFile::Null));
        let refused = standard_input(Stdio::piped()).unwrap_err();
        assert!(refused.starts_with("0 is pipe:") && refused.ends_with("cannot be frozen"), "{refused}");
    }

    #[test]
    fn numbers_of_proc_are_read() {
        let info = "pos:\t0\nflags:\t02004002\neventfd-count:                1f\n";
        assert_eq!(field(info, "flags", 8), Some(0o2_004_002));
        assert_eq!(field(info, "eventfd-count", 16), Some(0x1f));
        assert_eq!(field(info, "sigmask", 16), None);
    }
}
