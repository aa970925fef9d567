//! `stop`, `restart`, `kill`, `pause`, `unpause`, `rename`, `rm`.

use clap::Args;
use cofferdam_client::Removal;

use super::Outcome;
use super::each::each;
use crate::report;
use crate::session::Session;

/// Signal and patience of `stop` and `restart`.
#[derive(Debug, Args)]
struct Patience {
    /// Signal to send to the container
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(
        short = 't',
        long = "timeout",
        alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    seconds: Option<i64>,
}

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    patience: Patience,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    /// Stops.
    pub async fn run(&self, session: &Session) -> Outcome {
        let Patience { signal, seconds } = &self.patience;
        each(&self.containers, async |id| {
            session.client.stop(id, signal.as_deref(), *seconds).await?;
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    patience: Patience,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Restart {
    /// Restarts.
    pub async fn run(&self, session: &Session) -> Outcome {
        let Patience { signal, seconds } = &self.patience;
        each(&self.containers, async |id| {
            session.client.restart(id, signal.as_deref(), *seconds).await?;
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

/// Arguments of `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal to send to the container
    #[arg(short, long, default_value = "KILL", hide_default_value = true)]
    signal: String,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    /// Kills.
    pub async fn run(&self, session: &Session) -> Outcome {
        each(&self.containers, async |id| {
            session.client.kill(id, &self.signal).await?;
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

/// Arguments of `pause`.
#[derive(Debug, Args)]
pub struct Pause {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    /// Pauses.
    pub async fn run(&self, session: &Session) -> Outcome {
        each(&self.containers, async |id| {
            session.client.pause(id).await?;
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

/// Arguments of `unpause`.
#[derive(Debug, Args)]
pub struct Unpause {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Unpause {
    /// Unpauses.
    pub async fn run(&self, session: &Session) -> Outcome {
        each(&self.containers, async |id| {
            session.client.unpause(id).await?;
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

/// Arguments of `rename`.
#[derive(Debug, Args)]
pub struct Rename {
    /// The container
    container: String,
    /// Its new name
    new_name: String,
}

impl Rename {
    /// Renames.
    pub async fn run(&self, session: &Session) -> Outcome {
        session.client.rename(&self.container, &self.new_name).await?;
        Ok(0)
    }
}

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Remove {
    /// Removes.
    pub async fn run(&self, session: &Session) -> Outcome {
        let how = Removal { force: self.force, volumes: self.volumes, link: self.link };
        each(&self.containers, async |id| {
            match session.client.remove_container(id, how).await {
                // Docker: with --force what is not there is a warning.
                Err(error) if self.force && error.is_not_found() => {
                    report::say(&error.into());
                    Ok(None)
                }
                result => result.map(|()| Some(id.to_owned())).map_err(Into::into),
            }
        })
        .await
    }
}
