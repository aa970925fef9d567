//! What every command that talks to the daemon has: a client, and Docker's client configuration.

use std::sync::Arc;

use cofferdam_client::Client;

use crate::args::Cli;
use crate::config::Config;
use crate::report::Hinted;

/// A command's surroundings.
pub struct Session {
    /// The daemon.
    pub client: Arc<Client>,
    /// Docker's client configuration.
    pub config: Config,
    /// `DOCKER_HOST`, when it was passed over because no Cofferdam daemon answers there.
    ignored_docker_host: Option<String>,
}

impl Session {
    /// Chooses the daemon and reads the configuration.
    pub async fn open(cli: &Cli) -> anyhow::Result<Self> {
        let selected = Client::select(cli.host.as_deref(), |name| std::env::var(name).ok()).await?;
        let config = Config::load(cli.config.as_deref())?;
        Ok(Self {
            client: Arc::new(selected.client),
            config,
            ignored_docker_host: selected.ignored_docker_host,
        })
    }

    /// Adds to an error what the choice of daemon may have to do with it.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let is_connect = matches!(error.downcast_ref(), Some(cofferdam_client::ClientError::Connect { .. }));
        match &self.ignored_docker_host {
            Some(host) if is_connect => Hinted::wrap(
                error,
                format!(
                    "DOCKER_HOST={host} was passed over because no Cofferdam daemon answers there; set COFFERDAM_HOST"
                ),
            ),
            _ => error,
        }
    }
}
