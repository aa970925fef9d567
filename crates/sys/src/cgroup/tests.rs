//! On plain directories for the arithmetic, and as root on the host's real hierarchy in a group of its own.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use super::*;

fn v2_on(directory: &Path) -> Cgroup {
    Cgroup::in_hierarchy(&Hierarchy::V2(directory.to_owned()), "/parent/child").unwrap()
}

#[test]
fn names_stay_below_the_root() {
    let hierarchy = Hierarchy::V2("/nowhere".into());
    for bad in ["", "/", "relative", "/a/../b", "/a//b", "/a/", "/./a"] {
        assert!(Cgroup::in_hierarchy(&hierarchy, bad).is_err(), "{bad}");
    }
}

#[test]
fn a_missing_controller_is_named_only_when_needed() {
    let root = tempfile::tempdir().unwrap();
    let group = v2_on(root.path());
    group.create().unwrap();
    group.set_limits(&Limits::default()).unwrap();
    let error = group.set_limits(&Limits { pids: Some(5), ..Limits::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the number of processes cannot be limited: this host has no pids cgroup controller"
    );

    let v1 = Cgroup::in_hierarchy(&Hierarchy::V1(BTreeMap::new()), "/x").unwrap();
    let error = v1.set_limits(&Limits { memory: Some(1), ..Limits::default() }).unwrap_err();
    assert!(error.to_string().contains("memory cgroup controller"), "{error}");
}

#[test]
fn version_2_files_are_written_and_read() {
    let root = tempfile::tempdir().unwrap();
    let group = v2_on(root.path());
    group.create().unwrap();
    let directory = root.path().join("parent/child");
    for (file, text) in [
        ("memory.max", ""),
        ("memory.current", "77\n"),
        ("memory.swap.max", ""),
        ("cpu.max", ""),
        ("cpu.weight", ""),
        ("pids.max", ""),
        ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"),
        ("cpu.stat", "usage_usec 5\nuser_usec 4\nnr_throttled 3\n"),
        ("memory.stat", "anon 70\ninactive_file 7\n"),
        ("io.stat", "8:0 rbytes=10 wbytes=1 rios=1\n8:16 rbytes=5 wbytes=2\n"),
    ] {
        fs::write(directory.join(file), text).unwrap();
    }
    group
        .set_limits(&Limits {
            memory: Some(1 << 20),
            memory_swap: Some(3 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(1024),
            pids: Some(0),
        })
        .unwrap();
    let text = |file| fs::read_to_string(directory.join(file)).unwrap();
    assert_eq!(text("memory.max"), "1048576");
    assert_eq!(text("memory.swap.max"), "2097152");
    assert_eq!(text("cpu.max"), "150000 100000");
    assert_eq!(text("cpu.weight"), "39");
    assert_eq!(text("pids.max"), "max");
    assert_eq!(group.oom_kills().unwrap(), 2);
    let usage = group.usage().unwrap();
    assert_eq!((usage.memory, usage.memory_limit, usage.inactive_file), (77, 1 << 20, 7));
    assert_eq!((usage.cpu_nanos, usage.cpu_user_nanos, usage.throttled_periods), (5000, 4000, 3));
    assert_eq!((usage.read_bytes, usage.written_bytes, usage.pids_limit), (15, 3, 0));
}

/// The host's hierarchies: on a hybrid host also the version 2 one beside version 1, which has no controllers but
/// holds processes all the same.
fn hierarchies() -> Vec<Hierarchy> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: control groups need root");
        return Vec::new();
    }
    let mut found = vec![Hierarchy::detect().unwrap()];
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let unified = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    if let (Hierarchy::V1(_), Some(mount)) = (&found[0], unified.and_then(|line| line.split(' ').nth(1))) {
        found.push(Hierarchy::V2(mount.into()));
    }
    found
}

/// A group of the test's own on the host, removed at the end.
struct Own {
    group: Cgroup,
    hierarchy: Hierarchy,
    children: Vec<Child>,
}

impl Own {
    fn new(hierarchy: Hierarchy, name: &str) -> Self {
        let name = format!("/cofferdam-test-{}-{name}/group", std::process::id());
        let group = Cgroup::in_hierarchy(&hierarchy, &name).unwrap();
        assert!(matches!(group.add(1), Err(CgroupError::NotFound(_))));
        group.create().unwrap();
        group.create().unwrap();
        Self { group, hierarchy, children: Vec::new() }
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> i32 {
        let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Closed once it is in the group: what it starts before would not be.
        let gate = child.stdin.take();
        self.children.push(child);
        self.group.add(pid).unwrap();
        drop(gate);
        pid
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.group.kill(Duration::from_secs(10)).unwrap();
        for child in &mut self.children {
            // One that could not be added is not in the group.
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.group.delete().unwrap();
        assert!(!self.group.exists());
        let (parent, _) = self.group.name().rsplit_once('/').unwrap();
        Cgroup::in_hierarchy(&self.hierarchy, parent).unwrap().delete().unwrap();
    }
}

fn state_of(pid: i32) -> char {
    crate::procfs::processes(&[pid])[0].state
}

#[test]
fn a_real_group_freezes_thaws_and_dies() {
    for hierarchy in hierarchies() {
        let mut own = Own::new(hierarchy, "freeze");
        let mut pids = vec![own.run("sleep", &["1000"]), own.run("sh", &["-c", "while :; do :; done"])];
        pids.sort_unstable();
        assert_eq!(own.group.pids().unwrap(), pids);
        own.group.freeze().unwrap();
        let ticks = |own: &Own| crate::procfs::processes(&own.group.pids().unwrap())[1].cpu_ms;
        let before = ticks(&own);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ticks(&own), before, "a frozen loop does not run");
        own.group.thaw().unwrap();
        own.group.freeze().unwrap();
        // Frozen processes are killed as well.
        own.group.kill(Duration::from_secs(10)).unwrap();
        assert_eq!(own.group.pids().unwrap(), Vec::<i32>::new());
        // And the group takes new ones, which run.
        let pid = own.run("sleep", &["1000"]);
        assert_ne!(state_of(pid), 'D');
    }
}

#[test]
fn one_that_forks_all_the_time_is_killed() {
    for hierarchy in hierarchies() {
        let mut own = Own::new(hierarchy, "fork");
        own.run("sh", &["-c", "read -r gate; while :; do (sleep 1000 &) ; sleep 0.001; done"]);
        std::thread::sleep(Duration::from_millis(50));
        own.group.kill(Duration::from_secs(10)).unwrap();
        assert_eq!(own.group.pids().unwrap(), Vec::<i32>::new());
    }
}

#[test]
fn processes_in_groups_below_count() {
    for hierarchy in hierarchies() {
        let mut own = Own::new(hierarchy, "nested");
        // On version 2 a group that hands controllers down holds no processes itself, so it gets its process first.
        let pid = own.run("sleep", &["1000"]);
        let below = format!("{}/inner", own.group.name());
        let below = Cgroup::in_hierarchy(&own.hierarchy, &below).unwrap();
        below.create().unwrap();
        below.add(pid).unwrap();
        assert_eq!(own.group.pids().unwrap(), vec![pid]);
        assert_eq!(own.group.children().unwrap(), ["inner"]);
    }
}

#[test]
fn the_oom_killer_is_noticed() {
    for hierarchy in hierarchies() {
        let mut own = Own::new(hierarchy, "oom");
        let limits = Limits {
            memory: Some(16 << 20),
            memory_swap: Some(16 << 20),
            pids: Some(100),
            ..Limits::default()
        };
        if let Err(error) = own.group.set_limits(&limits) {
            println!("skipped in part: {error}");
            continue;
        }
        // It waits until it is in the group, then takes far more than the group may have.
        own.run("sh", &["-c", "sleep 0.2; exec dd if=/dev/zero of=/dev/null bs=200M count=1"]);
        let status = own.children[0].wait().unwrap();
        assert!(!status.success());
        assert!(own.group.oom_kills().unwrap() >= 1);
        assert!(own.group.usage().unwrap().cpu_nanos > 0);
    }
}
