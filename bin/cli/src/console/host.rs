//! What the console has around it: our standard streams, the engine, a session, jobs.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_client::Client;
use cofferdam_cmdlet::{Bound, Category, Engine, Failure, Object, Output, Ui, Value, processes};
use cofferdam_pwsh::{Container, Host};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::session::{self, Session};
use crate::stdio::{input_is_terminal, window_size};

/// The surroundings.
pub struct Here {
    handle: Handle,
    engine: Arc<Engine>,
    client: Arc<Client>,
    session: Option<Session>,
    jobs: Vec<Job>,
    /// Whether somebody can be asked.
    interactive: bool,
}

/// A cmdlet in the background.
struct Job {
    id: i64,
    command: &'static str,
    running: Option<JoinHandle<Output>>,
    output: Option<Output>,
    failed: bool,
}

impl Here {
    /// On the engine of a daemon.
    pub fn new(handle: Handle, engine: Engine, interactive: bool) -> Self {
        let client = Arc::clone(engine.client());
        Self { handle, engine: Arc::new(engine), client, session: None, jobs: Vec::new(), interactive }
    }

    /// The names of containers and images, for completion.
    pub fn names(&self) -> Vec<String> {
        let client = Arc::clone(&self.client);
        self.handle.block_on(async move {
            let all = cofferdam_client::ListContainers { all: true, ..Default::default() };
            // A daemon that does not answer has no names.
            let containers = client.list_containers(&all).await.unwrap_or_default();
            let names = containers.into_iter().flat_map(|one| one.names.unwrap_or_default());
            let mut names: Vec<_> = names.map(|name| name.trim_start_matches('/').to_owned()).collect();
            let images = client.list_images(false, false, &cofferdam_client::Filters::default()).await;
            names.extend(images.unwrap_or_default().into_iter().flat_map(|image| image.repo_tags));
            names
        })
    }

    fn job_object(job: &Job) -> Value {
        let state = match (&job.running, job.failed) {
            (Some(_), _) => "Running",
            (None, true) => "Failed",
            (None, false) => "Completed",
        };
        Object::new("Job")
            .with("Id", job.id)
            .with("Name", format!("Job{}", job.id))
            .with("State", state)
            .with("HasMoreData", job.output.is_some() || job.running.is_some())
            .with("Command", job.command)
            .into()
    }

    /// Takes the results of jobs that have ended.
    fn settle(&mut self, wait_for: Option<i64>) {
        for job in &mut self.jobs {
            let ready = job.running.as_ref().is_some_and(JoinHandle::is_finished);
            if !ready && wait_for != Some(job.id) {
                continue;
            }
            let Some(running) = job.running.take() else { continue };
            let output = self.handle.block_on(running).unwrap_or_else(|error| Output {
                errors: vec![Failure::of(Category::NotSpecified, "JobFailed", "", error.to_string())],
                ..Output::default()
            });
            job.failed = !output.errors.is_empty();
            job.output = Some(output);
        }
    }
}

/// Asks on the terminal.
struct Asking {
    interactive: bool,
    only_says: bool,
}

impl Ui for Asking {
    fn say(&mut self, text: &str) {
        println!("{text}");
    }

    fn ask(&mut self, action: &str, target: &str) -> Result<bool, Failure> {
        if !self.interactive {
            return Err(Failure {
                terminating: true,
                ..Failure::of(
                    Category::InvalidOperation,
                    "NonInteractive",
                    target,
                    "PowerShell is in NonInteractive mode. Read and Prompt functionality is not available. -Confirm:$false \
                     or -Force does it without asking.",
                )
            });
        }
        print!(
            "\nConfirm\nAre you sure you want to perform this action?\nPerforming the operation \"{action}\" on target \
             \"{target}\".\n[Y] Yes  [N] No  (default is \"Y\"): "
        );
        // A terminal that is gone answers with the end of input, which is a no.
        let _ = std::io::stdout().flush();
        let mut answer = String::new();
        let length = std::io::stdin().lock().read_line(&mut answer).unwrap_or(0);
        Ok(length > 0 && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes" | "a"))
    }

    fn only_says(&self) -> bool {
        self.only_says
    }
}

impl Host for Here {
    fn write(&mut self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            // Its reader went away: as a program that SIGPIPE ended, but what was started ends first.
            drop(stdout);
            self.leave();
            std::process::exit(141);
        }
    }

    fn write_error(&mut self, text: &str) {
        // For a reader that went away there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn width(&self) -> usize {
        // A file has room; PowerShell takes 120 there, and cuts IDs off.
        window_size().map_or(4096, |(_, columns)| usize::from(columns))
    }

    fn execute(&mut self, bound: &Bound, only_says: bool) -> Output {
        let mut ui = Asking { interactive: self.interactive && input_is_terminal(), only_says };
        self.handle.block_on(self.engine.execute(bound, &mut ui))
    }

    fn start_job(&mut self, bound: &Bound) -> Value {
        let id = self.jobs.last().map_or(1, |job| job.id + 1);
        let (engine, bound) = (Arc::clone(&self.engine), bound.clone());
        let command = bound.cmdlet.name;
        let running = self.handle.spawn(async move {
            let mut ui = Asking { interactive: false, only_says: false };
            engine.execute(&bound, &mut ui).await
        });
        let job = Job { id, command, running: Some(running), output: None, failed: false };
        let object = Self::job_object(&job);
        self.jobs.push(job);
        object
    }

    fn jobs(&mut self) -> Vec<Value> {
        self.settle(None);
        self.jobs.iter().map(Self::job_object).collect()
    }

    fn receive_job(&mut self, id: i64) -> Option<Output> {
        self.settle(Some(id.abs()));
        // A negative one is only waited for.
        self.jobs.iter_mut().find(|job| job.id == id)?.output.take()
    }

    fn remove_job(&mut self, id: i64) -> bool {
        let before = self.jobs.len();
        self.jobs.retain(|job| job.id != id);
        self.jobs.len() < before
    }

    fn enter(&mut self, container: &Container) -> Result<(), Failure> {
        let opened = Session::open(&self.client, &container.reference, container.administrator);
        self.session = Some(self.handle.block_on(opened)?);
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(session) = self.session.take() {
            self.handle.block_on(session.sweep(&self.client, false));
        }
    }

    fn session(&self) -> Option<(String, String)> {
        self.session.as_ref().map(|session| (session.name.clone(), session.directory.clone()))
    }

    fn shell(&mut self, line: &str, keep: bool) -> Result<(i64, String), Failure> {
        let Some(session) = &mut self.session else { return Ok((1, String::new())) };
        let mut kept = Vec::new();
        let (client, handle) = (Arc::clone(&self.client), self.handle.clone());
        let ended = handle.block_on(async {
            let mut output = if keep { session::Output::Kept(&mut kept) } else { session::Output::Shown };
            let interrupted = tokio::select! {
                ended = session.run(line, &mut output) => Some(ended),
                _ = tokio::signal::ctrl_c() => None,
            };
            match interrupted {
                Some(ended) => ended,
                // The line's programs end; where the shell is in its answer is not known, so the session ends, too.
                None => Ok(session::Ended::Shell),
            }
        });
        match ended {
            Ok(session::Ended::Code(code)) => Ok((code, String::from_utf8_lossy(&kept).into_owned())),
            Ok(session::Ended::Shell) => {
                let code = handle.block_on(session.exit_code(&client));
                self.leave();
                Ok((code.unwrap_or(1), String::from_utf8_lossy(&kept).into_owned()))
            }
            Err(failure) => {
                self.leave();
                Err(failure)
            }
        }
    }

    fn session_processes(&mut self) -> Result<Vec<Value>, Failure> {
        let Some(session) = &self.session else { return Ok(Vec::new()) };
        let client = Arc::clone(&self.client);
        let listing = self.handle.block_on(session.listing(&client))?;
        let mut on_host = std::collections::BTreeMap::new();
        if !session.hyperv {
            // The daemon knows the host's numbers, the host's /proc the others. A remote host's is not here.
            let top = self.handle.block_on(client.top(&session.container, "-eo pid"));
            let rows = top.ok().and_then(|top| top.processes).unwrap_or_default();
            for pid in rows.iter().filter_map(|row| row.first()?.trim().parse::<i64>().ok()) {
                if let Some(inner) = processes::inner_id(pid) {
                    on_host.insert(inner, pid);
                }
            }
        }
        Ok(processes::of_listing(&listing, |id| on_host.get(&id).copied()))
    }

    fn sleep(&mut self, seconds: f64) {
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }
}
