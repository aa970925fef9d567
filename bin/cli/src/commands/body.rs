//! Flags into the API's words.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use cofferdam_client::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigIsolationEnum, HostConfigLogConfig, NetworkingConfig, PortMap,
    RestartPolicy, RestartPolicyNameEnum,
};
use cofferdam_model::Isolation;

use super::options::{Options, Ports};
use crate::stdio::window_size;
use crate::values;

/// The body of a create request. Files that flags name are read here.
pub fn body(options: &Options, detached: bool, auto_remove: bool) -> anyhow::Result<ContainerCreateBody> {
    let (stdin, stdout, stderr) = options.streams(detached);
    let environment = values::environment(&options.env_file, &options.env, |name| std::env::var(name).ok());
    let labels = values::labels(&options.label_file, &options.label).map_err(anyhow::Error::msg)?;
    let command = options.image_and_command.get(1..).unwrap_or_default();
    let anonymous_volumes = options.volume.iter().filter(|volume| !volume.contains(':')).cloned();
    let mut exposed: Vec<String> = ports(&options.expose).chain(ports(&options.publish)).collect();
    exposed.sort();
    exposed.dedup();
    Ok(ContainerCreateBody {
        hostname: options.hostname.clone(),
        domainname: options.domainname.clone(),
        user: options.user.clone(),
        attach_stdin: Some(stdin),
        attach_stdout: Some(stdout),
        attach_stderr: Some(stderr),
        exposed_ports: some(exposed),
        tty: Some(options.tty),
        open_stdin: Some(options.interactive),
        stdin_once: Some(options.interactive && stdin),
        env: Some(environment.map_err(anyhow::Error::msg)?),
        cmd: some(command.to_vec()),
        image: Some(options.image()),
        volumes: some(anonymous_volumes.collect()),
        working_dir: options.workdir.clone(),
        healthcheck: healthcheck(options)?,
        entrypoint: options.entrypoint.clone().map(|program| vec![program]),
        labels: Some(labels),
        stop_signal: options.stop_signal.clone(),
        stop_timeout: options.stop_timeout,
        host_config: Some(host_config(options, auto_remove)?),
        networking_config: networking(options),
        ..ContainerCreateBody::default()
    })
}

fn host_config(options: &Options, auto_remove: bool) -> anyhow::Result<HostConfig> {
    let here = std::env::current_dir().context("cannot find the current directory")?;
    let binds: Vec<String> = options
        .volume
        .iter()
        .filter(|volume| volume.contains(':'))
        .map(|volume| values::bind(volume, &here))
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::msg)?;
    let mut bindings = PortMap::new();
    for (port, binding) in options.publish.iter().flat_map(|Ports(ports)| ports) {
        bindings.entry(port.clone()).or_default().get_or_insert_default().push(binding.clone());
    }
    let restart_policy = options.restart.as_deref().map(restart_policy).transpose()?;
    let restarts = restart_policy.as_ref().and_then(|policy| policy.name);
    if auto_remove && !matches!(restarts, None | Some(RestartPolicyNameEnum::NO)) {
        anyhow::bail!("conflicting options: cannot specify both --restart and --rm");
    }
    Ok(HostConfig {
        binds: some(binds),
        container_id_file: options.cidfile.as_ref().map(|path| path.display().to_string()),
        log_config: log_config(options),
        network_mode: options.network.first().cloned(),
        links: if user_network(options) { None } else { some(options.link.clone()) },
        port_bindings: (!bindings.is_empty()).then_some(bindings),
        restart_policy,
        auto_remove: Some(auto_remove),
        volumes_from: some(options.volumes_from.clone()),
        mounts: some(options.mount.clone()),
        console_size: size(options.tty),
        annotations: some_map(&annotations(options)),
        cap_add: some(options.cap_add.clone()),
        cap_drop: some(options.cap_drop.clone()),
        cgroupns_mode: options.cgroupns.as_deref().map(|mode| match mode {
            "host" => HostConfigCgroupnsModeEnum::HOST,
            _ => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        dns: some(options.dns.clone()),
        dns_options: some(options.dns_option.clone()),
        dns_search: some(options.dns_search.clone()),
        // A plus sign is an accepted spelling of the separator.
        extra_hosts: some(options.add_host.iter().map(|host| host.replacen('=', ":", 1)).collect()),
        group_add: some(options.group_add.clone()),
        ipc_mode: options.ipc.clone(),
        pid_mode: options.pid.clone(),
        uts_mode: options.uts.clone(),
        userns_mode: options.userns.clone(),
        oom_score_adj: options.oom_score_adj,
        privileged: Some(options.privileged),
        publish_all_ports: Some(options.publish_all),
        readonly_rootfs: Some(options.read_only),
        security_opt: some(security(&options.security_opt)?),
        storage_opt: some_map(&options.storage_opt),
        tmpfs: some_tmpfs(&options.tmpfs),
        shm_size: options.shm_size,
        sysctls: some_map(&options.sysctl),
        runtime: options.runtime.clone(),
        isolation: options.isolation.as_deref().map(isolation).transpose()?,
        memory: options.limits.memory,
        memory_reservation: options.limits.memory_reservation,
        memory_swap: options.limits.memory_swap,
        memory_swappiness: options.memory_swappiness,
        nano_cpus: options.limits.cpus,
        cpu_shares: options.limits.cpu_shares,
        cpu_period: options.limits.cpu_period,
        cpu_quota: options.limits.cpu_quota,
        cpuset_cpus: options.limits.cpuset_cpus.clone(),
        cpuset_mems: options.limits.cpuset_mems.clone(),
        cpu_realtime_period: options.limits.cpu_rt_period,
        cpu_realtime_runtime: options.limits.cpu_rt_runtime,
        blkio_weight: options.limits.blkio_weight,
        blkio_weight_device: some(options.blkio_weight_device.clone()),
        blkio_device_read_bps: some(options.device_read_bps.clone()),
        blkio_device_write_bps: some(options.device_write_bps.clone()),
        blkio_device_read_iops: some(options.device_read_iops.clone()),
        blkio_device_write_iops: some(options.device_write_iops.clone()),
        devices: some(options.device.iter().map(|device| mapping(device)).collect()),
        device_cgroup_rules: some(options.device_cgroup_rule.clone()),
        oom_kill_disable: options.oom_kill_disable.then_some(true),
        init: options.init.then_some(true),
        pids_limit: options.limits.pids_limit,
        ulimits: some(options.ulimit.clone()),
        cgroup_parent: options.cgroup_parent.clone(),
        ..HostConfig::default()
    })
}

/// The health check; nothing when nothing of it is given, so that the image's is taken.
fn healthcheck(options: &Options) -> anyhow::Result<Option<HealthConfig>> {
    let wanted = HealthConfig {
        test: options.health_cmd.as_ref().map(|line| vec!["CMD-SHELL".to_owned(), line.clone()]),
        interval: options.health_interval,
        timeout: options.health_timeout,
        retries: options.health_retries,
        start_period: options.health_start_period,
        start_interval: options.health_start_interval,
    };
    let given = wanted != HealthConfig::default();
    if options.no_healthcheck {
        anyhow::ensure!(!given, "--no-healthcheck conflicts with --health-* options");
        return Ok(Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }));
    }
    Ok(given.then_some(wanted))
}

/// What is not given is left out.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map(entries: &[String]) -> Option<HashMap<String, String>> {
    (!entries.is_empty()).then(|| values::map(entries))
}

fn some_tmpfs(entries: &[String]) -> Option<HashMap<String, String>> {
    (!entries.is_empty()).then(|| entries.iter().map(|entry| values::tmpfs(entry)).collect())
}

fn ports(flags: &[Ports]) -> impl Iterator<Item = String> {
    flags.iter().flat_map(|Ports(ports)| ports).map(|(port, _)| port.clone())
}

/// The window's size, so that the first output of a full-screen program is right.
fn size(tty: bool) -> Option<Vec<usize>> {
    let (height, width) = window_size().filter(|_| tty)?;
    Some(vec![height.into(), width.into()])
}

/// Those that were given, and what Docker's API has no other place for.
fn annotations(options: &Options) -> Vec<String> {
    let start = options.vm_start.iter().map(|how| format!("cofferdam.vm-start={how}"));
    options.annotation.iter().cloned().chain(start).collect()
}

fn isolation(text: &str) -> anyhow::Result<HostConfigIsolationEnum> {
    if text.is_empty() || text.eq_ignore_ascii_case("default") {
        return Ok(HostConfigIsolationEnum::DEFAULT);
    }
    Ok(match text.parse::<Isolation>()? {
        Isolation::Process => HostConfigIsolationEnum::PROCESS,
        Isolation::Hyperv => HostConfigIsolationEnum::HYPERV,
    })
}

/// `on-failure:3`
pub fn restart_policy(text: &str) -> anyhow::Result<RestartPolicy> {
    let invalid = || {
        anyhow::anyhow!(
            "invalid restart policy {text:?}: want no, always, unless-stopped or on-failure[:MAX]"
        )
    };
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let name = match name {
        "no" | "" => RestartPolicyNameEnum::NO,
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => return Err(invalid()),
    };
    let count = match count {
        None => 0,
        Some(_) if name != RestartPolicyNameEnum::ON_FAILURE => return Err(invalid()),
        Some(count) => count.parse().map_err(|_not_a_number| invalid())?,
    };
    Ok(RestartPolicy { name: Some(name), maximum_retry_count: Some(count) })
}

fn log_config(options: &Options) -> Option<HostConfigLogConfig> {
    if options.log_driver.is_none() && options.log_opt.is_empty() {
        return None;
    }
    Some(HostConfigLogConfig { typ: options.log_driver.clone(), config: Some(values::map(&options.log_opt)) })
}

/// A seccomp profile travels as its text: the file is the client's.
fn security(options: &[String]) -> anyhow::Result<Vec<String>> {
    let inline = |option: &String| -> anyhow::Result<String> {
        let profile = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:"));
        match profile {
            None | Some("unconfined" | "builtin" | "default") => {
                Ok(option.replacen(':', "=", usize::from(profile.is_some())))
            }
            Some(file) => {
                let text = std::fs::read_to_string(Path::new(file))
                    .with_context(|| format!("cannot read the seccomp profile {file}"))?;
                let profile: serde_json::Value = serde_json::from_str(&text)
                    .with_context(|| format!("the seccomp profile {file} is not JSON"))?;
                Ok(format!("seccomp={profile}"))
            }
        }
    };
    options.iter().map(inline).collect()
}

/// `/dev/fuse`, `/dev/sda:/dev/xvda`, `/dev/sda:/dev/xvda:r`, `/dev/fuse:rw`
fn mapping(text: &str) -> DeviceMapping {
    let is_rights = |part: &str| !part.is_empty() && part.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    let (inside, rights) = match parts[..] {
        [_, rights] if is_rights(rights) => (parts[0], rights),
        [_, inside] => (inside, "rwm"),
        [_, inside, rights] => (inside, rights),
        _ => (parts[0], "rwm"),
    };
    DeviceMapping {
        path_on_host: Some(parts[0].to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(rights.to_owned()),
    }
}

/// Whether the first network is a user's, where links are the endpoint's.
fn user_network(options: &Options) -> bool {
    options.network.first().is_some_and(|name| !["default", "bridge"].contains(&name.as_str()))
}

/// Addresses, aliases and links are the first network's.
fn networking(options: &Options) -> Option<NetworkingConfig> {
    let address = cofferdam_client::models::EndpointIpamConfig {
        ipv4_address: options.ip.clone(),
        ipv6_address: options.ip6.clone(),
        ..Default::default()
    };
    let endpoint = EndpointSettings {
        ipam_config: (options.ip.is_some() || options.ip6.is_some()).then_some(address),
        mac_address: options.mac_address.clone(),
        aliases: some(options.network_alias.clone()),
        links: if user_network(options) { some(options.link.clone()) } else { None },
        ..EndpointSettings::default()
    };
    let first = options.network.first().cloned().unwrap_or_else(|| "default".to_owned());
    let others = options.network.iter().skip(1);
    let mut endpoints: HashMap<_, _> =
        others.map(|name| (name.clone(), EndpointSettings::default())).collect();
    if endpoints.is_empty() && endpoint == EndpointSettings::default() {
        return None;
    }
    endpoints.insert(first, endpoint);
    Some(NetworkingConfig { endpoints_config: Some(endpoints) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, ContainerVerb};

    fn parse(line: &str, detached: bool) -> anyhow::Result<serde_json::Value> {
        let words = line.split(' ').map(std::ffi::OsString::from);
        let Command::Container(ContainerVerb::Run(run)) = crate::usage::parse(words).unwrap().command else {
            panic!()
        };
        Ok(serde_json::to_value(body(&run.options, detached, run.rm)?).unwrap())
    }

    #[test]
    fn flags_become_the_apis_words() {
        let body = parse(
            "cofferdam run -i --rm --name n -e A=1 -w /w -u 1:2 --entrypoint /e -l a=b --isolation HyperV --network none \
             --read-only --cap-add NET_ADMIN,SYS_TIME --cap-drop ALL --init -v /a:/b:ro --tmpfs /t:size=1m -m 64m --cpus 1.5 \
             --pids-limit 10 --ulimit nofile=10:20 --stop-signal TERM --stop-timeout 3 --device /dev/fuse:rw --memory-swap -1 \
             --dns 1.1.1.1 --sysctl a.b=c --oom-score-adj -5 --shm-size 1m NanoServer sh -c ls",
            false,
        )
        .unwrap();
        let want = serde_json::json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": false, "OpenStdin": true, "StdinOnce": true,
            "User": "1:2", "Env": ["A=1"], "Cmd": ["sh", "-c", "ls"], "Image": "nanoserver", "WorkingDir": "/w",
            "Entrypoint": ["/e"], "Labels": {"a": "b"}, "StopSignal": "TERM", "StopTimeout": 3,
            "HostConfig": {
                "Memory": 64 << 20, "MemorySwap": -1, "NanoCpus": 1_500_000_000i64, "PidsLimit": 10, "Init": true,
                "Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rw"}],
                "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "Binds": ["/a:/b:ro"], "NetworkMode": "none",
                "AutoRemove": true, "CapAdd": ["NET_ADMIN", "SYS_TIME"], "CapDrop": ["ALL"], "Dns": ["1.1.1.1"],
                "OomScoreAdj": -5, "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": true,
                "Tmpfs": {"/t": "size=1m"}, "ShmSize": 1 << 20, "Sysctls": {"a.b": "c"}, "Isolation": "hyperv",
            },
        });
        assert_eq!(body, want);
    }

    #[test]
    fn limits_of_disks_and_real_time() {
        let body = parse(
            "cofferdam run --blkio-weight 300 --cpu-rt-runtime 5 --device-read-bps /dev/sda:1m --device-write-iops \
             /dev/sda:7 --blkio-weight-device /dev/sda:20 x",
            false,
        )
        .unwrap();
        let host = &body["HostConfig"];
        let of_sda = |key: &str, value: i64| serde_json::json!([{ "Path": "/dev/sda", key: value }]);
        assert_eq!((&host["BlkioWeight"], &host["CpuRealtimeRuntime"]), (&300.into(), &5.into()));
        assert_eq!(host["BlkioDeviceReadBps"], of_sda("Rate", 1 << 20));
        assert_eq!(host["BlkioDeviceWriteIOps"], of_sda("Rate", 7));
        assert_eq!(host["BlkioWeightDevice"], of_sda("Weight", 20));
    }

    #[test]
    fn detached_containers_have_no_streams() {
        let body = parse("cofferdam run -d -i -v /data x", true).unwrap();
        assert_eq!(
            (&body["AttachStdout"], &body["OpenStdin"], &body["StdinOnce"]),
            (&false.into(), &true.into(), &false.into())
        );
        assert_eq!(body["Volumes"], serde_json::json!({"/data": {}}));
        assert_eq!(body.get("Cmd"), None);
    }

    #[test]
    fn a_health_check_is_said_only_when_it_is_given() {
        let check =
            |flags: &str| parse(&format!("cofferdam run {flags} x"), true).unwrap()["Healthcheck"].take();
        assert_eq!(check("--rm"), serde_json::Value::Null);
        assert_eq!(check("--no-healthcheck"), serde_json::json!({ "Test": ["NONE"] }));
        assert_eq!(
            check(
                "--health-cmd=a --health-interval 1m30s --health-timeout=2s --health-retries=4 --health-start-interval=5ms"
            ),
            serde_json::json!({
                "Test": ["CMD-SHELL", "a"], "Interval": 90_000_000_000_i64, "Timeout": 2_000_000_000, "Retries": 4,
                "StartInterval": 5_000_000,
            })
        );
        assert_eq!(
            check("--health-start-period=1h"),
            serde_json::json!({ "StartPeriod": 3_600_000_000_000_i64 })
        );
    }

    #[test]
    fn nonsense_is_refused_here() {
        for (line, want) in [
            (
                "cofferdam run --no-healthcheck --health-cmd a x",
                "--no-healthcheck conflicts with --health-* options",
            ),
            (
                "cofferdam run --isolation vm x",
                "invalid isolation \"vm\": must be default, process, or hyperv",
            ),
            (
                "cofferdam run --rm --restart always x",
                "conflicting options: cannot specify both --restart and --rm",
            ),
            (
                "cofferdam run --restart sometimes x",
                "invalid restart policy \"sometimes\": want no, always, unless-stopped or on-failure[:MAX]",
            ),
        ] {
            assert_eq!(parse(line, false).unwrap_err().to_string(), want);
        }
        let policy = restart_policy("on-failure:3").unwrap();
        assert_eq!(policy.maximum_retry_count, Some(3));
    }
}
