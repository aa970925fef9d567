//! The shim's requests. `Adopt`, `Prepare` and `Create` are done in order before anything else is read; after them
//! requests run side by side. Between any two of them the VM may be saved and cloned.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use cofferdam_proto::{AGENT_PORT, Adopt, Hello, Message, Request, Response, VERSION};
use cofferdam_runtime::Error;
use cofferdam_runtime::process::reaper::Reaper;
use cofferdam_runtime::vm::link::Link;

use crate::container::{self, Created};
use crate::port::Port;

/// The container, once it exists.
type Slot = Arc<Mutex<Option<Created>>>;

/// Serves the shim until it closes the port.
pub async fn serve() -> Result<()> {
    let reaper = Reaper::start().context("reaper")?;
    let port = Port::open(AGENT_PORT).context("agent's port")?;
    let (link, mut messages) = Link::start(port.clone(), port);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    link.send(&Message::Hello(Hello { version: VERSION, kernel }));
    let slot = Slot::default();
    let mut prepared = None;
    while let Some(message) = messages.recv().await {
        let Message::Request { id, request } = message else {
            bail!("the shim sent something other than a request")
        };
        match request {
            Request::Adopt(asked) => answer(&link, id, adopt(&asked).map(|()| Response::Done)),
            Request::Prepare(asked) => {
                let outcome = container::prepare(*asked, &reaper).await;
                answer(
                    &link,
                    id,
                    outcome.map(|ready| {
                        prepared = Some(ready);
                        Response::Done
                    }),
                );
            }
            Request::Settle { programs } => {
                container::warm(&programs);
                rustix::fs::sync();
                answer(&link, id, Ok(Response::Done));
            }
            Request::Create(asked) => {
                let created = match prepared.take() {
                    Some(prepared) => container::create(prepared, *asked, &link).await,
                    None => Err(anyhow!("no container was prepared")),
                };
                let created = created.map(|created| {
                    let pid = created.pid;
                    *lock(&slot) = Some(created);
                    Response::Process { pid }
                });
                answer(&link, id, created);
            }
            Request::Clear { let_disk_go } => {
                let created = lock(&slot).take();
                let cleared = match created {
                    Some(created) => created.clear(let_disk_go).await,
                    None => Err(anyhow!("no container was created")),
                };
                answer(&link, id, cleared.map(|()| Response::Done));
            }
            request => {
                let (link, slot) = (link.clone(), Arc::clone(&slot));
                tokio::spawn(async move { answer(&link, id, handle(request, &slot, &link).await) });
            }
        }
    }
    Ok(())
}

fn lock(slot: &Slot) -> std::sync::MutexGuard<'_, Option<Created>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(link: &Link, id: u64, result: Result<Response>) {
    link.send(&match result {
        Ok(response) => Message::Response { id, response },
        Err(error) => failure(id, &error),
    });
}

fn failure(id: u64, error: &anyhow::Error) -> Message {
    let (mut message, mut exec_code, mut no_such_process, mut finished) =
        (format!("{error:#}"), None, false, false);
    match error.downcast_ref::<Error>() {
        Some(Error::Exec { code, .. }) => exec_code = Some(*code),
        Some(Error::NoSuchProcess(exec_id)) => {
            message.clone_from(exec_id);
            no_such_process = true;
        }
        Some(Error::Finished) => finished = true,
        _ => {}
    }
    Message::Failure { id, message, exec_code, no_such_process, finished }
}

/// Becomes a VM of its own.
fn adopt(asked: &Adopt) -> Result<()> {
    let seed = hex::decode(&asked.seed).context("seed")?;
    cofferdam_sys::entropy::reseed(&seed).context("reseed")?;
    let clock = Duration::from_nanos(u64::try_from(asked.clock_nanos).context("clock")?);
    let clock = nix::sys::time::TimeSpec::from_duration(clock);
    nix::time::clock_settime(nix::time::ClockId::CLOCK_REALTIME, clock).context("clock")
}

async fn handle(request: Request, slot: &Slot, link: &Link) -> Result<Response> {
    let task = lock(slot).as_ref().map(|created| Arc::clone(&created.task));
    if matches!(request, Request::Shutdown) {
        container::shut_down(task).await?;
        return Ok(Response::Done);
    }
    let task = task.context("no container was created")?;
    match request {
        Request::Rewire(asked) => lock(slot).as_mut().context("no container was created")?.rewire(&asked)?,
        Request::Start => task.start().await?,
        Request::Exec(asked) => {
            return Ok(Response::Process { pid: container::exec(&task, asked, link).await? });
        }
        Request::Signal { exec_id, signal, all } => task.signal(&exec_id, signal, all).await?,
        Request::Resize { exec_id, size } => task.resize(&exec_id, size).await?,
        Request::Pause => task.pause().await?,
        Request::Resume => task.resume().await?,
        Request::Limit(limits) => task.limit(&limits).await?,
        Request::Processes => return Ok(Response::Processes(task.processes().await?)),
        Request::Usage => return Ok(Response::Usage(Box::new(task.usage().await?.container))),
        Request::Forget { exec_id } => task.forget(&exec_id).await?,
        Request::Adopt(_)
        | Request::Prepare(_)
        | Request::Create(_)
        | Request::Clear { .. }
        | Request::Settle { .. }
        | Request::Shutdown => bail!("a request out of order"),
    }
    Ok(Response::Done)
}
