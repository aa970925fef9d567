//! `wait`

use clap::Args;
use cofferdam_client::WaitUntil;

use super::Outcome;
use super::each::each;
use crate::session::Session;

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Arguments {
    /// Waits for each, and prints its exit code.
    pub async fn run(&self, session: &Session) -> Outcome {
        each(&self.containers, async |id| {
            let exit = session.client.wait(id, WaitUntil::NotRunning).await?.exit().await?;
            match exit.error.and_then(|error| error.message).filter(|message| !message.is_empty()) {
                Some(message) => anyhow::bail!(message),
                None => Ok(Some(exit.status_code.to_string())),
            }
        })
        .await
    }
}
