//! `run` and its flags.

use anyhow::Result;
use cofferdam_tests::{Case, Level, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("run::output_and_exit_code", output_and_exit_code),
    Test::both("run::exit_codes_of_what_cannot_run", exit_codes_of_what_cannot_run),
    Test::both("run::flags", flags),
    Test::both("run::image_settings_are_overridden", image_settings_are_overridden),
    Test::both("run::standard_input", standard_input),
    Test::both("run::terminal", terminal),
    Test::both("run::detach_keys", detach_keys),
    Test::both("run::volumes", volumes),
    Test::both("run::init_reaps", init_reaps),
    Test::both("run::restart_on_failure", restart_on_failure),
    Test::engine("run::default_isolation_of_the_daemon", default_isolation_of_the_daemon),
];

/// Standard output and error stay apart, the exit code is the program's, `--rm` leaves nothing; both CLIs agree.
fn output_and_exit_code(case: &Case) -> Result<()> {
    let name = case.name("a");
    let script = "echo out; echo err >&2; exit 42";
    let args = ["--name", &name, "nanoserver", "sh", "-c", script];
    let stock = case.run(&args)?.output()?;
    check_eq!((stock.code, stock.stdout.as_str(), stock.stderr.as_str()), (42, "out\n", "err\n"));
    check_eq!(case.docker(&["ps", "-aq", "--filter", &format!("name={name}")])?.ok()?, "");
    let isolation = case.isolation();
    let ours = case.cofferdam(&[&["run", "--rm", &isolation], &args[..]].concat())?.output()?;
    check_eq!((ours.code, ours.stdout, ours.stderr), (stock.code, stock.stdout, stock.stderr));
    Ok(())
}

/// 127 when the program is missing, 126 when it cannot be executed; the container stays with that code.
fn exit_codes_of_what_cannot_run(case: &Case) -> Result<()> {
    let missing = case.name("missing");
    let isolation = case.isolation();
    let args = ["run", "--name", &missing, &isolation, "nanoserver", "no-such-program"];
    let error = case.docker(&args)?.fails(127)?;
    check!(error.contains("executable file not found"), "{error}");
    check!(error.contains("no-such-program"), "{error}");
    check_eq!(case.inspect(&missing)?["State"]["ExitCode"], 127);
    let error = case.run(&["nanoserver", "/etc/passwd"])?.fails(126)?;
    check!(error.to_lowercase().contains("permission denied"), "{error}");
    // The container that could not start can be started no better, but can be removed.
    case.docker(&["rm", &missing])?.ok()?;
    Ok(())
}

/// Every flag that shows inside the container, in one container.
fn flags(case: &Case) -> Result<()> {
    let script = "echo host=$(hostname); echo var=$VAR; echo pass=$PASS; echo dir=$(pwd); echo ids=$(id -u):$(id -g); \
                  touch /made 2>&1; touch /scratch/x && echo scratch=ok; grep CapEff /proc/self/status; \
                  grep -c . /proc/self/mounts >/dev/null && grep ' /scratch ' /proc/self/mounts | cut -d' ' -f3; \
                  echo nofile=$(ulimit -n)";
    let args = [
        "--hostname",
        "box",
        "-e",
        "VAR=a b",
        "-e",
        "PASS",
        "-w",
        "/work/deep",
        "-u",
        "1234:5678",
        "--read-only",
        "--tmpfs",
        "/scratch:mode=1777",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop",
        "ALL",
        "-l",
        "one=1",
        "--label",
        "two",
        "--pids-limit",
        "50",
        "-m",
        "128m",
        "--cpus",
        "0.5",
        "--ulimit",
        "nofile=512:1024",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    let seen = case.run(&args)?.env("PASS", "from outside").ok()?;
    for wanted in [
        "host=box",
        "var=a b",
        "pass=from outside",
        "dir=/work/deep",
        "ids=1234:5678",
        "Read-only file system",
        "scratch=ok",
        "tmpfs",
        "nofile=512",
        // Another user than root has no effective capabilities even of those that were added.
        "CapEff:\t0000000000000000",
    ] {
        check!(seen.contains(wanted), "{wanted:?} is missing in:\n{seen}");
    }
    Ok(())
}

fn image_settings_are_overridden(case: &Case) -> Result<()> {
    let image = format!("settings-{}:1", case.level.as_str());
    let change = ["ENTRYPOINT [\"echo\", \"entry\"]", "CMD [\"cmd\"]", "ENV A=image B=image", "WORKDIR /tmp"];
    let mut args = vec!["import"];
    args.extend(change.iter().flat_map(|change| ["-c", *change]));
    args.extend(["-", &image]);
    let root = cofferdam_tests::archive::Image::with_busybox()?.directory("tmp/").bytes();
    case.docker(&args)?.stdin(root).ok()?;
    check_eq!(case.run(&[&image])?.ok()?, "entry cmd");
    check_eq!(case.run(&[&image, "other"])?.ok()?, "entry other");
    let script = "echo $A $B; pwd";
    let seen = case.run(&["--entrypoint", "sh", "-e", "B=flag", &image, "-c", script])?.ok()?;
    check_eq!(seen, "image flag\n/tmp");
    case.docker(&["rmi", &image])?.ok()?;
    Ok(())
}

/// A megabyte of binary goes in and comes out unchanged, end-of-file arrives, streams do not mix.
fn standard_input(case: &Case) -> Result<()> {
    let mut state = 1_u32;
    let input: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    let script = "echo begin >&2; cat; echo end >&2";
    let seen = case.run(&["-i", "nanoserver", "sh", "-c", script])?.stdin(input.clone()).output()?;
    check_eq!((seen.code, seen.stderr.as_str()), (0, "begin\nend\n"));
    check!(seen.bytes == input, "{} bytes came back of {}", seen.bytes.len(), input.len());
    // Without -i the program reads end-of-file at once.
    check_eq!(case.run(&["nanoserver", "cat"])?.stdin("unread").ok()?, "");
    Ok(())
}

/// `-it` on a real terminal: size, resize, Ctrl-C, exit code.
fn terminal(case: &Case) -> Result<()> {
    let isolation = case.isolation();
    let mut terminal = case.terminal(&["run", "--rm", "-it", &isolation, "nanoserver", "sh"])?;
    terminal.expect("# ")?;
    terminal.send("tty; echo $TERM; stty size\r")?;
    terminal.expect("/dev/pts/0")?;
    terminal.expect("xterm")?;
    terminal.expect("24 80")?;
    terminal.resize(31, 101)?;
    cofferdam_tests::eventually(std::time::Duration::from_secs(30), || {
        terminal.send("stty size\r")?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        Ok(terminal.screen().contains("31 101").then_some(()))
    })?;
    terminal.send("sleep 1000 && echo not''reached\r")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("\u{3}")?;
    terminal.send("echo inter''rupted\r")?;
    terminal.expect("interrupted")?;
    check!(!terminal.screen().contains("notreached"), "{}", terminal.screen());
    terminal.send("exit 7\r")?;
    check_eq!(terminal.finish()?, 7);
    Ok(())
}

/// Ctrl-P Ctrl-Q leaves the container running; attaching again reaches the same shell.
fn detach_keys(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let mut terminal = case.terminal(&["run", "-it", "--name", &name, &isolation, "nanoserver", "sh"])?;
    terminal.expect("# ")?;
    terminal.send("FLAG=kept\r")?;
    terminal.send("\u{10}\u{11}")?;
    terminal.finish()?;
    check_eq!(case.inspect(&name)?["State"]["Running"], true);
    let mut terminal = case.terminal(&["attach", &name])?;
    terminal.send("echo it was $FLAG; exit 3\r")?;
    terminal.expect("it was kept")?;
    check_eq!(terminal.finish()?, 3);
    Ok(())
}

/// Binds of directories and single files, read-only and writable, with their owners.
fn volumes(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    let (shared, locked, single) = (dir.join("shared"), dir.join("locked"), dir.join("single"));
    std::fs::create_dir_all(&shared)?;
    std::fs::create_dir_all(&locked)?;
    std::fs::write(shared.join("from-host"), "host data")?;
    std::fs::write(locked.join("fixed"), "fixed data")?;
    std::fs::write(&single, "single data")?;
    std::os::unix::fs::chown(shared.join("from-host"), Some(1000), Some(1001))?;
    let binds = [
        format!("{}:/shared", shared.display()),
        format!("{}:/locked:ro", locked.display()),
        format!("{}:/etc/single:ro", single.display()),
    ];
    let script = "cat /shared/from-host /locked/fixed /etc/single; echo; stat -c %u:%g /shared/from-host; \
                  echo made > /shared/from-container; chown 7:8 /shared/from-container; mkdir /shared/sub; \
                  mv /shared/from-container /shared/sub/; ln -s sub /shared/link; chmod 640 /shared/sub/from-container; \
                  touch /locked/x 2>&1; echo x 2>&1 >> /etc/single";
    let [a, b, c] = &binds;
    let seen = case.run(&["-v", a, "-v", b, "-v", c, "nanoserver", "sh", "-c", script])?.output()?;
    let all = format!("{}{}", seen.stdout, seen.stderr);
    for wanted in ["host datafixed datasingle data", "1000:1001", "Read-only file system"] {
        check!(all.contains(wanted), "{wanted:?} is missing in:\n{all}");
    }
    let made = shared.join("sub/from-container");
    check_eq!(std::fs::read_to_string(&made)?, "made\n");
    let metadata = std::fs::metadata(&made)?;
    use std::os::unix::fs::MetadataExt;
    check_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (7, 8, 0o640));
    check_eq!(std::fs::read_link(shared.join("link"))?.to_string_lossy(), "sub");
    check!(!locked.join("x").exists(), "a read-only bind was written");
    check_eq!(std::fs::read_to_string(&single)?, "single data");

    // A missing source of -v is made, as Docker does; of --mount it is an error.
    let made = format!("{}:/made", dir.join("made").display());
    case.run(&["-v", &made, "nanoserver", "true"])?.ok()?;
    check!(dir.join("made").is_dir(), "the source of -v was not made");
    let missing = format!("type=bind,src={},dst=/x", dir.join("missing").display());
    let error = case.run(&["--mount", &missing, "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("bind source path does not exist"), "{error}");
    Ok(())
}

/// With `--init` PID 1 is an init that reaps orphans and passes signals on.
fn init_reaps(case: &Case) -> Result<()> {
    let name = case.detached(
        "a",
        &["--init", "nanoserver", "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"],
    )?;
    let first = case.shell(&name, "tr '\\0' ' ' </proc/1/cmdline; echo; cat /proc/1/comm")?;
    check!(!first.starts_with("sh "), "PID 1 is the program itself: {first}");
    case.shell(&name, "(sleep 0.2 &) ; exit 0")?;
    let zombies = "sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    check_eq!(case.shell(&name, zombies)?, "0");
    case.docker(&["stop", &name])?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["ExitCode"], 9);
    Ok(())
}

fn restart_on_failure(case: &Case) -> Result<()> {
    let name =
        case.detached("a", &["--restart", "on-failure:1", "nanoserver", "sh", "-c", "echo again; exit 5"])?;
    let seen = cofferdam_tests::eventually(std::time::Duration::from_secs(60), || {
        let seen = case.inspect(&name)?;
        Ok(Some(seen).filter(|seen| seen["State"]["Status"] == "exited" && seen["RestartCount"] == 1))
    })?;
    check_eq!(seen["State"]["ExitCode"], 5);
    check_eq!(case.docker(&["logs", &name])?.ok()?, "again\nagain");
    Ok(())
}

/// `--default-isolation` decides when no flag does, and the flag wins.
fn default_isolation_of_the_daemon(case: &Case) -> Result<()> {
    case.host.offers(Level::Hyperv)?;
    let daemon = cofferdam_tests::Daemon::start(case.host, "default", &["--default-isolation", "hyperv"])?;
    daemon.install_nanoserver()?;
    for (flags, wanted) in
        [(&[][..], "hyperv"), (&["--isolation=default"], "hyperv"), (&["--isolation=process"], "process")]
    {
        let id = daemon.docker(&[&["create"], flags, &["nanoserver"]].concat()).ok()?;
        let seen = daemon.inspect(&id)?;
        check_eq!(seen["HostConfig"]["Isolation"].as_str(), Some(wanted), "created with {flags:?}");
    }
    daemon.remove_everything()
}
