//! `wait`: until a container stops, exits the next time, or is removed.

use std::sync::Arc;

use cofferdam_model::State;
use tokio::sync::watch;

use super::Container;
use super::record::Status;
use crate::error::{ApiError, ApiResult};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does not run; true at once when it does not.
    NotRunning,
    /// It exits, after this moment.
    NextExit,
    /// It is gone.
    Removed,
}

impl Condition {
    /// Reads the parameter.
    pub fn parse(text: Option<&str>) -> ApiResult<Self> {
        match text {
            None | Some("not-running") => Ok(Self::NotRunning),
            Some("next-exit") => Ok(Self::NextExit),
            Some("removed") => Ok(Self::Removed),
            Some(other) => Err(ApiError::bad_request(format!("invalid condition: \"{other}\""))),
        }
    }
}

/// A wait that has begun: what happens from now on is seen.
pub struct Wait {
    condition: Condition,
    watch: watch::Receiver<Arc<Status>>,
    exits: u64,
}

impl Wait {
    /// Begins.
    pub fn begin(container: &Container, condition: Condition) -> Self {
        let watch = container.watch();
        let exits = watch.borrow().exits;
        Self { condition, watch, exits }
    }

    /// The exit code; for a container that could not be started, the code of that.
    pub async fn finish(mut self) -> i32 {
        let (condition, exits) = (self.condition, self.exits);
        let reached = self.watch.wait_for(|status| {
            status.removed
                || match condition {
                    Condition::NotRunning => !status.is_running() && status.state != State::Starting,
                    Condition::NextExit => status.exits > exits,
                    Condition::Removed => false,
                }
        });
        match reached.await {
            Ok(status) => status.exit_code,
            // The container is gone with its last status.
            Err(_gone) => 0,
        }
    }
}
