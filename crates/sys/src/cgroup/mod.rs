//! Control groups: one [`Cgroup`] is the same named group in every controller of the host.
//!
//! A host with version 1 controllers is treated as version 1, also when a version 2 hierarchy is mounted beside
//! them (hybrid). A controller that the host lacks is an error only when a limit needs it; [`Offers`] says beforehand.

mod hierarchy;
mod offers;
mod oom_watch;
mod setting;
mod v1;
mod v2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cofferdam_model::{Resources, Usage};
pub use hierarchy::Hierarchy;
pub use offers::Offers;
pub use oom_watch::OomWatch;
pub use setting::Before;

use crate::device_filter::DeviceRule;

/// How long freezing may take until it is given up and undone.
const FREEZE_LIMIT: Duration = Duration::from_secs(5);
/// How long removing an emptied group may take: its last process may still be exiting.
const DELETE_LIMIT: Duration = Duration::from_secs(2);

/// A cgroup operation failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host has no cgroup file system.
    #[error("no cgroup file system is mounted")]
    NotMounted,
    /// The name is not an absolute path below the root group.
    #[error("invalid cgroup path {0:?}")]
    InvalidPath(String),
    /// There is no such group.
    #[error("no such cgroup: {0}")]
    NotFound(String),
    /// A limit was asked for whose controller the host lacks.
    #[error("{limit} cannot be limited: this host has no {controller} cgroup controller")]
    MissingController {
        /// The controller.
        controller: &'static str,
        /// What it would limit.
        limit: &'static str,
    },
    /// The memory in use cannot be taken back.
    #[error("unable to set memory limit to {limit} (current usage: {usage})")]
    MemoryInUse {
        /// The limit that was asked for, in bytes.
        limit: u64,
        /// What is in use, in bytes.
        usage: u64,
    },
    /// A file of the hierarchy.
    #[error("control group file {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel did not get there in time.
    #[error("cgroup {cgroup} could not be {done} within {} seconds", limit.as_secs())]
    Timeout {
        /// The group.
        cgroup: String,
        /// What was waited for.
        done: &'static str,
        /// How long.
        limit: Duration,
    },
}

/// A group by its name; the group itself need not exist yet.
#[derive(Clone, Debug)]
pub struct Cgroup {
    name: String,
    version: Version,
}

#[derive(Clone, Debug)]
enum Version {
    V1(v1::Directories),
    V2(v2::Directory),
}

impl Cgroup {
    /// The group `name`, an absolute path like `/cofferdam-default/<id>`, on this host.
    pub fn named(name: &str) -> Result<Self, CgroupError> {
        Self::in_hierarchy(&Hierarchy::detect()?, name)
    }

    /// The group `name` in a hierarchy that was detected before.
    pub fn in_hierarchy(hierarchy: &Hierarchy, name: &str) -> Result<Self, CgroupError> {
        let below = name.strip_prefix('/').filter(|below| {
            !below.is_empty()
                && below.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
        });
        let below = below.ok_or_else(|| CgroupError::InvalidPath(name.to_owned()))?;
        let version = match hierarchy {
            Hierarchy::V1(mounts) => Version::V1(v1::Directories::new(mounts, below)),
            Hierarchy::V2(mount) => Version::V2(v2::Directory::new(mount, below)),
        };
        Ok(Self { name: name.to_owned(), version })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the group, and those above it, in every controller. Idempotent.
    pub fn create(&self) -> Result<(), CgroupError> {
        match &self.version {
            Version::V1(directories) => directories.create(),
            Version::V2(directory) => directory.create(),
        }
    }

    /// Whether the group exists in any controller.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.directories().iter().any(|directory| directory.exists())
    }

    /// Moves a process into the group, in every controller where the group exists; its future children are born
    /// there.
    pub fn add(&self, pid: i32) -> Result<(), CgroupError> {
        let existing: Vec<_> =
            self.directories().into_iter().filter(|directory| directory.exists()).collect();
        if existing.is_empty() {
            return Err(CgroupError::NotFound(self.name.clone()));
        }
        existing.iter().try_for_each(|directory| write(&directory.join("cgroup.procs"), &pid.to_string()))
    }

    /// Sets limits: all of them, or none. Returns what they were. (Those of single disks stay: only a new group gets them, which goes then.)
    pub fn set_limits(&self, limits: &Resources) -> Result<Before, CgroupError> {
        let settings = match &self.version {
            Version::V1(directories) => {
                directories.make_realtime_room(&limits.cpu)?;
                directories.settings(limits)?
            }
            Version::V2(directory) => {
                if let Some(limit) = limits.memory.limit {
                    directory.make_room(limit)?;
                }
                directory.settings(limits)?
            }
        };
        setting::apply(&settings)
    }

    /// Allows devices by these rules and no others (version 2 only: version 1 has the devices controller, which
    /// libcontainer writes). Returns whether a filter was attached.
    pub fn filter_devices(&self, rules: &[DeviceRule]) -> Result<bool, CgroupError> {
        let Version::V2(directory) = &self.version else { return Ok(false) };
        let path = directory.path();
        let attach = || crate::device_filter::attach(&fs::File::open(path)?, rules);
        attach().map_err(|source| CgroupError::File { path: path.to_owned(), source })?;
        Ok(true)
    }

    /// Every process in the group and in groups below it, in ascending order. Empty when it does not exist.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let Some(directory) = self.listing() else { return Ok(Vec::new()) };
        let mut pids = Vec::new();
        for group in tree(&directory)? {
            // A group may vanish meanwhile, and a threaded one has no list of processes of its own.
            if let Some(text) = read_optional(&group.join("cgroup.procs"))? {
                pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Stops every process, and returns when all have really stopped.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let started = Instant::now();
        loop {
            let frozen = match &self.version {
                Version::V1(directories) => directories.freeze()?,
                Version::V2(directory) => directory.freeze()?,
            };
            if frozen {
                return Ok(());
            }
            if started.elapsed() > FREEZE_LIMIT {
                self.thaw()?;
                return Err(self.timeout("frozen", FREEZE_LIMIT));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets every process run again.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match &self.version {
            Version::V1(directories) => directories.thaw(),
            Version::V2(directory) => directory.thaw(),
        }
    }

    /// Sends SIGKILL to every process, frozen ones and ones just being born included, and returns when the group is
    /// empty (ended children may still wait to be reaped).
    pub fn kill(&self, limit: Duration) -> Result<(), CgroupError> {
        let started = Instant::now();
        if let Version::V2(directory) = &self.version
            && directory.kill()?
        {
            while !self.pids()?.is_empty() {
                if started.elapsed() > limit {
                    return Err(self.timeout("emptied", limit));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            return Ok(());
        }
        let mut pause = Duration::from_micros(200);
        let mut first = true;
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                // Nothing stays frozen behind: a process that is added later would never run.
                return self.thaw();
            }
            if started.elapsed() > limit {
                self.thaw()?;
                return Err(self.timeout("emptied", limit));
            }
            // A process that forks faster than it is killed is caught by freezing.
            let frozen = !first && self.freeze().is_ok();
            for pid in if frozen { self.pids()? } else { pids } {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    // It may have ended in between.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            // A signal reaches a frozen process when it thaws.
            self.thaw()?;
            first = false;
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// How many processes of the group the OOM killer has ended. 0 where the host does not count.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match &self.version {
            Version::V1(directories) => directories.oom_kills(),
            Version::V2(directory) => directory.oom_kills(),
        }
    }

    /// Watches for memory running out in the group. `None` where the host has no memory controller.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>, CgroupError> {
        match &self.version {
            Version::V1(directories) => directories.watch_oom(),
            Version::V2(directory) => directory.watch_oom(),
        }
    }

    /// What the group uses now; what the host does not count is 0.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        let mut usage = match &self.version {
            Version::V1(directories) => directories.usage()?,
            Version::V2(directory) => directory.usage()?,
        };
        let all = crate::procfs::memory_total();
        // No limit is 0 here, or (version 1) a number larger than any memory.
        if usage.memory_limit == 0 || usage.memory_limit > all {
            usage.memory_limit = all;
        }
        Ok(usage)
    }

    /// Removes the group and those below it, which must be empty of processes. Idempotent.
    pub fn delete(&self) -> Result<(), CgroupError> {
        let started = Instant::now();
        for directory in self.directories() {
            loop {
                match remove_tree(&directory) {
                    Ok(()) => break,
                    // Its last process may still be on its way out.
                    Err(CgroupError::File { source, .. })
                        if source.raw_os_error() == Some(libc::EBUSY) && started.elapsed() < DELETE_LIMIT =>
                    {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The names of the groups directly below, which is how a daemon finds what an earlier one left.
    pub fn children(&self) -> Result<Vec<String>, CgroupError> {
        let mut names = Vec::new();
        for directory in self.directories() {
            for child in subdirectories(&directory)? {
                names.extend(child.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn directories(&self) -> Vec<PathBuf> {
        match &self.version {
            Version::V1(directories) => directories.all(),
            Version::V2(directory) => vec![directory.path().to_owned()],
        }
    }

    /// A directory whose `cgroup.procs` stands for the whole group.
    fn listing(&self) -> Option<PathBuf> {
        self.directories().into_iter().find(|directory| directory.exists())
    }

    fn timeout(&self, done: &'static str, limit: Duration) -> CgroupError {
        CgroupError::Timeout { cgroup: self.name.clone(), done, limit }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::File { path, source }
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    // A file that is missing must not be created, as `fs::write` would try.
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(at(path))?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(at(path))
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(at(path))
}

/// The file's text; `None` when the file, its group or its subject does not exist.
fn read_optional(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) =>
        {
            Ok(None)
        }
        Err(error) => Err(at(path)(error)),
    }
}

/// The number after `key` in a file of `key value` lines, 0 when there is none.
fn keyed(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The sum of the numbers after `key=` in a file of lines `major:minor key=value …`.
fn summed(text: &str, key: &str) -> u64 {
    let values = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}

fn number(path: &Path) -> Result<u64, CgroupError> {
    Ok(read_optional(path)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory)(error)),
    };
    let entries =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(entries.map(|entry| entry.path()).collect())
}

/// The group and all below it, parents first.
fn tree(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut groups = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(group) = groups.get(next).cloned() {
        groups.extend(subdirectories(&group)?);
        next += 1;
    }
    Ok(groups)
}

fn remove_tree(directory: &Path) -> Result<(), CgroupError> {
    for group in tree(directory)?.iter().rev() {
        match fs::remove_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(group)(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
