//! A process's memory: what is mapped where, and the pages that are its own.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cofferdam_model::GuestMemory;

use crate::frozen_layout::{MEMORY, PAGES, ZERO};

const PAGE: u64 = 4096;
/// Runs of pages with at most so many between them are one.
const GAP: u64 = 8;
/// How far the main thread's stack may still grow: what is mapped again does not grow by itself.
const STACK_ROOM: u64 = 1 << 20;
/// `pagemap`: the page is in memory, is swapped out, is a file's or shared.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;
/// Programs and libraries, which the jail has as the host has them. Anything else that is mapped is frozen itself.
const SYSTEM: [&str; 4] = ["/usr/", "/bin/", "/lib/", "/lib64/"];

/// What there is.
#[derive(Default)]
pub struct Memory {
    pub regions: Vec<Mapped>,
    pub paths: Vec<String>,
    pub specials: Vec<(u64, u64)>,
}

/// A mapping.
pub struct Mapped {
    pub address: u64,
    pub length: u64,
    pub protection: u64,
    pub offset: u64,
    what: What,
}

enum What {
    Nothing,
    Pages,
    Guest,
    /// By its place among the paths.
    File(usize),
}

impl Mapped {
    /// Its source in the description.
    pub fn source(&self, paths: &[u64]) -> u64 {
        match self.what {
            What::Nothing => ZERO,
            What::Pages => PAGES,
            What::Guest => MEMORY,
            What::File(index) => paths[index],
        }
    }
}

impl Memory {
    pub fn libraries(&self) -> Vec<PathBuf> {
        self.paths.iter().map(PathBuf::from).collect()
    }
}

/// Writes the pages and says what is where.
pub fn write(pid: i32, pages: File) -> Result<Memory> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).context("maps")?;
    let mut writer = Writer {
        memory: File::open(format!("/proc/{pid}/mem")).context("mem")?,
        pagemap: File::open(format!("/proc/{pid}/pagemap")).context("pagemap")?,
        pages,
        written: 0,
        found: Memory::default(),
    };
    let mut end = 0;
    for line in maps.lines() {
        let area = Area::parse(line).with_context(|| format!("maps: {line}"))?;
        writer.add(&area, end).with_context(|| line.to_owned())?;
        end = area.end;
    }
    Ok(writer.found)
}

/// A line of `maps`.
struct Area<'a> {
    start: u64,
    end: u64,
    protection: u64,
    shared: bool,
    offset: u64,
    name: &'a str,
}

impl<'a> Area<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?.as_bytes();
        let offset = words.next()?;
        let name = words.nth(2).unwrap_or_default().trim_start();
        let number = |text| u64::from_str_radix(text, 16).ok();
        let has = |at: usize, letter| u64::from(rights.get(at) == Some(&letter));
        Some(Self {
            start: number(start)?,
            end: number(end)?,
            protection: has(0, b'r') | has(1, b'w') << 1 | has(2, b'x') << 2,
            shared: rights.get(3) == Some(&b's'),
            offset: number(offset)?,
            name,
        })
    }
}

struct Writer {
    memory: File,
    pagemap: File,
    pages: File,
    written: u64,
    found: Memory,
}

impl Writer {
    fn add(&mut self, area: &Area<'_>, previous_end: u64) -> Result<()> {
        let (start, length) = (area.start, area.end - area.start);
        match area.name {
            "[vsyscall]" => return Ok(()),
            name if name.starts_with("[v") => {
                self.found.specials.push((start, length));
                return Ok(());
            }
            GuestMemory::INSIDE => self.map(area, What::Guest, start, length, area.offset),
            _ if area.shared => bail!("memory that is shared with others cannot be frozen"),
            "[stack]" => {
                let room = STACK_ROOM.min(start - previous_end);
                self.map(area, What::Nothing, start - room, length + room, 0);
                self.keep(area, false)?;
            }
            name if SYSTEM.iter().any(|place| name.starts_with(place)) && !name.ends_with(" (deleted)") => {
                let index = self.found.paths.iter().position(|path| path == name).unwrap_or_else(|| {
                    self.found.paths.push(name.to_owned());
                    self.found.paths.len() - 1
                });
                self.map(area, What::File(index), start, length, area.offset);
                self.keep(area, true)?;
            }
            name => {
                self.map(area, What::Nothing, start, length, 0);
                // A file of the jail's own: its content is frozen.
                let all = name.starts_with('/') && area.protection != 0;
                if all { self.copy(area, start, length)? } else { self.keep(area, false)? }
            }
        }
        Ok(())
    }

    fn map(&mut self, area: &Area<'_>, what: What, address: u64, length: u64, offset: u64) {
        self.found.regions.push(Mapped { address, length, protection: area.protection, offset, what });
    }

    /// Copies the pages of an area that are the process's own.
    fn keep(&mut self, area: &Area<'_>, of_file: bool) -> Result<()> {
        let count = (area.end - area.start) / PAGE;
        let mut bytes = vec![0; usize::try_from(count * 8).context("area")?];
        self.pagemap.read_exact_at(&mut bytes, area.start / PAGE * 8).context("pagemap")?;
        let entries =
            bytes.chunks_exact(8).map(|entry| u64::from_ne_bytes(entry.try_into().unwrap_or_default()));
        let own = |entry: u64| entry & SWAPPED != 0 || (entry & PRESENT != 0 && entry & OF_FILE == 0);
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (page, _) in (0..count).zip(entries).filter(|(_, entry)| own(*entry)) {
            match runs.last_mut() {
                // What lies between is zero, unless it is a file's.
                Some((_, end)) if page - *end <= if of_file { 0 } else { GAP } => *end = page + 1,
                _ => runs.push((page, page + 1)),
            }
        }
        for (first, end) in runs {
            self.copy(area, area.start + first * PAGE, (end - first) * PAGE)?;
        }
        Ok(())
    }

    fn copy(&mut self, area: &Area<'_>, address: u64, length: u64) -> Result<()> {
        let mut bytes = vec![0; usize::try_from(length).context("length")?];
        self.memory.read_exact_at(&mut bytes, address).context("mem")?;
        self.pages.write_all(&bytes).context("pages")?;
        self.map(area, What::Pages, address, length, self.written);
        self.written += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line = "7f74ff000000-7f74ff026000 r-xp 00021000 fe:00 1234                       /usr/lib/a b.so";
        let area = Area::parse(line).unwrap();
        assert_eq!((area.start, area.end, area.offset), (0x7f74_ff00_0000, 0x7f74_ff02_6000, 0x21000));
        assert_eq!((area.protection, area.shared, area.name), (5, false, "/usr/lib/a b.so"));
        let area = Area::parse("1000-3000 rw-s 00000000 00:00 0 ").unwrap();
        assert_eq!((area.protection, area.shared, area.name), (3, true, ""));
        assert!(Area::parse("nonsense").is_none());
    }
}
