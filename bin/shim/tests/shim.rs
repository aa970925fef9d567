//! A shim driven as the daemon drives it: over its two sockets. Needs root, a static `busybox` and the built
//! `cofferdam-oci`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cofferdam_model::{
    ContainerId, EXTENSION_SERVICE, Instance, IoRequest, Isolation, LogDriver, LogSpec, NetworkSpec,
    ProcessInfo, RootfsSpec, ShimSpec, TaskInfo, bundle,
};
use containerd_shim_protos::api::{
    CreateTaskRequest, DeleteRequest, DeleteResponse, ExecProcessRequest, KillRequest, PauseRequest,
    ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StateRequest, StateResponse, Status,
    WaitRequest,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_async::TaskClient;
use serde_json::{Value, json};
use ttrpc::asynchronous::Client;
use ttrpc::context::with_duration;

fn process(args: &[&str], terminal: bool) -> Value {
    json!({
        "terminal": terminal, "args": args, "cwd": "/", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin", "TERM=xterm"], "consoleSize": {"height": 24, "width": 80},
    })
}

fn oci_spec(id: &ContainerId, args: &[&str], terminal: bool) -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.0.2", "process": process(args, terminal), "root": {"path": "rootfs"}, "hostname": "box",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "mode=755"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "cgroupsPath": format!("/cofferdam-st/{id}"),
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}],
        },
    })
}

/// A container's directories and its running shim.
struct Shim {
    root: tempfile::TempDir,
    id: ContainerId,
    child: Child,
}

impl Shim {
    fn start(args: &[&str], terminal: bool, stdin: bool) -> Self {
        let root = tempfile::Builder::new().prefix("cofferdam-shim-test").tempdir().unwrap();
        let id = ContainerId::random();
        let directory = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (lower, upper, work) = (directory("lower"), directory("upper"), directory("work"));
        for name in ["lower/bin", "lower/proc", "lower/sys", "lower/dev", "lower/tmp"] {
            directory(name);
        }
        fs::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
        for applet in ["sh", "cat", "echo", "sleep", "stty", "seq", "hostname", "ip", "touch"] {
            std::os::unix::fs::symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        let directory = directory(&format!("bundle/{id}"));
        let spec = ShimSpec {
            id: id.clone(),
            instance: "st".parse::<Instance>().unwrap(),
            isolation: Isolation::Process,
            log: LogSpec {
                driver: LogDriver::JsonFile,
                path: root.path().join("json.log"),
                ..LogSpec::none()
            },
            rootfs: RootfsSpec::Overlay { lower: vec![lower], upper, work },
            parts: Vec::new(),
            network: NetworkSpec::None,
            vm: None,
            oci_helper: binary("cofferdam-oci"),
            open_stdin: stdin,
            stdin_once: stdin,
            discard: false,
            terminal,
        };
        fs::write(directory.join(bundle::SHIM_SPEC), serde_json::to_vec(&spec).unwrap()).unwrap();
        fs::write(directory.join(bundle::OCI_SPEC), oci_spec(&id, args, terminal).to_string()).unwrap();
        let child = spawn(&directory);
        Self { root, id, child }
    }

    fn bundle(&self) -> PathBuf {
        self.root.path().join("bundle").join(self.id.as_str())
    }

    fn client(&self) -> Api {
        let socket = cofferdam_sys::unix::connect(&self.bundle(), bundle::TASK_SOCKET).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UnixStream::from_std(socket).unwrap();
        let client = Client::new(socket.into());
        Api { raw: client.clone(), task: TaskClient::new(client), id: self.id.to_string() }
    }

    /// Attaches to a process; the answer says that it is complete.
    fn attach(&self, exec_id: &str, stdin: bool) -> UnixStream {
        let (answer, socket) = self.try_attach(exec_id, stdin);
        assert_eq!(answer, "\n");
        socket
    }

    fn try_attach(&self, exec_id: &str, stdin: bool) -> (String, UnixStream) {
        let mut socket = cofferdam_sys::unix::connect(&self.bundle(), bundle::IO_SOCKET).unwrap();
        let request = IoRequest { exec_id: exec_id.to_owned(), stdin, stdout: true, stderr: true };
        socket.write_all(format!("{}\n", serde_json::to_string(&request).unwrap()).as_bytes()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while answer.last() != Some(&b'\n') {
            socket.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        (String::from_utf8(answer).unwrap(), socket)
    }

    fn log(&self) -> String {
        let file = fs::File::open(self.root.path().join("json.log")).unwrap();
        let entry =
            |line: String| serde_json::from_str::<Value>(&line).unwrap()["log"].as_str().unwrap().to_owned();
        BufReader::new(file).lines().map(|line| entry(line.unwrap())).collect()
    }

    fn pss_kib(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    }

    /// Deletes the container, ends the shim and checks that nothing is left.
    async fn finish(mut self, api: &Api) -> DeleteResponse {
        let deleted = api.delete("").await.unwrap();
        let request = ShutdownRequest { id: api.id.clone(), ..Default::default() };
        api.task.shutdown(context(), &request).await.unwrap();
        let ended = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(ended.elapsed() < Duration::from_secs(5), "the shim stays");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.nothing_left();
        deleted
    }

    fn nothing_left(&self) {
        assert!(!self.bundle().join("oci").exists());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.id.as_str()));
        for controller in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let path = controller.unwrap().path().join("cofferdam-st").join(self.id.as_str());
            assert!(!path.exists(), "{}", path.display());
        }
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let path = process.path().join("cgroup");
            let cgroups = fs::read_to_string(path).unwrap_or_default();
            assert!(!cgroups.contains(self.id.as_str()));
        }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // A failed test leaves a shim; its container's processes are in a PID namespace whose init it can kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Ok(cgroup) = cofferdam_sys::cgroup::Cgroup::named(&format!("/cofferdam-st/{}", self.id)) {
            let _ = cgroup.kill(Duration::from_secs(5));
            let _ = cgroup.delete();
        }
        if let Ok(parent) = cofferdam_sys::cgroup::Cgroup::named("/cofferdam-st")
            && parent.children().is_ok_and(|children| children.is_empty())
        {
            let _ = parent.delete();
        }
        if std::thread::panicking() {
            println!(
                "shim.log: {}",
                fs::read_to_string(self.bundle().join(bundle::SHIM_LOG)).unwrap_or_default()
            );
        }
    }
}

fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_cofferdam-shim")).with_file_name(name);
    assert!(path.exists(), "{} is not built", path.display());
    path
}

fn spawn(directory: &Path) -> Child {
    let listen = |name| -> UnixListener { cofferdam_sys::unix::bind(directory, name).unwrap() };
    let (task, io) = (listen(bundle::TASK_SOCKET), listen(bundle::IO_SOCKET));
    // High numbers first: one of them may be 3 or 4 itself.
    let high = |socket: &UnixListener| rustix::io::fcntl_dupfd_cloexec(socket, 100).unwrap();
    let (task_fd, io_fd) = (high(&task), high(&io));
    let (task_number, io_number) = (task_fd.as_raw_fd(), io_fd.as_raw_fd());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam-shim"));
    command.arg("--bundle").arg(directory).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(directory.join(bundle::SHIM_LOG)).unwrap());
    command.env("COFFERDAM_LOG", "debug");
    // SAFETY: dup2 is async-signal-safe and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for (from, to) in [(task_number, 3), (io_number, 4)] {
                if nix::libc::dup2(from, to) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}

fn context() -> ttrpc::context::Context {
    with_duration(Duration::from_secs(30))
}

/// The daemon's side of the Task service.
struct Api {
    task: TaskClient,
    raw: Client,
    id: String,
}

impl Api {
    async fn create(&self) -> ttrpc::Result<u32> {
        let request = CreateTaskRequest { id: self.id.clone(), ..Default::default() };
        self.task.create(context(), &request).await.map(|response| response.pid)
    }

    async fn start(&self, exec_id: &str) -> ttrpc::Result<u32> {
        let request = StartRequest { id: self.id.clone(), exec_id: exec_id.into(), ..Default::default() };
        self.task.start(context(), &request).await.map(|response| response.pid)
    }

    async fn exec(&self, exec_id: &str, process: &Value) -> ttrpc::Result<()> {
        let request = ExecProcessRequest {
            id: self.id.clone(),
            exec_id: exec_id.into(),
            terminal: process["terminal"] == true,
            spec: Some(Any { value: process.to_string().into_bytes(), ..Default::default() }).into(),
            ..Default::default()
        };
        self.task.exec(context(), &request).await.map(drop)
    }

    async fn wait(&self, exec_id: &str) -> u32 {
        let request = WaitRequest { id: self.id.clone(), exec_id: exec_id.into(), ..Default::default() };
        self.task.wait(context(), &request).await.unwrap().exit_status
    }

    async fn kill(&self, exec_id: &str, signal: u32) -> ttrpc::Result<()> {
        let request =
            KillRequest { id: self.id.clone(), exec_id: exec_id.into(), signal, ..Default::default() };
        self.task.kill(context(), &request).await.map(drop)
    }

    async fn delete(&self, exec_id: &str) -> ttrpc::Result<DeleteResponse> {
        let request = DeleteRequest { id: self.id.clone(), exec_id: exec_id.into(), ..Default::default() };
        self.task.delete(context(), &request).await
    }

    async fn state(&self, exec_id: &str) -> StateResponse {
        let request = StateRequest { id: self.id.clone(), exec_id: exec_id.into(), ..Default::default() };
        self.task.state(context(), &request).await.unwrap()
    }

    async fn extension<T: serde::de::DeserializeOwned>(&self, method: &str) -> T {
        let request =
            ttrpc::Request { service: EXTENSION_SERVICE.into(), method: method.into(), ..Default::default() };
        serde_json::from_slice(&self.raw.request(request).await.unwrap().payload).unwrap()
    }
}

fn words(error: ttrpc::Error) -> String {
    match error {
        ttrpc::Error::RpcStatus(status) => status.message,
        other => other.to_string(),
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: containers need root");
    }
    is_root
}

fn read_all(mut socket: UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    all
}

/// The contents of stdcopy frames of one stream.
fn stream(frames: &[u8], wanted: u8) -> String {
    let mut text = Vec::new();
    let mut rest = frames;
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if header[0] == wanted {
            text.extend_from_slice(&after[..length]);
        }
        rest = &after[length..];
    }
    String::from_utf8(text).unwrap()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_container_runs_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let shim =
        Shim::start(&["sh", "-c", "hostname; touch /made; echo err >&2; ip link; exit 3"], false, false);
    let api = shim.client();
    assert!(api.create().await.unwrap() > 0);
    assert_eq!(api.state("").await.status.enum_value().unwrap(), Status::CREATED);
    let (one, two) = (shim.attach("", false), shim.attach("", false));
    api.start("").await.unwrap();
    assert_eq!(api.wait("").await, 3);
    let output = blocking(move || read_all(one)).await;
    assert_eq!(output, blocking(move || read_all(two)).await);
    let text = stream(&output, 1);
    assert!(text.starts_with("box\n") && text.contains("LOOPBACK,UP") && !text.contains("eth0"), "{text}");
    assert_eq!(stream(&output, 2), "err\n");
    let log = shim.log();
    assert!(log.contains("box\n") && log.contains("err\n"), "{log}");
    assert!(shim.root.path().join("upper/made").exists());
    let state = api.state("").await;
    assert_eq!((state.status.enum_value().unwrap(), state.exit_status), (Status::STOPPED, 3));
    assert!(state.exited_at.seconds > 1_700_000_000);
    assert_eq!(shim.finish(&api).await.exit_status, 3);
}

#[tokio::test]
async fn input_flows_to_its_end_and_much_output_is_complete() {
    if !is_root() {
        return;
    }
    let shim = Shim::start(&["sh", "-c", "cat; seq 1 200000"], false, true);
    let api = shim.client();
    api.create().await.unwrap();
    let mut attached = shim.attach("", true);
    // Early input waits for the process.
    attached.write_all(b"typed\n").unwrap();
    attached.shutdown(std::net::Shutdown::Write).unwrap();
    api.start("").await.unwrap();
    // A client that is slow loses nothing.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let text = stream(&blocking(move || read_all(attached)).await, 1);
    assert!(text.starts_with("typed\n1\n2\n") && text.ends_with("\n200000\n"));
    assert_eq!(text.lines().count(), 200_001);
    assert_eq!(api.wait("").await, 0);
    assert_eq!(shim.log(), text);
    shim.finish(&api).await;
}

#[tokio::test]
async fn a_terminal_works() {
    if !is_root() {
        return;
    }
    let shim = Shim::start(&["sh", "-c", "stty size; read line; stty size; echo got $line"], true, true);
    let api = shim.client();
    api.create().await.unwrap();
    let mut attached = shim.attach("", true);
    api.start("").await.unwrap();
    let mut first = [0; 7];
    attached.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"24 80\r\n");
    let size = ResizePtyRequest { id: api.id.clone(), width: 132, height: 43, ..Default::default() };
    api.task.resize_pty(context(), &size).await.unwrap();
    attached.write_all(b"hello\n").unwrap();
    let rest = String::from_utf8(blocking(move || read_all(attached)).await).unwrap();
    assert_eq!(rest, "hello\r\n43 132\r\ngot hello\r\n");
    assert_eq!(api.wait("").await, 0);
    shim.finish(&api).await;
}

#[tokio::test]
async fn execs_pauses_signals_and_a_daemon_that_was_away() {
    if !is_root() {
        return;
    }
    let shim = Shim::start(&["sleep", "1000"], false, false);
    let api = shim.client();
    api.create().await.unwrap();
    assert!(
        api.exec("early", &process(&["echo"], false))
            .await
            .unwrap_err()
            .to_string()
            .contains("is not running")
    );
    api.start("").await.unwrap();
    println!("shim's PSS: {} KiB", shim.pss_kib());

    api.exec("e1", &process(&["sh", "-c", "cat; echo bad >&2; sleep 100 & exit 5"], false)).await.unwrap();
    assert!(
        api.exec("e1", &process(&["sh"], false)).await.unwrap_err().to_string().contains("already exists")
    );
    let mut attached = shim.attach("e1", true);
    api.start("e1").await.unwrap();
    attached.write_all(b"in\n").unwrap();
    attached.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(api.wait("e1").await, 5);
    // The child that it left behind holds its pipes, and no client.
    let output = blocking(move || read_all(attached)).await;
    assert_eq!((stream(&output, 1).as_str(), stream(&output, 2).as_str()), ("in\n", "bad\n"));
    assert_eq!(api.delete("e1").await.unwrap().exit_status, 5);

    api.exec("missing", &process(&["no-such"], false)).await.unwrap();
    let attached = shim.attach("missing", false);
    let error = words(api.start("missing").await.unwrap_err());
    assert!(error.contains(r#"exec: "no-such": executable file not found in $PATH"#), "{error}");
    assert!(blocking(move || read_all(attached)).await.is_empty());
    assert_eq!(api.delete("missing").await.unwrap().exit_status, 127);
    assert_eq!(shim.try_attach("missing", false).0, "no such exec: missing\n");

    api.exec("tty", &process(&["sh", "-c", "stty size; read x"], true)).await.unwrap();
    let mut attached = shim.attach("tty", true);
    api.start("tty").await.unwrap();
    attached.write_all(b"\n").unwrap();
    assert_eq!(api.wait("tty").await, 0);
    assert!(String::from_utf8(blocking(move || read_all(attached)).await).unwrap().contains("24 80\r\n"));

    let processes: Vec<ProcessInfo> = api.extension("Processes").await;
    assert!(processes.iter().any(|process| process.command == "sleep 1000" && process.inner_pid == 1));
    let info: TaskInfo = api.extension("Info").await;
    assert!(!info.oom_killed && info.vm.is_none());

    let id = api.id.clone();
    api.task.pause(context(), &PauseRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!(api.state("").await.status.enum_value().unwrap(), Status::PAUSED);
    let refused = words(api.exec("frozen", &process(&["echo"], false)).await.unwrap_err());
    assert!(refused.contains("is paused"), "{refused}");
    api.task.resume(context(), &ResumeRequest { id, ..Default::default() }).await.unwrap();
    assert!(api.delete("").await.unwrap_err().to_string().contains("still running"));

    // The daemon goes, the container ends meanwhile, and another daemon finds how.
    let watcher = shim.attach("", false);
    api.kill("", 9).await.unwrap();
    drop(api);
    blocking(move || read_all(watcher)).await;
    let api = shim.client();
    assert_eq!(api.wait("").await, 137);
    assert!(api.kill("", 9).await.unwrap_err().to_string().contains("process already finished"));
    assert_eq!(shim.finish(&api).await.exit_status, 137);
}

#[tokio::test]
async fn what_cannot_be_created_is_told_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let mut shim = Shim::start(&["no-such"], false, false);
    let api = shim.client();
    let attached = shim.attach("", false);
    let error = words(api.create().await.unwrap_err());
    assert!(error.contains(r#"exec: "no-such": executable file not found in $PATH"#), "{error}");
    assert!(blocking(move || read_all(attached)).await.is_empty());
    let request = ShutdownRequest { id: api.id.clone(), ..Default::default() };
    api.task.shutdown(context(), &request).await.unwrap();
    assert!(
        blocking({
            let id = shim.child.id();
            move || wait_gone(id)
        })
        .await
    );
    shim.child.wait().unwrap();
    shim.nothing_left();
}

fn wait_gone(pid: u32) -> bool {
    let handle = cofferdam_sys::process::ProcessHandle::open(i32::try_from(pid).unwrap());
    handle.is_ok_and(|handle| handle.wait_ended(Some(Duration::from_secs(5))).unwrap())
}

/// Not asserted: printed for whoever tunes.
#[tokio::test]
async fn figures() {
    if !is_root() {
        return;
    }
    let (mut runs, mut creates, mut ends, mut execs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        let began = Instant::now();
        let shim = Shim::start(&["echo", "hi"], false, false);
        let prepared = began.elapsed();
        let api = shim.client();
        api.create().await.unwrap();
        creates.push(began.elapsed() - prepared);
        let attached = shim.attach("", false);
        api.start("").await.unwrap();
        blocking(move || read_all(attached)).await;
        api.wait("").await;
        let ending = Instant::now();
        shim.finish(&api).await;
        ends.push(ending.elapsed());
        runs.push(began.elapsed() - prepared);
    }
    let shim = Shim::start(&["sleep", "1000"], false, false);
    let api = shim.client();
    api.create().await.unwrap();
    api.start("").await.unwrap();
    for n in 0..10 {
        let began = Instant::now();
        let name = format!("e{n}");
        api.exec(&name, &process(&["echo", "hi"], false)).await.unwrap();
        let attached = shim.attach(&name, false);
        api.start(&name).await.unwrap();
        blocking(move || read_all(attached)).await;
        api.wait(&name).await;
        api.delete(&name).await.unwrap();
        execs.push(began.elapsed());
    }
    println!("shim's PSS with ten execs behind it: {} KiB", shim.pss_kib());
    api.kill("", 9).await.unwrap();
    api.wait("").await;
    shim.finish(&api).await;
    for (what, times) in [
        ("shim start to created", &mut creates),
        ("delete to shim ended", &mut ends),
        ("shim start to end", &mut runs),
        ("exec", &mut execs),
    ] {
        times.sort();
        println!("{what}: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
}
