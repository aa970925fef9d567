//! The jail's part of thawing a frozen process: its open files, each under its number, and the program that becomes it
//! (`thaw/main.rs`).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use cofferdam_model::{Frozen, FrozenFile};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll::CreateFlags;
use rustix::fs::{MemfdFlags, OFlags};

use crate::frozen_layout::{FILTER_FD, MEMORY_FD, PAGES_FD, PROCESS_FD};
use crate::jail_filter;

/// The program.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/thaw"));
/// Above every number that a frozen process has.
const ABOVE: i32 = 300;

/// What is opened while the host's files can still be seen.
pub struct Source {
    process: File,
    pages: File,
    memory: File,
}

impl Source {
    pub fn open(frozen: &Frozen) -> Result<Self> {
        let open = |path: &Path| File::open(path).with_context(|| path.display().to_string());
        Ok(Self {
            process: open(&frozen.process)?,
            pages: open(&frozen.pages)?,
            memory: open(&frozen.memory)?,
        })
    }

    /// Gives this process the frozen one's open files, to be kept by the program that is executed next. `passed` are
    /// those that the frozen one had got, in the same order.
    pub fn place_files(self, frozen: &Frozen, passed: &[OwnedFd]) -> Result<()> {
        let mut files = Vec::new();
        for (number, file) in &frozen.files {
            files.push((*number, self.make(*file, passed).with_context(|| format!("file {number}"))?));
        }
        files.push((FILTER_FD, jail_filter::for_thawed()?));
        files.push((PROCESS_FD, self.process.into()));
        files.push((PAGES_FD, self.pages.into()));
        files.push((MEMORY_FD, self.memory.into()));
        // First out of the way, so that none is put upon another.
        let mut moved = Vec::new();
        for (number, file) in files {
            moved.push((number, rustix::io::fcntl_dupfd_cloexec(&file, ABOVE).context("descriptors")?));
        }
        for (number, file) in moved {
            cofferdam_sys::unix::place(&file, number).with_context(|| format!("descriptor {number}"))?;
        }
        Ok(())
    }

    fn make(&self, file: FrozenFile, passed: &[OwnedFd]) -> Result<OwnedFd> {
        Ok(match file {
            FrozenFile::Passed(index, does_not_block) => {
                let file = passed.get(index).context("was not passed")?.try_clone()?;
                let flags = rustix::fs::fcntl_getfl(&file)?;
                rustix::fs::fcntl_setfl(
                    &file,
                    if does_not_block { flags | OFlags::NONBLOCK } else { flags },
                )?;
                file
            }
            // Freed pages are punched out of the memory's file, which is every clone's: out of an empty one instead. What
            // follows in QEMU (`madvise`) drops the private copies.
            FrozenFile::Memory => {
                let empty = File::from(rustix::fs::memfd_create("memory", MemfdFlags::CLOEXEC)?);
                empty.set_len(self.memory.metadata()?.len())?;
                empty.into()
            }
            FrozenFile::Null => File::options().read(true).write(true).open("/dev/null")?.into(),
            FrozenFile::Event(count) => {
                let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
                EventFd::from_value_and_flags(u32::try_from(count)?, flags)?.into()
            }
            FrozenFile::Poll => rustix::event::epoll::create(CreateFlags::CLOEXEC)?,
            FrozenFile::Signals(mask) => signals(mask)?,
        })
    }
}

fn signals(mask: u64) -> io::Result<OwnedFd> {
    let set: SigSet = Signal::iterator().filter(|signal| mask >> (*signal as i32 - 1) & 1 == 1).collect();
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?.into())
}
