//! On plain directories for the arithmetic, and as root on the host's real hierarchy in a group of its own.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use cofferdam_model::resources::{BlockIo, Cpu, DiskRate, DiskWeight, Memory, Pids};

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
    group.set_limits(&Resources::default()).unwrap();
    let five = Resources { pids: Pids { limit: Some(5) }, ..Resources::default() };
    let error = group.set_limits(&five).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the number of processes cannot be limited: this host has no pids cgroup controller"
    );

    let v1 = Cgroup::in_hierarchy(&Hierarchy::V1(BTreeMap::new()), "/x").unwrap();
    let error = v1.set_limits(&of_memory(Some(1), None)).unwrap_err();
    assert!(error.to_string().contains("memory cgroup controller"), "{error}");
}

fn of_memory(limit: Option<u64>, swap: Option<i64>) -> Resources {
    Resources { memory: Memory { limit, swap, ..Memory::default() }, ..Resources::default() }
}

/// Everything that version 2 can limit.
fn much() -> Resources {
    let disk = |rate| vec![DiskRate { major: 8, minor: 16, rate }];
    Resources {
        memory: Memory {
            limit: Some(1 << 20),
            swap: Some(3 << 20),
            reservation: Some(1 << 19),
            ..Memory::default()
        },
        cpu: Cpu {
            shares: Some(1024),
            quota: Some(150_000),
            period: Some(100_000),
            cpus: Some("0-1".to_owned()),
            mems: Some("0".to_owned()),
            ..Cpu::default()
        },
        pids: Pids { limit: Some(0) },
        block_io: BlockIo {
            weight: Some(500),
            weight_device: vec![DiskWeight { major: 8, minor: 0, weight: 1000 }],
            throttle_read_bps_device: disk(1000),
            throttle_write_iops_device: disk(5),
            ..BlockIo::default()
        },
    }
}

fn files(directory: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(directory).unwrap();
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
}

#[test]
fn version_2_files_are_written_and_read() {
    let root = tempfile::tempdir().unwrap();
    let group = v2_on(root.path());
    group.create().unwrap();
    let directory = root.path().join("parent/child");
    let limits = ["memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "pids.max"];
    files(&directory, &limits.map(|file| (file, "")));
    files(&directory, &["cpuset.cpus", "cpuset.mems", "io.weight", "io.max"].map(|file| (file, "")));
    files(
        &directory,
        &[
            ("memory.current", "77\n"),
            ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"),
            ("cpu.stat", "usage_usec 5\nuser_usec 4\nnr_throttled 3\n"),
            ("memory.stat", "anon 70\ninactive_file 7\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=1 rios=1\n8:16 rbytes=5 wbytes=2\n"),
        ],
    );
    group.set_limits(&much()).unwrap();
    let text = |file| fs::read_to_string(directory.join(file)).unwrap();
    for (file, value) in [
        ("memory.max", "1048576"),
        ("memory.swap.max", "2097152"),
        ("memory.low", "524288"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "39"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "max"),
        // Plain files, which keep everything that is written to them at its place.
        ("io.weight", "8:0 10000"),
        ("io.max", "8:16 wiops=500"),
    ] {
        assert_eq!(text(file), value, "{file}");
    }
    assert_eq!(group.oom_kills().unwrap(), 2);
    let usage = group.usage().unwrap();
    assert_eq!((usage.memory, usage.memory_limit, usage.inactive_file), (77, 1 << 20, 7));
    assert_eq!((usage.cpu_nanos, usage.cpu_user_nanos, usage.throttled_periods), (5000, 4000, 3));
    assert_eq!((usage.read_bytes, usage.written_bytes, usage.pids_limit), (15, 3, 0));
}

#[test]
fn version_1_has_a_file_for_each() {
    let root = tempfile::tempdir().unwrap();
    let controllers = ["memory", "cpu", "cpuset", "pids", "blkio"];
    let mounts: BTreeMap<_, _> =
        controllers.map(|name| (name.to_owned(), root.path().join(name))).into_iter().collect();
    let group = Cgroup::in_hierarchy(&Hierarchy::V1(mounts), "/g").unwrap();
    let of = |controller: &str| root.path().join(controller).join("g");
    files(&of("memory"), &[("memory.limit_in_bytes", "9\n"), ("memory.memsw.limit_in_bytes", "9\n")]);
    files(&of("memory"), &[("memory.soft_limit_in_bytes", ""), ("memory.swappiness", "60\n")]);
    files(&of("memory"), &[("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")]);
    files(&of("cpu"), &["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"].map(|file| (file, "")));
    files(&of("cpuset"), &["cpuset.cpus", "cpuset.mems"].map(|file| (file, "")));
    files(&of("pids"), &[("pids.max", "")]);
    let throttles = ["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device"];
    files(&of("blkio"), &throttles.map(|file| (file, "")));
    files(&of("blkio"), &["blkio.bfq.weight", "blkio.bfq.weight_device"].map(|file| (file, "")));
    let mut limits = much();
    limits.memory.swappiness = Some(10);
    limits.memory.disable_oom_killer = Some(true);
    limits.cpu.quota = Some(-1);
    group.set_limits(&limits).unwrap();
    for (controller, file, start) in [
        ("memory", "memory.limit_in_bytes", "1048576"),
        ("memory", "memory.memsw.limit_in_bytes", "3145728"),
        ("memory", "memory.soft_limit_in_bytes", "524288"),
        ("memory", "memory.swappiness", "10"),
        ("memory", "memory.oom_control", "1"),
        ("cpu", "cpu.shares", "1024"),
        ("cpu", "cpu.cfs_quota_us", "-1"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpuset", "cpuset.cpus", "0-1"),
        ("pids", "pids.max", "max"),
        ("blkio", "blkio.bfq.weight", "500"),
        ("blkio", "blkio.bfq.weight_device", "8:0 1000"),
        ("blkio", "blkio.throttle.read_bps_device", "8:16 1000"),
        ("blkio", "blkio.throttle.write_iops_device", "8:16 5"),
    ] {
        let text = fs::read_to_string(of(controller).join(file)).unwrap();
        assert!(text.starts_with(start), "{file}: {text}");
    }
}

#[test]
fn all_limits_hold_or_none() {
    let root = tempfile::tempdir().unwrap();
    let group = v2_on(root.path());
    group.create().unwrap();
    let directory = root.path().join("parent/child");
    files(&directory, &[("memory.max", "7\n"), ("memory.current", "0\n"), ("cpu.max", "max 100000\n")]);
    // A directory cannot be written to.
    fs::create_dir(directory.join("pids.max")).unwrap();
    let limits = Resources { block_io: BlockIo::default(), ..much() };
    let cpu = Cpu { quota: Some(1000), ..Cpu::default() };
    let memory = Memory { limit: Some(5000), ..Memory::default() };
    let error = group.set_limits(&Resources { cpu, memory, ..limits }).unwrap_err();
    assert!(error.to_string().contains("pids.max"), "{error}");
    let text = |file| fs::read_to_string(directory.join(file)).unwrap();
    assert_eq!(
        (text("memory.max").lines().next(), text("cpu.max").lines().next()),
        (Some("7"), Some("max 100000"))
    );
}

#[test]
fn memory_in_use_is_not_taken_away() {
    let root = tempfile::tempdir().unwrap();
    let group = v2_on(root.path());
    group.create().unwrap();
    let directory = root.path().join("parent/child");
    files(&directory, &[("memory.max", "max\n"), ("memory.high", "max\n"), ("memory.current", "9000\n")]);
    let error = group.set_limits(&of_memory(Some(8000), None)).unwrap_err();
    assert_eq!(error.to_string(), "unable to set memory limit to 8000 (current usage: 9000)");
    let text = |file| fs::read_to_string(directory.join(file)).unwrap();
    assert_eq!((text("memory.max").as_str(), &text("memory.high")[..3]), ("max\n", "max"));
    group.set_limits(&of_memory(Some(9000), None)).unwrap();
}

#[test]
fn what_a_host_offers_is_told_by_its_files() {
    let root = tempfile::tempdir().unwrap();
    files(root.path(), &[("cgroup.controllers", "cpu memory io\n"), ("cpuset.cpus.effective", "0-2\n")]);
    files(&root.path().join("system.slice"), &[("memory.swap.max", ""), ("io.max", "")]);
    let offers = Offers::of(&Hierarchy::V2(root.path().to_owned()));
    assert!(offers.memory && offers.swap && offers.cpu_quota && offers.disk_rate);
    assert!(!(offers.pids || offers.cpuset || offers.swappiness || offers.oom_kill_disable));
    assert!(!(offers.disk_weight || offers.cpu_realtime));
    assert_eq!(offers.cpus.len(), 3);

    files(&root.path().join("memory"), &[("memory.limit_in_bytes", ""), ("memory.oom_control", "")]);
    let mounts = BTreeMap::from([("memory".to_owned(), root.path().join("memory"))]);
    let offers = Offers::of(&Hierarchy::V1(mounts));
    assert!(offers.memory && offers.oom_kill_disable);
    assert!(!(offers.swap || offers.cpu_quota || offers.pids || offers.disk_rate));
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
        let limits =
            Resources { pids: Pids { limit: Some(100) }, ..of_memory(Some(16 << 20), Some(16 << 20)) };
        if let Err(error) = own.group.set_limits(&limits) {
            println!("skipped in part: {error}");
            continue;
        }
        let mut watch = own.group.watch_oom().unwrap().unwrap();
        assert!(!watch.drain());
        // It waits until it is in the group, then takes far more than the group may have.
        own.run("sh", &["-c", "sleep 0.2; exec dd if=/dev/zero of=/dev/null bs=200M count=1"]);
        let status = own.children[0].wait().unwrap();
        assert!(!status.success());
        assert!(own.group.oom_kills().unwrap() >= 1);
        assert!(watch.drain());
        assert_eq!((watch.kills(), watch.kills()), (1, 0));
        assert!(own.group.usage().unwrap().cpu_nanos > 0);
    }
}

#[test]
fn memory_of_a_real_group_grows_and_shrinks() {
    for hierarchy in hierarchies() {
        let own = Own::new(hierarchy, "resize");
        for (limit, swap) in [(64, 128), (256, 300), (32, 32), (512, -1), (64, 64)] {
            let swap = if swap < 0 { -1 } else { swap << 20 };
            if let Err(error) = own.group.set_limits(&of_memory(Some(limit << 20), Some(swap))) {
                println!("skipped in part: {error}");
                break;
            }
            assert_eq!(own.group.usage().unwrap().memory_limit, limit << 20);
        }
    }
}

#[test]
fn a_real_group_gets_real_time_from_those_above() {
    for hierarchy in hierarchies() {
        if !Offers::of(&hierarchy).cpu_realtime {
            println!("skipped in part: no real-time scheduling of groups");
            continue;
        }
        let own = Own::new(hierarchy, "realtime");
        for runtime in [10_000, 20_000, 0] {
            let cpu = Cpu { realtime_runtime: Some(runtime), ..Cpu::default() };
            own.group.set_limits(&Resources { cpu, ..Resources::default() }).unwrap();
        }
    }
}
