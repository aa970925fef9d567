//! The hyperv level: needs root, QEMU, erofs-utils, `busybox` (static), the built `cofferdam-oci`, and the guest
//! (`cargo xtask guest`). Without one of them it says so and does nothing.
//!
//! One test function: reaping belongs to the whole process, so scenarios run one after the other.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_hypervisor::template::Templates;
use cofferdam_model::{
    ContainerId, Interface, InterfaceConfig, Isolation as Level, Link, LogSpec, NetworkSpec, RootfsSpec,
    ShimSpec, TemplateRecord, TemplateSource, VmSpec, VmStart, WindowSize,
};
use cofferdam_runtime::process::reaper::Reaper;
use cofferdam_runtime::vm::VmIsolation;
use cofferdam_runtime::{CreateRequest, Error, ExecRequest, Isolation, Process, Task};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Docker's default profile allows some 300 calls by name; these are enough names to weigh as much.
const ALLOWED: &str = include_str!("allowed-syscalls.txt");
const CAPABILITIES: [&str; 3] = ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"];
const UID: u32 = 987_654;
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

fn process(args: &[&str], terminal: bool) -> Value {
    json!({
        "terminal": terminal, "args": args, "cwd": "/", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin", "TERM=xterm"],
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "noNewPrivileges": false,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}],
    })
}

fn spec(args: &[&str], terminal: bool, binds: &[Value]) -> Value {
    let names: Vec<&str> = ALLOWED.split_whitespace().collect();
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]}),
    ];
    mounts.extend_from_slice(binds);
    json!({
        "ociVersion": "1.0.2", "process": process(args, terminal), "root": {"path": "rootfs"}, "hostname": "vmbox",
        "mounts": mounts,
        "linux": {
            "cgroupsPath": "/cofferdam-vmtest/one",
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}, {"type": "cgroup"}],
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "rwm"}],
                "pids": {"limit": 100}, "memory": {"limit": 100_663_296_i64},
            },
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [
                    {"names": names, "action": "SCMP_ACT_ALLOW"},
                    {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2_114_060_288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
                ]},
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        },
    })
}

struct Host {
    root: tempfile::TempDir,
    guest: PathBuf,
    helper: PathBuf,
}

impl Host {
    /// What the tests need, or what is missing.
    fn find() -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("VMs need root".into());
        }
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
        let (guest, helper) = (target.join("guest"), target.join("debug/cofferdam-oci"));
        for needed in [Path::new(QEMU), Path::new("/bin/busybox"), &guest.join("initrd.img"), &helper] {
            if !needed.exists() {
                return Err(format!("{} does not exist", needed.display()));
            }
        }
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "data", "ro"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "id", "sleep", "stty", "ls", "dd", "uname", "hostname", "ln", "mkfifo",
            "stat", "chown", "head", "yes", "tail", "mkdir", "df", "touch", "rm", "ip", "ping", "wc", "sync",
        ] {
            std::os::unix::fs::symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        fs::write(tree.join("etc/hosts"), "").unwrap();
        let made = Command::new("mkfs.erofs").arg(root.path().join("image.erofs")).arg(&tree).output();
        if !made.is_ok_and(|output| output.status.success()) {
            return Err("mkfs.erofs does not work".into());
        }
        Ok(Self { root, guest, helper })
    }

    fn shim(&self, id: &ContainerId, writable: PathBuf) -> ShimSpec {
        ShimSpec {
            id: id.clone(),
            instance: "vmtest".parse().unwrap(),
            isolation: Level::Hyperv,
            log: LogSpec::none(),
            rootfs: RootfsSpec::Disks {
                image: self.root.path().join("image.erofs"),
                writable,
                blank: cofferdam_hypervisor::disk::blank(1 << 30, &self.root.path().join("blank")).unwrap(),
            },
            parts: Vec::new(),
            network: NetworkSpec::None,
            vm: Some(VmSpec {
                hypervisor: QEMU.into(),
                kernel: self.guest.join("vmlinuz"),
                initrd: self.guest.join("initrd.img"),
                memory: 256 << 20,
                cpus: 1,
                kvm: false,
                uid: UID,
                user: format!("cfd-{}", id.short()),
                start: VmStart::Boot { reason: String::new() },
            }),
            oci_helper: self.helper.clone(),
            open_stdin: true,
            stdin_once: false,
            discard: false,
            terminal: false,
        }
    }

    async fn create(&self, spec: &Value, terminal: bool) -> Result<(Arc<dyn Task>, Process), Error> {
        let start = VmStart::Boot { reason: String::new() };
        self.create_with(spec, terminal, NetworkSpec::None, None, start).await
    }

    async fn create_from(&self, spec: &Value, start: VmStart) -> Result<(Arc<dyn Task>, Process), Error> {
        self.create_with(spec, false, NetworkSpec::None, None, start).await
    }

    async fn create_with(
        &self,
        spec: &Value,
        terminal: bool,
        network: NetworkSpec,
        tap: Option<OwnedFd>,
        start: VmStart,
    ) -> Result<(Arc<dyn Task>, Process), Error> {
        let id = ContainerId::random();
        let bundle = self.root.path().join(id.as_str());
        let data = self.root.path().join("data").join(id.as_str());
        fs::create_dir_all(&bundle).unwrap();
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("hosts"), "127.0.0.1 localhost vmbox\n").unwrap();
        let writable = data.join("rw.ext4");
        let mut spec = spec.clone();
        spec["mounts"].as_array_mut().unwrap().push(
            json!({"destination": "/etc/hosts", "type": "bind", "source": data.join("hosts"), "options": ["rbind", "rprivate"]}),
        );
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        let mut shim = ShimSpec { network, ..self.shim(&id, writable) };
        if let Some(vm) = &mut shim.vm {
            vm.start = start;
        }
        let isolation = VmIsolation::new(shim, tap);
        isolation.create(CreateRequest { id: id.to_string(), bundle, terminal, stdin: true }).await
    }

    fn nothing_left(&self) {
        for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let path = entry.unwrap().path().join("cofferdam-vmtest/one");
            assert!(!path.exists(), "{}", path.display());
        }
    }
}

async fn read(stream: Option<Box<dyn AsyncRead + Send + Unpin>>) -> String {
    let mut text = String::new();
    stream.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

async fn exec(task: &Arc<dyn Task>, args: &[&str], user: u32) -> (i32, String, String) {
    let mut asked = process(args, false);
    asked["user"] = json!({"uid": user, "gid": user});
    let request =
        ExecRequest { exec_id: "e".into(), process: asked.to_string(), terminal: false, stdin: false };
    let mut process = task.exec(request).await.unwrap();
    let (out, err) = (read(process.stdio.stdout.take()).await, read(process.stdio.stderr.take()).await);
    let code = task.wait("e").await.unwrap().code;
    task.forget("e").await.unwrap();
    (code, out, err)
}

#[tokio::test]
async fn containers_run_in_vms() {
    let host = match Host::find() {
        Ok(host) => host,
        Err(missing) => {
            println!("skipped: {missing}");
            return;
        }
    };
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_test_writer()
        .init();
    cofferdam_sys::process::become_subreaper().unwrap();
    let _reaper = Reaper::start().unwrap();
    a_program_runs_and_ends(&host).await;
    a_long_container(&host).await;
    a_terminal_works(&host).await;
    binds_are_shared(&host).await;
    refusals_name_the_thing(&host).await;
    a_lost_vm_is_an_exit(&host).await;
    the_card_is_connected(&host).await;
    a_broken_template_is_no_hindrance(&host).await;
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
        let _ = fs::remove_dir(entry.unwrap().path().join("cofferdam-vmtest"));
    }
}

async fn a_program_runs_and_ends(host: &Host) {
    for _ in 0..2 {
        let begin = Instant::now();
        let script =
            "cat; uname -r; hostname; cat /etc/hosts; ip link show lo | head -1; echo err >&2; exit 7";
        let (task, mut process) = host.create(&spec(&["sh", "-c", script], false, &[]), false).await.unwrap();
        let created = begin.elapsed();
        task.start().await.unwrap();
        let mut stdin = process.stdio.stdin.take().unwrap();
        stdin.write_all(b"through cat\n").await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
        let out = read(process.stdio.stdout.take()).await;
        let err = read(process.stdio.stderr.take()).await;
        let exit = task.wait("").await.unwrap();
        let ran = begin.elapsed();
        let info = task.info().await.vm.unwrap();
        task.delete().await.unwrap();
        task.delete().await.unwrap();
        println!("create {created:?}, run {ran:?}, delete {:?}: {exit:?} {info:?}\n{out}", begin.elapsed());
        assert!(out.starts_with("through cat\n") && out.contains("vmbox\n127.0.0.1 localhost"), "{out}{err}");
        assert!(out.contains(&info.guest_kernel) && out.contains("LOOPBACK,UP"), "{out}");
        assert_eq!((exit.code, err.as_str()), (7, "err\n"));
        host.nothing_left();
    }
}

/// A template that is whole by its digests and yet no VM: the container boots instead, and says why.
async fn a_broken_template_is_no_hindrance(host: &Host) {
    let source = TemplateSource {
        directory: host.root.path().join("templates"),
        verified: host.root.path().join("verified"),
        base: "ab".repeat(32),
    };
    let templates = Templates::of(&source);
    let scratch = templates.begin(&source.base).unwrap();
    fs::File::create(scratch.memory()).unwrap().set_len(256 << 20).unwrap();
    fs::write(scratch.state(), "no state of any VM").unwrap();
    let record = TemplateRecord {
        key: source.base.clone(),
        kernel: "none".into(),
        hypervisor: "qemu".into(),
        accelerator: "tcg".into(),
        cpus: 1,
        memory: 256 << 20,
        image: None,
        frozen: None,
        created: 0,
        digests: BTreeMap::new(),
    };
    templates.finish(scratch, record).unwrap();
    let start = VmStart::Clone(source);
    let (task, mut process) = host.create_from(&spec(&["echo", "booted"], false, &[]), start).await.unwrap();
    task.start().await.unwrap();
    assert_eq!(read(process.stdio.stdout.take()).await, "booted\n");
    assert_eq!(task.wait("").await.unwrap().code, 0);
    let info = task.info().await.vm.unwrap();
    assert_eq!(info.start, "boot");
    assert!(info.start_reason.starts_with("clone failed: "), "{}", info.start_reason);
    task.delete().await.unwrap();
    host.nothing_left();
}

async fn a_long_container(host: &Host) {
    let (task, mut process) = host.create(&spec(&["sleep", "1000"], false, &[]), false).await.unwrap();
    task.start().await.unwrap();
    the_worker_is_jailed(task.host_pid());
    let begin = Instant::now();
    let (code, out, _) = exec(&task, &["sh", "-c", "echo $$; id -u; exit 3"], 1000).await;
    println!("exec {:?}", begin.elapsed());
    assert_eq!((code, out.lines().nth(1)), (3, Some("1000")), "{out}");
    // A stream far larger than its window, while another is not read at all.
    let request = |exec_id: &str, args: &[&str]| ExecRequest {
        exec_id: exec_id.into(),
        process: process_text(args),
        terminal: false,
        stdin: false,
    };
    let stuck = task.exec(request("stuck", &["yes"])).await.unwrap();
    let begin = Instant::now();
    let mut big = task.exec(request("big", &["sh", "-c", "yes | head -c 8000000"])).await.unwrap();
    assert_eq!(read(big.stdio.stdout.take()).await.len(), 8_000_000);
    println!("8 MB of output beside a stuck stream {:?}", begin.elapsed());
    task.signal("stuck", 9, false).await.unwrap();
    assert_eq!(task.wait("stuck").await.unwrap().code, 137);
    drop(stuck);
    assert!(matches!(
        task.exec(request("none", &["/no/such"])).await.err(),
        Some(Error::Exec { code: 127, .. })
    ));
    let begin = Instant::now();
    task.pause().await.unwrap();
    let processes = task.processes().await.unwrap();
    assert!(processes.iter().any(|p| p.command == "sleep 1000" && p.inner_pid == 1), "{processes:?}");
    task.resume().await.unwrap();
    println!("pause, top, resume {:?}", begin.elapsed());
    let (code, out, err) = exec(
        &task,
        &["sh", "-c", "dd if=/dev/zero of=/file bs=1M count=20 && sync && ls -l /file && df /"],
        0,
    )
    .await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(!task.info().await.oom_killed);
    let (code, ..) = exec(
        &task,
        &["sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=200M count=1; x=x; while :; do x=$x$x; done"],
        0,
    )
    .await;
    assert!(code != 0);
    assert!(task.info().await.oom_killed);
    assert!(matches!(task.signal("nobody", 15, false).await, Err(Error::NoSuchProcess(_))));
    task.signal("", 9, false).await.unwrap();
    assert_eq!(task.wait("").await.unwrap().code, 137);
    assert!(matches!(task.signal("", 9, false).await, Err(Error::Finished)));
    drop(process.stdio.stdout.take());
    task.delete().await.unwrap();
    host.nothing_left();
}

fn process_text(args: &[&str]) -> String {
    process(args, false).to_string()
}

fn the_worker_is_jailed(pid: i32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field =
        |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    println!(
        "{}",
        ["Uid:", "Gid:", "Groups:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Threads:", "VmRSS:"]
            .map(field)
            .join("  ")
    );
    assert_eq!(field("Uid:").split_whitespace().nth(1), Some(UID.to_string().as_str()));
    assert_eq!(field("Groups:").split_whitespace().count(), 1);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set).split_whitespace().nth(1), Some("0000000000000000"), "{set}");
    }
    assert!(field("Seccomp:").ends_with('2') && field("NoNewPrivs:").ends_with('1'));
    for namespace in ["mnt", "pid", "net", "ipc", "uts"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{namespace}");
    }
    let root: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/root")).unwrap().map(|e| e.unwrap().file_name()).collect();
    println!("the jail's root: {root:?}");
    assert!(!root.iter().any(|name| name == "home" || name == "var" || name == "proc" || name == "sys"));
    let shown = Command::new("ps").args(["-o", "user,pid,args", "-p", &pid.to_string()]).output();
    println!(
        "{}",
        shown
            .map(|o| String::from_utf8_lossy(&o.stdout).chars().take(300).collect::<String>())
            .unwrap_or_default()
    );
}

async fn a_terminal_works(host: &Host) {
    let (task, mut process) = host.create(&spec(&["sh"], true, &[]), true).await.unwrap();
    task.start().await.unwrap();
    assert!(process.stdio.stderr.is_none());
    task.resize("", WindowSize { height: 41, width: 123 }).await.unwrap();
    let mut stdin = process.stdio.stdin.take().unwrap();
    stdin.write_all(b"stty size; exit 5\n").await.unwrap();
    let out = read(process.stdio.stdout.take()).await;
    assert!(out.contains("41 123"), "{out}");
    assert_eq!(task.wait("").await.unwrap().code, 5);
    task.delete().await.unwrap();
}

async fn binds_are_shared(host: &Host) {
    let shared = host.root.path().join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("from-host"), "hello\n").unwrap();
    fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(shared.join("from-host"), Some(1234), Some(2345)).unwrap();
    let binds = [
        json!({"destination": "/data", "type": "bind", "source": shared, "options": ["rbind", "rw"]}),
        json!({"destination": "/ro", "type": "bind", "source": shared, "options": ["rbind", "ro"]}),
    ];
    let (task, _process) = host.create(&spec(&["sleep", "1000"], false, &binds), false).await.unwrap();
    task.start().await.unwrap();
    let script = "cd /data && cat from-host && stat -c %u:%g from-host && echo new > made && mkdir dir && ln -s made link \
        && mkfifo pipe && chown 7:8 made && cat link && cat /ro/made && ls -l && ! touch /ro/x && cat /data/../etc/hosts";
    let (code, out, err) = exec(&task, &["sh", "-c", script], 0).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("hello\n1234:2345\n") && err.contains("Read-only"), "{out}{err}");
    let (code, out, err) = exec(
        &task,
        &["sh", "-c", "echo x > /data/mine; cat /data/secret; ln -s / /data/escape; ls /data/escape/"],
        1000,
    )
    .await;
    println!("as 1000: {code} {out}{err}");
    use std::os::unix::fs::MetadataExt as _;
    let owner = |name: &str| fs::symlink_metadata(shared.join(name)).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!(owner("made"), (7, 8));
    assert_eq!(owner("mine"), (1000, 1000));
    assert_eq!(owner("escape"), (1000, 1000));
    let begin = Instant::now();
    let (code, ..) =
        exec(&task, &["sh", "-c", "i=0; while [ $i -lt 200 ]; do echo $i > /data/f$i; i=$((i+1)); done"], 0)
            .await;
    assert_eq!(code, 0);
    println!("200 files in a bind mount {:?}", begin.elapsed());
    let begin = Instant::now();
    let (code, _, err) = exec(&task, &["dd", "if=/dev/zero", "of=/data/big", "bs=64k", "count=160"], 0).await;
    assert_eq!(code, 0, "{err}");
    println!("10 MB to a bind mount {:?}", begin.elapsed());
    task.delete().await.unwrap();
    host.nothing_left();
}

async fn refusals_name_the_thing(host: &Host) {
    let missing = host.create(&spec(&["/no/such/program"], false, &[]), false).await;
    let Err(Error::Exec { message, code }) = missing.map(drop) else { panic!("not refused") };
    assert_eq!(code, 127, "{message}");
    let bind =
        [json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["bind"]})];
    let error = host.create(&spec(&["sh"], false, &bind), false).await.err().unwrap().to_string();
    assert!(error.contains("/no/such/source"), "{error}");
    host.nothing_left();
    let id = ContainerId::random();
    let bundle = host.root.path().join("broken");
    fs::create_dir_all(&bundle).unwrap();
    fs::write(bundle.join("config.json"), spec(&["sh"], false, &[]).to_string()).unwrap();
    let writable = host.root.path().join("broken.ext4");
    fs::write(&writable, vec![0; 1 << 20]).unwrap();
    // Not a hypervisor at all; a kernel that QEMU does not take; a disk that is no file system.
    type Breakage = fn(&mut VmSpec);
    let attempts: [(&str, Breakage); 3] = [
        ("no QMP", |vm| vm.hypervisor = "/bin/false".into()),
        ("kernel", |vm| vm.kernel = "/etc/passwd".into()),
        ("writable disk", |_vm| {}),
    ];
    for (what, breakage) in attempts {
        let mut shim = host.shim(&id, writable.clone());
        breakage(shim.vm.as_mut().unwrap());
        let request =
            CreateRequest { id: id.to_string(), bundle: bundle.clone(), terminal: false, stdin: false };
        let error = VmIsolation::new(shim, None).create(request).await.err().unwrap();
        println!("{what}: {error}");
        host.nothing_left();
    }
}

async fn a_lost_vm_is_an_exit(host: &Host) {
    let (task, _process) = host.create(&spec(&["sleep", "1000"], false, &[]), false).await.unwrap();
    task.start().await.unwrap();
    let waiting = tokio::spawn({
        let task = Arc::clone(&task);
        async move { task.wait("").await.unwrap().code }
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(task.host_pid()), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let code = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert_eq!(code, 137);
    let error = task.start().await.unwrap_err().to_string();
    println!("after the loss: {error}");
    task.delete().await.unwrap();
    host.nothing_left();
}

/// A TAP device in a network namespace of its own; the host's end is 10.9.8.1.
fn tap() -> OwnedFd {
    let made = std::thread::spawn(|| {
        cofferdam_sys::namespace::unshare(&[cofferdam_sys::namespace::Namespace::Network]).unwrap();
        let tap = cofferdam_sys::tap::open("tap0").unwrap();
        for arguments in ["addr add 10.9.8.1/24 dev tap0", "link set tap0 up"] {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success());
        }
        tap
    });
    made.join().unwrap()
}

async fn the_card_is_connected(host: &Host) {
    let config = InterfaceConfig {
        name: "eth0".into(),
        mac: "02:42:0a:09:08:02".into(),
        address: [10, 9, 8, 2].into(),
        prefix: 24,
        gateway: Some([10, 9, 8, 1].into()),
        ipv6: None,
        mtu: 1400,
        is_default: true,
    };
    let link = Link::Bridge { bridge: "none".into(), host_interface: "none".into(), isolated: false };
    let network = NetworkSpec::Own { interfaces: vec![Interface { link, config }] };
    let script = "ip addr show eth0; ip route; ping -c 2 -W 5 10.9.8.1";
    let asked = spec(&["sh", "-c", script], false, &[]);
    let (task, mut process) = host
        .create_with(&asked, false, network, Some(tap()), VmStart::Boot { reason: String::new() })
        .await
        .unwrap();
    task.start().await.unwrap();
    let out = read(process.stdio.stdout.take()).await;
    println!("{out}");
    assert!(out.contains("02:42:0a:09:08:02") && out.contains("default via 10.9.8.1"), "{out}");
    assert!(out.contains("2 packets received"), "{out}");
    assert_eq!(task.wait("").await.unwrap().code, 0);
    task.delete().await.unwrap();
}
