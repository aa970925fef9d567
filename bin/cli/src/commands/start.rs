//! `start`

use clap::Args;
use cofferdam_client::Attach;

use super::Outcome;
use super::each::each;
use super::run::{Attached, detach_keys, not_a_terminal, run_attached};
use crate::session::Session;
use crate::stdio;

/// Arguments of `start`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Arguments {
    /// Starts; with one attached, ends with its exit code.
    pub async fn run(&self, session: &Session) -> Outcome {
        if !self.attach && !self.interactive {
            return each(&self.containers, async |id| {
                session.client.start(id, None).await?;
                Ok(Some(id.to_owned()))
            })
            .await;
        }
        let [container] = &self.containers[..] else {
            anyhow::bail!("you cannot start and attach multiple containers at once");
        };
        let inspected = session.client.inspect_container(container, false).await?.value;
        let id = inspected.id.unwrap_or_else(|| container.clone());
        let config = inspected.config.unwrap_or_default();
        let tty = config.tty.unwrap_or(false);
        let stdin = self.interactive && config.open_stdin.unwrap_or(false);
        if stdin && tty && !stdio::input_is_terminal() {
            return Err(not_a_terminal());
        }
        let (keys, text) = detach_keys(self.detach_keys.as_deref(), session)?;
        let removed = inspected.host_config.and_then(|host| host.auto_remove).unwrap_or(false);
        let attach = Attach { stdin, stdout: true, stderr: true, logs: false, detach_keys: text };
        run_attached(session, &id, &attach, Attached { tty, removed, sig_proxy: true, keys, trace: false })
            .await
    }
}
