use super::*;

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

#[test]
fn volumes_are_found_again() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("volumes");
    let volumes = Volumes::open(root.clone()).unwrap();
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let (volume, new) = volumes.make("data", "local", none(), labels.clone()).unwrap();
    assert!(new && !volume.is_anonymous());
    assert!(!volumes.make("data", "", none(), none()).unwrap().1);
    let (anonymous, _) = volumes.make("", "", none(), none()).unwrap();
    assert!(anonymous.is_anonymous() && anonymous.name.len() == 64);
    // What a crash leaves.
    std::fs::create_dir_all(root.join(".new-1/_data")).unwrap();
    std::fs::create_dir_all(root.join(".gone-1/_data")).unwrap();
    std::fs::write(root.join("data/_data/file"), "content").unwrap();
    let again = Volumes::open(root.clone()).unwrap();
    assert_eq!(again.all().len(), 2);
    assert_eq!(again.get("data").unwrap().about.labels, labels);
    assert_eq!(again.get("data").unwrap().size(), 7);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2);
    drop(again.take_out("data").unwrap().unwrap());
    assert!(again.get("data").is_none() && !root.join("data").exists());
    // A description that was lost does not take the data with it.
    std::fs::write(root.join(&anonymous.name).join("volume.json"), "").unwrap();
    assert!(Volumes::open(root).unwrap().get(&anonymous.name).is_some());
}

#[test]
fn a_copy_that_was_interrupted_goes_on() {
    let base = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(base.path().to_owned()).unwrap();
    volumes.make("data", "", none(), none()).unwrap();
    let directory = base.path().join("data");
    std::fs::create_dir_all(directory.join("fill/sub")).unwrap();
    std::fs::write(directory.join("fill/sub/file"), "content").unwrap();
    std::fs::write(directory.join("fill/moved"), "stale").unwrap();
    std::fs::write(directory.join("_data/moved"), "newer").unwrap();
    Volumes::open(base.path().to_owned()).unwrap();
    assert_eq!(std::fs::read_to_string(directory.join("_data/sub/file")).unwrap(), "content");
    assert_eq!(std::fs::read_to_string(directory.join("_data/moved")).unwrap(), "newer");
    assert!(!directory.join("fill").exists());
}

#[test]
fn what_cannot_be_is_named() {
    let base = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(base.path().to_owned()).unwrap();
    let refused = |name: &str, driver: &str, options: &[(&str, &str)]| {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        volumes.make(name, driver, options, none()).err().map(|error| error.message).unwrap_or_default()
    };
    assert!(refused("a", "", &[]).contains("too short"));
    for bad in ["../x", ".hidden", "a/b", "a b", "-x"] {
        assert!(refused(bad, "", &[]).contains("includes invalid characters"), "{bad}");
    }
    assert!(refused("ab", "nfs", &[]).contains("plugin \"nfs\" not found"));
    assert!(refused("ab", "", &[("size", "1g")]).contains("invalid option: \"size\""));
    assert!(refused("ab", "", &[("type", "tmpfs"), ("device", "tmpfs")]).contains("use --tmpfs"));
    assert!(refused("ab", "", &[("type", "none"), ("o", "bind")]).contains("missing device"));
    assert_eq!(refused("ab", "", &[("type", "none"), ("o", "bind,ro"), ("device", "/srv")]), "");
    assert!(volumes.get("ab").unwrap().is_read_only());
}
