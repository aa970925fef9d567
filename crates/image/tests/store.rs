//! Loading, importing, looking up and removing images.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Cursor;
use std::process::Command;

use cofferdam_image::{
    ContainerUse, Error, ErrorKind, ExtendRequest, History, ImportRequest, Progress, ProgressSender, Removed,
    Step,
};
use serde_json::json;
use support::{Parts, Place, gzip, old_docker_archive, tar, zstd};

fn nobody(_: &cofferdam_image::Digest) -> Vec<ContainerUse> {
    Vec::new()
}

async fn load(place: &Place, archive: Vec<u8>) -> Result<Vec<cofferdam_image::Image>, Error> {
    place.store.load(Cursor::new(archive), &ProgressSender::none()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_all_kinds_load() {
    let layers = [tar(&[("a", b"1")]), tar(&[("b/c", b"22")])];
    let layers: Vec<_> = layers.iter().map(Vec::as_slice).collect();
    let old = old_docker_archive("Example/old:1".to_lowercase().as_str(), &layers);
    let named = json!({ "io.containerd.image.name": "docker.io/library/new:2", "org.opencontainers.image.ref.name": "2" });
    for (archive, name) in [
        (old.clone(), "example/old:1"),
        (gzip(&old), "example/old:1"),
        (zstd(&old), "example/old:1"),
        (Parts::new(&layers, gzip).layout(named.clone()), "new:2"),
        (Parts::new(&layers, zstd).layout(named.clone()), "new:2"),
        (
            Parts::new(&layers, <[u8]>::to_vec)
                .layout(json!({ "org.opencontainers.image.ref.name": "new:3" })),
            "new:3",
        ),
    ] {
        let place = Place::new();
        let (sender, mut progress) = tokio::sync::mpsc::unbounded_channel();
        let images = place.store.load(Cursor::new(archive), &ProgressSender::new(sender)).await.unwrap();
        assert_eq!(images.len(), 1);
        let image = place.store.resolve(name).unwrap();
        assert_eq!(image.repo_tags(), [name]);
        assert_eq!(image.size(), 3);
        let lower = place.store.lower_dirs(&image).await.unwrap();
        assert_eq!(fs::read(lower[0].join("b/c")).unwrap(), b"22");
        assert_eq!(fs::read(lower[1].join("a")).unwrap(), b"1");
        let mut last = None;
        while let Some(line) = progress.recv().await {
            last = Some(line);
        }
        assert_eq!(last.unwrap(), Progress::Loaded(name.parse().unwrap()));
        assert_eq!(place.count("tmp"), 0);
        let place = place.reopen();
        let again = place.store.resolve(name).unwrap();
        assert_eq!((again.id(), again.size()), (image.id(), 3));
    }
}

#[tokio::test]
async fn an_unnamed_layout_is_found_by_id() {
    let layer = tar(&[("a", b"1")]);
    let place = Place::new();
    let archive =
        Parts::new(&[&layer], gzip).layout(json!({ "org.opencontainers.image.ref.name": "latest" }));
    let image = load(&place, archive).await.unwrap().remove(0);
    assert!(image.repo_tags().is_empty() && image.is_dangling());
    assert_eq!(place.store.resolve(&image.id().short()).unwrap().id(), image.id());
    assert_eq!(place.store.resolve(&image.id().to_string()).unwrap().id(), image.id());
    let error = place.store.resolve("abcdef").unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::NotFound, "No such image: abcdef:latest")
    );
}

#[tokio::test]
async fn names_match_in_any_case() {
    let place = Place::new();
    load(&place, old_docker_archive("nanoserver:latest", &[&tar(&[("a", b"1")])])).await.unwrap();
    assert_eq!(place.store.resolve("NanoServer").unwrap().repo_tags(), ["nanoserver:latest"]);
    assert!(place.store.resolve("Nano Server").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_archives_leave_nothing() {
    let good = tar(&[("a", b"1")]);
    let archive = |layer: &[u8]| old_docker_archive("x:1", &[layer]);
    let lying = {
        let parts = Parts::new(&[&good], gzip);
        let manifest = String::from_utf8(parts.manifest.clone()).unwrap();
        let size = format!("\"size\":{}", parts.layers[0].len());
        let manifest = manifest.replacen(&size, "\"size\":1", 2).into_bytes();
        Parts { manifest, ..parts }.layout(json!({}))
    };
    let wrong_name = {
        let files: &[(&str, &[u8])] =
            &[(&format!("blobs/sha256/{}", "0".repeat(64)), b"x"), ("index.json", b"{}")];
        tar(files)
    };
    let foreign_config = {
        // A configuration of other layers: the diff IDs do not fit.
        let config = support::config(&[b"something else"]);
        let manifest = json!([{ "Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"] }]).to_string();
        tar(&[("c.json", &config), ("l.tar", &good), ("manifest.json", manifest.as_bytes())])
    };
    let outside = {
        let manifest = json!([{ "Config": "../../c.json", "RepoTags": null, "Layers": [] }]).to_string();
        tar(&[("manifest.json", manifest.as_bytes())])
    };
    let bomb = gzip(&vec![0; 200 << 20]);
    let whole = archive(&good);
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "neither manifest.json nor index.json"),
        ("no tar", b"hello".repeat(1000), "not a tar archive"),
        ("absolute layer entry", archive(&tar(&[("/etc/passwd", b"x")])), "absolute path"),
        ("climbing layer entry", archive(&tar(&[("../../x", b"x")])), "climbs out"),
        ("absolute entry", tar(&[("/manifest.json", b"[]")]), "absolute path"),
        ("climbing entry", tar(&[("../manifest.json", b"[]")]), "climbs out"),
        ("climbing config", outside, "is missing"),
        ("truncated", whole[..whole.len() / 2].to_vec(), "unexpected end"),
        (
            "truncated gzip",
            {
                let all = gzip(&whole);
                all[..all.len() - 20].to_vec()
            },
            "archive",
        ),
        ("wrong diff ID", foreign_config, "diffID verification failed"),
        ("lying size", lying, "verification failed"),
        ("lying name", wrong_name, "verification failed"),
        ("missing layer", tar(&[("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#)]), "is missing"),
        ("bad JSON", tar(&[("manifest.json", b"{")]), "invalid manifest.json"),
        (
            "bad name",
            {
                let s = String::from_utf8_lossy(&whole).replace("x:1", "x:!");
                s.into_bytes()
            },
            "invalid",
        ),
        ("bomb", bomb, "neither"),
    ];
    for (name, archive, reason) in table {
        let place = Place::new();
        let error = load(&place, archive).await.expect_err(name);
        assert!(error.to_string().contains(reason), "{name}: {error}");
        assert_eq!(
            error.kind(),
            if name == "wrong diff ID" || name.starts_with("lying") {
                ErrorKind::Internal
            } else {
                ErrorKind::Invalid
            },
            "{name}: {error}"
        );
        for directory in ["tmp", "blobs/sha256", "layers"] {
            assert_eq!(place.count(directory), 0, "{name}: left in {directory}");
        }
        assert!(place.store.list().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_follows_dockers_rules() {
    let place = Place::new();
    let (base, one, two) = (tar(&[("base", b"1")]), tar(&[("one", b"22")]), tar(&[("two", b"333")]));
    load(&place, old_docker_archive("a:1", &[&base, &one])).await.unwrap();
    load(&place, old_docker_archive("b:1", &[&base, &two])).await.unwrap();
    assert_eq!((place.store.list().len(), place.count("layers")), (2, 3));
    let image = place.store.resolve("a:1").unwrap();
    place.store.tag(&image, &"c:1".parse().unwrap()).await.unwrap();

    let by_id = place.store.remove(&image.id().short(), false, nobody).await.unwrap_err().to_string();
    assert!(by_id.ends_with("(must be forced) - image is referenced in multiple repositories"), "{by_id}");
    let removed = place.store.remove("c:1", false, nobody).await.unwrap();
    assert_eq!(removed, [Removed::Untagged("c:1".into())]);

    let used = |running| move |_: &_| vec![ContainerUse { id: "f".repeat(64), running }];
    let message = place.store.remove("a:1", false, used(false)).await.unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "conflict: unable to remove repository reference \"a:1\" (must force) - container ffffffffffff is using its \
             referenced image {}",
            image.id().short()
        )
    );
    let id = image.id().to_string();
    let message = place.store.remove(&id, true, used(true)).await.unwrap_err().to_string();
    assert!(
        message.contains("(cannot be forced) - image is being used by running container ffffffffffff"),
        "{message}"
    );
    // By force the name goes, the content stays for the container.
    let removed = place.store.remove("a:1", true, used(false)).await.unwrap();
    assert_eq!(removed, [Removed::Untagged("a:1".into())]);
    assert!(place.store.get(image.id()).unwrap().is_dangling());
    assert_eq!(place.count("layers"), 3);

    let pruned = place.store.prune(false, |_| true, nobody).await.unwrap();
    assert_eq!(pruned.removed[0], Removed::Deleted(image.id().clone()));
    assert_eq!((pruned.removed.len(), pruned.reclaimed), (2, 2));
    assert_eq!((place.store.list().len(), place.count("layers")), (1, 2));
    let removed = place.store.remove("b", false, nobody).await;
    assert!(matches!(removed, Err(Error::NoSuchImage(name)) if name == "b:latest"));
    place.store.remove("b:1", false, nobody).await.unwrap();
    for directory in ["blobs/sha256", "layers", "tmp"] {
        assert_eq!(place.count(directory), 0, "{directory}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_no_garbage() {
    let place = Place::new();
    load(&place, old_docker_archive("a:1", &[&tar(&[("a", b"1")])])).await.unwrap();
    let root = place.directory.path().join("images");
    fs::write(root.join("blobs/sha256").join("0".repeat(64)), "half").unwrap();
    fs::create_dir_all(root.join("layers").join("1".repeat(64)).join("diff")).unwrap();
    fs::create_dir_all(root.join("tmp/left/over")).unwrap();
    let layer = fs::read_dir(root.join("layers"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.join("layer.json").exists());
    let blobs = place.count("blobs/sha256");
    let place = place.reopen();
    assert_eq!((place.count("blobs/sha256"), place.count("layers"), place.count("tmp")), (blobs - 1, 1, 0));
    // A layer that got lost is unpacked again from its blob.
    fs::remove_dir_all(layer.unwrap()).unwrap();
    let image = place.store.resolve("a:1").unwrap();
    let lower = place.store.lower_dirs(&image).await.unwrap();
    assert_eq!(fs::read(lower[0].join("a")).unwrap(), b"1");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_loads_share_their_work() {
    let place = Place::new();
    let base = tar(&[("base", &vec![7; 1 << 20])]);
    let tops: Vec<_> = (0..3).map(|n| tar(&[("top", &[n])])).collect();
    let loads =
        (0..6).map(|n| load(&place, old_docker_archive(&format!("x:{}", n / 2), &[&base, &tops[n / 2]])));
    for result in futures_util::future::join_all(loads).await {
        result.unwrap();
    }
    assert_eq!((place.store.list().len(), place.count("layers"), place.count("tmp")), (3, 4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_make_an_image_of_one_layer() {
    let place = Place::new();
    let request = ImportRequest {
        name: Some("rootfs:1".parse().unwrap()),
        changes: vec!["CMD [\"/a\"]".into(), "ENV X=y".into()],
        message: "from a test".into(),
        platform: None,
    };
    let archive = gzip(&tar(&[("a", b"1"), ("b/.wh.c", b"")]));
    let image =
        place.store.import(Cursor::new(archive.clone()), request, &ProgressSender::none()).await.unwrap();
    assert_eq!(image.container_config().cmd.as_deref(), Some(["/a".to_owned()].as_slice()));
    assert_eq!(image.repo_tags(), ["rootfs:1"]);
    assert_eq!(place.store.history(&image)[0].step.comment, "from a test");
    let bad = ImportRequest { changes: vec!["RUN x".into()], ..ImportRequest::default() };
    let error = place.store.import(Cursor::new(archive), bad, &ProgressSender::none()).await.unwrap_err();
    assert_eq!(error.to_string(), "run is not a valid change command");
    let hostile = Cursor::new(tar(&[("../x", b"")]));
    let hostile = place.store.import(hostile, ImportRequest::default(), &ProgressSender::none()).await;
    assert!(hostile.is_err());
    assert_eq!((place.count("tmp"), place.count("blobs/sha256")), (0, 3));
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels() {
    let place = Place::new();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    drop(receiver);
    let archive = old_docker_archive("x:1", &[&tar(&[("a", b"1")])]);
    let result = place.store.load(Cursor::new(archive), &ProgressSender::new(sender)).await;
    assert!(matches!(result, Err(Error::Cancelled)));
    assert_eq!((place.count("tmp"), place.count("blobs/sha256")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erofs_image_holds_the_merged_view() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount the merged view");
        return;
    }
    if Command::new("mkfs.erofs").arg("--help").output().is_err() {
        println!("skipped: mkfs.erofs is not installed (package erofs-utils)");
        return;
    }
    let lower = tar(&[("keep", b"k"), ("gone", b"g"), ("d/old", b"o"), ("e/old", b"o")]);
    let upper = tar(&[(".wh.gone", b""), ("d/.wh..wh..opq", b""), ("d/new", b"n"), ("e/new", b"n")]);
    let archive = old_docker_archive("x:1", &[&lower, &upper]);
    let mut images = Vec::new();
    for _ in 0..2 {
        let place = Place::new();
        load(&place, archive.clone()).await.unwrap();
        let image = place.store.resolve("x:1").unwrap();
        let (one, two) = tokio::join!(place.store.erofs(&image), place.store.erofs(&image));
        assert_eq!(one.as_ref().unwrap(), two.as_ref().unwrap());
        images.push(fs::read(one.unwrap()).unwrap());
        assert_eq!(place.count("tmp"), 0);
        place.store.remove("x:1", false, nobody).await.unwrap();
        assert_eq!(place.count("erofs"), 0);
    }
    // Implied directories have the time of their making; everything listed is the same.
    assert_eq!(images[0].len(), images[1].len());
    let scratch = tempfile::TempDir::new().unwrap();
    let (file, out) = (scratch.path().join("image"), scratch.path().join("out"));
    fs::write(&file, &images[0]).unwrap();
    let status =
        Command::new("fsck.erofs").arg(format!("--extract={}", out.display())).arg(&file).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    for (name, there) in
        [("keep", true), ("gone", false), ("d/old", false), ("d/new", true), ("e/old", true), ("e/new", true)]
    {
        assert_eq!(out.join(name).exists(), there, "{name}");
    }
    let time = out.join("keep").metadata().unwrap().modified().unwrap();
    assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_700_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_layers_works() {
    let place = Place::new();
    load(&place, old_docker_archive("scratch-like:1", &[])).await.unwrap();
    let image = place.store.resolve("scratch-like:1").unwrap();
    let lower = place.store.lower_dirs(&image).await.unwrap();
    assert_eq!((lower.len(), fs::read_dir(&lower[0]).unwrap().count()), (1, 0));
    if rustix::process::geteuid().is_root() && Command::new("mkfs.erofs").arg("--help").output().is_ok() {
        assert!(place.store.erofs(&image).await.unwrap().metadata().unwrap().len() > 0);
    } else {
        println!("skipped: EROFS needs root and mkfs.erofs");
    }
}

#[test]
fn a_crash_of_the_machine_is_healed() {
    let place = Place::new();
    let root = place.directory.path().join("images");
    // A runtime's end waits for what goes on behind an answer.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (layer, bad) = runtime.block_on(async {
        load(&place, old_docker_archive("good:1", &[&tar(&[("a", b"1")])])).await.unwrap();
        load(&place, old_docker_archive("bad:1", &[&tar(&[("b", b"2")])])).await.unwrap();
        let [good, bad] = ["good:1", "bad:1"].map(|name| place.store.resolve(name).unwrap());
        (place.store.lower_dirs(&good).await.unwrap().remove(0), bad.id().hex())
    });
    drop(runtime);
    // As if the power had gone before anything reached the disk: a layer's file and a configuration are damaged.
    fs::write(layer.join("a"), "").unwrap();
    let config = root.join("blobs/sha256").join(bad);
    let damaged = fs::read_to_string(&config).unwrap().replace("PATH=/bin", "PATH=/BIN");
    fs::write(&config, damaged).unwrap();
    fs::write(root.join("durable.json"), r#"{"boot":"another","blobs":[],"layers":[]}"#).unwrap();
    let place = place.reopen();
    assert!(place.store.resolve("bad:1").is_err());
    let good = place.store.resolve("good:1").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lower = runtime.block_on(place.store.lower_dirs(&good)).unwrap();
    assert_eq!(fs::read(lower[0].join("a")).unwrap(), b"1");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_put_on_an_image() {
    let place = Place::new();
    let base = tar(&[("etc/a", b"1"), ("etc/b", b"2")]);
    let base = load(&place, Parts::new(&[&base], gzip).layout(json!({}))).await.unwrap().remove(0);
    let step = |layer: Option<Vec<u8>>| Step {
        history: History { created_by: "RUN x".to_owned(), ..History::default() },
        layer: layer.map(|layer| Box::new(Cursor::new(layer)) as _),
    };
    let added = tar(&[("etc/.wh.a", b""), ("c", b"333")]);
    let mut config = base.container_config().clone();
    config.working_dir = "/srv".to_owned();
    let request = |steps| ExtendRequest {
        base: Some(base.clone()),
        config: config.clone(),
        author: "me".to_owned(),
        steps,
        names: vec!["made:1".parse().unwrap()],
        ..ExtendRequest::default()
    };
    let steps = vec![step(None), step(Some(added.clone())), step(Some(gzip(&tar(&[("d", b"4")]))))];
    let (image, lost) = place.store.extend(request(steps)).await.unwrap();
    assert!(lost.is_empty());
    assert_eq!((image.size(), image.diff_ids().len(), image.repo_tags()), (6, 3, vec!["made:1".to_owned()]));
    assert_eq!(image.diff_ids()[0], base.diff_ids()[0]);
    assert_eq!((image.config().author.as_str(), image.config().config.working_dir.as_str()), ("me", "/srv"));
    let history = &image.config().history;
    let empty: Vec<_> = history[history.len() - 3..].iter().map(|line| line.empty_layer).collect();
    assert_eq!(empty, [true, false, false]);
    let lower = place.store.lower_dirs(&image).await.unwrap();
    assert_eq!(fs::read(lower[1].join("c")).unwrap(), b"333");
    assert!(fs::symlink_metadata(lower[1].join("etc/a")).is_ok(), "a whiteout");
    // The same again takes the name from the first, whose configuration says another time.
    let (again, lost) = place.store.extend(request(vec![step(Some(added.clone()))])).await.unwrap();
    assert_eq!(lost.len(), 1);
    assert_ne!(again.id(), image.id());
    // One that fails leaves nothing behind.
    let before = (place.count("blobs/sha256"), place.count("layers"), place.store.list().len());
    let steps = vec![step(Some(tar(&[("e", b"5")]))), step(Some(added[..700].to_vec()))];
    place.store.extend(request(steps)).await.unwrap_err();
    assert_eq!((place.count("blobs/sha256"), place.count("layers"), place.store.list().len()), before);
    assert_eq!(place.count("tmp"), 0);
    // An image of its own, from nothing.
    let request = ExtendRequest { steps: vec![step(Some(added))], ..ExtendRequest::default() };
    let (alone, _) = place.store.extend(request).await.unwrap();
    assert_eq!((alone.diff_ids().len(), alone.config().os.as_str()), (1, "linux"));
    let place = place.reopen();
    assert_eq!(place.store.resolve("made:1").unwrap().id(), again.id());
}
