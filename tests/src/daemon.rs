//! One `cofferdamd` on roots of its own.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Host, Invocation, Response, check, eventually, leftovers, request};

const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon. Dropping it ends it; [`Daemon::remove_everything`] does so and looks at what is left.
pub struct Daemon {
    child: Mutex<Option<Child>>,
    dir: PathBuf,
    instance: String,
    flags: Vec<String>,
    /// VM templates, which daemons of one run share: they boot the same guest.
    templates: PathBuf,
    /// What stands before the daemon's own command line.
    wrapper: Vec<String>,
    programs: Programs,
}

/// The programs that a daemon is and is driven by.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `cofferdamd`, beside which its shim and helper are.
    pub daemon: PathBuf,
    /// `cofferdam`.
    pub cofferdam: PathBuf,
    /// The stock CLI.
    pub docker: PathBuf,
}

impl Daemon {
    /// Starts one and waits until it answers.
    pub fn start(host: &Host, name: &str, flags: &[&str]) -> Result<Self> {
        let daemon = Self::prepare(host, name, flags)?;
        daemon.launch(&[])?;
        Ok(daemon)
    }

    /// Everything of a daemon but the process.
    pub fn prepare(host: &Host, name: &str, flags: &[&str]) -> Result<Self> {
        let instance = host.next_instance();
        let dir = host.directory(&format!("{name}-{instance}"))?;
        host.remember(&instance, &dir);
        let programs = Programs {
            daemon: host.binary("cofferdamd"),
            cofferdam: host.binary("cofferdam"),
            docker: host.docker().to_owned(),
        };
        Ok(Self::at(dir, &instance, programs, flags)?.with_templates(host.directory("templates")?))
    }

    /// The same outside of the table: in an existing directory, under this instance name.
    pub fn at(dir: PathBuf, instance: &str, programs: Programs, flags: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(dir.join("client"))?;
        Ok(Self {
            child: Mutex::new(None),
            instance: instance.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            templates: dir.join("data/templates"),
            wrapper: Vec::new(),
            programs,
            dir,
        })
    }

    /// Templates in another directory.
    #[must_use]
    pub fn with_templates(mut self, templates: PathBuf) -> Self {
        self.templates = templates;
        self
    }

    /// Another executable than the one under test, such as a copy of it.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.programs.daemon = program;
        self
    }

    /// Runs the daemon through a command that ends by executing its arguments.
    #[must_use]
    pub fn with_wrapper(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts the process (again), with these environment variables, and waits until it answers.
    pub fn launch(&self, env: &[(&str, &str)]) -> Result<()> {
        let mut child = self.command(env)?.spawn().context("start cofferdamd")?;
        let answers = eventually(PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                bail!("cofferdamd ended with {status}");
            }
            Ok(self.get("/_ping").ok().filter(|answer| answer.status == 200).map(drop))
        });
        *self.child.lock().expect("no holder panics") = Some(child);
        answers.with_context(|| format!("cofferdamd does not answer; its log:\n{}", self.log()))
    }

    /// The command that starts it, for cases in which it must refuse to.
    pub fn command(&self, env: &[(&str, &str)]) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        words.push(self.programs.daemon.clone().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.exec_root())
            .arg("--pidfile")
            .arg(self.dir.join("pid"))
            .args(["--instance", &self.instance])
            .arg("--template-root")
            .arg(&self.templates)
            .args(["--host", &self.url()])
            .args(&self.flags)
            .envs(env.iter().copied())
            // Ctrl-C at a terminal is for the caller, who then ends the daemon in good order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// What it has written about itself.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Its PID.
    pub fn pid(&self) -> Result<u32> {
        let child = self.child.lock().expect("no holder panics");
        Ok(child.as_ref().context("the daemon is not running")?.id())
    }

    /// Its name, which everything that it makes on the host carries.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Its own directory, with everything of it inside.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `--data-root`.
    #[must_use]
    pub fn data_root(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// `--exec-root`.
    #[must_use]
    pub fn exec_root(&self) -> PathBuf {
        self.dir.join("exec")
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The stock docker CLI, talking to this daemon.
    #[must_use]
    pub fn docker(&self, args: &[&str]) -> Invocation {
        self.docker_at(&self.programs.docker, args)
    }

    /// Another docker CLI, talking to this daemon.
    #[must_use]
    pub fn docker_at(&self, program: &Path, args: &[&str]) -> Invocation {
        Invocation::new(program, args)
            .env("DOCKER_HOST", self.url())
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .env("HOME", self.dir.join("client"))
    }

    /// Our own CLI, talking to this daemon.
    #[must_use]
    pub fn cofferdam(&self, args: &[&str]) -> Invocation {
        Invocation::new(&self.programs.cofferdam, args)
            .env("COFFERDAM_HOST", self.url())
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .env("HOME", self.dir.join("client"))
    }

    /// Installs the built-in image.
    pub fn install_nanoserver(&self) -> Result<()> {
        self.cofferdam(&["image", "install", "NanoServer"])
            .ok()
            .context("install the built-in image")
            .map(drop)
    }

    /// One GET.
    pub fn get(&self, path: &str) -> Result<Response> {
        request(&self.socket(), "GET", path, None)
    }

    /// One POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        request(&self.socket(), "POST", path, Some(body.to_string().as_bytes()))
    }

    /// What has happened to a container, in order.
    pub fn events_of(&self, container: &str) -> Result<Vec<String>> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        // A moment that has passed: what is known is told, and nothing waited for. (`docker events` counts in seconds.)
        let path = format!("/events?until={}.{:09}", now.as_secs(), now.subsec_nanos());
        let lines = self.get(&path)?.text();
        let events = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let of = |event: &&Value| event["Actor"]["Attributes"]["name"] == container;
        let action = |event: &Value| event["Action"].as_str().unwrap_or_default().to_owned();
        Ok(events.iter().filter(of).map(action).collect())
    }

    /// `docker inspect` of one container as JSON.
    pub fn inspect(&self, container: &str) -> Result<Value> {
        let answer = self.get(&format!("/containers/{container}/json"))?;
        check!(answer.status == 200, "inspect {container}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) -> Result<()> {
        let mut child =
            self.child.lock().expect("no holder panics").take().context("the daemon is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to end, which it must do with success.
    pub fn terminate(&self) -> Result<()> {
        let mut child =
            self.child.lock().expect("no holder panics").take().context("the daemon is not running")?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = eventually(PATIENCE, || Ok(child.try_wait()?));
        if status.is_err() {
            child.kill()?;
            child.wait()?;
        }
        let status = status.context("cofferdamd does not end on SIGTERM")?;
        check!(status.success(), "cofferdamd ended with {status} on SIGTERM; its log:\n{}", self.log());
        Ok(())
    }

    /// Removes every container, ends the daemon, and checks that the host is as before.
    pub fn remove_everything(&self) -> Result<()> {
        // By our own client: a host need not have the stock one.
        let all = self.cofferdam(&["ps", "-aq"]).ok()?;
        for id in all.split_whitespace() {
            self.cofferdam(&["rm", "-f", id]).ok()?;
        }
        self.terminate()?;
        let left = eventually(Duration::from_secs(10), || {
            let left = leftovers(&self.instance, &self.dir);
            Ok(left.is_empty().then_some(()))
        });
        if left.is_err() {
            bail!("left behind: {}", leftovers(&self.instance, &self.dir).join("; "));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.lock().expect("no holder panics").is_some()
            && let Err(error) = self.remove_everything()
        {
            eprintln!("cofferdamd {}: {error:#}", self.instance);
            // Still there after a failed request: the process at least must not stay.
            let _ = self.kill();
        }
    }
}
