//! `diff`

use clap::Args;

use super::Outcome;
use crate::output;
use crate::session::Session;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct Arguments {
    container: String,
}

impl Arguments {
    /// Shows what the container has changed: `A` added, `C` changed, `D` deleted.
    pub async fn run(&self, session: &Session) -> Outcome {
        for change in session.client.changes(&self.container).await? {
            let letter = match change.kind {
                0 => 'C',
                1 => 'A',
                _ => 'D',
            };
            output::line(format!("{letter} {}", change.path))?;
        }
        Ok(0)
    }
}
