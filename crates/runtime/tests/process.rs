//! The process level on this kernel: needs root, `busybox` (static) and the built `cofferdam-oci`.
//!
//! One test function: reaping belongs to the whole process, so scenarios run one after the other.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_model::WindowSize;
use cofferdam_runtime::process::ProcessIsolation;
use cofferdam_runtime::process::reaper::Reaper;
use cofferdam_runtime::{CreateRequest, Error, ExecRequest, Isolation, Process, Task};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Docker's default profile allows some 300 calls by name; these are enough names to weigh as much.
const ALLOWED: &str = include_str!("allowed-syscalls.txt");

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn process(args: &[&str], terminal: bool) -> Value {
    json!({
        "terminal": terminal, "args": args, "cwd": "/", "user": {"uid": 0, "gid": 0, "additionalGids": [10]},
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "noNewPrivileges": false, "oomScoreAdj": 0, "consoleSize": {"height": 33, "width": 99},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1_048_576, "hard": 1_048_576}],
    })
}

/// A specification as full as Docker's.
fn spec(id: &str, args: &[&str], terminal: bool) -> Value {
    let names: Vec<&str> = ALLOWED.split_whitespace().collect();
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    json!({
        "ociVersion": "1.0.2", "process": process(args, terminal), "root": {"path": "rootfs"}, "hostname": "box",
        "mounts": [
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
        ],
        "linux": {
            "cgroupsPath": format!("/cofferdam-rt/{id}"),
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}],
            "resources": {
                "devices": [
                    {"allow": false, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
                ],
                "pids": {"limit": 200}, "memory": {"limit": 67_108_864_i64}, "cpu": {"shares": 512},
            },
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": [
                    {"names": names, "action": "SCMP_ACT_ALLOW"},
                    {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
                    // Docker's own rule: no new namespaces by clone.
                    {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2_114_060_288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
                    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                ],
            },
            "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

struct Box_ {
    root: tempfile::TempDir,
    reaper: Reaper,
}

impl Box_ {
    fn isolation(&self) -> ProcessIsolation {
        let helper = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("cofferdam-oci");
        assert!(helper.exists(), "{} is not built", helper.display());
        ProcessIsolation {
            oci_helper: helper,
            state_root: self.root.path().join("state"),
            cache: Some(self.root.path().join("cache")),
            reaper: self.reaper.clone(),
        }
    }

    fn bundle(&self, spec: &Value) -> PathBuf {
        let bundle = self.root.path().join("bundle");
        let bin = bundle.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        for directory in ["etc", "proc", "sys", "dev", "tmp"] {
            fs::create_dir_all(bundle.join("rootfs").join(directory)).unwrap();
        }
        let busybox = bin.join("busybox");
        if !busybox.exists() {
            fs::copy("/bin/busybox", &busybox).unwrap();
            for applet in [
                "sh", "cat", "echo", "id", "sleep", "stty", "env", "grep", "ls", "yes", "head", "mknod",
                "ps", "unshare",
            ] {
                std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
            }
            fs::write(
                bundle.join("rootfs/etc/passwd"),
                "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
            )
            .unwrap();
        }
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        bundle
    }

    async fn create(
        &self,
        args: &[&str],
        terminal: bool,
        stdin: bool,
    ) -> Result<(Arc<dyn Task>, Process), Error> {
        self.create_from(&spec("one", args, terminal), terminal, stdin).await
    }

    async fn create_from(
        &self,
        spec: &Value,
        terminal: bool,
        stdin: bool,
    ) -> Result<(Arc<dyn Task>, Process), Error> {
        let bundle = self.bundle(spec);
        self.isolation().create(CreateRequest { id: "one".into(), bundle, terminal, stdin }).await
    }

    /// Runs a program to its end: exit code, standard output, standard error.
    async fn run(&self, args: &[&str]) -> (i32, String, String) {
        let (task, mut process) = self.create(args, false, false).await.unwrap();
        task.start().await.unwrap();
        let out = read(process.stdio.stdout.take()).await;
        let err = read(process.stdio.stderr.take()).await;
        let code = task.wait("").await.unwrap().code;
        task.delete().await.unwrap();
        self.nothing_left();
        (code, out, err)
    }

    fn nothing_left(&self) {
        assert!(!self.root.path().join("state").exists());
        for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let path = entry.unwrap().path().join("cofferdam-rt/one");
            assert!(!path.exists(), "{}", path.display());
        }
    }
}

async fn read(stream: Option<Box<dyn AsyncRead + Send + Unpin>>) -> String {
    let mut text = String::new();
    stream.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

async fn exec(task: &Arc<dyn Task>, process: &Value, stdin: bool) -> Result<Process, Error> {
    let terminal = process["terminal"] == true;
    task.exec(ExecRequest { exec_id: "e".into(), process: process.to_string(), terminal, stdin }).await
}

async fn exec_to_end(task: &Arc<dyn Task>, process: &Value) -> (i32, String) {
    let mut started = exec(task, process, false).await.unwrap();
    let out = read(started.stdio.stdout.take()).await;
    let code = task.wait("e").await.unwrap().code;
    task.forget("e").await.unwrap();
    (code, out)
}

#[tokio::test]
async fn containers_run_on_this_kernel() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: containers need root");
        return;
    }
    cofferdam_sys::process::become_subreaper().unwrap();
    let box_ = Box_ { root: tempfile::tempdir().unwrap(), reaper: Reaper::start().unwrap() };
    programs_run(&box_).await;
    refusals_are_dockers(&box_).await;
    terminals_work(&box_).await;
    execs_work(&box_).await;
    signals_and_pauses_work(&box_).await;
    the_oom_killer_is_reported(&box_).await;
    figures(&box_).await;
    for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
        let _ = fs::remove_dir(entry.unwrap().path().join("cofferdam-rt"));
    }
}

async fn programs_run(box_: &Box_) {
    let (code, out, err) = box_.run(&["sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (7, "out\n", "err\n"));
    let (code, out, err) = box_.run(&["sh", "-c", "echo $$; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/cgroup | head -1; ls /proc/sys >/dev/null; echo x > /proc/sys/kernel/hostname"]).await;
    assert!(
        out.starts_with("1\n") && out.contains("00000000a80425fb") && out.contains("Seccomp:\t2"),
        "{out}{err}"
    );
    assert!(out.contains("NoNewPrivs:\t0"), "{out}");
    assert!(out.contains(":/\n"), "a private cgroup namespace: {out}");
    assert!(err.contains("Read-only"), "{err}");
    assert_eq!(code, 1);
    // The signal that ends a writer into a closed pipe, which the C library's children expect.
    assert_eq!(
        box_.run(&["sh", "-c", "yes | head -1; echo done"]).await,
        (0, "y\ndone\n".into(), String::new())
    );
    // Forking is allowed by a masked comparison; new namespaces are not.
    let (code, out, _) = box_.run(&["sh", "-c", "(echo forked); unshare -U true"]).await;
    assert!(code != 0 && out == "forked\n", "{code} {out}");
    // Only what Docker's device rules allow.
    let (_, out, err) = box_
        .run(&[
            "sh",
            "-c",
            "mknod /tmp/sda b 8 0 && cat /tmp/sda | head -c 1; echo ok >/dev/null && echo null",
        ])
        .await;
    assert!(
        out.contains("null") && (err.contains("not permitted") || err.contains("can't open")),
        "{out}{err}"
    );
    let (code, ..) = box_.run(&["sh", "-c", "kill -9 $$; sleep 1"]).await;
    assert_eq!(code, 0, "a PID namespace's init does not kill itself");
    // Another user, and a working directory that did not exist.
    let mut other = spec("one", &["sh", "-c", "id -u; pwd; echo $HOME; echo again > /dev/stdout"], false);
    other["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    other["process"]["cwd"] = json!("/work/deep");
    let (task, mut process) = box_.create_from(&other, false, false).await.unwrap();
    task.start().await.unwrap();
    assert_eq!(read(process.stdio.stdout.take()).await, "1000\n/work/deep\n/home/me\nagain\n");
    task.delete().await.unwrap();
    // Input, and its end.
    let (task, mut process) = box_.create(&["cat"], false, true).await.unwrap();
    task.start().await.unwrap();
    let mut stdin = process.stdio.stdin.take().unwrap();
    stdin.write_all(b"through\n").await.unwrap();
    drop(stdin);
    assert_eq!(read(process.stdio.stdout.take()).await, "through\n");
    task.delete().await.unwrap();
    box_.nothing_left();
}

async fn refusals_are_dockers(box_: &Box_) {
    for (program, code, words) in [
        (
            "no-such",
            127,
            r#"OCI runtime create failed: unable to start container process: exec: "no-such": executable file not found in $PATH"#,
        ),
        ("/no-such", 127, "stat /no-such: no such file or directory"),
        ("/etc/passwd", 126, r#"exec: "/etc/passwd": permission denied"#),
    ] {
        match box_.create(&[program], false, false).await.err().unwrap() {
            Error::Exec { message, code: actual } => {
                assert!(message.contains(words), "{message}");
                assert_eq!(actual, code);
            }
            other => panic!("{other}"),
        }
        box_.nothing_left();
    }
    let mut bad = spec("one", &["sh"], false);
    bad["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["rbind"]}),
    );
    let message = box_.create_from(&bad, false, false).await.err().unwrap().to_string();
    println!("a missing bind source: {message}");
    assert!(
        message.contains("/no/such/source") || message.contains("ENOENT") || message.contains("No such file"),
        "{message}"
    );
    box_.nothing_left();
    // Something that is executable and no program.
    fs::write(box_.bundle(&bad).join("rootfs/bin/garbage"), [0u8; 64]).unwrap();
    fs::set_permissions(
        box_.root.path().join("bundle/rootfs/bin/garbage"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let (code, _, err) = box_.run(&["garbage"]).await;
    assert_eq!((code, err.as_str()), (255, "exec /bin/garbage: exec format error\n"));
}

async fn terminals_work(box_: &Box_) {
    let (task, mut process) = box_
        .create(
            &["sh", "-c", "stty size; read line; stty size; echo got $line; [ -t 0 ] && echo tty"],
            true,
            true,
        )
        .await
        .unwrap();
    let mut out = process.stdio.stdout.take().unwrap();
    let mut stdin = process.stdio.stdin.take().unwrap();
    assert!(process.stdio.stderr.is_none());
    task.start().await.unwrap();
    let mut first = [0u8; 7];
    out.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"33 99\r\n");
    task.resize("", WindowSize { height: 50, width: 120 }).await.unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello\r\n50 120\r\ngot hello\r\ntty\r\n");
    assert_eq!(task.wait("").await.unwrap().code, 0);
    task.delete().await.unwrap();
    box_.nothing_left();
}

async fn execs_work(box_: &Box_) {
    let (task, _process) = box_.create(&["sleep", "1000"], false, false).await.unwrap();
    task.start().await.unwrap();
    let (code, out) = exec_to_end(&task, &process(&["sh", "-c", "echo $HOME; id; grep -E 'CapEff|CapBnd|Seccomp:' /proc/self/status; cat /proc/self/cgroup | head -1; ps; ls -l /proc/self/fd | grep -c -- '->'; exit 3"], false)).await;
    println!("{out}");
    assert_eq!(code, 3);
    assert!(out.contains("/root\n") && out.contains("uid=0") && out.contains("groups=10"), "{out}");
    assert!(out.contains("Seccomp:\t2"), "an exec gets the container's seccomp filter: {out}");
    assert_eq!(out.matches("00000000a80425fb").count(), 2, "{out}");
    assert!(out.contains(":/\n") && out.contains("sleep 1000"), "{out}");
    let mut user =
        process(&["sh", "-c", "id -u; grep CapEff /proc/self/status; pwd; echo $HOME > /dev/stdout"], false);
    user["user"] = json!({"uid": 1000, "gid": 1000});
    user["cwd"] = json!("/tmp");
    let (_, out) = exec_to_end(&task, &user).await;
    assert!(out.starts_with("1000\nCapEff:") && out.ends_with("/tmp\n/home/me\n"), "{out}");
    let mut privileges = process(&["grep", "NoNewPrivs\\|Seccomp:", "/proc/self/status"], false);
    privileges["noNewPrivileges"] = json!(true);
    assert_eq!(exec_to_end(&task, &privileges).await.1, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    match exec(&task, &process(&["no-such"], false), false).await.err().unwrap() {
        Error::Exec { message, code: 127 } => assert_eq!(
            message,
            r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "no-such": executable file not found in $PATH"#
        ),
        other => panic!("{other}"),
    }
    // A terminal of its own.
    let mut started =
        exec(&task, &process(&["sh", "-c", "stty size; [ -t 1 ] && read x && echo $x"], true), true)
            .await
            .unwrap();
    started.stdio.stdin.take().unwrap().write_all(b"line\n").await.unwrap();
    let out = read(started.stdio.stdout.take()).await;
    assert!(out.contains("33 99\r\n") && out.ends_with("line\r\n"), "{out}");
    task.wait("e").await.unwrap();
    task.forget("e").await.unwrap();
    assert_eq!(task.processes().await.unwrap().len(), 1);
    // Everything dies with the init process.
    let _left = exec(&task, &process(&["sleep", "2000"], false), false).await.unwrap();
    assert_eq!(task.processes().await.unwrap().len(), 2);
    task.signal("", 9, false).await.unwrap();
    assert_eq!(task.wait("").await.unwrap().code, 137);
    assert_eq!(task.wait("e").await.unwrap().code, 137);
    assert!(matches!(task.signal("", 15, false).await, Err(Error::Finished)));
    assert!(matches!(exec(&task, &process(&["sh"], false), false).await, Err(Error::Finished)));
    task.delete().await.unwrap();
    task.delete().await.unwrap();
    box_.nothing_left();
}

async fn signals_and_pauses_work(box_: &Box_) {
    let (task, mut process) = box_
        .create(
            &["sh", "-c", "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done"],
            false,
            false,
        )
        .await
        .unwrap();
    task.start().await.unwrap();
    let mut out = process.stdio.stdout.take().unwrap();
    let mut ready = [0u8; 6];
    out.read_exact(&mut ready).await.unwrap();
    task.pause().await.unwrap();
    task.signal("", 15, false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    task.resume().await.unwrap();
    assert_eq!(read(Some(out)).await, "bye\n");
    assert_eq!(task.wait("").await.unwrap().code, 4);
    task.delete().await.unwrap();
    // A paused container can be killed, and a container in the host's PID namespace leaves no process.
    let mut host = spec("one", &["sh", "-c", "sleep 3000 & sleep 3000 & wait"], false);
    host["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    let (task, _process) = box_.create_from(&host, false, false).await.unwrap();
    task.start().await.unwrap();
    while task.processes().await.unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.pause().await.unwrap();
    task.signal("", 9, false).await.unwrap();
    assert_eq!(task.wait("").await.unwrap().code, 137);
    while !task.processes().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.delete().await.unwrap();
    // Deleting ends what still runs; a container that was never started as well.
    let (task, _process) = box_.create(&["sleep", "1000"], false, false).await.unwrap();
    task.delete().await.unwrap();
    assert_eq!(task.wait("").await.unwrap().code, 137);
    box_.nothing_left();
}

async fn the_oom_killer_is_reported(box_: &Box_) {
    let (task, _process) = box_
        .create(&["sh", "-c", "head -c 200000000 /dev/zero | grep -a nothing"], false, false)
        .await
        .unwrap();
    task.start().await.unwrap();
    task.wait("").await.unwrap();
    assert!(task.info().await.oom_killed);
    task.delete().await.unwrap();
    box_.nothing_left();
}

/// Not asserted: printed for whoever tunes.
async fn figures(box_: &Box_) {
    let (mut create, mut start, mut whole, mut execs) = (vec![], vec![], vec![], vec![]);
    for _ in 0..20 {
        let began = Instant::now();
        let (task, mut process) = box_.create(&["echo", "hi"], false, false).await.unwrap();
        create.push(began.elapsed());
        let starting = Instant::now();
        task.start().await.unwrap();
        read(process.stdio.stdout.take()).await;
        task.wait("").await.unwrap();
        start.push(starting.elapsed());
        task.delete().await.unwrap();
        whole.push(began.elapsed());
    }
    let (task, _process) = box_.create(&["sleep", "1000"], false, false).await.unwrap();
    task.start().await.unwrap();
    for _ in 0..20 {
        let began = Instant::now();
        exec_to_end(&task, &process(&["echo", "hi"], false)).await;
        execs.push(began.elapsed());
    }
    task.delete().await.unwrap();
    for (what, mut times) in
        [("create", create), ("start to end", start), ("create to delete", whole), ("exec to end", execs)]
    {
        times.sort();
        println!("{what}: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
}
