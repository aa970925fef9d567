use std::collections::BTreeMap;

use super::*;

struct Fixture {
    _root: tempfile::TempDir,
    templates: Templates,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let templates =
        Templates { directory: root.path().join("templates"), verified: root.path().join("verified") };
    Fixture { _root: root, templates }
}

fn record(key: &str) -> TemplateRecord {
    TemplateRecord {
        key: key.to_owned(),
        kernel: "6.12".to_owned(),
        hypervisor: "qemu 7.2".to_owned(),
        accelerator: "tcg".to_owned(),
        cpus: 1,
        memory: 1,
        image: None,
        frozen: None,
        created: 5,
        digests: BTreeMap::new(),
    }
}

/// Needs root, which owns templates.
fn make(templates: &Templates, key: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can own a template");
        return false;
    }
    let scratch = templates.begin(key).unwrap();
    fs::write(scratch.memory(), format!("memory of {key}")).unwrap();
    fs::write(scratch.state(), "state").unwrap();
    templates.finish(scratch, record(key)).unwrap();
    true
}

#[test]
fn a_template_is_whole_or_not_there() {
    let Fixture { templates, .. } = &fixture();
    let scratch = templates.begin("aa").unwrap();
    fs::write(scratch.memory(), "half").unwrap();
    assert!(templates.find("aa").is_none());
    let left = scratch.directory.clone();
    drop(scratch);
    assert!(!left.exists());
    std::mem::forget(templates.begin("aa").unwrap());
    templates.sweep(Duration::from_secs(3600));
    assert_eq!(names(&templates.directory).count(), 1, "its maker may be at work");
    templates.sweep(Duration::ZERO);
    assert_eq!(names(&templates.directory).count(), 0);
    if make(templates, "aa") {
        let found = templates.find("aa").unwrap();
        assert_eq!(fs::read_to_string(found.memory()).unwrap(), "memory of aa");
        assert_eq!(templates.list().len(), 1);
    }
}

#[test]
fn a_process_frozen_elsewhere_is_made_anew() {
    let Fixture { templates, .. } = &fixture();
    let library = std::env::current_exe().unwrap();
    let parts = FrozenParts { files: Vec::new(), libraries: vec![library] };
    let frozen = freeze_record(parts).unwrap();
    let make = |key: &str, frozen: FrozenRecord| {
        let scratch = templates.begin(key).unwrap();
        for path in [scratch.memory(), scratch.state(), scratch.process(), scratch.pages()] {
            fs::write(path, key).unwrap();
        }
        templates.finish(scratch, TemplateRecord { frozen: Some(frozen), ..record(key) }).unwrap();
    };
    make("aa", frozen.clone());
    let found = templates.find("aa").unwrap().frozen().unwrap();
    assert_eq!(fs::read_to_string(found.process).unwrap(), "aa");
    make("bb", FrozenRecord { host: "another boot".to_owned(), ..frozen.clone() });
    make("cc", FrozenRecord { identity: "other libraries".to_owned(), ..frozen });
    for key in ["bb", "cc"] {
        assert!(templates.find(key).is_none());
        assert!(!templates.verify(key).unwrap());
        assert!(!templates.directory.join(key).exists(), "it makes way for a new one");
    }
}

#[test]
fn the_first_of_two_makers_wins() {
    let Fixture { templates, .. } = &fixture();
    let late = templates.begin("aa").unwrap();
    fs::write(late.memory(), "late").unwrap();
    fs::write(late.state(), "state").unwrap();
    if !make(templates, "aa") {
        return;
    }
    templates.finish(late, record("aa")).unwrap();
    assert_eq!(fs::read_to_string(templates.find("aa").unwrap().memory()).unwrap(), "memory of aa");
    assert_eq!(names(&templates.directory).count(), 1);
}

#[test]
fn a_changed_template_is_not_used() {
    let Fixture { templates, .. } = &fixture();
    if !make(templates, "aa") {
        return;
    }
    // After a boot of the host nothing is noted: it is verified by digest.
    fs::remove_dir_all(&templates.verified).unwrap();
    assert!(templates.find("aa").is_none());
    assert!(templates.verify("aa").unwrap());
    let memory = templates.find("aa").unwrap().memory();
    fs::set_permissions(&memory, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(&memory, "mEmory of aa").unwrap();
    assert!(templates.find("aa").is_none());
    assert!(!templates.verify("aa").unwrap());
    assert_eq!(names(&templates.directory).count(), 0);
}

#[test]
fn the_least_recently_used_go_first() {
    let Fixture { templates, .. } = &fixture();
    if !["aa", "bb", "cc"].iter().all(|key| make(templates, key)) {
        return;
    }
    let age = |key: &str, seconds| {
        let used = fs::File::create(templates.directory.join(key).join(USED)).unwrap();
        used.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    for (key, seconds) in [("aa", 30), ("bb", 10), ("cc", 20)] {
        age(key, seconds);
    }
    let keys = || templates.list().into_iter().map(|(record, ..)| record.key).collect::<Vec<_>>();
    assert_eq!(keys(), ["aa", "cc", "bb"]);
    templates.prune(Bounds { count: 2, bytes: u64::MAX }, &[]);
    assert_eq!(keys(), ["aa", "cc"]);
    templates.prune(Bounds { count: 5, bytes: 0 }, &["cc".to_owned()]);
    assert_eq!(keys(), ["cc"]);
    assert!(!templates.remove("../x").unwrap());
}

#[test]
fn sizes_fall_into_few_classes() {
    let class = |mebibytes: u64| memory_class(mebibytes << 20) >> 20;
    assert_eq!([1, 64, 65, 97, 160, 500, 512, 513].map(class), [64, 64, 96, 128, 192, 512, 512, 768]);
    assert!(memory_class(u64::MAX) == u64::MAX);
}
