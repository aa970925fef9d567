//! A container in a VM, as its shim sees it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_model::{
    ChangedFile, InterfaceConfig, ProcessInfo, Resources, TaskInfo, TaskUsage, VmInfo, WindowSize,
};
use cofferdam_proto::{EndedBy, Event, ExecProcess, Message, Request, Response, Rewire, StreamIds};
use cofferdam_sys::trace::marks;
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::sync::{mpsc, oneshot, watch};

use super::link::Link;
use super::worker::Worker;
use super::{StreamNumbers, now, unexpected};
use crate::process::oom::Ooms;
use crate::{Error, ExecRequest, Exit, Process, Stdio, Task};

/// How long the agent may take to do what is asked. Starting a process takes an emulated guest some 200 ms.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long the guest may take to end a container and write its disk out, before it is switched off regardless.
const SHUTDOWN_TIME: Duration = Duration::from_secs(15);
/// How long after the connection's end the VM may take to end by itself.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Bytes between a stream and its consumer, beside the stream's window.
const PIPE: usize = 32 << 10;
/// A guest's word for how many interfaces it has is believed up to here.
const MOST_INTERFACES: usize = 64;
/// The exit code of a container whose VM was lost: that of a process killed by SIGKILL.
const LOST: i32 = 137;

type Answer = Result<Response, Error>;

/// A container in a VM.
pub(super) struct VmTask {
    link: Link,
    worker: Arc<Worker>,
    info: VmInfo,
    template_wanted: bool,
    /// Whether nothing that the guest holds is of any worth after its end.
    discard: bool,
    numbers: StreamNumbers,
    next_request: AtomicU64,
    oom_killed: AtomicBool,
    ooms: Ooms,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pending: HashMap<u64, oneshot::Sender<Answer>>,
    /// Every process that has not been forgotten; the empty exec ID is the init process.
    processes: HashMap<String, watch::Sender<Option<Exit>>>,
    /// Why the guest is lost.
    lost: Option<String>,
}

impl VmTask {
    /// Takes over the connection.
    pub(super) fn serve(
        link: Link,
        messages: mpsc::Receiver<Message>,
        worker: Arc<Worker>,
        info: VmInfo,
        template_wanted: bool,
        discard: bool,
    ) -> Arc<Self> {
        let task = Arc::new(Self {
            link,
            worker,
            info,
            template_wanted,
            discard,
            numbers: StreamNumbers::new(),
            next_request: AtomicU64::new(1),
            oom_killed: AtomicBool::new(false),
            ooms: Ooms::none(),
            state: Mutex::default(),
        });
        task.state().processes.insert(String::new(), watch::Sender::new(None));
        tokio::spawn(receive(Arc::clone(&task), messages));
        task
    }

    /// Makes the streams of a process: their numbers, and this side's ends.
    pub(super) fn connect(&self, terminal: bool, stdin: bool) -> (StreamIds, Stdio) {
        let ids = self.numbers.take(terminal, stdin);
        let output = |id: u32| -> Box<dyn AsyncRead + Send + Unpin> {
            let (ours, sink) = duplex(PIPE);
            self.link.receive_stream(id, sink);
            Box::new(ours)
        };
        let input = |id: u32| -> Box<dyn AsyncWrite + Send + Unpin> {
            let (ours, source) = duplex(PIPE);
            self.link.send_stream(id, source);
            Box::new(ours)
        };
        let stdio = Stdio {
            stdin: ids.stdin.map(input),
            stdout: ids.stdout.map(output),
            stderr: ids.stderr.map(output),
        };
        (ids, stdio)
    }

    /// Asks the agent, and waits for its answer for a bounded time.
    pub(super) async fn ask(&self, request: Request) -> Answer {
        self.ask_within(request, ANSWER_TIME).await
    }

    pub(super) async fn ask_within(&self, request: Request, limit: Duration) -> Answer {
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.state();
            if let Some(reason) = &state.lost {
                return Err(Error::Agent(reason.clone()));
            }
            state.pending.insert(id, sender);
        }
        self.link.send(&Message::Request { id, request });
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_closed)) => Err(Error::Agent("connection lost".to_owned())),
            Err(_elapsed) => {
                self.state().pending.remove(&id);
                Err(Error::Agent(format!("did not answer within {} seconds", limit.as_secs())))
            }
        }
    }

    /// Asks for something that has no result.
    async fn tell(&self, request: Request) -> Result<(), Error> {
        match self.ask(request).await? {
            Response::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exit(&self, exec_id: &str) -> Result<watch::Receiver<Option<Exit>>, Error> {
        let state = self.state();
        let process = state.processes.get(exec_id);
        process.map(watch::Sender::subscribe).ok_or_else(|| Error::NoSuchProcess(exec_id.to_owned()))
    }

    fn is_running(&self, exec_id: &str) -> Result<(), Error> {
        if self.exit(exec_id)?.borrow().is_some() { Err(Error::Finished) } else { Ok(()) }
    }

    /// Handles a message; an error ends the VM.
    fn accept(&self, message: Message) -> Result<(), String> {
        match message {
            Message::Response { id, response } => self.answer(id, Ok(response)),
            Message::Failure { id, message, exec_code, no_such_process, finished } => {
                let error = match exec_code {
                    Some(code @ (126 | 127)) => Error::Exec { message, code },
                    _ if finished => Error::Finished,
                    _ if no_such_process => Error::NoSuchProcess(message),
                    _ => Error::Helper(message),
                };
                self.answer(id, Err(error));
            }
            Message::Event(Event::Exited(EndedBy { exec_id, code, oom_killed })) => {
                self.oom_killed.fetch_or(oom_killed, Ordering::Relaxed);
                if let Some(process) = self.state().processes.get(&exec_id) {
                    end(process, code);
                }
            }
            Message::Event(Event::OutOfMemory) => {
                self.oom_killed.store(true, Ordering::Relaxed);
                self.ooms.count(1);
            }
            Message::Hello(_) | Message::Request { .. } => return Err("a message out of place".to_owned()),
        }
        Ok(())
    }

    fn answer(&self, id: u64, answer: Answer) {
        // The asker may have given up; what nobody asked for is dropped.
        let asker = self.state().pending.remove(&id);
        if let Some(asker) = asker {
            asker.send(answer).ok();
        }
    }

    /// The guest is gone: nothing is answered any more, and every process has ended.
    fn lose(&self, reason: &str) {
        let mut state = self.state();
        state.lost = Some(reason.to_owned());
        for (_, asker) in state.pending.drain() {
            asker.send(Err(Error::Agent(reason.to_owned()))).ok();
        }
        for process in state.processes.values() {
            end(process, LOST);
        }
    }
}

/// Records a process's end, if it is the first.
fn end(process: &watch::Sender<Option<Exit>>, code: i32) {
    process.send_if_modified(|exit| {
        let first = exit.is_none();
        exit.get_or_insert(Exit { code, at_nanos: now() });
        first
    });
}

/// Handles messages until the connection or the VM ends, for whatever reason, and then ends the other.
async fn receive(task: Arc<VmTask>, mut messages: mpsc::Receiver<Message>) {
    let reason = loop {
        tokio::select! {
            biased;
            message = messages.recv() => match message.map(|message| task.accept(message)) {
                Some(Ok(())) => {}
                Some(Err(broken)) => break broken,
                None => break task.link.closed().await,
            },
            reason = task.worker.vm.ended() => {
                // What the guest said before its end still counts.
                while let Ok(message) = messages.try_recv() {
                    task.accept(message).ok();
                }
                break reason;
            }
        }
    };
    // When the connection ends first, the VM is most likely on its way out and has the better reason.
    let reason = match tokio::time::timeout(LAST_MOMENT, task.worker.vm.ended()).await {
        Ok(better) => better,
        Err(_elapsed) => reason,
    };
    if task.is_running("").is_ok() && !task.worker.is_ending() {
        let words = task.worker.vm.last_words().await;
        tracing::error!(reason, words, "the utility VM was lost");
    }
    if task.worker.oom_killed() {
        task.oom_killed.store(true, Ordering::Relaxed);
    }
    // Kill first: whoever learns of the end must not find the VM still there.
    task.worker.vm.kill().await;
    task.lose(&reason);
}

#[async_trait]
impl Task for VmTask {
    async fn start(&self) -> Result<(), Error> {
        self.tell(Request::Start).await
    }

    async fn exec(&self, request: ExecRequest) -> Result<Process, Error> {
        self.is_running("")?;
        let (streams, stdio) = self.connect(request.terminal, request.stdin);
        // Known before it is asked for: it may have ended before the answer is read.
        self.state().processes.insert(request.exec_id.clone(), watch::Sender::new(None));
        let asked = Request::Exec(ExecProcess {
            exec_id: request.exec_id.clone(),
            process: request.process,
            terminal: request.terminal,
            streams,
        });
        match self.ask(asked).await {
            Ok(Response::Process { pid }) => Ok(Process { pid, stdio }),
            Ok(_) => Err(unexpected()),
            Err(error) => {
                self.state().processes.remove(&request.exec_id);
                Err(error)
            }
        }
    }

    async fn signal(&self, exec_id: &str, signal: i32, all: bool) -> Result<(), Error> {
        self.is_running(exec_id)?;
        self.tell(Request::Signal { exec_id: exec_id.to_owned(), signal, all }).await
    }

    async fn resize(&self, exec_id: &str, size: WindowSize) -> Result<(), Error> {
        self.is_running(exec_id)?;
        self.tell(Request::Resize { exec_id: exec_id.to_owned(), size }).await
    }

    async fn pause(&self) -> Result<(), Error> {
        self.is_running("")?;
        self.tell(Request::Pause).await
    }

    async fn resume(&self) -> Result<(), Error> {
        self.is_running("")?;
        self.tell(Request::Resume).await
    }

    async fn limit(&self, limits: &Resources) -> Result<(), Error> {
        self.is_running("")?;
        let before = self.worker.limit(limits).await?;
        let limited = self.tell(Request::Limit(Box::new(self.worker.for_guest(limits)))).await;
        if limited.is_err()
            && let Err(error) = before.restore()
        {
            tracing::error!(%error, "limits of the VM worker process");
        }
        limited
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, Error> {
        match self.ask(Request::Processes).await? {
            Response::Processes(processes) => Ok(processes),
            _ => Err(unexpected()),
        }
    }

    async fn usage(&self) -> Result<TaskUsage, Error> {
        let Response::Usage(mut container) = self.ask(Request::Usage).await? else {
            return Err(unexpected());
        };
        container.interfaces.truncate(MOST_INTERFACES);
        let vm = self.worker.usage().map_err(|error| Error::Hypervisor(error.to_string()))?;
        Ok(TaskUsage { container: *container, vm: Some(vm) })
    }

    async fn oom(&self, seen: u64) -> Result<u64, Error> {
        tokio::select! {
            count = self.ooms.after(seen) => count,
            _ = self.wait("") => Err(Error::Finished),
        }
    }

    async fn rewire(&self, interfaces: Vec<InterfaceConfig>, files: Vec<ChangedFile>) -> Result<(), Error> {
        self.is_running("")?;
        self.tell(Request::Rewire(Rewire { interfaces, files })).await
    }

    async fn wait(&self, exec_id: &str) -> Result<Exit, Error> {
        let mut exit = self.exit(exec_id)?;
        let known = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        known.ok_or_else(|| Error::NoSuchProcess(exec_id.to_owned()))
    }

    async fn forget(&self, exec_id: &str) -> Result<(), Error> {
        if exec_id.is_empty() || self.exit(exec_id)?.borrow().is_none() {
            return Err(Error::NoSuchProcess(exec_id.to_owned()));
        }
        self.state().processes.remove(exec_id);
        self.link.send(&Message::Request {
            id: self.next_request.fetch_add(1, Ordering::Relaxed),
            request: Request::Forget { exec_id: exec_id.to_owned() },
        });
        Ok(())
    }

    fn host_pid(&self) -> i32 {
        self.info.worker_pid
    }

    async fn info(&self) -> TaskInfo {
        // The guest says so with each exit; here only the host's own killer is asked.
        if self.worker.oom_killed() {
            self.oom_killed.store(true, Ordering::Relaxed);
        }
        TaskInfo {
            oom_killed: self.oom_killed.load(Ordering::Relaxed),
            vm: Some(self.info.clone()),
            template_wanted: self.template_wanted,
            marks: marks(),
        }
    }

    async fn delete(&self) -> Result<(), Error> {
        if !self.discard
            && let Err(error) = self.ask_within(Request::Shutdown, SHUTDOWN_TIME).await
        {
            tracing::debug!(%error, "the guest did not shut down");
        }
        self.worker.end().await;
        Ok(())
    }
}
