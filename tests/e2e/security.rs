//! The walls: what a container's root cannot do.

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Level, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("security::walls", walls),
    Test::both("security::system_calls", system_calls),
    Test::both("security::options", options),
    Test::both("security::host_is_out_of_reach", host_is_out_of_reach),
];

/// Capabilities, seccomp, masked and read-only paths, devices: as Docker has them, at both levels.
fn walls(case: &Case) -> Result<()> {
    let script = "
        grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status | tr '\\t' ' '
        echo kcore=$(head -c 1 /proc/kcore | wc -c) keys=$(cat /proc/keys 2>/dev/null | wc -c) timers=$(cat /proc/timer_list 2>/dev/null | wc -c)
        ls /sys/firmware | wc -l | sed 's/^/firmware=/'
        (echo 1 > /proc/sys/kernel/panic) 2>&1 | grep -o 'Read-only file system' | sed 's/^/sysctl: /'
        test -e /proc/sysrq-trigger || echo sysrq: none here
        (echo b > /proc/sysrq-trigger) 2>&1 | grep -o 'Read-only file system' | sed 's/^/sysrq: /'
        (mkdir /sys/fs/cgroup/x) 2>&1 | grep -oE 'Read-only file system|Permission denied' | head -1 | sed 's/^/cgroup: /'
        mknod /tmp/disk b 254 0 && (head -c 1 /tmp/disk) 2>&1 | grep -o 'Operation not permitted' | sed 's/^/disk: /'
        mknod /tmp/null c 1 3 && echo x > /tmp/null && echo null=works
        mount -t tmpfs none /tmp 2>&1 | grep -oE 'permission denied|Operation not permitted' | sed 's/^/mount: /'
        for d in null zero full random urandom tty; do test -c /dev/$d || echo missing /dev/$d; done
        test -e /dev/kmsg && echo kmsg; test -e /dev/mem && echo mem; test -e /dev/kvm && echo kvm; test -e /dev/vda && echo vda
        test -c /dev/ptmx && test -d /dev/shm && echo shm
        ls /proc/self/fd | wc -l | sed 's/^/fds=/'
    ";
    let seen = case.run(&["nanoserver", "sh", "-c", script])?.ok()?;
    for wanted in [
        "Seccomp: 2",
        "NoNewPrivs: 0",
        "kcore=0 keys=0 timers=0",
        "firmware=0",
        "sysctl: Read-only file system",
        "sysrq: ",
        "cgroup: ",
        "disk: Operation not permitted",
        "null=works",
        "mount: ",
        "shm",
    ] {
        check!(seen.contains(wanted), "{wanted:?} is missing in:\n{seen}");
    }
    for unwanted in ["missing /dev", "kmsg", "\nmem", "\nkvm", "\nvda"] {
        check!(!seen.contains(unwanted), "{unwanted:?} is in:\n{seen}");
    }
    // Docker's fourteen, less what the host itself does not have.
    let effective = seen.lines().find_map(|line| line.strip_prefix("CapEff: ")).context("no CapEff")?;
    let effective = u64::from_str_radix(effective, 16)?;
    check!(
        effective != 0 && effective & !0xa804_25fb == 0,
        "capabilities {effective:#x} are more than Docker's"
    );
    // The ls and its own directory are the only ones beside standard input, output and error.
    check!(seen.contains("fds=4"), "a file descriptor leaked into the container:\n{seen}");
    Ok(())
}

fn system_calls(case: &Case) -> Result<()> {
    let program = case.static_program("syscalls", include_str!("syscalls.c"))?;
    let bind = format!("{}:/syscalls:ro", program.display());
    let seen = case.run(&["-v", &bind, "nanoserver", "/syscalls"])?.ok()?;
    for line in seen.lines() {
        let (call, answer) = line.split_once(' ').context("an answer")?;
        let good = match call {
            "getpid" => answer == "allowed",
            // Absent, so that libraries fall back to clone, whose flags can be looked at.
            "clone3" => answer == "ENOSYS",
            _ => answer == "EPERM",
        };
        check!(good, "{call}: {answer}; all:\n{seen}");
    }
    check!(seen.lines().count() >= 15, "{seen}");
    let seen =
        case.run(&["-v", &bind, "--security-opt", "seccomp=unconfined", "nanoserver", "/syscalls"])?.ok()?;
    check!(seen.contains("unshare-user allowed"), "seccomp=unconfined still filters:\n{seen}");
    Ok(())
}

fn options(case: &Case) -> Result<()> {
    let script = "grep -E '^(CapEff|NoNewPrivs):' /proc/self/status | tr '\\t' ' '; chown 1:1 /tmp 2>&1; hostname x 2>&1";
    let args = [
        "--security-opt",
        "no-new-privileges",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    let seen = case.run(&args)?.output()?.stdout;
    check!(seen.contains("NoNewPrivs: 1"), "{seen}");
    check!(seen.contains("CapEff: 0000000000000001"), "{seen}");
    check!(!seen.contains("chown:"), "{seen}");
    let error = case.run(&["--cap-add", "NO_SUCH_CAP", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("NO_SUCH_CAP"), "{error}");
    let error = case.run(&["--security-opt", "seccomp=/no/such/file", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("/no/such/file"), "{error}");
    Ok(())
}

/// Own namespaces; no process, file or interface of the host or of another container is seen.
fn host_is_out_of_reach(case: &Case) -> Result<()> {
    let marker = case.directory()?.join("secret-of-the-host");
    std::fs::create_dir_all(case.directory()?)?;
    std::fs::write(&marker, "secret")?;
    let neighbour = case
        .docker(&[
            "run",
            "-d",
            "--name",
            &case.name("neighbour"),
            "--isolation=process",
            "nanoserver",
            "sleep",
            "86399",
        ])?
        .ok()?;
    let script = format!(
        "for n in mnt pid net ipc uts cgroup; do echo ns $n $(readlink /proc/self/ns/$n); done
         cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo
         find / -xdev -name secret-of-the-host 2>/dev/null; ls /proc/1/root/work /proc/1/root/boot 2>/dev/null
         cat {} 2>/dev/null; grep -c {} /proc/mounts /proc/self/mountinfo; cat /proc/self/cgroup; uname -r",
        marker.display(),
        &neighbour[..12],
    );
    // By standard input, so that the script is in nobody's command line.
    let seen = case.run(&["-i", "nanoserver", "sh"])?.stdin(script).ok()?;
    check!(!seen.contains("86399") && !seen.contains("cofferdamd"), "another's process is seen:\n{seen}");
    check!(!seen.contains("secret"), "a file of the host is seen:\n{seen}");
    for (kind, own) in seen.lines().filter_map(|line| line.strip_prefix("ns ")?.split_once(' ')) {
        let hosts = std::fs::read_link(format!("/proc/self/ns/{kind}"))?;
        if case.level == Level::Process {
            check!(hosts.to_string_lossy() != own, "the {kind} namespace is the host's");
        }
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let inside = seen.lines().last().unwrap_or_default();
    check_eq!(
        inside == kernel.trim(),
        case.level == Level::Process,
        "kernel {inside:?}, the host's is {kernel:?}"
    );
    Ok(())
}
