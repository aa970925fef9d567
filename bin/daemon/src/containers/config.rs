//! A container as clients ask for it and as `inspect` shows it: `Config` and `HostConfig`.
//!
//! Reading is lenient, as Go's decoder is: `null` is the same as absent, and unknown fields are kept so that
//! `inspect` returns what the client sent.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::health::Healthcheck;

/// Reads a request: every `null` in an object counts as absent.
pub fn lenient<T: DeserializeOwned>(mut value: Value) -> Result<T, serde_json::Error> {
    strip_nulls(&mut value);
    serde_json::from_value(value)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// A list of words, or one word instead of the list.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<Words>::deserialize(deserializer)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::Many(list) => list,
    }))
}

/// Keys of an object whose values are empty objects (`Volumes`, `ExposedPorts`).
pub type KeySet = BTreeMap<String, Value>;

/// The part of a container that could come from its image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Its host name.
    pub hostname: String,
    /// Its domain name.
    pub domainname: String,
    /// `name|uid[:group|gid]`.
    pub user: String,
    /// Whether the client attaches standard input.
    pub attach_stdin: bool,
    /// Whether the client attaches standard output.
    pub attach_stdout: bool,
    /// Whether the client attaches standard error.
    pub attach_stderr: bool,
    /// `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: KeySet,
    /// Whether it has a TTY.
    pub tty: bool,
    /// Whether standard input stays open.
    pub open_stdin: bool,
    /// Whether standard input closes with its first client.
    pub stdin_once: bool,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Arguments, or the program with its arguments.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// The health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The image as the client named it.
    pub image: String,
    /// Directories that are volumes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: KeySet,
    /// The working directory.
    pub working_dir: String,
    /// The program.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// Whether it has no network.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_disabled: bool,
    /// Build triggers of the image.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to stop.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// How many seconds it may take to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Its MAC address (before API 1.44).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// Fields we do not know.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The part of a container that belongs to its host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `/host:/container[:options]`.
    pub binds: Option<Vec<String>>,
    /// Where the client writes the ID.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// How output is recorded.
    pub log_config: LogConfig,
    /// `default`, `bridge`, `none`, `host`.
    pub network_mode: String,
    /// Published ports.
    pub port_bindings: BTreeMap<String, Value>,
    /// What happens when it exits.
    pub restart_policy: RestartPolicy,
    /// Whether it is removed when it exits.
    pub auto_remove: bool,
    /// The volume driver.
    pub volume_driver: String,
    /// Containers whose volumes it shares.
    pub volumes_from: Option<Vec<String>>,
    /// Mounts in the newer form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The client's console, height and width.
    pub console_size: [u32; 2],
    /// For the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Capabilities beyond the default.
    pub cap_add: Option<Vec<String>>,
    /// Capabilities taken away.
    pub cap_drop: Option<Vec<String>>,
    /// `private` or `host`.
    pub cgroupns_mode: String,
    /// DNS servers.
    pub dns: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `host:ip`.
    pub extra_hosts: Option<Vec<String>>,
    /// Supplementary groups.
    pub group_add: Option<Vec<String>>,
    /// `private`, `shareable`, `host`, `none`.
    pub ipc_mode: String,
    /// A cgroup to use.
    pub cgroup: String,
    /// Legacy links.
    pub links: Option<Vec<String>>,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// Empty or `host`.
    pub pid_mode: String,
    /// Whether nothing is held back.
    pub privileged: bool,
    /// Whether all exposed ports are published.
    pub publish_all_ports: bool,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// `seccomp=…`, `no-new-privileges`, …
    pub security_opt: Option<Vec<String>>,
    /// Storage driver options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// `/dir` to mount options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// Bytes of `/dev/shm`.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The runtime's name.
    pub runtime: String,
    /// The isolation level: as asked for in a request, as effective in `inspect`.
    pub isolation: String,
    /// Relative CPU weight.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Parent cgroup.
    pub cgroup_parent: String,
    /// Relative block I/O weight.
    pub blkio_weight: u16,
    /// The same on single disks.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes in a second.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes in a second.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Reads in a second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Writes in a second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds.
    pub cpu_realtime_runtime: i64,
    /// `0-3,5`.
    pub cpuset_cpus: String,
    /// `0-3,5`.
    pub cpuset_mems: String,
    /// Host devices.
    pub devices: Vec<DeviceMapping>,
    /// `c 1:3 rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// GPUs and the like.
    pub device_requests: Option<Vec<Value>>,
    /// Bytes.
    pub memory_reservation: i64,
    /// Bytes; no kernel of today limits it.
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel_memory: i64,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: i64,
    /// 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Whether the OOM killer leaves it alone.
    pub oom_kill_disable: Option<bool>,
    /// Most processes; 0 and -1 are unlimited.
    pub pids_limit: Option<i64>,
    /// Resource limits.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Whether an init process reaps zombies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Masked paths, when they replace the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_paths: Option<Vec<String>>,
    /// Read-only paths, when they replace the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly_paths: Option<Vec<String>>,
    /// Fields we do not know.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// How output is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file`, `local`, `journald` or `none`.
    #[serde(rename = "Type")]
    pub driver: String,
    /// Its options.
    #[serde(rename = "Config")]
    pub options: BTreeMap<String, String>,
}

/// What happens when a container exits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    /// For `on-failure`; 0 is without end.
    pub maximum_retry_count: i64,
}

/// A host device in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    /// On the host.
    pub path_on_host: String,
    /// In the container.
    pub path_in_container: String,
    /// Some of `rwm`.
    pub cgroup_permissions: String,
}

/// A relative weight on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// On the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// On the host.
    pub path: String,
    /// In a second.
    pub rate: u64,
}

/// A resource limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// `nofile`.
    pub name: String,
    /// -1 is unlimited.
    pub soft: i64,
    /// -1 is unlimited.
    pub hard: i64,
}

/// A mount in the newer form (`--mount`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `tmpfs`, `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// On the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// In the container.
    pub target: String,
    /// Whether it is read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// For binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// For tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
    /// For volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Fields we do not know.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Options of a volume's mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// Whether the image's content stays out of an empty volume.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_copy: bool,
    /// Labels of a volume that is made.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The driver of a volume that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<DriverConfig>,
    /// A part of the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

/// A volume's driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverConfig {
    /// `local`.
    pub name: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// `rprivate`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Whether mounts below the source stay out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub non_recursive: bool,
    /// Whether a missing source becomes a directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub create_mountpoint: bool,
}

/// Options of a tmpfs mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 is unlimited.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// The mode, as a number.
    #[serde(skip_serializing_if = "is_zero_mode")]
    pub mode: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero_mode(value: &u32) -> bool {
    *value == 0
}

/// Where a container joins a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// By network name.
    pub endpoints_config: BTreeMap<String, Endpoint>,
}

/// One network of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    /// A wished MAC address.
    pub mac_address: String,
    /// A wished address.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Map<String, Value>,
    /// Further names in the network.
    pub aliases: Vec<String>,
    /// Legacy links.
    pub links: Vec<String>,
}

/// The body of `POST /containers/create`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateRequest {
    /// What could come from the image.
    #[serde(flatten)]
    pub config: Config,
    /// What belongs to the host.
    pub host_config: HostConfig,
    /// Networks.
    pub networking_config: NetworkingConfig,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_and_strangers_are_tolerated() {
        let request: CreateRequest = lenient(json!({
            "Image": "busybox", "Cmd": "sh", "Entrypoint": null, "Env": null, "Volumes": {"/data": {}},
            "NewFangled": [1, null],
            "HostConfig": {"Binds": null, "Memory": 5, "ConsoleSize": [24, 80], "Mystery": {"a": null}},
            "NetworkingConfig": {"EndpointsConfig": {"bridge": null}}
        }))
        .unwrap();
        assert_eq!(request.config.cmd, Some(vec!["sh".to_owned()]));
        assert_eq!(request.config.entrypoint, None);
        assert!(request.config.volumes.contains_key("/data"));
        assert_eq!(request.config.others["NewFangled"], json!([1, null]));
        assert_eq!(request.host_config.memory, 5);
        assert_eq!(request.host_config.others["Mystery"], json!({}));
    }

    #[test]
    fn a_wrong_type_is_refused() {
        assert!(lenient::<CreateRequest>(json!({"Image": 5})).is_err());
        assert!(lenient::<CreateRequest>(json!({"HostConfig": {"Memory": "1g"}})).is_err());
    }

    #[test]
    fn what_is_stored_reads_back() {
        let request: CreateRequest = lenient(json!({
            "Image": "busybox",
            "HostConfig": {"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "Consistency": "cached"}]}
        }))
        .unwrap();
        let stored = serde_json::to_string(&request.host_config).unwrap();
        assert_eq!(
            lenient::<HostConfig>(serde_json::from_str(&stored).unwrap()).unwrap(),
            request.host_config
        );
    }
}
