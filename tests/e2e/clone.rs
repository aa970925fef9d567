//! Starting VMs as clones of saved ones: that a clone is a container of its own, and what happens without templates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Level, Test, check, check_eq, eventually};

use crate::vm::{check_jail, status};

const HYPERV: &[Level] = &[Level::Hyperv];

pub const CASES: &[Test] = &[
    Test::only(HYPERV, "clone::clones_are_strangers", clones_are_strangers).with_vms(2),
    Test::only(HYPERV, "clone::a_used_disk_is_kept", a_used_disk_is_kept),
    Test::only(HYPERV, "clone::boot_when_asked_for", boot_when_asked_for),
    Test::only(HYPERV, "clone::memory_classes", memory_classes),
    Test::only(HYPERV, "clone::freed_memory_returns", freed_memory_returns),
    Test::only(HYPERV, "clone::templates_are_managed", templates_are_managed),
    Test::only(HYPERV, "clone::a_damaged_template_is_made_anew", a_damaged_template_is_made_anew),
];

/// How the container's VM was started, as `inspect` says.
fn start_of(daemon: &Daemon, container: &str) -> Result<(String, String)> {
    let ours = daemon.inspect(container)?["Cofferdam"].take();
    let text = |key: &str| ours[key].as_str().unwrap_or_default().to_owned();
    Ok((text("Start"), text("Template")))
}

/// Whether this host lets root freeze another user's process (capabilities(7)).
fn can_trace() -> Result<bool> {
    const CAP_SYS_PTRACE: u32 = 19;
    Ok(u64::from_str_radix(&status("self", "CapEff")?, 16)? >> CAP_SYS_PTRACE & 1 == 1)
}

/// The best way to start a container's VM: an emulated one's process is thawed.
fn best_start(daemon: &Daemon, container: &str) -> Result<&'static str> {
    let accelerator = daemon.inspect(container)?["Cofferdam"]["Accelerator"].take();
    Ok(if accelerator == "tcg" && can_trace()? { "thaw" } else { "image-clone" })
}

/// Runs containers of one kind until they are cloned from its image template, which the first of them has ordered.
fn image_template(case: &Case, args: &[&str]) -> Result<String> {
    let (isolation, limit) = (case.isolation(), Duration::from_secs(240));
    let name = case.name("kind");
    eventually(limit, || {
        let run = [&["run", "-d", "--name", &name, &isolation], args].concat();
        case.docker(&run)?.ok()?;
        let (start, template) = start_of(case.daemon()?, &name)?;
        let best = best_start(case.daemon()?, &name)?;
        case.docker(&["rm", "-f", &name])?.ok()?;
        check!(start != "boot", "no template at all");
        std::thread::sleep(Duration::from_millis(500));
        Ok((start == best).then_some(template))
    })
    .context("no image template was made")
}

/// Two clones of one template draw different random numbers, have their own identity, clock, disk and addresses.
fn clones_are_strangers(case: &Case) -> Result<()> {
    let kind = ["nanoserver", "sleep", "1000"];
    let template = image_template(case, &kind)?;
    let mut seen: Vec<Vec<String>> = Vec::new();
    let mut names = Vec::new();
    for suffix in ["a", "b"] {
        let name = case.detached(suffix, &kind)?;
        let best = best_start(case.daemon()?, &name)?.to_owned();
        check_eq!(start_of(case.daemon()?, &name)?, (best, template.clone()));
        check_jail(case, &name)?;
        let script = "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo
            cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id
            hostname
            ip addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'
            ip addr show eth0 | sed -n 's/.*ether \\([0-9a-f:]*\\).*/\\1/p'
            grep stack /proc/self/maps | cut -d- -f1
            od -An -tx1 -j 0 -N 16 /proc/self/auxv >/dev/null; cat /proc/self/stat | cut -d' ' -f28";
        let facts: Vec<String> = case.shell(&name, script)?.lines().map(str::to_owned).collect();
        check!(facts.len() >= 7, "{facts:?}");
        let inspected = case.inspect(&name)?;
        check_eq!(inspected["Config"]["Hostname"].as_str(), Some(facts[3].as_str()));
        check_eq!(inspected["NetworkSettings"]["IPAddress"].as_str(), Some(facts[4].as_str()));
        check_eq!(inspected["NetworkSettings"]["MacAddress"].as_str(), Some(facts[5].as_str()));
        let clock: u64 = case.shell(&name, "date +%s")?.parse()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        check!(now.abs_diff(clock) < 20, "the clone's clock says {clock}, the host's {now}");
        case.shell(&name, &format!("echo {suffix} >/own; echo {suffix} >>/etc/shared; sync"))?;
        seen.push(facts);
        names.push(name);
    }
    for (index, what) in
        ["random bytes", "uuid", "boot_id", "hostname", "address", "MAC", "stack"].into_iter().enumerate()
    {
        check!(seen[0][index] != seen[1][index], "both clones have the {what} {}", seen[0][index]);
    }
    for (name, suffix) in names.iter().zip(["a", "b"]) {
        check_eq!(case.shell(name, "cat /own /etc/shared")?, format!("{suffix}\n{suffix}"));
        let size: u64 = case.shell(name, "df -m / | tail -1 | awk '{print $2}'")?.parse()?;
        check!((15_000..25_000).contains(&size), "the disk has {size} MiB");
    }
    // And they reach each other, under their own addresses.
    case.shell(&names[0], &format!("ping -c 1 -w 20 {}", seen[1][4]))?;
    Ok(())
}

/// What a container has written, on its disk and in a bind mount, is there at its next starts: as clones of the base, and
/// as soon as a VM is frozen in which a container of the image has run, as that.
fn a_used_disk_is_kept(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let bind = format!("{}:/shared", dir.display());
    let name = case.detached("a", &["-v", &bind, "nanoserver", "sleep", "1000"])?;
    case.shell(&name, "echo kept >/file; : >/shared/starts")?;
    let daemon = case.daemon()?;
    let best = if best_start(daemon, &name)? == "thaw" { "thaw" } else { "clone" };
    let mut starts = 0;
    eventually(Duration::from_secs(240), || {
        case.docker(&["restart", "-t", "0", &name])?.ok()?;
        starts += 1;
        case.shell(&name, "echo more >>/file; echo more >>/shared/starts")?;
        let start = start_of(daemon, &name)?.0;
        check!(start == best || start == "clone", "{start}");
        Ok((start == best).then_some(()))
    })
    .context("no used disk was thawed")?;
    let more = vec!["more"; starts].join("\n");
    check_eq!(case.shell(&name, "cat /file")?, format!("kept\n{more}"));
    check_eq!(std::fs::read_to_string(dir.join("starts"))?.trim(), more);
    Ok(())
}

/// One container can boot its own kernel, with either CLI; a daemon can do so for all.
fn boot_when_asked_for(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let args = ["run", "-d", "--name", &name, &isolation, "--vm-start=boot", "nanoserver", "sleep", "1000"];
    case.cofferdam(&args)?.ok()?;
    check_eq!(start_of(case.daemon()?, &name)?, ("boot".to_owned(), String::new()));
    check_eq!(case.shell(&name, "echo ok")?, "ok");
    case.docker(&["rm", "-f", &name])?.ok()?;

    let daemon = Daemon::start(case.host, "boots", &["--vm-start=boot"])?;
    daemon.install_nanoserver()?;
    daemon.docker(&["run", "-d", "--name", "one", &isolation, "nanoserver", "sleep", "1000"]).ok()?;
    check_eq!(start_of(&daemon, "one")?.0, "boot");
    daemon.remove_everything()
}

/// A limit's VM is as large as the limit and a documented overhead, rounded up to a class, and says so.
fn memory_classes(case: &Case) -> Result<()> {
    let name = case.detached("a", &["-m", "200m", "nanoserver", "sleep", "1000"])?;
    let seen = case.inspect(&name)?;
    check_eq!(seen["Cofferdam"]["Memory"].as_u64(), Some(384 << 20));
    check_eq!(seen["Cofferdam"]["Cpus"].as_u64(), Some(1));
    let limit = case.shell(&name, "cat /sys/fs/cgroup/memory.max")?;
    check_eq!(limit, (200u64 << 20).to_string());
    Ok(())
}

/// Memory that the guest has freed is the host's again after some seconds.
fn freed_memory_returns(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sleep", "1000"])?;
    let pid = case.inspect(&name)?["Cofferdam"]["WorkerPid"].to_string();
    let private = || -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let lines = text.lines().filter(|line| line.starts_with("Private_Dirty:"));
        Ok(lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() >> 10)
    };
    let before = private()?;
    case.shell(&name, "dd if=/dev/zero of=/dev/shm/big bs=1M count=50 2>/dev/null")?;
    let full = private()?;
    check!(full > before + 40, "{before} MiB before, {full} MiB with 50 MiB in use");
    case.shell(&name, "rm /dev/shm/big")?;
    // Whole pieces of 2 MiB only, and the guest itself has grown meanwhile.
    eventually(Duration::from_secs(60), || Ok((private()? + 20 < full).then_some(())))
        .with_context(|| format!("{full} MiB in use, still {} MiB", private().unwrap_or_default()))
}

/// `cofferdam template build|ls|rm`, with templates of the case's own.
fn templates_are_managed(case: &Case) -> Result<()> {
    case.host.offers(case.level)?;
    let templates = case.directory()?.join("templates");
    let daemon = Daemon::prepare(case.host, "managed", &[])?.with_templates(templates);
    daemon.launch(&[])?;
    let built = daemon.cofferdam(&["template", "build"]).ok()?;
    check!(built.contains("ready"), "{built}");
    let list = daemon.cofferdam(&["template", "ls"]).ok()?;
    let (head, row) = list.split_once('\n').context("two lines")?;
    check!(head.starts_with("KEY") && head.contains("LAST USED"), "{head}");
    check!(row.contains("base") && row.contains("ready") && row.contains("512MiB"), "{row}");
    let key = daemon.cofferdam(&["template", "ls", "-q"]).ok()?;
    // There already: nothing is done.
    check!(daemon.cofferdam(&["template", "build"]).ok()?.contains("ready"), "not ready");
    let error = daemon.cofferdam(&["template", "rm", "0000"]).fails(1)?;
    check!(error.contains("No such template: 0000"), "{error}");
    check_eq!(daemon.cofferdam(&["template", "rm", &key]).ok()?, key);
    check_eq!(daemon.cofferdam(&["template", "ls", "-q"]).ok()?, "");
    daemon.remove_everything()
}

/// A template whose file has changed is found out and made anew; containers start all the same.
fn a_damaged_template_is_made_anew(case: &Case) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    case.host.offers(case.level)?;
    let templates = case.directory()?.join("templates");
    let daemon = Daemon::prepare(case.host, "damaged", &[])?.with_templates(templates.clone());
    daemon.launch(&[])?;
    daemon.install_nanoserver()?;
    daemon.cofferdam(&["template", "build"]).ok()?;
    let key = daemon.cofferdam(&["template", "ls", "-q", "--no-trunc"]).ok()?;
    let memory = std::fs::File::options().write(true).open(templates.join(&key).join("memory"))?;
    memory.write_all_at(b"damage", 1 << 20)?;
    drop(memory);
    let isolation = case.isolation();
    daemon.docker(&["run", "-d", "--name", "one", &isolation, "nanoserver", "sleep", "1000"]).ok()?;
    check_eq!(daemon.docker(&["exec", "one", "echo", "ok"]).ok()?, "ok");
    check_eq!(start_of(&daemon, "one")?, ("clone".to_owned(), key));
    check!(daemon.log().contains("is not what it was"), "the log does not say so:\n{}", daemon.log());
    daemon.remove_everything()
}
