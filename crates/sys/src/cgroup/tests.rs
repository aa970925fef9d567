//! On plain directories for the arithmetic, and as root on the host's real hierarchy in a group of its own.

use std::collections::BTreeMap;
use std::process::{Child, Command};

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
        ("cpu.stat", "usage_usec 5\nuser_usec 4\n"),
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
    assert_eq!(group.usage().unwrap(), Usage { memory: 77, cpu_nanos: 5000, pids: 0 });
}

/// A group of this test's own on the host, removed at the end.
struct Own(Cgroup, Vec<Child>);

impl Own {
    fn new(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: control groups need root");
            return None;
        }
        let group = Cgroup::named(&format!("/cofferdam-test-{}-{name}/group", std::process::id())).unwrap();
        group.create().unwrap();
        Some(Self(group, Vec::new()))
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> i32 {
        let child = Command::new(program).args(arguments).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.1.push(child);
        self.0.add(pid).unwrap();
        pid
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.kill(Duration::from_secs(10)).unwrap();
        for child in &mut self.1 {
            child.wait().unwrap();
        }
        self.0.delete().unwrap();
        assert!(!self.0.exists());
        let (parent, _) = self.0.name().rsplit_once('/').unwrap();
        Cgroup::named(parent).unwrap().delete().unwrap();
    }
}

#[test]
fn a_real_group_freezes_thaws_and_dies() {
    let Some(mut own) = Own::new("freeze") else { return };
    let mut pids = vec![own.run("sleep", &["1000"]), own.run("sleep", &["1000"])];
    pids.sort_unstable();
    assert_eq!(own.0.pids().unwrap(), pids);
    own.0.freeze().unwrap();
    own.0.thaw().unwrap();
    own.0.freeze().unwrap();
    // Frozen processes are killed as well.
    own.0.kill(Duration::from_secs(10)).unwrap();
    assert_eq!(own.0.pids().unwrap(), Vec::<i32>::new());
}

#[test]
fn processes_in_groups_below_count() {
    let Some(mut own) = Own::new("nested") else { return };
    let below = Cgroup::named(&format!("{}/inner", own.0.name())).unwrap();
    below.create().unwrap();
    let pid = own.run("sleep", &["1000"]);
    below.add(pid).unwrap();
    assert_eq!(own.0.pids().unwrap(), vec![pid]);
    assert_eq!(own.0.children().unwrap(), ["inner"]);
}

#[test]
fn the_oom_killer_is_noticed() {
    let Some(mut own) = Own::new("oom") else { return };
    let limits =
        Limits { memory: Some(16 << 20), memory_swap: Some(16 << 20), pids: Some(100), ..Limits::default() };
    if let Err(error) = own.0.set_limits(&limits) {
        println!("skipped: {error}");
        return;
    }
    // It waits until it is in the group, then takes far more than the group may have.
    own.run("sh", &["-c", "sleep 0.2; exec dd if=/dev/zero of=/dev/null bs=200M count=1"]);
    let status = own.1[0].wait().unwrap();
    assert!(!status.success());
    assert!(own.0.oom_kills().unwrap() >= 1);
}
