//! Specifications as data.

use std::path::PathBuf;

use super::*;
use crate::containers::config::{Config, HostConfig, VolumeOptions};
use crate::containers::mounts::{MountKind, MountPoint};

fn record(host: HostConfig) -> Record {
    Record {
        image: "sha256:0".to_owned(),
        created: jiff::Timestamp::UNIX_EPOCH,
        isolation: Isolation::Process,
        path: "sh".to_owned(),
        args: vec!["-c".to_owned(), "true".to_owned()],
        config: Config {
            hostname: "box".to_owned(),
            env: vec!["A=1".to_owned(), "PATH=/bin".to_owned()],
            ..Config::default()
        },
        host,
        mounts: Vec::new(),
        endpoints: Vec::new(),
        owner: cofferdam_api::Owner::Docker,
    }
}

fn spec_of(record: &Record, init: Option<&Path>) -> Value {
    let etc = EtcFiles {
        hostname: PathBuf::from("/d/hostname"),
        hosts: PathBuf::from("/d/hosts"),
        resolv_conf: PathBuf::from("/d/resolv.conf"),
    };
    let user = User { uid: 7, gid: 8, groups: vec![8, 9], home: "/home/x".to_owned() };
    let input = Input {
        record,
        user: &user,
        data: Path::new("/d"),
        etc: &etc,
        init,
        parts: &std::collections::BTreeMap::new(),
        devices: &[],
        cgroup: "/cofferdam-default/abc",
        disks: BlockIo::default(),
        host: HostFacts::of_a_guest(),
    };
    let spec = build(&input).unwrap();
    // The runtime reads it with this type.
    serde_json::from_value::<oci_spec::runtime::Spec>(spec.clone()).unwrap();
    spec
}

fn option_of<'a>(spec: &'a Value, place: &str) -> Vec<&'a str> {
    let mounts = spec["mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["destination"] == place).unwrap();
    mount["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect()
}

#[test]
fn an_ordinary_container() {
    let spec = spec_of(&record(HostConfig::default()), None);
    let process = &spec["process"];
    assert_eq!(process["args"], json!(["sh", "-c", "true"]));
    assert_eq!(process["env"], json!(["PATH=/bin", "HOSTNAME=box", "A=1", "HOME=/home/x"]));
    assert_eq!(process["cwd"], "/");
    assert_eq!(process["user"], json!({"uid": 7, "gid": 8, "additionalGids": [8, 9]}));
    assert_eq!(process["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    assert!(process["capabilities"].get("inheritable").is_none());
    assert_eq!(spec["hostname"], "box");
    let linux = &spec["linux"];
    let kinds: Vec<_> =
        linux["namespaces"].as_array().unwrap().iter().map(|entry| entry["type"].clone()).collect();
    assert_eq!(kinds, ["mount", "uts", "pid", "ipc", "cgroup"]);
    assert_eq!(linux["cgroupsPath"], "/cofferdam-default/abc");
    assert!(linux["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert_eq!(linux["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(option_of(&spec, "/sys").contains(&"ro"));
    assert!(option_of(&spec, "/dev/shm").contains(&"size=67108864"));
    assert!(option_of(&spec, "/etc/hosts").contains(&"rw"));
}

#[test]
fn a_privileged_container() {
    let spec = spec_of(&record(HostConfig { privileged: true, ..HostConfig::default() }), None);
    assert_eq!(spec["process"]["capabilities"]["effective"].as_array().unwrap().len(), 41);
    assert!(spec["linux"].get("seccomp").is_none());
    assert!(spec["linux"].get("maskedPaths").is_none());
    assert!(option_of(&spec, "/sys").contains(&"rw"));
    assert_eq!(spec["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
}

#[test]
fn an_init_process_comes_first() {
    let spec = spec_of(&record(HostConfig::default()), Some(Path::new("/run/x/docker-init")));
    assert_eq!(spec["process"]["args"], json!([INIT, "--", "sh", "-c", "true"]));
    assert!(option_of(&spec, INIT).contains(&"ro"));
}

#[test]
fn users_mounts_replace_the_engines() {
    let mut record = record(HostConfig { readonly_rootfs: true, ..HostConfig::default() });
    let point = |kind, source: &str, destination: &str| MountPoint {
        kind,
        source: source.to_owned(),
        destination: destination.to_owned(),
        mode: String::new(),
        writable: false,
        propagation: "rslave".to_owned(),
        recursive: true,
        create_source: false,
        name: String::new(),
        anonymous: false,
        copy: false,
        subpath: String::new(),
        volume_options: VolumeOptions::default(),
    };
    record.mounts = vec![
        point(MountKind::Tmpfs, "", "/dev/shm"),
        point(MountKind::Bind, "/srv/hosts", "/etc/hosts"),
        point(MountKind::Anonymous, "", "/data"),
    ];
    let spec = spec_of(&record, None);
    assert_eq!(option_of(&spec, "/etc/hosts"), ["rbind", "ro", "rslave"]);
    assert_eq!(option_of(&spec, "/dev/shm"), ["noexec", "nosuid", "nodev"]);
    assert_eq!(option_of(&spec, "/etc/hostname"), ["rbind", "ro", "rprivate"]);
    let mounts = spec["mounts"].as_array().unwrap();
    assert_eq!(mounts.iter().filter(|mount| mount["destination"] == "/etc/hosts").count(), 1);
    assert!(mounts.iter().any(|mount| mount["source"] == "/d/volumes/data"));
    assert_eq!(spec["linux"]["rootfsPropagation"], "slave");
    assert_eq!(spec["root"]["readonly"], true);
}

#[test]
fn the_hosts_namespaces_when_asked_for() {
    let host = HostConfig {
        pid_mode: "host".to_owned(),
        ipc_mode: "host".to_owned(),
        uts_mode: "host".to_owned(),
        network_mode: "host".to_owned(),
        cgroupns_mode: "host".to_owned(),
        ..HostConfig::default()
    };
    let spec = spec_of(&record(host), None);
    assert_eq!(spec["linux"]["namespaces"], json!([{"type": "mount"}]));
    assert!(spec.get("hostname").is_none());
    assert!(spec["linux"].get("sysctl").is_none());
    assert!(option_of(&spec, "/dev/shm").contains(&"rbind"));
}

#[test]
fn security_options() {
    let host =
        |option: &str| HostConfig { security_opt: Some(vec![option.to_owned()]), ..HostConfig::default() };
    assert_eq!(spec_of(&record(host("no-new-privileges")), None)["process"]["noNewPrivileges"], true);
    assert!(spec_of(&record(host("seccomp=unconfined")), None)["linux"].get("seccomp").is_none());
    let own = spec_of(&record(host(r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#)), None);
    assert_eq!(own["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ALLOW");
    for bad in ["", "what", "seccomp=", "seccomp={", "no-new-privileges=perhaps"] {
        let host = host(bad);
        let parsed = process::Security::parse(&host);
        let refused = parsed.map(|security| security.seccomp(false, &[]).is_err()).unwrap_or(true);
        assert!(refused, "{bad}");
    }
}
