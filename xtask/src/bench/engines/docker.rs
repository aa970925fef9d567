//! Docker: a `dockerd` with a containerd of its own, with runc or gVisor as the runtime.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cofferdam_tests::eventually;

use super::super::engine::{ADDRESS, Ability, Act, Engine, FILES, IDLE, pid};
use super::super::timed;
use crate::cpu::CpuMeter;
use crate::memory::parent;
use crate::project::which;

/// A running dockerd; ended when dropped.
pub struct Dockerd {
    server: Child,
    dir: PathBuf,
    meter: CpuMeter,
}

impl Dockerd {
    /// Starts one whose files live in `dir`.
    pub fn start(dir: &Path, group: &str) -> Result<Self> {
        let dir = dir.join("docker");
        fs::create_dir_all(dir.join("client"))?;
        let meter = CpuMeter::new(&format!("{group}/docker"), None)?;
        let settings = dir.join("daemon.json");
        // Without a network stack of gVisor's own, which needs rights that not every host gives.
        let gvisor = serde_json::json!({"path": which("runsc"), "runtimeArgs": ["--network=host"]});
        let runtimes = if which("runsc").is_some() {
            serde_json::json!({"gvisor": gvisor})
        } else {
            serde_json::json!({})
        };
        fs::write(&settings, serde_json::json!({"runtimes": runtimes}).to_string())?;
        let log = File::create(dir.join("log"))?;
        meter.enter()?;
        let server = Command::new("dockerd")
            .arg("--config-file")
            .arg(&settings)
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", dir.join("sock").display()))
            .arg(format!("--cgroup-parent=/{group}/docker"))
            // What the usual defaults ask for may be more than this host's hard limits.
            .args(["--default-ulimit", "nofile=1024:4096", "--default-ulimit", "nproc=1024:4096"])
            // Ctrl-C at a terminal is for the benchmark, which ends this in good order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start dockerd")?;
        let mut dockerd = Self { server, dir, meter };
        dockerd.wait().with_context(|| dockerd.last_words())?;
        Ok(dockerd)
    }

    fn wait(&mut self) -> Result<()> {
        eventually(Duration::from_secs(60), || {
            if let Some(status) = self.server.try_wait()? {
                bail!("dockerd ended with {status}");
            }
            Ok(timed::run(self.client(&["version"])).ok())
        })?;
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let wrong = |line: &&str| {
            line.contains("level=error") || line.contains("level=fatal") || line.contains("failed")
        };
        log.lines().rev().find(wrong).unwrap_or("dockerd does not answer").to_owned()
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(words)
            .env("DOCKER_HOST", format!("unix://{}", self.dir.join("sock").display()))
            .env("DOCKER_CONFIG", self.dir.join("client"));
        command
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        timed::end(&mut self.server);
    }
}

/// How gVisor gets hold of its programs' system calls, unless told otherwise.
fn platform() -> String {
    let told = Command::new("runsc").arg("flags").output().map(|told| [told.stdout, told.stderr].concat());
    let text = String::from_utf8_lossy(&told.unwrap_or_default()).into_owned();
    let flag = text.split("-platform string").nth(1).unwrap_or_default();
    let default = flag.split_once("(default \"").and_then(|(_, rest)| rest.split('"').next());
    default.unwrap_or("unknown").to_owned()
}

/// dockerd with one of its runtimes.
pub struct Docker {
    pub dockerd: Rc<Dockerd>,
    pub gvisor: bool,
}

impl Engine for Docker {
    fn name(&self) -> String {
        if self.gvisor { "docker + gVisor" } else { "docker + runc" }.to_owned()
    }

    fn offers(&self, ability: Ability) -> bool {
        // Images are dockerd's, whatever runs them.
        ability != Ability::Images || !self.gvisor
    }

    fn meter(&self) -> &CpuMeter {
        &self.dockerd.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        let runtime = if self.gvisor { "--runtime=gvisor" } else { "--runtime=runc" };
        let archive;
        let words = match *act {
            Act::Run { network, program } => {
                [&["run", "--rm", runtime, "--network", network.word(), "bench"], program].concat()
            }
            Act::Start { name, network } => {
                let flags = ["run", "-d", "--name", name, runtime, "--network", network.word(), "bench"];
                [&flags[..], &IDLE].concat()
            }
            Act::Work { name, program } => {
                let flags = ["run", "-d", "--name", name, runtime, "--volume", FILES, "bench"];
                [&flags[..], program].concat()
            }
            Act::Exec { name, program } => [&["exec", name], program].concat(),
            Act::Remove { name } => vec!["rm", "-f", name],
            Act::Load { archive: file } => {
                archive = file.to_string_lossy();
                vec!["load", "-i", &archive]
            }
            Act::Pull { reference } => vec!["pull", reference],
            Act::Forget { reference } => vec!["rmi", reference],
        };
        Ok(self.dockerd.client(&words))
    }

    fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let (_, text) = timed::run(self.dockerd.client(&["inspect", "--format", "{{.State.Pid}}", name]))?;
        // The shim, below which all of the container is.
        Ok(vec![parent(pid(&text)?)?])
    }

    fn address(&self, name: &str) -> Result<String> {
        Ok(timed::run(self.dockerd.client(&["inspect", "--format", ADDRESS, name]))?.1)
    }

    fn daemons(&self) -> Vec<u32> {
        vec![self.dockerd.server.id()]
    }

    fn version(&self) -> String {
        let format = "client {{.Client.Version}}{{range .Server.Components}}, {{.Name}} {{.Version}}{{end}}";
        let told = timed::run(self.dockerd.client(&["version", "--format", format]));
        let mut text = told.map_or_else(|error| format!("{error:#}"), |(_, text)| text);
        if self.gvisor {
            let mut command = Command::new("runsc");
            command.arg("--version");
            let told = timed::run(command).map(|(_, text)| text).unwrap_or_default();
            let version = told.lines().next().unwrap_or_default();
            text = format!("{version}, platform {}, host's network stack; {text}", platform());
        }
        text
    }
}
