//! `cp`, `diff`, `export`: on containers that run, are paused, have stopped, or never ran.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::Result;
use cofferdam_tests::{Case, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("copy::out_and_in_while_it_runs", out_and_in_while_it_runs),
    Test::both("copy::out_and_in_while_it_does_not", out_and_in_while_it_does_not),
    Test::both("copy::what_is_hostile_stays_inside", what_is_hostile_stays_inside),
    Test::both("copy::diff_and_export", diff_and_export),
];

/// Trees with their modes, links and owners, both ways, by both CLIs; volumes and tmpfs are seen; refusals are Docker's.
fn out_and_in_while_it_runs(case: &Case) -> Result<()> {
    let volume = case.name("volume");
    let at = format!("{volume}:/data");
    let name = case.detached("a", &["-v", &at, "--tmpfs", "/mem", "nanoserver", "sleep", "1000"])?;
    case.shell(
        &name,
        "mkdir -p /srv/tree/sub; echo deep >/srv/tree/sub/file; chmod 4750 /srv/tree/sub/file; ln -s sub /srv/tree/link; \
         chown 7:8 /srv/tree/sub/file; echo mem >/mem/file; echo vol >/data/file; head -c 3000000 /dev/zero >/srv/tree/big",
    )?;
    let dir = case.directory()?;
    let to = |what: &str| dir.join(what).display().to_string();
    case.docker(&["cp", &format!("{name}:/srv/tree"), &to("stock")])?.ok()?;
    case.cofferdam(&["cp", &format!("{name}:/srv/tree"), &to("ours")])?.ok()?;
    for copy in ["stock", "ours"] {
        let file = dir.join(copy).join("sub/file");
        check_eq!(std::fs::read_to_string(&file)?, "deep\n");
        check_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o750);
        check_eq!(std::fs::read_link(dir.join(copy).join("link"))?.to_string_lossy(), "sub");
        check_eq!(std::fs::metadata(dir.join(copy).join("big"))?.len(), 3_000_000);
    }
    case.docker(&["cp", &format!("{name}:/mem/file"), &to("mem")])?.ok()?;
    case.docker(&["cp", &format!("{name}:/data/file"), &to("vol")])?.ok()?;
    check_eq!(
        std::fs::read_to_string(dir.join("mem"))? + &std::fs::read_to_string(dir.join("vol"))?,
        "mem\nvol\n"
    );

    case.docker(&["cp", &to("stock"), &format!("{name}:/tmp/in-stock")])?.ok()?;
    case.cofferdam(&["cp", &to("ours"), &format!("{name}:/tmp/in-ours")])?.ok()?;
    case.docker(&["cp", &to("mem"), &format!("{name}:/data/")])?.ok()?;
    let script = "cat /tmp/in-*/sub/file /data/mem; readlink /tmp/in-ours/link; cmp /tmp/in-stock/big /srv/tree/big && echo same";
    check_eq!(case.shell(&name, script)?, "deep\ndeep\nmem\nsub\nsame");

    let error = case.docker(&["cp", &format!("{name}:/no/such"), &to("x")])?.fails(1)?;
    check!(error.contains("Could not find the file /no/such in container"), "{error}");
    let error = case.docker(&["cp", &to("stock"), &format!("{name}:/etc/passwd")])?.fails(1)?;
    check!(error.contains("cannot copy directory") || error.contains("not a directory"), "{error}");

    // A frozen container's files can be had, too.
    case.docker(&["pause", &name])?.ok()?;
    case.docker(&["cp", &format!("{name}:/srv/tree/sub/file"), &to("paused")])?.ok()?;
    check_eq!(std::fs::read_to_string(dir.join("paused"))?, "deep\n");
    case.docker(&["unpause", &name])?.ok()?;
    case.docker(&["rm", "-f", &name])?.ok()?;
    case.docker(&["volume", "rm", &volume])?.ok()?;
    Ok(())
}

/// A container that was only created takes files and starts with them; one that has ended gives them.
fn out_and_in_while_it_does_not(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let script = "cat /given/file; stat -c %u /given/file; echo result >/result";
    case.docker(&["create", "--name", &name, &isolation, "-v", "/given", "nanoserver", "sh", "-c", script])?
        .ok()?;
    let dir = case.directory()?;
    std::fs::write(dir.join("file"), "given\n")?;
    std::os::unix::fs::chown(dir.join("file"), Some(1234), Some(1234))?;
    case.docker(&["cp", &dir.join("file").display().to_string(), &format!("{name}:/given/file")])?.ok()?;
    check_eq!(case.docker(&["start", "-a", &name])?.ok()?, "given\n1234");
    case.becomes(&name, "exited")?;
    let out = dir.join("out").display().to_string();
    case.cofferdam(&["cp", &format!("{name}:/result"), &out])?.ok()?;
    check_eq!(std::fs::read_to_string(&out)?, "result\n");
    case.cofferdam(&["cp", &format!("{name}:/given/."), &dir.join("given").display().to_string()])?.ok()?;
    check_eq!(std::fs::read_to_string(dir.join("given/file"))?, "given\n");
    // It is as it was, and can be started again.
    check_eq!(case.inspect(&name)?["State"]["Status"], "exited");
    check_eq!(case.docker(&["start", "-a", &name])?.ok()?, "given\n1234");
    case.docker(&["rm", "-v", &name])?.ok()?;
    Ok(())
}

/// Links out of the container lead into it; an archive's names do not go up.
fn what_is_hostile_stays_inside(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sleep", "1000"])?;
    let dir = case.directory()?;
    let outside = dir.join("outside");
    std::fs::create_dir_all(&outside)?;
    std::fs::write(outside.join("secret"), "of the host")?;
    case.shell(
        &name,
        &format!("mkdir -p /x; ln -s {0} /x/out; ln -s ../../../../../../..{0} /x/up", outside.display()),
    )?;
    for link in ["out", "up"] {
        let error = case.docker(&["cp", &format!("{name}:/x/{link}/secret"), "-"])?.output()?;
        check!(error.code != 0 && !error.stdout.contains("of the host"), "{error:?}");
        let file = dir.join("file");
        std::fs::write(&file, "evil")?;
        let put =
            case.docker(&["cp", &file.display().to_string(), &format!("{name}:/x/{link}/file")])?.output()?;
        check!(!outside.join("file").exists(), "a copy has left the container: {put:?}");
    }
    let archive =
        cofferdam_tests::archive::Layer::default().file("../../../../tmp/cofferdam-escape", "evil").bytes();
    case.docker(&["cp", "-", &format!("{name}:/x")])?.stdin(archive).fails(1)?;
    check_eq!(std::fs::metadata("/tmp/cofferdam-escape").is_ok(), false);
    check_eq!(std::fs::metadata(outside.join("secret"))?.size(), 11);
    Ok(())
}

fn diff_and_export(case: &Case) -> Result<()> {
    let script = "echo x >/added; rm /etc/group; echo y >>/etc/passwd; mkdir -p /new/sub; exec sleep 1000";
    let volume = "/data";
    let name = case.detached("a", &["-v", volume, "nanoserver", "sh", "-c", script])?;
    let wanted = ["A /added", "C /etc", "D /etc/group", "C /etc/passwd", "A /new", "A /new/sub"];
    let seen = cofferdam_tests::eventually(std::time::Duration::from_secs(60), || {
        let seen = case.docker(&["diff", &name])?.ok()?;
        Ok(wanted.iter().all(|line| seen.lines().any(|seen| seen == *line)).then_some(seen))
    })?;
    check_eq!(case.cofferdam(&["diff", &name])?.ok()?, seen);
    case.shell(&name, "echo z >/data/z")?;
    let export = |name: &str| -> Result<Vec<String>> {
        let bytes = case.docker(&["export", name])?.output()?.bytes;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries()?;
        entries.map(|entry| Ok(entry?.path()?.to_string_lossy().into_owned())).collect()
    };
    let running = export(&name)?;
    for wanted in ["added", "etc/passwd", "new/sub/", "data/", "bin/busybox"] {
        check!(running.iter().any(|seen| seen == wanted), "{wanted} is not exported: {running:?}");
    }
    for unwanted in ["data/z", "etc/group", "proc/self"] {
        check!(!running.iter().any(|seen| seen.starts_with(unwanted)), "{unwanted} is exported");
    }
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    check_eq!(case.docker(&["diff", &name])?.ok()?, seen);
    check_eq!(export(&name)?.contains(&"added".to_owned()), true);
    case.docker(&["rm", "-v", &name])?.ok()?;
    Ok(())
}
