//! A parked init process: it has done all that containers of one kind have in common, and waits to be told which one
//! it is (see `cofferdam_model::Orders`). A VM may be saved while it waits, and cloned many times.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use cofferdam_model::{GO, HelperReply, Orders, PARKED};
use oci_spec::runtime::Process;

use crate::failure::Failure;
use crate::{create, environment, program};

/// Where orders come from. libcontainer wants what it runs to be cloneable.
#[derive(Clone)]
pub struct Park(Arc<UnixStream>);

impl Park {
    /// Orders come on `stream`.
    pub fn on(stream: OwnedFd) -> Self {
        Self(Arc::new(stream.into()))
    }

    /// Waits for orders and for the word to go. Returns what to run. Ends the process when it is not wanted, or what is
    /// wanted cannot run.
    pub fn wait(&self, process: &Process) -> Process {
        match self.converse(process) {
            Ok(Some(process)) => process,
            // The container is taken down, and this process with it.
            Ok(None) => std::process::exit(0),
            Err(error) => {
                eprintln!("cofferdam-oci: orders: {error}");
                std::process::exit(255)
            }
        }
    }

    fn converse(&self, process: &Process) -> std::io::Result<Option<Process>> {
        let mut lines = BufReader::new(&*self.0);
        let say = |line: &str| (&*self.0).write_all(format!("{line}\n").as_bytes());
        let mut hear = || -> std::io::Result<Option<String>> {
            let mut line = String::new();
            let ended = lines.read_line(&mut line)? == 0;
            Ok((!ended).then(|| line.trim_end_matches('\n').to_owned()))
        };
        say(PARKED)?;
        let Some(orders) = hear()? else { return Ok(None) };
        let ready = obey(serde_json::from_str(&orders)?, process);
        let reply = match &ready {
            Ok(_) => HelperReply::Ready { pid: 0 },
            Err(failure) => failure.clone().prefixed(create::PREFIX).into(),
        };
        say(&serde_json::to_string(&reply)?)?;
        let Ok(process) = ready else { return Ok(None) };
        Ok(hear()?.filter(|word| word == GO).map(|_| process))
    }
}

/// Becomes the process that the orders describe, up to its program.
fn obey(orders: Orders, process: &Process) -> Result<Process, Failure> {
    let mut process = process.clone();
    environment::replace(&orders.env, process.user().uid());
    process.set_args(Some(orders.args));
    process.set_env(Some(orders.env));
    program::find(&process).map_err(Failure::from_text)?;
    Ok(process)
}
