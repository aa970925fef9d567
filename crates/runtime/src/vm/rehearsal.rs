//! A container that runs in a VM before that is frozen, and leaves nothing behind: what shim, agent and guest kernel do
//! for every container the emulator has translated then.
//!
//! It has the disks and the kind of the containers to come. Its program is ours (`cofferdam-oci rehearse`, from the
//! guest's initial RAM disk), so no program of an image runs in a template.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_model::{DEFAULT_PATH, InterfaceConfig, Resources};
use cofferdam_proto::{CreateContainer, GuestFile, Prepare, Request};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::guest_paths;
use super::task::VmTask;
use crate::{Error, ExecRequest, Stdio, Task as _};

/// Where its program is in the container: on a file system that is the container's own.
const PROGRAM: &str = "/dev/rehearsal";
/// How long a process of it may take.
const TIME: Duration = Duration::from_secs(60);
const SIGTERM: i32 = 15;
/// The exec's ID.
const EXEC: &str = "rehearsal";

/// Runs it, and clears it away; with `let_disk_go` so that the next container can have another disk.
pub(super) async fn run(task: &Arc<VmTask>, prepare: &Prepare, let_disk_go: bool) -> Result<(), Error> {
    let mut spec: Value = serde_json::from_str(&prepare.spec)
        .map_err(|error| Error::Hypervisor(format!("template order: {error}")))?;
    let program = json!({
        "destination": PROGRAM,
        "type": "bind",
        "source": guest_paths::OCI_HELPER,
        "options": ["bind", "ro"],
    });
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        // Whose directories these were is not there.
        mounts.retain(|mount| {
            !mount["source"].as_str().is_some_and(|source| source.starts_with(guest_paths::SHARES))
        });
        mounts.push(program);
    }
    let prepare = Prepare { spec: spec.to_string(), share: false, ..prepare.clone() };
    task.ask(Request::Prepare(Box::new(prepare.clone()))).await?;

    let (streams, mut stdio) = task.connect(prepare.terminal, prepare.stdin);
    let create = CreateContainer {
        hostname: "rehearsal".to_owned(),
        interfaces: prepare.network.then(network).into_iter().collect(),
        args: words("wait"),
        env: environment(),
        streams,
        limits: Resources::default(),
        files: prepare
            .files
            .iter()
            .map(|name| GuestFile { name: name.clone(), text: "\n".to_owned() })
            .collect(),
    };
    task.ask(Request::Create(Box::new(create))).await?;
    task.start().await?;
    speaks(&mut stdio).await?;
    exec(task, &spec).await?;
    task.signal("", SIGTERM, false).await?;
    ended(task, "", stdio).await?;
    task.ask(Request::Clear { let_disk_go }).await.map(drop)
}

/// Waits for the program's first output: from then on it takes SIGTERM.
async fn speaks(stdio: &mut Stdio) -> Result<(), Error> {
    let Some(stdout) = &mut stdio.stdout else { return Ok(()) };
    let first = tokio::time::timeout(TIME, stdout.read_u8()).await;
    first
        .ok()
        .and_then(Result::ok)
        .map(drop)
        .ok_or_else(|| Error::Agent("the rehearsal said nothing".to_owned()))
}

/// A further process in it.
async fn exec(task: &Arc<VmTask>, spec: &Value) -> Result<(), Error> {
    let mut process = spec["process"].clone();
    process["args"] = json!(words("short"));
    process["env"] = json!(environment());
    process["terminal"] = json!(false);
    let request =
        ExecRequest { exec_id: EXEC.to_owned(), process: process.to_string(), terminal: false, stdin: false };
    let process = task.exec(request).await?;
    ended(task, EXEC, process.stdio).await?;
    task.forget(EXEC).await
}

/// Reads a process's output to its end, and waits for its exit. How it ended does not matter.
async fn ended(task: &Arc<VmTask>, exec_id: &str, stdio: Stdio) -> Result<(), Error> {
    let Stdio { stdin, stdout, stderr } = stdio;
    let drain = async |stream: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>| {
        if let Some(mut stream) = stream {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.ok();
        }
    };
    let all = async {
        let (exit, (), ()) = tokio::join!(task.wait(exec_id), drain(stdout), drain(stderr));
        exit
    };
    let exit = tokio::time::timeout(TIME, all).await;
    drop(stdin);
    exit.map_err(|_elapsed| Error::Agent("the rehearsal did not end".to_owned()))?.map(drop)
}

fn words(how: &str) -> Vec<String> {
    [PROGRAM, "rehearse", how].map(str::to_owned).to_vec()
}

fn environment() -> Vec<String> {
    vec![format!("PATH={DEFAULT_PATH}"), "HOSTNAME=rehearsal".to_owned()]
}

/// An address that leads nowhere (RFC 5737).
fn network() -> InterfaceConfig {
    InterfaceConfig {
        name: "eth0".to_owned(),
        mac: "02:42:c0:00:02:02".to_owned(),
        address: [192, 0, 2, 2].into(),
        prefix: 24,
        gateway: Some([192, 0, 2, 1].into()),
        ipv6: None,
        mtu: 1500,
        is_default: true,
    }
}
