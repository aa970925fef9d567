use std::path::Path;

use cofferdam_sys::cgroup::Offers;
use serde_json::{Value, json};

use super::*;

/// A host that can limit everything, with three processors.
fn everything() -> Offers {
    Offers {
        memory: true,
        swap: true,
        reservation: true,
        swappiness: true,
        oom_kill_disable: true,
        cpu_quota: true,
        cpu_shares: true,
        cpu_realtime: true,
        cpuset: true,
        pids: true,
        disk_weight: true,
        disk_rate: true,
        cpus: [0, 1, 2].into(),
        mems: [0].into(),
    }
}

fn checked_by(
    offers: Offers,
    host: Value,
    isolation: Isolation,
    update: bool,
) -> Result<(HostConfig, Vec<String>), String> {
    let mut host: HostConfig = serde_json::from_value(host).unwrap();
    let mut warnings = Vec::new();
    let facts = HostFacts { offers, least_oom_score: -100, ..HostFacts::of_a_guest().clone() };
    let whose = Whose { isolation, facts: &facts, data_root: Path::new("/proc"), update };
    check(&mut host, &whose, &mut warnings).map(|()| (host, warnings))
}

fn checked(host: Value, isolation: Isolation) -> Result<(HostConfig, Vec<String>), String> {
    checked_by(everything(), host, isolation, false)
}

#[test]
fn ranges_are_dockers() {
    for (host, words) in [
        (json!({ "Memory": 1000 }), "Minimum memory limit allowed is 6MB"),
        (json!({ "MemoryReservation": 1000 }), "Minimum memory reservation allowed is 6MB"),
        (
            json!({ "MemorySwap": 64 << 20 }),
            "You should always set the Memory limit when using Memoryswap limit",
        ),
        (json!({ "MemorySwappiness": 101 }), "valid memory swappiness range is 0-100"),
        (json!({ "CpuPeriod": 999 }), "CPU cfs period can not be less than 1ms"),
        (json!({ "CpuQuota": 10 }), "CPU cfs quota can not be less than 1ms"),
        (json!({ "CpuQuota": -5 }), "CPU cfs quota can not be less than 1ms"),
        (json!({ "NanoCpus": 1, "CpuQuota": 5000 }), "Nano CPUs and CPU Quota cannot both be set"),
        (json!({ "CpusetCpus": "1-" }), "Invalid value 1- for cpuset cpus"),
        (json!({ "CpusetCpus": "0-5" }), "Requested CPUs are not available - requested 0-5, available: 0-2"),
        (
            json!({ "CpusetMems": "1" }),
            "Requested memory nodes are not available - requested 1, available: 0",
        ),
        (
            json!({ "CpuRealtimePeriod": 5, "CpuRealtimeRuntime": 6 }),
            "cannot be higher than cpu real-time period",
        ),
        (json!({ "BlkioWeight": 5 }), "Range of blkio weight is from 10 to 1000"),
        (
            json!({ "BlkioDeviceReadBps": [{ "Path": "/nowhere", "Rate": 1 }] }),
            "/nowhere: no such file or directory",
        ),
        (
            json!({ "BlkioDeviceWriteIOps": [{ "Path": "/proc/1", "Rate": 1 }] }),
            "/proc/1 is not a block device",
        ),
        (json!({ "BlkioWeightDevice": [{ "Path": "/proc/1", "Weight": 1 }] }), "Range of blkio weight"),
        (json!({ "OomScoreAdj": 1001 }), "range for oom score adj"),
        (json!({ "OomScoreAdj": -101 }), "the daemon's own is -100, and it has no right to go below that"),
        (json!({ "Ulimits": [{ "Name": "x" }] }), "invalid ulimit type: x"),
        (
            json!({ "Sysctls": { "vm.swappiness": "1" } }),
            "sysctl \"vm.swappiness\" is not in a separate kernel namespace",
        ),
        (json!({ "Sysctls": { "kernel.hostname": "x" } }), "conflicts with the OCI \"hostname\" field"),
        (
            json!({ "Sysctls": { "kernel.shmmax": "1" }, "IpcMode": "host" }),
            "not allowed in the hosts ipc namespace",
        ),
        (
            json!({ "Sysctls": { "net.x": "1" }, "NetworkMode": "host" }),
            "not allowed in host network namespace",
        ),
    ] {
        for isolation in [Isolation::Process, Isolation::Hyperv] {
            match checked(host.clone(), isolation) {
                // Told what a VM has not before what is wrong with it.
                Err(error) if error.contains("real-time") => {}
                Err(error) => assert!(error.contains(words), "{host}: {error}"),
                Ok(_) => panic!("{host} was taken"),
            }
        }
    }
    let good = json!({ "CpuPeriod": 1000, "CpuQuota": -1, "BlkioWeight": 10, "MemorySwappiness": 0,
                       "BlkioDeviceReadBps": [], "CpusetCpus": "0-1,2", "CpuRealtimeRuntime": 5, "OomScoreAdj": -100,
                       "Sysctls": { "net.ipv4.ip_forward": "1", "kernel/sem": "1", "fs.mqueue.msg_max": "9" } });
    assert_eq!(checked(good, Isolation::Process).unwrap().1, Vec::<String>::new());
}

#[test]
fn what_the_host_has_not_is_a_warning_and_taken_out() {
    let asked = json!({ "Memory": 64 << 20, "MemoryReservation": 32 << 20, "MemorySwappiness": 5, "CpuShares": 5,
                        "OomKillDisable": true, "PidsLimit": 5, "CpuQuota": 5000, "CpusetCpus": "0",
                        "BlkioWeight": 50, "BlkioDeviceReadBps": [{ "Path": "/nowhere", "Rate": 1 }],
                        "KernelMemory": 64 << 20 });
    let (host, warnings) = checked_by(Offers::default(), asked, Isolation::Process, false).unwrap();
    assert_eq!(warnings.len(), 11, "{warnings:#?}");
    assert!(
        warnings[0].contains("memory limit capabilities or the cgroup is not mounted. Limitation discarded.")
    );
    assert_eq!((host.memory, host.memory_swap, host.cpu_shares, host.pids_limit), (0, -1, 0, None));
    assert_eq!((host.oom_kill_disable, host.blkio_weight, host.cpuset_cpus.as_str()), (None, 0, ""));
    let (_, warnings) = checked_by(Offers::default(), json!({}), Isolation::Process, false).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let refused = checked_by(Offers::default(), json!({ "NanoCpus": 5 }), Isolation::Process, false);
    assert!(refused.unwrap_err().starts_with("NanoCPUs can not be set"));
}

#[test]
fn what_a_vm_has_not_is_said() {
    let asked = json!({ "Memory": 64 << 20, "MemorySwap": 128 << 20 });
    let (_, warnings) = checked(asked, Isolation::Hyperv).unwrap();
    assert!(warnings[0].contains("no swap"), "{warnings:?}");
    let (host, warnings) = checked(json!({ "Memory": 64 << 20 }), Isolation::Hyperv).unwrap();
    assert_eq!((host.memory_swap, warnings.len()), (128 << 20, 0));
    let refused = checked(json!({ "CpuRealtimeRuntime": 5 }), Isolation::Hyperv).unwrap_err();
    assert!(refused.contains("real-time scheduler: a utility VM's is none"), "{refused}");
}

#[test]
fn defaults_of_the_daemon_are_for_what_is_not_named() {
    let ulimit = |name: &str, soft| super::super::config::Ulimit { name: name.to_owned(), soft, hard: 9 };
    let mut host = HostConfig { ulimits: Some(vec![ulimit("core", 1)]), ..HostConfig::default() };
    merge_default(&mut host, &[ulimit("core", 2), ulimit("nofile", 3)]);
    assert_eq!(host.ulimits.unwrap(), [ulimit("core", 1), ulimit("nofile", 3)]);
}

#[test]
fn an_update_changes_what_it_names() {
    let host = |value| serde_json::from_value::<HostConfig>(value).unwrap();
    let current =
        host(json!({ "Memory": 64 << 20, "MemorySwap": 128 << 20, "CpuShares": 5, "PidsLimit": 7 }));
    let merged = |wanted| update::merge(&current, &host(wanted));
    let after = merged(json!({ "Memory": 100 << 20, "CpusetCpus": "1", "PidsLimit": 0,
                               "RestartPolicy": { "Name": "always" } }))
    .unwrap();
    assert_eq!((after.memory, after.memory_swap, after.cpu_shares), (100 << 20, 128 << 20, 5));
    assert_eq!((after.cpuset_cpus.as_str(), after.pids_limit), ("1", Some(-1)));
    assert_eq!(after.restart_policy.name, "always");
    assert_eq!(merged(json!({})).unwrap(), current);
    for (wanted, words) in [
        (json!({ "Memory": 200 << 20 }), "Memory limit should be smaller than already set memoryswap limit"),
        (json!({ "MemorySwap": 32 << 20 }), "Minimum memoryswap limit should be larger than memory limit"),
        (json!({ "RestartPolicy": { "Name": "x" } }), "unknown policy 'x'"),
    ] {
        let error = merged(wanted.clone()).unwrap_err();
        assert!(error.contains(words), "{wanted}: {error}");
    }
    assert!(merged(json!({ "Memory": 200 << 20, "MemorySwap": -1 })).is_ok());
    let nano = host(json!({ "NanoCpus": 5, "AutoRemove": true }));
    let refused = |wanted| update::merge(&nano, &host(wanted)).unwrap_err();
    assert_eq!(
        refused(json!({ "CpuQuota": 5000 })),
        "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
    );
    let policy = json!({ "RestartPolicy": { "Name": "always" } });
    assert!(refused(policy).contains("because AutoRemove is enabled for the container"));
    // Nothing has to be named together with what is there already.
    let swap = json!({ "MemorySwap": 256 << 20 });
    assert!(checked_by(everything(), swap, Isolation::Process, true).is_ok());
}

#[test]
fn a_vm_that_runs_keeps_its_size() {
    let vm = cofferdam_model::VmInfo { memory: 384 << 20, cpus: 1, ..Default::default() };
    let fits = |value: Value| {
        let wanted: HostConfig = serde_json::from_value(value).unwrap();
        update::fits(&vm, &wanted, &wanted)
    };
    fits(json!({ "Memory": 256 << 20, "NanoCpus": 500_000_000, "CpuShares": 7 })).unwrap();
    let error = fits(json!({ "Memory": 257 << 20 })).unwrap_err();
    assert!(
        error.contains("384 MiB of memory while it runs, 256 MiB of them for the container: stop"),
        "{error}"
    );
    if std::thread::available_parallelism().unwrap().get() > 1 {
        let error = fits(json!({ "NanoCpus": 1_500_000_000 })).unwrap_err();
        assert!(error.contains("1 processor while it runs"), "{error}");
    }
    let later = |cpus: &str| {
        update::later(&vm, &HostConfig { cpuset_cpus: cpus.to_owned(), ..HostConfig::default() })
    };
    assert_eq!((later(""), later("1")), (None, None));
    assert!(later("0-1").unwrap().contains("1 processor until it is started again"));
}
