//! Limits: memory, processes, CPU, disks, and what a container asks of its kernel.

use std::time::{Duration, Instant};

use anyhow::Result;
use cofferdam_tests::groups::{CPUS, MEMORY, RESERVATION};
use cofferdam_tests::{Case, Daemon, Level, Skip, Test, check, check_eq, eventually};

pub const CASES: &[Test] = &[
    Test::both("limits::memory", memory),
    Test::both("limits::out_of_memory_and_on", out_of_memory_and_on),
    Test::both("limits::processes_and_cpu", processes_and_cpu),
    Test::both("limits::soft_memory_and_one_cpu", soft_memory_and_one_cpu),
    Test::both("limits::disk_rate", disk_rate),
    Test::both("limits::disks_refused", disks_refused),
    Test::both("limits::kernel_parameters", kernel_parameters),
    Test::both("limits::shared_memory_and_oom_score", shared_memory_and_oom_score),
    Test::both("limits::ulimits", ulimits),
    Test::both("limits::devices", devices),
    Test::both("limits::warnings", warnings),
    Test::engine("limits::default_ulimits", default_ulimits),
    Test::engine("limits::info", info),
];

/// More memory than allowed ends the container with 137 and `OOMKilled`; the event says so.
fn memory(case: &Case) -> Result<()> {
    let name = case.name("a");
    let isolation = case.isolation();
    // `tail` keeps the last line in memory, and this one has no end.
    let args = [
        "run",
        "--name",
        &name,
        "-m",
        "64m",
        "--memory-swap",
        "64m",
        &isolation,
        "nanoserver",
        "sh",
        "-c",
        "exec tail /dev/zero",
    ];
    case.docker(&args)?.fails(137)?;
    let seen = case.inspect(&name)?;
    check_eq!(seen["State"]["OOMKilled"], true);
    check_eq!(seen["State"]["ExitCode"], 137);
    check_eq!(ooms(case, &name)?, 1);
    Ok(())
}

fn processes_and_cpu(case: &Case) -> Result<()> {
    let name = case.detached(
        "a",
        &["--pids-limit", "20", "--cpus", "0.5", "-m", "100m", "nanoserver", "sleep", "1000"],
    )?;
    // Inside, the container's own cgroup tells its limits (v1 names on the left, v2 on the right).
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
                  cat pids/pids.max pids.max 2>/dev/null; cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null; true";
    let seen = case.shell(&name, script)?;
    let words: Vec<_> = seen.split_whitespace().collect();
    for wanted in ["104857600", "20", "50000"] {
        check!(words.contains(&wanted), "{wanted} is missing in the container's cgroup: {words:?}");
    }
    let script = "for i in $(seq 40); do sleep 30 & done 2>&1; wait";
    let seen = case.docker(&["exec", &name, "timeout", "3", "sh", "-c", script])?.output()?;
    let all = format!("{}{}", seen.stdout, seen.stderr);
    check!(
        all.contains("fork") || all.contains("Resource temporarily unavailable"),
        "40 processes of 20: {all}"
    );
    if case.level == Level::Hyperv {
        // The limit holds for the VM as a whole, too: its worker is in the container's cgroup on the host.
        let pid = case.inspect(&name)?["State"]["Pid"].to_string();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        check!(groups.contains(&format!("/cofferdam-{}/", case.daemon()?.instance())), "{groups}");
    }
    Ok(())
}

/// A child is killed, and the container goes on: that is told at once.
fn out_of_memory_and_on(case: &Case) -> Result<()> {
    let flags = ["-m", "64m", "--memory-swap", "64m"];
    let script = "while :; do sleep 1; done";
    let name = case.detached("a", &[&flags[..], &["nanoserver", "sh", "-c", script]].concat())?;
    check_eq!(case.inspect(&name)?["State"]["OOMKilled"], false);
    case.docker(&["exec", &name, "tail", "/dev/zero"])?.fails(137)?;
    let seen = eventually(Duration::from_secs(60), || {
        Ok(Some(case.inspect(&name)?).filter(|seen| seen["State"]["OOMKilled"] == true))
    })?;
    check_eq!(seen["State"]["Status"], "running");
    check_eq!(ooms(case, &name)?, 1);
    case.docker(&["exec", &name, "tail", "/dev/zero"])?.fails(137)?;
    eventually(Duration::from_secs(60), || Ok(Some(ooms(case, &name)?).filter(|count| *count == 2)))?;
    // Nothing more is told at its end.
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    check_eq!(ooms(case, &name)?, 2);
    case.docker(&["start", &name])?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["OOMKilled"], false);
    Ok(())
}

/// How many events tell that a container's memory has run out.
fn ooms(case: &Case, name: &str) -> Result<usize> {
    Ok(case.daemon()?.events_of(name)?.iter().filter(|action| *action == "oom").count())
}

fn soft_memory_and_one_cpu(case: &Case) -> Result<()> {
    let flags = ["-m", "100m", "--memory-reservation", "64m", "--cpuset-cpus", "0", "-c", "700"];
    let name = case.detached("a", &[&flags[..], &["nanoserver", "sleep", "1000"]].concat())?;
    check_eq!(case.shell(&name, "nproc")?, "1");
    check_eq!(CPUS.on_host(case, &name)?, "0");
    check_eq!(RESERVATION.inside(case, &name)?, (64 << 20).to_string());
    if case.level == Level::Process {
        check_eq!(MEMORY.on_host(case, &name)?, (100 << 20).to_string());
        check_eq!(RESERVATION.on_host(case, &name)?, (64 << 20).to_string());
    } else {
        // All of the VM, and its worker process beside it.
        let memory: u64 = MEMORY.on_host(case, &name)?.parse()?;
        let vm = case.inspect(&name)?["Cofferdam"]["Memory"].as_u64().unwrap_or_default();
        check!(memory > vm && vm > 100 << 20, "{memory} for a VM of {vm}");
    }
    Ok(())
}

/// The disk that holds the daemon's data, as a container's limits name it.
fn data_disk(case: &Case) -> Result<String> {
    use std::os::linux::fs::MetadataExt as _;
    let device = std::fs::metadata(case.daemon()?.data_root())?.st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = format!("/sys/dev/block/{major}:{minor}");
    let event = std::fs::read_to_string(format!("{path}/uevent")).unwrap_or_default();
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    match name {
        Some(name) if !std::path::Path::new(&path).join("partition").exists() => Ok(format!("/dev/{name}")),
        _ => Err(Skip::because("the daemon's data is on no disk of its own")),
    }
}

/// A rate is a bound on what is written in the time that has passed, whatever that is.
fn disk_rate(case: &Case) -> Result<()> {
    const RATE: u64 = 1 << 20;
    let disk = data_disk(case)?;
    let rate = format!("{disk}:{RATE}");
    let name = case.detached("a", &["--device-write-bps", &rate, "nanoserver", "sleep", "1000"])?;
    let asked = &case.inspect(&name)?["HostConfig"]["BlkioDeviceWriteBps"][0];
    check_eq!((&asked["Path"], &asked["Rate"]), (&disk.into(), &RATE.into()));
    let start = Instant::now();
    case.docker(&[
        "exec",
        "-d",
        &name,
        "dd",
        "if=/dev/zero",
        "of=/big",
        "bs=64k",
        "count=800",
        "oflag=direct",
    ])?
    .ok()?;
    let daemon = case.daemon()?;
    let path = format!("/containers/{name}/stats?stream=false&one-shot=true");
    let written = || -> Result<u64> {
        let sample = daemon.get(&path)?.json()?;
        let all = sample["blkio_stats"]["io_service_bytes_recursive"].as_array().cloned().unwrap_or_default();
        Ok(all.iter().filter(|one| one["op"] == "write").filter_map(|one| one["value"].as_u64()).sum())
    };
    // It does write, and never more than it may; what may come at once is a part of a second's.
    for least in [RATE, 2 * RATE, 3 * RATE] {
        let seen =
            eventually(Duration::from_secs(60), || Ok(Some(written()?).filter(|seen| *seen >= least)))?;
        let most = RATE as f64 * (start.elapsed().as_secs_f64() + 2.0);
        check!((seen as f64) < most, "{seen} bytes in {:?}", start.elapsed());
    }
    Ok(())
}

fn disks_refused(case: &Case) -> Result<()> {
    let create = |flag: &str, value: &str| -> Result<String> {
        // The CLI makes 127 of "no such file".
        let refused = case.run(&[flag, value, "nanoserver", "true"])?.output()?;
        check!(refused.code == 125 || refused.code == 127, "{flag} {value}: {}", refused.code);
        Ok(refused.stderr)
    };
    let error = create("--device-read-bps", "/dev/nowhere:1mb")?;
    check!(error.contains("/dev/nowhere: no such file or directory"), "{error}");
    let error = create("--device-write-iops", "/dev/null:10")?;
    check!(error.contains("/dev/null is not a block device"), "{error}");
    let error = create("--blkio-weight", "7")?;
    check!(error.contains("Range of blkio weight is from 10 to 1000"), "{error}");
    let other = std::fs::read_dir("/sys/block")?.flatten().map(|entry| entry.file_name());
    let (disk, mut other) = (data_disk(case)?, other.map(|name| format!("/dev/{}", name.to_string_lossy())));
    let other = other.find(|path| *path != disk && std::path::Path::new(path).exists());
    if let (Level::Hyperv, Some(other)) = (case.level, other) {
        let error = create("--device-read-iops", &format!("{other}:10"))?;
        check!(
            error.contains("cannot be limited with isolation hyperv: the container's disk is a file in"),
            "{error}"
        );
    }
    Ok(())
}

/// Those that a container has for itself, and no others, also where the kernel is its own.
fn kernel_parameters(case: &Case) -> Result<()> {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max";
    let flags = ["net.ipv4.ip_forward=1", "kernel.msgmax=9000", "fs.mqueue.msg_max=15"];
    let flags: Vec<&str> = flags.iter().flat_map(|flag| ["--sysctl", flag]).collect();
    let seen = case.run(&[&flags[..], &["nanoserver", "sh", "-c", script]].concat())?.ok()?;
    check_eq!(seen, "1\n9000\n15");
    let body = |key: &str| {
        serde_json::json!({ "Image": "nanoserver", "Cmd": ["true"],
            "HostConfig": { "Isolation": case.level.as_str(), "Sysctls": { key: "1" } } })
    };
    for key in ["vm.swappiness", "kernel.panic", "fs.file-max"] {
        let answer = case.daemon()?.post("/containers/create", &body(key))?;
        let words = format!("sysctl \"{key}\" is not in a separate kernel namespace");
        check!(
            answer.status == 400 && answer.message().contains(&words),
            "{}: {}",
            answer.status,
            answer.text()
        );
    }
    // One that is not there is told by name when it is to be set.
    let error = case.run(&["--sysctl", "net.nowhere=1", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("net.nowhere"), "{error}");
    Ok(())
}

fn shared_memory_and_oom_score(case: &Case) -> Result<()> {
    let flags = ["--shm-size", "96m", "--oom-score-adj", "500"];
    let name = case.detached("a", &[&flags[..], &["nanoserver", "sleep", "1000"]].concat())?;
    let seen = case.shell(&name, "df -m /dev/shm | tail -n 1; cat /proc/1/oom_score_adj")?;
    let words: Vec<_> = seen.split_whitespace().collect();
    check!(words.contains(&"96") && words.last() == Some(&"500"), "{seen}");
    let pid = case.inspect(&name)?["State"]["Pid"].to_string();
    check_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?.trim(), "500");
    // Lowering it takes a right that not every daemon has.
    let lower =
        case.run(&["--oom-score-adj", "-500", "nanoserver", "cat", "/proc/self/oom_score_adj"])?.output()?;
    check!(
        lower.stdout.trim() == "-500"
            || lower.stderr.contains("no right to go below that (CAP_SYS_RESOURCE)"),
        "{}{}",
        lower.stdout,
        lower.stderr
    );
    let error = case.run(&["--oom-score-adj", "1001", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("range for oom score adj is [-1000, 1000]"), "{error}");
    Ok(())
}

fn ulimits(case: &Case) -> Result<()> {
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c";
    let args = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "nanoserver", "sh", "-c", script];
    check_eq!(case.run(&args)?.ok()?, "100\n200\n0");
    let error = case.run(&["--ulimit", "nofile=300:200", "nanoserver", "true"])?.output()?;
    check!(error.code == 125, "{}", error.stderr);
    Ok(())
}

/// Devices are the host's; a rule about numbers means those of the kernel that the container runs on.
fn devices(case: &Case) -> Result<()> {
    let fuse =
        ["--device", "/dev/null:/dev/nothing:r", "nanoserver", "sh", "-c", "cat /dev/nothing && echo read"];
    if case.level == Level::Hyperv {
        let error = case.run(&fuse)?.fails(125)?;
        check!(error.contains("host devices cannot be used with isolation hyperv"), "{error}");
    } else {
        check_eq!(case.run(&fuse)?.ok()?, "read");
    }
    let script = "mknod /kmsg c 1 11 && head -c 0 /kmsg && echo opened";
    // To open this one takes more than a rule.
    let log = ["--cap-add", "SYSLOG"];
    let denied = case.run(&[&log[..], &["nanoserver", "sh", "-c", script]].concat())?.output()?;
    check!(denied.code != 0 && denied.stderr.contains("not permitted"), "{}{}", denied.stdout, denied.stderr);
    let allowed = ["--device-cgroup-rule", "c 1:11 r", "nanoserver", "sh", "-c", script];
    check_eq!(case.run(&[&log[..], &allowed].concat())?.ok()?, "opened");
    let error = case.run(&["--device-cgroup-rule", "x", "nanoserver", "true"])?.output()?;
    check!(error.code == 125, "{}", error.stderr);
    Ok(())
}

/// What cannot be held is said, and `inspect` does not claim it.
fn warnings(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let flags = ["-m", "64m", "--memory-swap", "128m", "--oom-kill-disable", "--memory-swappiness", "10"];
    let args = [&["create", "--name", &name, &isolation], &flags[..], &["nanoserver", "true"]].concat();
    let answer = case.cofferdam(&args)?.output()?;
    check_eq!(answer.code, 0);
    let host = &case.inspect(&name)?["HostConfig"];
    let info = case.daemon()?.get("/info")?.json()?;
    let can = |key: &str| case.level == Level::Process && info[key] == true;
    check_eq!(answer.stderr.contains("OomKillDisable discarded"), !can("OomKillDisable"));
    check_eq!(host["OomKillDisable"] == true, can("OomKillDisable"));
    if case.level == Level::Hyperv {
        check!(answer.stderr.contains("A utility VM has no swap"), "{}", answer.stderr);
    } else {
        check_eq!(answer.stderr.contains("Memory limited without swap"), info["SwapLimit"] != true);
    }
    case.docker(&["start", &name])?.ok()?;
    Ok(())
}

/// The daemon's own limits are for containers that name none of that kind.
fn default_ulimits(case: &Case) -> Result<()> {
    let flags = ["--default-ulimit", "nofile=111:222", "--default-ulimit", "core=0"];
    let daemon = Daemon::start(case.host, "ulimits", &flags)?;
    daemon.install_nanoserver()?;
    let run = ["run", "--rm", "--network", "none", "--ulimit", "core=5", "nanoserver"];
    let seen =
        daemon.docker(&[&run[..], &["sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hc"]].concat()).ok()?;
    // The shell counts core files in blocks of 512 bytes.
    check_eq!(seen, "111\n222\n0");
    daemon.remove_everything()
}

/// `info` tells what this host's control groups can do.
fn info(case: &Case) -> Result<()> {
    let info = case.daemon()?.get("/info")?.json()?;
    let exists = |path: &str| std::path::Path::new("/sys/fs/cgroup").join(path).exists();
    if info["CgroupVersion"] == "1" {
        for (key, file) in [
            ("MemoryLimit", "memory/memory.limit_in_bytes"),
            ("SwapLimit", "memory/memory.memsw.limit_in_bytes"),
            ("OomKillDisable", "memory/memory.oom_control"),
            ("CpuCfsQuota", "cpu/cpu.cfs_quota_us"),
            ("CPUShares", "cpu/cpu.shares"),
            ("CPUSet", "cpuset/cpuset.cpus"),
            ("PidsLimit", "pids"),
        ] {
            check_eq!(info[key].as_bool(), Some(exists(file)), "{key}");
        }
    } else {
        check_eq!(info["OomKillDisable"], false);
        check_eq!(info["MemoryLimit"].as_bool(), Some(exists("cgroup.controllers")));
    }
    Ok(())
}
