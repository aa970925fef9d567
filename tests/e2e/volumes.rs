//! Volumes and mounts.

use anyhow::Result;
use cofferdam_tests::archive::Entry;
use cofferdam_tests::{Case, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("volumes::named_volumes_outlive_containers", named_volumes_outlive_containers),
    Test::both(
        "volumes::anonymous_volumes_go_with_their_container",
        anonymous_volumes_go_with_their_container,
    ),
    Test::both("volumes::image_content_is_copied_up", image_content_is_copied_up),
    Test::both("volumes::mounts_and_their_options", mounts_and_their_options),
    Test::both("volumes::volumes_from", volumes_from),
    Test::engine("volumes::api_and_listing", api_and_listing),
    Test::engine("volumes::refusals", refusals),
];

fn volume(case: &Case, name: &str) -> Result<String> {
    let name = case.name(name);
    case.docker(&["volume", "rm", "-f", &name])?.ok()?;
    Ok(name)
}

/// What one container writes another reads; a volume in use stays; a second daemon-side look finds labels again.
fn named_volumes_outlive_containers(case: &Case) -> Result<()> {
    let data = volume(case, "data")?;
    let at = format!("{data}:/data");
    case.run(&["-v", &at, "nanoserver", "sh", "-c", "echo kept >/data/file; chown 7:8 /data/file"])?.ok()?;
    let holder = case.detached("holder", &["-v", &format!("{at}:ro"), "nanoserver", "sleep", "1000"])?;
    check_eq!(case.shell(&holder, "cat /data/file; stat -c %u:%g /data/file")?, "kept\n7:8");
    let error = case.docker(&["exec", &holder, "touch", "/data/x"])?.fails(1)?;
    check!(error.contains("Read-only file system"), "{error}");
    let error = case.docker(&["volume", "rm", &data])?.fails(1)?;
    check!(error.contains("volume is in use"), "{error}");
    let mount = &case.inspect(&holder)?["Mounts"][0];
    check_eq!(
        (&mount["Type"], &mount["Name"], &mount["Driver"]),
        (&"volume".into(), &data.clone().into(), &"local".into())
    );
    check_eq!((&mount["RW"], &mount["Destination"]), (&false.into(), &"/data".into()));
    let shown = case
        .docker(&[
            "ps",
            "-a",
            "--no-trunc",
            "--format",
            "{{.Mounts}}",
            "--filter",
            &format!("volume={data}"),
        ])?
        .ok()?;
    check_eq!(shown, data);
    case.docker(&["rm", "-f", "-v", &holder])?.ok()?;
    // Removing a container never removes what has a name.
    check_eq!(case.docker(&["volume", "ls", "-q", "--filter", &format!("name={data}")])?.ok()?, data);
    case.docker(&["volume", "rm", &data])?.ok()?;
    let error = case.docker(&["volume", "inspect", &data])?.fails(1)?;
    check!(error.to_lowercase().contains("no such volume"), "{error}");
    Ok(())
}

fn mount_name(case: &Case, container: &str) -> Result<String> {
    let name = case.inspect(container)?["Mounts"][0]["Name"].as_str().unwrap_or_default().to_owned();
    check_eq!(name.len(), 64);
    Ok(name)
}

/// `rm` keeps an anonymous volume, `rm -v` and `--rm` take it along, but not while another container has it.
fn anonymous_volumes_go_with_their_container(case: &Case) -> Result<()> {
    let exists =
        |name: &str| -> Result<bool> { Ok(case.docker(&["volume", "inspect", name])?.output()?.code == 0) };
    let kept = case.name("kept");
    let isolation = case.isolation();
    case.docker(&[
        "run",
        "--name",
        &kept,
        &isolation,
        "-v",
        "/data",
        "nanoserver",
        "sh",
        "-c",
        "echo x >/data/x",
    ])?
    .ok()?;
    let volume = mount_name(case, &kept)?;
    let other = case.name("other");
    let from =
        ["create", "--name", &other, &isolation, "--volumes-from", &kept, "nanoserver", "cat", "/data/x"];
    case.docker(&from)?.ok()?;
    case.docker(&["rm", "-v", &kept])?.ok()?;
    check!(exists(&volume)?, "a volume that another container has was removed");
    check_eq!(case.docker(&["start", "-a", &other])?.ok()?, "x");
    case.docker(&["rm", &other])?.ok()?;
    check!(exists(&volume)?, "rm without -v removed a volume");
    case.docker(&["volume", "rm", &volume])?.ok()?;

    let gone = case.name("gone");
    case.docker(&["create", "--name", &gone, &isolation, "--rm", "-v", "/data", "nanoserver", "true"])?
        .ok()?;
    let volume = mount_name(case, &gone)?;
    case.docker(&["start", &gone])?.ok()?;
    cofferdam_tests::eventually(
        std::time::Duration::from_secs(60),
        || Ok((!exists(&volume)?).then_some(())),
    )?;
    Ok(())
}

/// An empty volume begins with the image's content, once: owners, modes, links; also when two start at once.
fn image_content_is_copied_up(case: &Case) -> Result<()> {
    let image = format!("volume-content-{}:1", case.level.as_str());
    let root = cofferdam_tests::archive::Image::with_busybox()?
        .directory("data/")
        .entry("data/first", &Entry { mode: 0o640, ..Entry::default() }, b"content")
        .bytes();
    case.docker(&["import", "-c", "VOLUME /data", "-", &image])?.stdin(root).ok()?;
    let data = volume(case, "content")?;
    let (isolation, at) = (case.isolation(), format!("{data}:/data"));
    let look = "cat /data/first; stat -c ' %a' /data/first";
    let args = ["run", "--rm", &isolation, "-v", &at, &image, "sh", "-c", look];
    let (a, b) = (case.docker(&args)?.spawn()?, case.docker(&args)?.spawn()?);
    let limit = std::time::Duration::from_secs(120);
    check_eq!(a.finish(limit)?.ok()?, "content 640");
    check_eq!(b.finish(limit)?.ok()?, "content 640");
    // What was removed does not come back as long as something is there.
    case.run(&["-v", &at, &image, "sh", "-c", "mv /data/first /data/second"])?.ok()?;
    check_eq!(case.run(&["-v", &at, &image, "ls", "/data"])?.ok()?, "second");
    // The image's own volume is an anonymous one; nocopy leaves a volume empty.
    check_eq!(case.run(&[&image, "ls", "/data"])?.ok()?, "first");
    let empty = volume(case, "empty")?;
    check_eq!(case.run(&["-v", &format!("{empty}:/data:nocopy"), &image, "ls", "/data"])?.ok()?, "");
    case.docker(&["volume", "rm", &data, &empty])?.ok()?;
    case.docker(&["rmi", &image])?.ok()?;
    Ok(())
}

/// `--mount` with what it can say.
fn mounts_and_their_options(case: &Case) -> Result<()> {
    let data = volume(case, "parts")?;
    let at = format!("{data}:/data");
    case.run(&[
        "-v",
        &at,
        "nanoserver",
        "sh",
        "-c",
        "mkdir -p /data/a/b; echo deep >/data/a/b/file; ln -s / /data/root",
    ])?
    .ok()?;
    let part = format!("type=volume,source={data},target=/part,volume-subpath=a/b,readonly");
    let script = "cat /part/file; touch /part/x 2>&1; grep ' /mem ' /proc/mounts; stat -c %a /mem";
    let args = [
        "--mount",
        &part,
        "--mount",
        "type=tmpfs,target=/mem,tmpfs-size=1m,tmpfs-mode=1770",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    let seen = case.cofferdam(&[&["run", "--rm", &case.isolation()], &args[..]].concat())?.ok()?;
    for wanted in ["deep", "Read-only file system", "size=1024k", "1770"] {
        check!(seen.contains(wanted), "{wanted:?} is missing in:\n{seen}");
    }
    // A link in a volume leads nowhere on the host.
    for bad in ["root/etc", "nothing"] {
        let part = format!("type=volume,source={data},target=/part,volume-subpath={bad}");
        let args = ["run", "--rm", &case.isolation(), "--mount", &part, "nanoserver", "true"];
        check!(case.cofferdam(&args)?.output()?.code != 0, "{bad} was mounted");
    }
    case.docker(&["volume", "rm", &data])?.ok()?;
    // A volume that stands for a directory of the host.
    let directory = case.directory()?.join("host");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("file"), "of the host")?;
    let device = format!("device={}", directory.display());
    case.docker(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, &data])?.ok()?;
    check_eq!(case.run(&["-v", &at, "nanoserver", "cat", "/data/file"])?.ok()?, "of the host");
    case.docker(&["volume", "rm", &data])?.ok()?;
    check!(directory.join("file").exists(), "a directory of the host was emptied");
    Ok(())
}

fn volumes_from(case: &Case) -> Result<()> {
    let data = volume(case, "from")?;
    let first = case
        .detached("first", &["-v", &format!("{data}:/data"), "-v", "/own", "nanoserver", "sleep", "1000"])?;
    case.shell(&first, "echo shared >/data/file; echo own >/own/file")?;
    let script = "cat /data/file /own/file; touch /data/x 2>&1";
    let seen =
        case.run(&["--volumes-from", &format!("{first}:ro"), "nanoserver", "sh", "-c", script])?.output()?;
    check!(
        seen.stdout.contains("shared\nown\n") && seen.stdout.contains("Read-only file system"),
        "{seen:?}"
    );
    case.docker(&["rm", "-f", "-v", &first])?.ok()?;
    case.docker(&["volume", "rm", &data])?.ok()?;
    Ok(())
}

/// Both CLIs list, filter, and prune.
fn api_and_listing(case: &Case) -> Result<()> {
    let (one, two) = (volume(case, "one")?, volume(case, "two")?);
    let label = format!("case={one}");
    check_eq!(case.docker(&["volume", "create", "--label", &label, &one])?.ok()?, one);
    check_eq!(case.cofferdam(&["volume", "create", "--label", &label, &two])?.ok()?, two);
    let filter = format!("label={label}");
    let list = ["volume", "ls", "--filter", &filter, "--format", "{{.Driver}} {{.Name}} {{.Labels}}"];
    let stock = case.docker(&list)?.ok()?;
    check_eq!(stock, case.cofferdam(&list)?.ok()?);
    check_eq!(stock, format!("local {one} {label}\nlocal {two} {label}"));
    for column in ["DRIVER", "VOLUME NAME"] {
        check!(case.cofferdam(&["volume", "ls"])?.ok()?.contains(column), "{column}");
    }
    let inspected =
        case.cofferdam(&["volume", "inspect", "-f", "{{.Name}} {{.Scope}} {{.Mountpoint}}", &one])?.ok()?;
    check_eq!(
        inspected,
        case.docker(&["volume", "inspect", "-f", "{{.Name}} {{.Scope}} {{.Mountpoint}}", &one])?.ok()?
    );
    check!(inspected.ends_with(&format!("volumes/{one}/_data")), "{inspected}");
    // Only with --all are volumes pruned that have names.
    let pruned = case.docker(&["volume", "prune", "-f", "--filter", &filter])?.ok()?;
    check!(!pruned.contains(&one), "{pruned}");
    let pruned = case.cofferdam(&["volume", "prune", "-a", "-f", "--filter", &filter])?.ok()?;
    check!(pruned.contains(&one) && pruned.contains(&two), "{pruned}");
    check_eq!(case.docker(&["volume", "ls", "-q", "--filter", &filter])?.ok()?, "");
    Ok(())
}

fn refusals(case: &Case) -> Result<()> {
    for (args, words) in [
        (["volume", "create", "../up"].as_slice(), "includes invalid characters for a local volume name"),
        (&["volume", "create", "-d", "nfs", "xx"], "plugin \"nfs\" not found"),
        (&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "xx"], "use --tmpfs"),
        (&["volume", "rm", "never-made"], "no such volume"),
        (&["create", "-v", "./x/../..:/data:wx", "nanoserver"], "invalid mode"),
        (&["create", "--mount", "type=volume,dst=/x,volume-subpath=a", "nanoserver"], "Subpath"),
    ] {
        let error = case.cofferdam(args)?.fails(1)?;
        check!(error.contains(words), "{args:?}: {error}");
    }
    Ok(())
}
