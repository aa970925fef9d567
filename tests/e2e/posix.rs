//! Files of volumes as POSIX wants them, at both levels; and locks, between containers of different levels.

use std::time::Duration;

use anyhow::Result;
use cofferdam_tests::{Case, Level, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("posix::rules", rules),
    Test::both("posix::random_operations", random_operations),
    Test::only(&[Level::Hyperv], "posix::both_levels_see_the_same", both_levels_see_the_same),
    Test::only(&[Level::Hyperv], "posix::locks_between_levels", locks_between_levels),
    Test::only(&[Level::Hyperv], "posix::a_counter_under_locks", a_counter_under_locks),
];

const RULES: &str = concat!(
    include_str!("posix/rules.h"),
    include_str!("posix/names.c"),
    include_str!("posix/attributes.c"),
    include_str!("posix/data.c"),
    include_str!("posix/locks.c"),
    include_str!("posix/main.c"),
);
/// The kinds of locks.
const KINDS: [&str; 3] = ["fcntl", "ofd", "flock"];
const PATIENCE: Duration = Duration::from_secs(120);

/// Flags of a container with a volume at `/data` and a program at `/program`.
fn flags(case: &Case, name: &str, source: &str) -> Result<[String; 4]> {
    let volume = case.name(name);
    let program = case.static_program(name, source)?;
    Ok(["-v".into(), format!("{volume}:/data"), "-v".into(), format!("{}:/program:ro", program.display())])
}

fn with<'a>(flags: &'a [String], rest: &[&'a str]) -> Vec<&'a str> {
    flags.iter().map(String::as_str).chain(rest.iter().copied()).collect()
}

/// Every rule, by its name.
fn rules(case: &Case) -> Result<()> {
    let flags = flags(case, "rules", RULES)?;
    let seen = case.run(&with(&flags, &["nanoserver", "/program", "/data"]))?.limit(PATIENCE).ok()?;
    let failed: Vec<_> = seen.lines().filter(|line| !line.starts_with("ok ")).collect();
    check!(failed.is_empty(), "{}", failed.join("\n"));
    check_eq!(seen.lines().count(), RULES.matches("ENTRY(").count() - 1);
    remove(case, &flags)
}

fn remove(case: &Case, flags: &[String]) -> Result<()> {
    let volume = flags[1].split(':').next().unwrap_or_default();
    case.docker(&["volume", "rm", volume])?.ok().map(drop)
}

/// Two processes at once, on a file each; a failure shows the seed.
fn random_operations(case: &Case) -> Result<()> {
    let flags = flags(case, "random", include_str!("posix/random.c"))?;
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let script = format!("/program /data/a 1 1500 & /program /data/b {seed} 1500 && wait $!");
    let seen = case.run(&with(&flags, &["nanoserver", "sh", "-c", &script]))?.limit(PATIENCE).output()?;
    check_eq!(seen.stdout.matches("1500 steps").count(), 2, "{seen:?}");
    check!(!seen.stdout.contains(" 0 holes"), "{seen:?}");
    remove(case, &flags)
}

/// The other level's flag, for a case of the hyperv level.
const PROCESS: &str = "--isolation=process";

/// What is made at one level is described alike at both.
fn both_levels_see_the_same(case: &Case) -> Result<()> {
    let flags = flags(case, "same", RULES)?;
    let make = "/program /data >/dev/null; ln /data/times_are_set/f /data/hard; ls /data | wc -l";
    // Not when it was read: that is what both are about to do.
    let look = "cd /data; list() { find . \"$@\" -print0 | sort -z; }; \
        list | xargs -0 stat -c '%n %F %a %u:%g %h %s %t %i %Y'; list -type f -size -100 | xargs -0 md5sum";
    for maker in [PROCESS, "--isolation=hyperv"] {
        let run = |level: &'static str, script: &str| {
            let args = with(&flags, &["nanoserver", "sh", "-c", script]).join("\u{0}");
            let args: Vec<_> = ["run", "--rm", level].into_iter().chain(args.split('\0')).collect();
            case.docker(&args)?.limit(PATIENCE).ok()
        };
        run(maker, make)?;
        let (host, vm) = (run(PROCESS, look)?, run("--isolation=hyperv", look)?);
        check!(host.lines().count() > 100, "{host}");
        let differ = host.lines().zip(vm.lines()).find(|(host, vm)| host != vm);
        check_eq!(differ, None);
        check_eq!(host.lines().count(), vm.lines().count());
        run(PROCESS, "chmod -R u+rwx /data; rm -rf /data/*")?;
    }
    remove(case, &flags)
}

/// A lock that a container of one level has is in the way of one of the other, until it is killed.
fn locks_between_levels(case: &Case) -> Result<()> {
    let flags = flags(case, "locks", include_str!("posix/contend.c"))?;
    let start = |level: &str, name: &str| -> Result<String> {
        let name = case.name(name);
        let args = with(&flags, &["nanoserver", "sleep", "1000"]);
        case.docker(&[&["run", "-d", "--name", &name, level], args.as_slice()].concat())?.ok()?;
        Ok(name)
    };
    let (host, vm) = (start(PROCESS, "host")?, start("--isolation=hyperv", "vm")?);
    for kind in KINDS {
        for (holder, other) in [(&host, &vm), (&vm, &host)] {
            let file = format!("/data/{kind}");
            let attempt =
                |container: &str| case.docker(&["exec", container, "/program", "try", kind, &file])?.ok();
            let held = case.beside(&["exec", holder, "/program", "hold", kind, &file])?;
            held.expect("held")?;
            check_eq!(attempt(other)?, "taken", "{kind} in {holder}");
            // Another kind of lock, where it is one, is not in the way; nor is the same of another file.
            let free = if kind == "flock" { "fcntl" } else { "flock" };
            check_eq!(case.docker(&["exec", other, "/program", "try", free, &file])?.ok()?, "free");
            let waiting = case.beside(&["exec", other, "/program", "wait", kind, &file])?;
            waiting.expect("waiting")?;
            // Who waits keeps nobody else from the volume.
            check_eq!(attempt(other)?, "taken");
            check!(!waiting.printed().contains("got it"), "{kind}: two have the lock");
            case.docker(&["exec", holder, "killall", "-9", "program"])?.ok()?;
            waiting.expect("got it")?;
            check_eq!(waiting.finish(PATIENCE)?.ok()?, "waiting\ngot it");
            check_eq!(attempt(holder)?, "free");
            held.finish(PATIENCE)?;
        }
    }
    // A container that is killed as a whole, its VM with it, leaves no lock.
    let last = ["/program", "wait", "fcntl", "/data/last"];
    let in_vm = [&["exec", &vm], &last[..]].concat();
    let on_host = [&["run", "--rm", PROCESS], with(&flags, &["nanoserver"]).as_slice(), &last].concat();
    for (holder, waiting) in [(&host, in_vm), (&vm, on_host)] {
        let held = case.beside(&["exec", holder, "/program", "hold", "fcntl", "/data/last"])?;
        held.expect("held")?;
        let waiting = case.beside(&waiting)?;
        waiting.expect("waiting")?;
        case.docker(&["kill", holder])?.ok()?;
        check_eq!(waiting.finish(PATIENCE)?.ok()?, "waiting\ngot it", "{holder} was killed");
    }
    case.docker(&["rm", "-f", &host, &vm])?.ok()?;
    remove(case, &flags)
}

/// Both levels count in one file at the same time, two processes each: nothing is lost, and everybody sees at once what
/// the one before wrote.
fn a_counter_under_locks(case: &Case) -> Result<()> {
    let flags = flags(case, "counter", include_str!("posix/contend.c"))?;
    for kind in KINDS {
        let script = format!(
            "/program count {kind} /data/{kind} 100 & /program count {kind} /data/{kind} 100 && wait $!"
        );
        let args = with(&flags, &["nanoserver", "sh", "-c", &script]);
        let run = |level| case.docker(&[&["run", "--rm", level], args.as_slice()].concat())?.spawn();
        let (host, vm) = (run(PROCESS)?, run("--isolation=hyperv")?);
        check_eq!(vm.finish(PATIENCE)?.ok()?, "done\ndone", "{kind}");
        check_eq!(host.finish(PATIENCE)?.ok()?, "done\ndone", "{kind}");
        let read = format!("head -c 3 /data/{kind}; stat -c ' %s' /data/{kind}");
        check_eq!(case.run(&with(&flags, &["nanoserver", "sh", "-c", &read]))?.ok()?, "400 432", "{kind}");
    }
    remove(case, &flags)
}
