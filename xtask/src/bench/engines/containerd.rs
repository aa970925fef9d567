//! containerd through its own client, `ctr`: what an engine costs without the engine.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cofferdam_tests::eventually;

use super::super::engine::{Ability, Act, Engine, IDLE, Network, pid};
use super::super::timed;
use crate::cpu::CpuMeter;
use crate::memory::parent;

/// A running containerd; ended when dropped.
pub struct Containerd {
    server: Child,
    dir: PathBuf,
    group: String,
    meter: CpuMeter,
    /// `ctr` wants a new name for each container and each exec.
    count: Cell<usize>,
}

impl Containerd {
    /// Starts one whose files live in `dir`.
    pub fn start(dir: &Path, group: &str) -> Result<Self> {
        let dir = dir.join("containerd");
        fs::create_dir_all(&dir)?;
        let meter = CpuMeter::new(&format!("{group}/containerd"), None)?;
        let settings = dir.join("config.toml");
        fs::write(
            &settings,
            format!(
                "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = {:?}\n",
                dir.join("root"),
                dir.join("state"),
                dir.join("sock")
            ),
        )?;
        let log = File::create(dir.join("log"))?;
        meter.enter()?;
        let server = Command::new("containerd")
            .arg("--config")
            .arg(&settings)
            // Ctrl-C at a terminal is for the benchmark, which ends this in good order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start containerd")?;
        let group = format!("/{group}/containerd");
        let mut containerd = Self { server, dir, group, meter, count: Cell::new(0) };
        containerd.wait().context("containerd does not answer")?;
        Ok(containerd)
    }

    fn wait(&mut self) -> Result<()> {
        eventually(Duration::from_secs(30), || {
            if let Some(status) = self.server.try_wait()? {
                bail!("containerd ended with {status}");
            }
            Ok(timed::run(self.client(&["version"])).ok())
        })?;
        Ok(())
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.dir.join("sock")).args(words);
        command
    }

    fn next(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("c{}", self.count.get())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        timed::end(&mut self.server);
    }
}

/// How `ctr` names the image.
const IMAGE: &str = "docker.io/library/bench:latest";

impl Engine for Containerd {
    fn name(&self) -> String {
        "ctr + runc".to_owned()
    }

    fn offers(&self, ability: Ability) -> bool {
        !matches!(ability, Ability::Run(Network::Bridge) | Ability::Keep(Network::Bridge) | Ability::Work)
    }

    fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        let next = self.next();
        let group = |name: &str| format!("--cgroup={}/{name}", self.group);
        let archive;
        let in_group;
        let words = match *act {
            Act::Run { program, .. } => {
                in_group = group(&next);
                [&["run", "--rm", &in_group, IMAGE, &next], program].concat()
            }
            Act::Start { name, .. } => {
                in_group = group(name);
                [&["run", "-d", &in_group, IMAGE, name], &IDLE[..]].concat()
            }
            Act::Work { .. } => bail!("ctr has no networks"),
            Act::Exec { name, program } => [&["tasks", "exec", "--exec-id", &next, name], program].concat(),
            Act::Remove { name } => {
                // Two commands are what it takes.
                let mut command = Command::new("sh");
                let script =
                    "ctr --address \"$1\" tasks rm -f \"$2\" && ctr --address \"$1\" containers rm \"$2\"";
                command.args(["-c", script, "sh"]).arg(self.dir.join("sock")).arg(name);
                return Ok(command);
            }
            Act::Load { archive: file } => {
                archive = file.to_string_lossy();
                vec!["images", "import", &archive]
            }
            Act::Pull { reference } => vec!["images", "pull", "--plain-http", reference],
            Act::Forget { reference } => vec!["images", "rm", "--sync", reference],
        };
        Ok(self.client(&words))
    }

    fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let (_, text) = timed::run(self.client(&["tasks", "ls"]))?;
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let task = text.lines().map(words).find(|words| words.first().is_some_and(|word| word == name));
        let task = task.with_context(|| format!("no task {name}"))?;
        Ok(vec![parent(pid(task.get(1).context("no PID")?)?)?])
    }

    fn daemons(&self) -> Vec<u32> {
        vec![self.server.id()]
    }

    fn version(&self) -> String {
        let mut command = Command::new("containerd");
        command.arg("--version");
        timed::run(command).map_or_else(|error| format!("{error:#}"), |(_, text)| text)
    }
}
