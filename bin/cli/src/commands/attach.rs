//! `attach`

use clap::Args;
use cofferdam_client::models::ContainerStateStatusEnum;
use cofferdam_client::{Attach, WaitUntil};

use super::Outcome;
use super::run::{detach_keys, not_a_terminal};
use crate::report::Hinted;
use crate::session::Session;
use crate::stdio::{self, Ended, Target, Wanted};

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,
    container: String,
}

impl Arguments {
    /// Attaches to a running container, and ends with its exit code.
    pub async fn run(&self, session: &Session) -> Outcome {
        let client = &session.client;
        let inspected = client.inspect_container(&self.container, false).await?.value;
        let id = inspected.id.unwrap_or_else(|| self.container.clone());
        let state = inspected.state.unwrap_or_default();
        if state.status == Some(ContainerStateStatusEnum::PAUSED) {
            anyhow::bail!(Hinted::error("cannot attach to a paused container", "unpause it first"));
        }
        if !state.running.unwrap_or(false) {
            anyhow::bail!(Hinted::error(
                "cannot attach to a stopped container",
                format!("'cofferdam start -a {}' starts it and attaches", self.container)
            ));
        }
        let config = inspected.config.unwrap_or_default();
        let tty = config.tty.unwrap_or(false);
        let stdin = !self.no_stdin && config.open_stdin.unwrap_or(false);
        if stdin && tty && !stdio::input_is_terminal() {
            return Err(not_a_terminal());
        }
        let (keys, text) = detach_keys(self.detach_keys.as_deref(), session)?;
        let wait = client.wait(&id, WaitUntil::NotRunning).await?;
        let attach = Attach { stdin, stdout: true, stderr: true, logs: false, detach_keys: text };
        let mut streams = client.attach(&id, &attach).await?;
        streams.output.set_framed(!tty);
        let _signals = self.sig_proxy.then(|| stdio::forward_signals(client, &id)).transpose()?;
        let _size = tty.then(|| stdio::follow_size(client, Target::Container(id.clone()))).transpose()?;
        let wanted = Wanted { stdin, tty, signals_forwarded: self.sig_proxy, detach_keys: keys };
        match stdio::pump(streams, wanted).await? {
            Ended::Detached => {
                eprintln!("read escape sequence");
                Ok(0)
            }
            Ended::Signal(number) => Ok(128 + number),
            Ended::Output => Ok(i32::try_from(wait.exit().await?.status_code).unwrap_or(1)),
        }
    }
}
