//! A container whose init process waits to be told what it is (`cofferdam_model::Orders`). Between
//! [`super::ProcessIsolation::park`] and [`Parked::order`] nothing in it belongs to one certain container.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use cofferdam_model::{GO, HelperReply, PARKED};
use cofferdam_sys::namespace::{self, Namespace};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::cgroup::ContainerCgroup;
use super::task::{Gate, ProcessTask, Running, State, open_gate};
use crate::{Error, Process, Task};

/// A parked container. Dropping it ends its init process.
pub struct Parked {
    state: State,
    cgroup: ContainerCgroup,
    init: Running,
    process: Process,
    orders: Orders,
    uts: Uts,
}

/// The UTS namespaces of the container and of this thread.
struct Uts {
    theirs: OwnedFd,
    own: OwnedFd,
}

impl Parked {
    pub(super) fn new(
        state: State,
        cgroup: ContainerCgroup,
        init: Running,
        process: Process,
        orders: Orders,
    ) -> Result<Self, Error> {
        let handle = |handle: io::Result<OwnedFd>| {
            handle.map_err(|source| Error::Os { doing: "UTS namespace", source })
        };
        let theirs = handle(namespace::of_process(init.pid, Namespace::Uts))?;
        let uts = Uts { theirs, own: handle(namespace::current(Namespace::Uts))? };
        Ok(Self { state, cgroup, init, process, orders, uts })
    }

    /// Gives it these limits.
    pub async fn limit(&self, limits: &cofferdam_model::Resources) -> Result<(), Error> {
        self.cgroup.limit(limits).await
    }

    /// Gives it this hostname: it cannot do so itself, since it has the privileges of its program already. The calling
    /// thread is in its UTS namespace meanwhile.
    pub fn set_hostname(&self, hostname: &str) -> Result<(), Error> {
        let set = || -> io::Result<()> {
            namespace::join(&self.uts.theirs, Namespace::Uts)?;
            let set = rustix::system::sethostname(hostname.as_bytes());
            namespace::join(&self.uts.own, Namespace::Uts)?;
            Ok(set?)
        };
        set().map_err(|source| Error::Os { doing: "hostname", source })
    }

    /// Makes it a certain container, up to the point where only its program is missing.
    pub async fn order(self, orders: &cofferdam_model::Orders) -> Result<(Arc<dyn Task>, Process), Error> {
        let Self { state, cgroup, init, process, orders: mut stream, uts: _ } = self;
        if let Err(error) = stream.give(orders).await {
            cgroup.kill_and_remove().await.ok();
            return Err(error);
        }
        let gate = Gate::Park(stream.into_std()?);
        Ok((ProcessTask::new(state, cgroup, init, gate), process))
    }
}

/// The stream to a parked init process.
pub(super) struct Orders(BufReader<UnixStream>);

impl Orders {
    /// A new one, and the init process's end.
    pub(super) fn pair() -> Result<(Self, OwnedFd), Error> {
        let pair = || -> io::Result<(Self, OwnedFd)> {
            let (ours, theirs) = StdUnixStream::pair()?;
            ours.set_nonblocking(true)?;
            Ok((Self(BufReader::new(UnixStream::from_std(ours)?)), theirs.into()))
        };
        pair().map_err(broken)
    }

    /// Takes the init process out of libcontainer's hands and waits until it is parked.
    pub(super) async fn parked(mut self, state: &State) -> Result<Self, Error> {
        open_gate(state)?;
        match self.line().await?.as_str() {
            PARKED => Ok(self),
            word => Err(Error::Helper(format!("the init process said {word:?} instead of {PARKED:?}"))),
        }
    }

    async fn give(&mut self, orders: &cofferdam_model::Orders) -> Result<(), Error> {
        let mut line = serde_json::to_vec(orders).map_err(|error| broken(error.into()))?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line).await.map_err(broken)?;
        let reply = self.line().await?;
        match serde_json::from_str(&reply).map_err(|error| broken(error.into()))? {
            HelperReply::Ready { .. } => Ok(()),
            HelperReply::Failed { message, code: Some(code) } => Err(Error::Exec { message, code }),
            HelperReply::Failed { message, code: None } => Err(Error::Helper(message)),
        }
    }

    async fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await.map_err(broken)? == 0 {
            return Err(Error::Helper("the parked init process ended".to_owned()));
        }
        Ok(line.trim_end_matches('\n').to_owned())
    }

    fn into_std(self) -> Result<StdUnixStream, Error> {
        self.0.into_inner().into_std().map_err(broken)
    }
}

/// Lets a process that has its orders run its program.
pub(super) fn go(mut stream: &StdUnixStream) -> io::Result<()> {
    stream.write_all(format!("{GO}\n").as_bytes())
}

fn broken(source: io::Error) -> Error {
    Error::Os { doing: "talking to the parked init process", source }
}
