//! The OCI runtime specification as the guest needs it.
//!
//! It is rewritten as JSON, so that nothing is lost that this code does not know.

use std::path::{Path, PathBuf};

use cofferdam_model::{InterfaceConfig, NetworkSpec, Resources, RootfsSpec, Share, ShimSpec};
use cofferdam_proto::{CreateContainer, GuestFile, Prepare, StreamIds};
use serde_json::{Value, json};

use super::guest_paths;
use crate::{CreateRequest, Error};

/// The largest file that is sent along instead of being shared.
const MAX_FILE: u64 = 256 << 10;

/// The container's control group in the guest.
const GUEST_CGROUP: &str = "/container";

/// What stands in the guest's specification for the program, which only [`CreateContainer`] names.
const NO_PROGRAM: &str = "parked";

/// What the guest gets, and what the host keeps of the specification.
#[derive(Debug)]
pub(super) struct GuestSpec {
    /// What many containers have in common: the same bytes for each of them.
    pub prepare: Prepare,
    /// What is this container's own; its streams are still to be numbered.
    pub create: CreateContainer,
    /// Bind mounts' sources that are served.
    pub shares: Vec<Share>,
    /// The host's control group of the VM worker process.
    pub cgroup: String,
    /// The container's limits, which both its VM worker process and its group in the guest get their part of.
    pub limits: Resources,
    /// Its preference with the OOM killer.
    pub oom_score_adj: i64,
}

impl GuestSpec {
    pub(super) fn rewrite(text: &str, shim: &ShimSpec, request: &CreateRequest) -> Result<Self, Error> {
        let invalid = |error: serde_json::Error| Error::Helper(format!("OCI specification: {error}"));
        let mut spec: Value = serde_json::from_str(text).map_err(invalid)?;
        let cgroup = spec["linux"]["cgroupsPath"]
            .as_str()
            .map_or_else(|| format!("{}/{}", shim.instance.cgroup_parent(), shim.id), str::to_owned);
        let limits = match &spec["linux"]["resources"] {
            Value::Null => Resources::default(),
            resources => serde_json::from_value(resources.clone()).map_err(invalid)?,
        };
        let oom_score_adj = spec["process"]["oomScoreAdj"].as_i64().unwrap_or(0);
        let hostname = spec["hostname"].as_str().unwrap_or_else(|| shim.id.short()).to_owned();
        let (mut files, mut shares) = (Vec::new(), Vec::new());
        let generated = match &shim.rootfs {
            RootfsSpec::Disks { writable, .. } => writable.parent().map(Path::to_owned),
            RootfsSpec::Overlay { .. } => None,
        };
        if let Some(mounts) = spec["mounts"].as_array_mut() {
            for mount in mounts {
                rewrite_mount(mount, generated.as_deref(), &mut files, &mut shares)?;
            }
        }
        adapt(&mut spec);
        let (args, env) = take_program(&mut spec["process"]);
        let (network, interfaces) = guest_network(&shim.network);
        let prepare = Prepare {
            spec: spec.to_string(),
            terminal: request.terminal,
            stdin: request.stdin,
            network,
            files: files.iter().map(|file| file.name.clone()).collect(),
            share: !shares.is_empty(),
        };
        // Numbered, and limited by what the VM is, by who has it.
        let (streams, own) = (StreamIds::default(), Resources::default());
        let create = CreateContainer { hostname, interfaces, args, env, streams, files, limits: own };
        Ok(Self { prepare, create, shares, cgroup, limits, oom_score_adj })
    }
}

/// Whether it has the VM's card, and its interfaces so far.
fn guest_network(network: &NetworkSpec) -> (bool, Vec<InterfaceConfig>) {
    match network {
        NetworkSpec::Own { interfaces } => {
            (true, interfaces.iter().map(|interface| interface.config.clone()).collect())
        }
        NetworkSpec::None | NetworkSpec::Host | NetworkSpec::Container { .. } => (false, Vec::new()),
    }
}

/// Takes out what only this container runs.
fn take_program(process: &mut Value) -> (Vec<String>, Vec<String>) {
    let strings = |value: &Value| {
        let strings = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        strings.map(str::to_owned).collect()
    };
    let taken = (strings(&process["args"]), strings(&process["env"]));
    process["args"] = json!([NO_PROGRAM]);
    process["env"] = json!([]);
    taken
}

/// Replaces the source of a bind mount by where the guest has it.
fn rewrite_mount(
    mount: &mut Value,
    generated: Option<&Path>,
    files: &mut Vec<GuestFile>,
    shares: &mut Vec<Share>,
) -> Result<(), Error> {
    let has = |mount: &Value, wanted: &[&str]| {
        let options = mount["options"].as_array().into_iter().flatten();
        options.filter_map(Value::as_str).any(|option| wanted.contains(&option))
    };
    if mount["type"] != "bind" && !has(mount, &["bind", "rbind"]) {
        return Ok(());
    }
    let Some(source) = mount["source"].as_str().map(PathBuf::from) else { return Ok(()) };
    // Files that the daemon made for this container lie beside its disk; anything else is the user's.
    if generated.is_some() && source.parent() == generated {
        let failed = |error| Error::Path { path: source.clone(), source: error };
        let length = std::fs::metadata(&source).map_err(failed)?.len();
        let name = source.file_name().and_then(|name| name.to_str());
        if let (Some(name), true) = (name, length <= MAX_FILE) {
            let text = std::fs::read_to_string(&source).map_err(failed)?;
            files.push(GuestFile { name: name.to_owned(), text });
            mount["source"] = json!(format!("{}/{name}", guest_paths::FILES));
            return Ok(());
        }
    }
    mount["source"] = json!(format!("{}/{}", guest_paths::SHARES, shares.len()));
    shares.push(Share { source, read_only: has(mount, &["ro", "rro"]) });
    Ok(())
}

/// Removes what only means something on the host.
fn adapt(spec: &mut Value) {
    spec["root"]["path"] = json!("rootfs");
    if let Some(top) = spec.as_object_mut() {
        top.remove("hooks");
        // The container's own: it comes later. Notes for whoever manages containers mean nothing to a guest.
        top.remove("hostname");
        top.remove("annotations");
    }
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("apparmorProfile");
        process.remove("selinuxLabel");
    }
    let linux = &mut spec["linux"];
    linux["cgroupsPath"] = json!(GUEST_CGROUP);
    // The guest is the container's alone: its network namespace is the VM.
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        for namespace in namespaces.iter_mut().filter_map(Value::as_object_mut) {
            namespace.remove("path");
        }
    }
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("mountLabel");
    }
    // Limits are the container's own, too: one template serves all of them.
    if let Some(resources) = linux["resources"].as_object_mut() {
        resources.retain(|key, _| key == "devices");
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_model::{ContainerId, Isolation, LogSpec};

    use super::*;

    fn shim(writable: PathBuf) -> ShimSpec {
        ShimSpec {
            id: ContainerId::random(),
            instance: "test".parse().unwrap(),
            isolation: Isolation::Hyperv,
            log: LogSpec::none(),
            rootfs: RootfsSpec::Disks { image: PathBuf::from("/i"), writable, blank: PathBuf::new() },
            parts: Vec::new(),
            network: NetworkSpec::None,
            vm: None,
            oci_helper: PathBuf::new(),
            open_stdin: false,
            stdin_once: false,
            discard: false,
            terminal: false,
        }
    }

    #[test]
    fn generated_files_go_along_and_the_users_are_shared() {
        let data = std::env::temp_dir().join(format!("cofferdam-guest-spec-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        let spec = json!({
            "hostname": "box",
            "root": { "path": "/somewhere" },
            "process": { "apparmorProfile": "docker-default", "args": ["sh"], "env": ["A=b"] },
            "annotations": { "a": "b" },
            "hooks": {},
            "unknown": 7,
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/etc/hosts", "type": "bind", "source": data.join("hosts"), "options": ["rbind"] },
                { "destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro"] },
                { "destination": "/etc/x", "source": "/srv/hosts", "options": ["bind"] },
            ],
            "linux": {
                "cgroupsPath": "/cofferdam-test/x",
                "namespaces": [{ "type": "network", "path": "/n" }, { "type": "pid" }],
                "resources": { "cpu": { "quota": 50_000, "cpus": "7" }, "pids": { "limit": 5 }, "devices": [7] },
            },
        });
        let request = CreateRequest { id: "c".into(), bundle: data.clone(), terminal: false, stdin: true };
        let guest = GuestSpec::rewrite(&spec.to_string(), &shim(data.join("rw.ext4")), &request).unwrap();
        std::fs::remove_dir_all(&data).unwrap();
        assert_eq!((guest.create.hostname.as_str(), guest.cgroup.as_str()), ("box", "/cofferdam-test/x"));
        assert_eq!((guest.create.args, guest.create.env), (vec!["sh".to_owned()], vec!["A=b".to_owned()]));
        assert!(guest.prepare.stdin && guest.prepare.share && !guest.prepare.network);
        assert_eq!(guest.prepare.files, ["hosts"]);
        assert_eq!((guest.limits.cpu.quota, guest.limits.pids.limit), (Some(50_000), Some(5)));
        assert_eq!(
            guest.create.files,
            [GuestFile { name: "hosts".into(), text: "127.0.0.1 localhost\n".into() }]
        );
        let shared = |source: &str, read_only| Share { source: source.into(), read_only };
        assert_eq!(guest.shares, [shared("/srv", true), shared("/srv/hosts", false)]);
        let text: Value = serde_json::from_str(&guest.prepare.spec).unwrap();
        assert_eq!(text["mounts"][0]["source"], "proc");
        assert_eq!(text["mounts"][1]["source"], "/run/cofferdam/files/hosts");
        assert_eq!(text["mounts"][3]["source"], "/run/cofferdam/shares/1");
        assert_eq!(text["linux"]["namespaces"], json!([{ "type": "pid" }]));
        assert_eq!(text["linux"]["resources"], json!({ "devices": [7] }));
        assert_eq!((&text["unknown"], &text["hooks"]), (&json!(7), &Value::Null));
        assert_eq!(text["process"], json!({ "args": ["parked"], "env": [] }));
        assert_eq!((&text["hostname"], &text["annotations"]), (&Value::Null, &Value::Null));
    }
}
