//! `logs`

use clap::Args;
use cofferdam_client::Logs;
use jiff::Timestamp;

use super::Outcome;
use crate::output::point_in_time;
use crate::session::Session;

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since a time (2026-01-02T13:23:37Z) or relative (42m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show logs before a time (2026-01-02T13:23:37Z) or relative (42m)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES", allow_negative_numbers = true)]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    container: String,
}

impl Arguments {
    /// Prints logs, each stream to its own.
    pub async fn run(&self, session: &Session) -> Outcome {
        let now = Timestamp::now();
        let time = |text: &Option<String>| {
            text.as_deref().map(|text| point_in_time(text, now)).transpose().map_err(anyhow::Error::msg)
        };
        let inspected = session.client.inspect_container(&self.container, false).await?.value;
        let tty = inspected.config.and_then(|config| config.tty).unwrap_or(false);
        let which = Logs {
            stdout: true,
            stderr: true,
            follow: self.follow,
            timestamps: self.timestamps,
            details: self.details,
            since: time(&self.since)?,
            until: time(&self.until)?,
            tail: Some(self.tail.clone()),
        };
        // By ID: a name may be given away meanwhile.
        let id = inspected.id.unwrap_or_else(|| self.container.clone());
        let mut output = session.client.logs(&id, &which, tty).await?;
        output.copy(&mut tokio::io::stdout(), &mut tokio::io::stderr()).await?;
        Ok(0)
    }
}
