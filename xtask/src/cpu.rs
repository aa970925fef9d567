//! CPU time of everything that an engine's commands cause: client, daemon, shim, container, VM.
//!
//! A control group adds all of that up to the nanosecond, also of processes that are gone. Each engine has one: the
//! benchmark joins it before it starts the engine's daemon or one of its commands, and what it starts follows.
//! Containers go to a group beside it, or to groups of the daemon's own, which are added.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Reads the CPU time that an engine has used so far.
pub struct CpuMeter {
    /// Where the engine's processes are.
    own: PathBuf,
    /// What is added up, each with everything below it.
    counted: Vec<PathBuf>,
}

impl CpuMeter {
    /// A new group of this path. `beside` is what the engine calls a group that it makes at the root.
    pub fn new(group: &str, beside: Option<&str>) -> Result<Self> {
        let root = hierarchy()?;
        let whole = root.join(group);
        // Containers' groups may be made below the whole, so processes are one further down.
        let own = whole.join("own");
        fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
        let counted = std::iter::once(whole).chain(beside.map(|name| root.join(name))).collect();
        Ok(Self { own, counted })
    }

    /// Moves this process, so that what it starts from now on counts here.
    pub fn enter(&self) -> Result<()> {
        let file = self.own.join("cgroup.procs");
        fs::write(&file, std::process::id().to_string())
            .with_context(|| format!("join {}", self.own.display()))
    }

    /// Nanoseconds until now.
    pub fn nanoseconds(&self) -> u64 {
        self.counted.iter().map(|group| used(group)).sum()
    }

    /// Nanoseconds once the engine is at rest: a teardown may go on after its command has ended.
    pub fn settled(&self) -> u64 {
        self.at_rest(Duration::from_millis(25), Duration::from_millis(500))
    }

    /// Waits for the end of what an engine does by itself after its first containers, such as preparing later starts.
    pub fn wait_for_rest(&self) {
        self.at_rest(Duration::from_secs(1), Duration::from_secs(90));
    }

    /// Waits until a pause sees less than a twenty-fifth of a processor used, but not longer than a limit.
    fn at_rest(&self, pause: Duration, limit: Duration) -> u64 {
        let end = Instant::now() + limit;
        let mut before = self.nanoseconds();
        loop {
            sleep(pause);
            let now = self.nanoseconds();
            if u128::from(now - before) < pause.as_nanos() / 25 || Instant::now() > end {
                return now;
            }
            before = now;
        }
    }
}

/// Removes a group with everything below it from every hierarchy. Processes that have just ended hold a group for a
/// moment; what remains after that is named.
pub fn remove_groups(name: &str) -> Vec<String> {
    let mut places: Vec<PathBuf> = vec![PathBuf::from("/sys/fs/cgroup").join(name)];
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    places.extend(hierarchies.map(|hierarchy| hierarchy.path().join(name)));
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        for place in places.iter().filter(|place| place.is_dir()) {
            remove_tree(place);
        }
        let left: Vec<_> = places.iter().filter(|place| place.is_dir()).collect();
        if left.is_empty() || Instant::now() > end {
            return left.iter().map(|place| format!("control group {}", place.display())).collect();
        }
        sleep(Duration::from_millis(50));
    }
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // The caller looks at what is left.
    let _ = fs::remove_dir(group);
}

/// The root of the hierarchy that counts CPU time.
fn hierarchy() -> Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    for line in groups.lines() {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        if controllers.split(',').any(|name| name == "cpuacct") {
            return Ok(Path::new("/sys/fs/cgroup").join(controllers));
        }
    }
    if fs::exists("/sys/fs/cgroup/cgroup.procs")? {
        return Ok(PathBuf::from("/sys/fs/cgroup"));
    }
    bail!("no control groups that count CPU time")
}

fn used(group: &Path) -> u64 {
    if let Ok(text) = fs::read_to_string(group.join("cpuacct.usage")) {
        return text.trim().parse().unwrap_or_default();
    }
    let text = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
    let microseconds = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok());
    microseconds.unwrap_or_default() * 1000
}
