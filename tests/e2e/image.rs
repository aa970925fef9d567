//! Images: pulled, loaded, imported, tagged, removed; and archives that mean harm.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::archive::{Entry, Image, Layer, append, digest};
use cofferdam_tests::{Case, Daemon, Invocation, Registry, Skip, Test, check, check_eq};
use tar::EntryType;

pub const CASES: &[Test] = &[
    Test::both("image::contents", contents),
    Test::both("image::without_layers_of_its_own", single_static_program),
    Test::engine("image::load_docker_archive_and_oci_layout", load_docker_archive_and_oci_layout),
    Test::engine("image::import", import),
    Test::engine("image::pull", pull),
    Test::engine("image::pull_with_credentials", pull_with_credentials),
    Test::engine("image::tag_and_remove", tag_and_remove),
    Test::engine("image::names_in_any_case", names_in_any_case),
    Test::engine("image::hostile_archives", hostile_archives),
    Test::engine("image::corrupt_archives", corrupt_archives),
    Test::engine("image::disk_full", disk_full),
];

/// Whiteouts, links, owners, modes, extended attributes, capabilities and times mean the same in an overlay on the
/// host and in the guest's read-only image.
fn contents(case: &Case) -> Result<()> {
    // cap_net_raw=ep as the kernel stores it, version 2.
    let mut capability = [0_u8; 20];
    capability[0] = 1;
    capability[3] = 2;
    capability[5] = 0x20;
    let pax: [(&str, &[u8]); 2] =
        [("SCHILY.xattr.user.note", b"kept"), ("SCHILY.xattr.security.capability", &capability)];
    let lower = Image::with_busybox()?
        .directory("data/")
        .file("data/kept", "kept")
        .file("data/removed", "removed")
        .directory("data/opaque/")
        .file("data/opaque/old", "old")
        .entry("data/setuid", &Entry { mode: 0o4755, owner: (12, 34), ..Entry::default() }, b"x")
        .hard_link("data/hard", "data/kept")
        .entry("data/fifo", &Entry { kind: EntryType::Fifo, ..Entry::default() }, b"")
        .entry("data/capable", &Entry { mode: 0o755, pax: &pax, ..Entry::default() }, b"x")
        .symlink("data/absolute", "/data/kept");
    let upper = Layer::default()
        .file("data/.wh.removed", "")
        .file("data/opaque/.wh..wh..opq", "")
        .file("data/opaque/new", "new");
    let image = Image { layers: vec![lower, upper], ..Image::default() };
    let tag = format!("contents-{}:1", case.level.as_str());
    case.docker(&["load"])?.stdin(image.docker_archive(&tag)?).ok()?;
    let script = "cd /data; ls -A; ls opaque; cat kept hard absolute; echo; stat -c '%a %u:%g %F' setuid fifo; \
                  stat -c '%h %Y' kept; test kept -ef hard && echo same";
    let seen = case.run(&[&tag, "sh", "-c", script])?.ok()?;
    let wanted = "absolute\ncapable\nfifo\nhard\nkept\nopaque\nsetuid\nnew\nkeptkeptkept\n4755 12:34 regular file\n\
                  644 0:0 fifo\n2 1000000000\nsame";
    check_eq!(seen, wanted);
    // Extended attributes are looked at with the host's tools in a container of the host's files.
    let getfattr = std::path::Path::new("/usr/bin/getcap");
    if getfattr.exists() || std::path::Path::new("/usr/sbin/getcap").exists() {
        let binds = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
        let found = ["/usr/sbin/getcap", "/usr/bin/getcap"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let args = [&binds[..], &[&tag, found.unwrap_or_default(), "/data/capable"]].concat();
        let seen = case.run(&args)?.ok()?;
        check!(seen.contains("cap_net_raw"), "the file's capability is lost: {seen:?}");
    }
    case.docker(&["rmi", &tag])?.ok()?;
    Ok(())
}

/// An image of one file, without /etc, /proc or anything else.
fn single_static_program(case: &Case) -> Result<()> {
    let busybox = std::fs::read("/bin/busybox")?;
    let image = Image {
        layers: vec![Layer::default().program("busybox", &busybox)],
        settings: serde_json::json!({"Entrypoint": ["/busybox"]}),
    };
    let tag = format!("single-{}:1", case.level.as_str());
    case.docker(&["load"])?.stdin(image.oci_layout(&tag)?).ok()?;
    check_eq!(case.run(&[&tag, "echo", "alone"])?.ok()?, "alone");
    case.docker(&["rmi", &tag])?.ok()?;
    Ok(())
}

pub fn sample(text: &str) -> Result<Image> {
    let layers = vec![Image::with_busybox()?, Layer::default().file("text", text)];
    Ok(Image { layers, ..Image::default() })
}

fn load_docker_archive_and_oci_layout(case: &Case) -> Result<()> {
    let docker = sample("from docker")?;
    let seen = case.docker(&["load"])?.stdin(docker.docker_archive("loaded:docker")?).ok()?;
    check!(seen.contains("Loaded image: loaded:docker"), "{seen}");
    let oci = sample("from oci")?;
    let seen = case.cofferdam(&["load"])?.stdin(oci.oci_layout("docker.io/library/loaded:oci")?).ok()?;
    check!(seen.contains("Loaded image: loaded:oci"), "{seen}");
    for (tag, text, image) in [("loaded:docker", "from docker", &docker), ("loaded:oci", "from oci", &oci)] {
        check_eq!(case.run(&[tag, "cat", "/text"])?.ok()?, text);
        let id = case.docker(&["image", "inspect", "-f", "{{.Id}}", tag])?.ok()?;
        check_eq!(id, digest(&image.config()), "the image ID is its configuration's digest");
    }
    // Gzipped, and without a name.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &sample("nameless")?.docker_archive("")?)?;
    let seen = case.docker(&["load"])?.stdin(gzip.finish()?).ok()?;
    let id = seen.split("sha256:").nth(1).context("no image ID")?[..64].to_owned();
    check_eq!(case.run(&[&id[..12], "cat", "/text"])?.ok()?, "nameless");
    case.docker(&["rmi", "loaded:docker", "loaded:oci", &id])?.ok()?;
    Ok(())
}

fn import(case: &Case) -> Result<()> {
    let root = Image::with_busybox()?.file("made", "imported").bytes();
    let args =
        ["import", "-c", "CMD [\"cat\", \"/made\"]", "-c", "LABEL a=b", "-m", "a message", "-", "imported:1"];
    let id = case.docker(&args)?.stdin(root.clone()).ok()?;
    check!(id.starts_with("sha256:"), "{id}");
    check_eq!(case.run(&["imported:1"])?.ok()?, "imported");
    let seen = case
        .docker(&["image", "inspect", "-f", "{{index .Config.Labels \"a\"}} {{.Comment}}", "imported:1"])?
        .ok()?;
    check!(seen.starts_with("b"), "{seen}");
    let error = case.docker(&["import", "-c", "NONSENSE x", "-", "imported:2"])?.stdin(root).fails(1)?;
    check!(error.to_uppercase().contains("NONSENSE"), "{error}");
    case.docker(&["rmi", "imported:1"])?.ok()?;
    Ok(())
}

/// From a real registry, with both CLIs; a second pull is up to date; by digest; a missing tag.
fn pull(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let registry = Registry::start(&dir)?;
    let image = sample("pulled")?;
    let manifest = registry.push(&image, "team/app", "1.0")?;
    let name = format!("{}/team/app", registry.address);
    let tagged = format!("{name}:1.0");
    let seen = case.docker(&["pull", &tagged])?.ok()?;
    check!(seen.contains(&format!("Digest: {manifest}")), "{seen}");
    check!(seen.contains(&format!("Status: Downloaded newer image for {tagged}")), "{seen}");
    check_eq!(case.run(&[&tagged, "cat", "/text"])?.ok()?, "pulled");
    let seen = case.cofferdam(&["pull", &tagged])?.ok()?;
    check!(seen.contains("Image is up to date"), "{seen}");
    let digests = case.docker(&["image", "inspect", "-f", "{{json .RepoDigests}}", &tagged])?.ok()?;
    check!(digests.contains(&format!("{name}@{manifest}")), "{digests}");
    case.docker(&["rmi", &tagged])?.ok()?;

    let by_digest = format!("{name}@{manifest}");
    check_eq!(case.run(&[&by_digest, "cat", "/text"])?.ok()?, "pulled");
    case.docker(&["rmi", &by_digest])?.ok()?;
    let error = case.docker(&["pull", &format!("{name}:none")])?.fails(1)?;
    check!(error.contains("not found") || error.contains("manifest unknown"), "{error}");
    let error = case.docker(&["pull", &format!("{}/no/repository", registry.address)])?.fails(1)?;
    check!(!error.trim().is_empty(), "no reason given");

    // A blob that is not what its digest says is refused, and nothing of it stays.
    let damaged = sample("to be damaged")?;
    registry.push(&damaged, "team/damaged", "1")?;
    let blob = digest(&damaged.layers[1].compressed());
    let hex = &blob["sha256:".len()..];
    let path = dir.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, bytes)?;
    let damaged = format!("{}/team/damaged:1", registry.address);
    let error = case.docker(&["pull", &damaged])?.fails(1)?;
    check!(
        error.to_lowercase().contains("digest") || error.contains("verif") || error.contains("mismatch"),
        "{error}"
    );
    check_eq!(case.docker(&["images", "-q", &damaged])?.ok()?, "");
    Ok(())
}

fn pull_with_credentials(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let line = match Invocation::new("htpasswd", &["-nbB", "tester", "clear"]).ok() {
        Ok(line) => line,
        Err(_) => return Err(Skip::because("no htpasswd here (package apache2-utils)")),
    };
    let registry = Registry::start_with(&dir, &line)?;
    let login = [("Authorization", "Basic dGVzdGVyOmNsZWFy")];
    registry.push_as(&login, &sample("private")?, "private/app", "1")?;
    let name = format!("{}/private/app:1", registry.address);
    let error = case.docker(&["pull", &name])?.fails(1)?;
    check!(error.contains("auth") || error.contains("denied") || error.contains("401"), "{error}");
    // As `docker login` would have left it; base64 of the user and the password.
    let config = dir.join("config");
    std::fs::create_dir_all(&config)?;
    let auths = serde_json::json!({"auths": {&registry.address: {"auth": "dGVzdGVyOmNsZWFy"}}});
    std::fs::write(config.join("config.json"), auths.to_string())?;
    for client in [case.docker(&["pull", &name])?, case.cofferdam(&["pull", &name])?] {
        client.env("DOCKER_CONFIG", &config).ok()?;
    }
    check_eq!(case.run(&[&name, "cat", "/text"])?.ok()?, "private");
    case.docker(&["rmi", &name])?.ok()?;
    Ok(())
}

fn tag_and_remove(case: &Case) -> Result<()> {
    let image = sample("tagged")?;
    case.docker(&["load"])?.stdin(image.docker_archive("tagged:1")?).ok()?;
    case.docker(&["tag", "tagged:1", "tagged:2"])?.ok()?;
    let ids = case.docker(&["images", "-q", "--no-trunc", "tagged"])?.ok()?;
    let id = digest(&image.config());
    check_eq!(ids.lines().collect::<Vec<_>>(), vec![id.as_str(); 2]);
    check_eq!(case.cofferdam(&["images", "-q", "--no-trunc", "tagged"])?.ok()?, ids);
    let seen = case.docker(&["rmi", "tagged:2"])?.ok()?;
    check_eq!(seen, "Untagged: tagged:2");
    // While a container uses it, it stays.
    let name = case.name("user");
    case.docker(&["create", "--name", &name, "tagged:1"])?.ok()?;
    let error = case.docker(&["rmi", "tagged:1"])?.fails(1)?;
    check!(error.contains("conflict") && error.contains("container"), "{error}");
    case.docker(&["rm", &name])?.ok()?;
    let seen = case.docker(&["rmi", "tagged:1"])?.ok()?;
    check!(seen.contains("Untagged: tagged:1") && seen.contains(&format!("Deleted: {id}")), "{seen}");
    let error = case.docker(&["rmi", "tagged:1"])?.fails(1)?;
    check!(error.contains("No such image"), "{error}");
    let error = case.docker(&["tag", "nanoserver", "Not A Name"])?.fails(1)?;
    check!(
        error.contains("is not a valid repository/tag") || error.contains("invalid reference format"),
        "{error}"
    );
    let history = case.docker(&["history", "-q", "nanoserver"])?.ok()?;
    check!(!history.is_empty(), "no history");
    Ok(())
}

/// The documents write `NanoServer`; Docker's own rule (lower case only) would refuse it.
fn names_in_any_case(case: &Case) -> Result<()> {
    let id = case.docker(&["image", "inspect", "-f", "{{.Id}}", "nanoserver:latest"])?.ok()?;
    check_eq!(case.cofferdam(&["image", "inspect", "-f", "{{.Id}}", "NanoServer"])?.ok()?, id);
    check_eq!(
        case.cofferdam(&["run", "--rm", "--isolation=process", "NanoServer", "echo", "ok"])?.ok()?,
        "ok"
    );
    Ok(())
}

/// Nothing is written outside of the store, whatever an archive says; the daemon says no or makes it harmless.
fn hostile_archives(case: &Case) -> Result<()> {
    // Its own, because what the store holds is counted.
    let daemon = Daemon::start(case.host, "hostile", &[])?;
    // ustar keeps 100 bytes for a name, so this one is short.
    let outside = case.host.directory("out")?;
    std::fs::write(outside.join("victim"), "untouched")?;
    let target = format!("/proc/self/root{}", outside.display());
    let absolute = format!("{}/absolute", outside.display());
    let up = format!("{}{}/up", "../".repeat(12), &outside.display().to_string()[1..]);
    let victim = format!("{}/victim", outside.display());
    let up_victim = format!("{}{}", "../".repeat(12), &victim[1..]);
    let device = |kind, device| Entry { kind, device, ..Entry::default() };
    let many: Layer = (0..3000_u32).fold(Layer::default(), |layer, n| {
        layer.entry(&format!("dev/d{n}"), &device(EntryType::Block, (254, n)), b"")
    });
    let attacks: Vec<(&str, Vec<Layer>)> = vec![
        ("absolute path", vec![Layer::default().file(&absolute, "x")]),
        ("parent directories", vec![Layer::default().file(&up, "x")]),
        (
            "symbolic link, then a file through it",
            vec![Layer::default().symlink("out", &target).file("out/through", "x")],
        ),
        (
            "symbolic link in one layer, file in the next",
            vec![
                Layer::default().symlink("out", &outside.display().to_string()),
                Layer::default().file("out/next", "x"),
            ],
        ),
        (
            "hard link to a file outside",
            vec![Layer::default().hard_link("link", &victim).file("link", "overwritten")],
        ),
        (
            "hard link upwards",
            vec![Layer::default().hard_link("link", &up_victim).file("link", "overwritten")],
        ),
        (
            "whiteout through a link",
            vec![
                Layer::default().symlink("out", &outside.display().to_string()),
                Layer::default().file("out/.wh.victim", ""),
            ],
        ),
        (
            "opaque directory through a link",
            vec![Layer::default().symlink("out", &target), Layer::default().file("out/.wh..wh..opq", "")],
        ),
        ("whiteout of the parent", vec![Layer::default().file(".wh...", "")]),
        (
            "directory in place of a link",
            vec![
                Layer::default()
                    .symlink("out", &outside.display().to_string())
                    .entry("out", &Entry { kind: EntryType::Directory, mode: 0o777, ..Entry::default() }, b"")
                    .file("out/in-place", "x"),
            ],
        ),
        ("a bomb of devices", vec![many]),
    ];
    let before = entries(&daemon)?;
    for (attack, layers) in attacks {
        let image = Image { layers, ..Image::default() };
        let seen = daemon.docker(&["load"]).stdin(image.docker_archive("hostile:1")?).output()?;
        let found: Vec<_> = std::fs::read_dir(&outside)?.flatten().map(|entry| entry.file_name()).collect();
        check_eq!(found, ["victim"], "{attack}: the directory outside, after {seen:?}");
        check_eq!(std::fs::read_to_string(outside.join("victim"))?, "untouched", "{attack}");
        if seen.code == 0 {
            daemon.docker(&["rmi", "-f", "hostile:1"]).ok()?;
        } else {
            check!(
                !seen.stderr.trim().is_empty() || !seen.stdout.trim().is_empty(),
                "{attack}: refused without a reason"
            );
        }
    }
    check_eq!(entries(&daemon)?, before, "layers and temporary files in the store");
    daemon.remove_everything()
}

/// What the store holds, apart from its own note of what is on disk, which it writes when it has the time.
fn entries(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let images = daemon.data_root().join("images");
    let names = [&*images.to_string_lossy(), "-maxdepth", "3", "!", "-name", "durable.json*"];
    Ok(Invocation::new("find", &names).ok()?.lines().map(str::to_owned).collect())
}

/// Truncated and lying archives are refused with a reason, and leave nothing.
fn corrupt_archives(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "corrupt", &[])?;
    let good = sample("good")?.docker_archive("corrupt:1")?;
    let lying = Layer::default().entry("big", &Entry { size: Some(1 << 40), ..Entry::default() }, b"small");
    let mut no_layer = tar::Builder::new(Vec::new());
    append(
        &mut no_layer,
        "manifest.json",
        br#"[{"Config":"none.json","RepoTags":["corrupt:1"],"Layers":["none/layer.tar"]}]"#,
    )?;
    let mut nonsense = tar::Builder::new(Vec::new());
    append(&mut nonsense, "manifest.json", b"{{{{")?;
    let mut escape = tar::Builder::new(Vec::new());
    append(
        &mut escape,
        "manifest.json",
        br#"[{"Config":"../../../../etc/passwd","RepoTags":["corrupt:1"],"Layers":["/etc/shadow"]}]"#,
    )?;
    let mut wrong = sample("wrong")?;
    let mut layout = wrong.oci_layout("corrupt:1")?;
    // One byte of a layer's content: the digest no longer fits.
    let at = layout.len() / 3;
    layout[at] ^= 1;
    wrong.layers.clear();
    let inputs: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("not a tar", b"this is not a tar at all, by no means".repeat(100)),
        ("cut in the middle", good[..good.len() / 2].to_vec()),
        ("a size that lies", Image { layers: vec![lying], ..Image::default() }.docker_archive("corrupt:1")?),
        ("a missing layer", no_layer.into_inner()?),
        ("a manifest that is not JSON", nonsense.into_inner()?),
        ("a manifest that points outside", escape.into_inner()?),
        ("a wrong digest", layout),
    ];
    let before = entries(&daemon)?;
    for (what, input) in inputs {
        let seen = daemon.docker(&["load"]).stdin(input).output()?;
        check!(seen.code != 0, "{what}: was accepted: {seen:?}");
        check!(!seen.stderr.trim().is_empty(), "{what}: no reason given");
    }
    check_eq!(daemon.docker(&["images", "-q", "corrupt"]).ok()?, "");
    check_eq!(entries(&daemon)?, before, "layers and temporary files in the store");
    daemon.remove_everything()
}

/// A full disk is named as such; afterwards the daemon works and the space is free again.
fn disk_full(case: &Case) -> Result<()> {
    let daemon = Daemon::prepare(case.host, "full", &[])?;
    let data = daemon.data_root();
    std::fs::create_dir_all(&data)?;
    let small = Mounted::tmpfs(&data.to_string_lossy(), "24m")?;
    daemon.launch(&[])?;
    let text: String = (0..4_000_000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    let layers = vec![Image::with_busybox()?, Layer::default().file("big", &text)];
    let big = Image { layers, ..Image::default() };
    let seen = daemon
        .docker(&["load"])
        .stdin(big.docker_archive("big:1")?)
        .limit(Duration::from_secs(120))
        .output()?;
    let all = format!("{}{}", seen.stdout, seen.stderr);
    check!(seen.code != 0 && all.contains("no space left on device"), "{seen:?}");
    check_eq!(daemon.docker(&["images", "-q"]).ok()?, "");
    // The space is free again: something small fits.
    daemon.docker(&["load"]).stdin(sample("small")?.docker_archive("small:1")?).ok()?;
    check_eq!(
        daemon.docker(&["run", "--rm", "--isolation=process", "small:1", "cat", "/text"]).ok()?,
        "small"
    );
    daemon.docker(&["rmi", "small:1"]).ok()?;
    daemon.terminate()?;
    drop(small);
    Ok(())
}

/// A mount of the case's own.
struct Mounted(String);

impl Mounted {
    fn tmpfs(path: &str, size: &str) -> Result<Self> {
        Invocation::new("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path]).ok()?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Invocation::new("umount", &["-l", &self.0]).output();
    }
}
