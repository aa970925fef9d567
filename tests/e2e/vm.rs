//! What only a utility VM has: its worker process, its kernel, its death.

use std::fs;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Level, Test, check, check_eq};

const HYPERV: &[Level] = &[Level::Hyperv];

pub const CASES: &[Test] = &[
    Test::only(HYPERV, "vm::worker_is_jailed", worker_is_jailed).with_vms(2),
    Test::only(HYPERV, "vm::death_ends_one_container", death_ends_one_container).with_vms(2),
    Test::only(HYPERV, "vm::guest_root_sees_its_own_kernel_only", guest_root_sees_its_own_kernel_only),
    Test::engine("vm::missing_guest_kernel", missing_guest_kernel),
    Test::engine("vm::missing_hypervisor", missing_hypervisor),
    Test::engine("vm::hypervisor_dies_at_start", hypervisor_dies_at_start),
];

/// A line of `/proc/<pid>/status`.
pub fn status(pid: &str, key: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {key}"))?.trim().to_owned())
}

/// Checks that a container's worker process, however it came to run, has the rights of its own and shows whose it is.
/// Returns its user ID.
pub fn check_jail(case: &Case, name: &str) -> Result<String> {
    let seen = case.inspect(name)?;
    let (id, ours) = (seen["Id"].as_str().unwrap_or_default(), &seen["Cofferdam"]);
    let pid = ours["WorkerPid"].to_string();
    let uid = status(&pid, "Uid")?;
    let mut numbers = uid.split_whitespace();
    let first = numbers.next().unwrap_or_default().to_owned();
    check!(first != "0" && numbers.all(|uid| uid == first), "uids of the worker: {uid}");
    check_eq!(ours["WorkerUid"].to_string(), first);
    check_eq!(status(&pid, "Groups")?, "", "supplementary groups");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        check_eq!(status(&pid, set)?, "0000000000000000", "{set}");
    }
    check_eq!(status(&pid, "NoNewPrivs")?, "1");
    check_eq!(status(&pid, "Seccomp")?, "2");
    let filters = status(&pid, "Seccomp_filters")?;
    check!(filters.parse::<u32>()? >= 2, "the worker lacks the hypervisor's own filter: {filters}");
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let (own, hosts) = (format!("/proc/{pid}/ns/{kind}"), format!("/proc/self/ns/{kind}"));
        check!(fs::read_link(own)? != fs::read_link(hosts)?, "the worker's {kind} namespace is the host's");
    }
    check!(!fs::exists(format!("/proc/{pid}/root/root"))?, "the worker sees the host's /root");
    check!(
        !fs::exists(format!("/proc/{pid}/root{}", case.daemon()?.data_root().display()))?,
        "it sees the data root"
    );
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    check!(
        command.contains("qemu") && command.contains(id),
        "the command line does not name the container: {command}"
    );
    check_eq!(fs::read_to_string(format!("/proc/{pid}/comm"))?.trim(), "qemu-system-x86");
    let user = ours["WorkerUser"].as_str().unwrap_or_default();
    check!(user.contains(&id[..12]), "the user {user:?} does not name the container {id}");
    Ok(first)
}

/// The worker: a user of its own, no capabilities, seccomp, own namespaces, the container's ID in the process list.
fn worker_is_jailed(case: &Case) -> Result<()> {
    let mut uids = Vec::new();
    for suffix in ["a", "b"] {
        let name = case.detached(suffix, &["nanoserver", "sleep", "1000"])?;
        uids.push(check_jail(case, &name)?);
    }
    check!(uids[0] != uids[1], "two workers share the user {}", uids[0]);
    Ok(())
}

/// `kill -9` of one worker ends that container with 137 and no other.
fn death_ends_one_container(case: &Case) -> Result<()> {
    let victim = case.detached("victim", &["nanoserver", "sleep", "1000"])?;
    let other = case.detached("other", &["nanoserver", "sleep", "1000"])?;
    let pid = case.inspect(&victim)?["Cofferdam"]["WorkerPid"].as_i64().context("no worker")?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a PID")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let seen = case.becomes(&victim, "exited")?;
    check_eq!(seen["State"]["ExitCode"], 137);
    check_eq!(case.shell(&other, "echo alive")?, "alive");
    // It starts again as if nothing had been.
    case.docker(&["start", &victim])?.ok()?;
    check_eq!(case.shell(&victim, "echo again")?, "again");
    Ok(())
}

/// A root shell in the guest reaches the guest's kernel and disks at most, nothing of the host.
fn guest_root_sees_its_own_kernel_only(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sleep", "86398"])?;
    let inside = case.shell(&name, "uname -r; cat /proc/cmdline; cat /proc/[0-9]*/comm")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    check!(inside.lines().next() != Some(kernel.trim()), "the guest runs the host's kernel");
    // The process list of the host has the worker and not the process.
    for entry in fs::read_dir("/proc")?.flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
        check!(
            command.trim() != "sleep 86398",
            "PID {:?} of the host is the container's process",
            entry.file_name()
        );
    }
    // The disk that the guest writes is not mounted on the host anywhere.
    for pid in fs::read_dir("/proc")?.flatten() {
        let mounts = fs::read_to_string(pid.path().join("mountinfo")).unwrap_or_default();
        check!(!mounts.contains("rw.ext4"), "{:?} has the guest's disk mounted", pid.file_name());
    }
    Ok(())
}

/// A daemon that can start no VM says what is missing, and leaves nothing half-made.
fn refuses(daemon: &Daemon, wanted: &[&str]) -> Result<()> {
    daemon.install_nanoserver()?;
    let error = daemon
        .docker(&["run", "--name", "refused", "--isolation=hyperv", "nanoserver", "true"])
        .fails(125)?;
    for word in wanted {
        check!(error.to_lowercase().contains(word), "{word:?} is missing in: {error}");
    }
    // The process level works all the same.
    check_eq!(daemon.docker(&["run", "--rm", "--isolation=process", "nanoserver", "echo", "ok"]).ok()?, "ok");
    let left = daemon.docker(&["ps", "-aq"]).ok()?;
    check!(left.lines().count() <= 1, "{left}");
    // The last one is taken down behind the client's back.
    cofferdam_tests::eventually(std::time::Duration::from_secs(20), || {
        Ok((fs::read_dir(daemon.exec_root().join("containers"))?.count() == 0).then_some(()))
    })
    .context("a bundle was left")
}

/// The binaries without the guest beside them.
fn copy_of_binaries(case: &Case) -> Result<std::path::PathBuf> {
    let dir = case.directory()?.join("bin");
    fs::create_dir_all(&dir)?;
    for name in ["cofferdamd", "cofferdam-shim", "cofferdam-oci"] {
        fs::copy(case.host.binary(name), dir.join(name))?;
    }
    Ok(dir)
}

fn missing_guest_kernel(case: &Case) -> Result<()> {
    if fs::exists("/usr/lib/cofferdam/guest/vmlinuz")? {
        return Err(cofferdam_tests::Skip::because(
            "Cofferdam is installed here, so a guest kernel is always found",
        ));
    }
    let dir = copy_of_binaries(case)?;
    let daemon = Daemon::prepare(case.host, "kernel", &[])?.with_program(dir.join("cofferdamd"));
    daemon.launch(&[])?;
    refuses(&daemon, &["guest", "kernel"])?;
    daemon.remove_everything()
}

fn missing_hypervisor(case: &Case) -> Result<()> {
    case.host.offers(Level::Hyperv)?;
    // In a mount namespace of its own QEMU is not there, wherever the daemon looks.
    let hide = "mount --bind /dev/null \"$(command -v qemu-system-x86_64)\" && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", hide, "sh"];
    let daemon = Daemon::prepare(case.host, "noqemu", &[])?.with_wrapper(&wrapper);
    daemon.launch(&[])?;
    refuses(&daemon, &["qemu"])?;
    daemon.remove_everything()
}

/// Its last words reach the user: here about a kernel that is none.
fn hypervisor_dies_at_start(case: &Case) -> Result<()> {
    case.host.offers(Level::Hyperv)?;
    let dir = copy_of_binaries(case)?;
    let guest = case.directory()?.join("guest");
    fs::create_dir_all(&guest)?;
    for entry in fs::read_dir(case.host.guest()?)?.flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), guest.join(entry.file_name()))?;
        }
    }
    fs::write(guest.join("vmlinuz"), "this is not a kernel")?;
    let daemon = Daemon::prepare(case.host, "dying", &[])?.with_program(dir.join("cofferdamd"));
    daemon.launch(&[])?;
    refuses(&daemon, &["qemu", "kernel"])?;
    daemon.remove_everything()
}
