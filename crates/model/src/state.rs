//! The state machine of a container: pure and total.

use serde::{Deserialize, Serialize};

/// Where a container is in its life. Docker's `State.Status` is derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Recorded, never started.
    Created,
    /// A shim is being started; a daemon that dies here finds out from the shim, or starts over.
    Starting,
    /// Its init process runs.
    Running,
    /// Frozen.
    Paused,
    /// Its init process has ended.
    Exited,
    /// Being removed; a daemon that dies here finishes the removal at its next start.
    Removing,
}

/// What can happen to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A start was asked for.
    Start,
    /// The init process runs.
    Started,
    /// The start failed; carries whether the container had run before.
    StartFailed {
        /// Whether it had been started successfully at some earlier time.
        ran_before: bool,
    },
    /// Frozen.
    Pause,
    /// Thawed.
    Unpause,
    /// The init process ended, or its VM or shim was lost.
    Exited,
    /// Removal begins.
    Remove,
}

/// The event is not legal in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {} container cannot take the event {event:?}", state.as_str())]
pub struct InvalidTransition {
    /// Where the container was.
    pub state: State,
    /// What was asked of it.
    pub event: Event,
}

impl State {
    /// Docker's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created | Self::Starting => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }

    /// Whether an init process exists.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The state after `event`.
    pub fn apply(self, event: Event) -> Result<Self, InvalidTransition> {
        match (self, event) {
            (Self::Created | Self::Exited, Event::Start) => Ok(Self::Starting),
            (Self::Starting, Event::Started) => Ok(Self::Running),
            (Self::Starting, Event::StartFailed { ran_before: false }) => Ok(Self::Created),
            (Self::Starting, Event::StartFailed { ran_before: true }) => Ok(Self::Exited),
            (Self::Running, Event::Pause) => Ok(Self::Paused),
            (Self::Paused, Event::Unpause) => Ok(Self::Running),
            (Self::Starting | Self::Running | Self::Paused, Event::Exited) => Ok(Self::Exited),
            (Self::Created | Self::Exited | Self::Removing, Event::Remove) => Ok(Self::Removing),
            _ => Err(InvalidTransition { state: self, event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] =
        [State::Created, State::Starting, State::Running, State::Paused, State::Exited, State::Removing];
    const EVENTS: [Event; 8] = [
        Event::Start,
        Event::Started,
        Event::StartFailed { ran_before: false },
        Event::StartFailed { ran_before: true },
        Event::Pause,
        Event::Unpause,
        Event::Exited,
        Event::Remove,
    ];

    #[test]
    fn every_pair_is_decided_and_removal_is_final() {
        for state in STATES {
            for event in EVENTS {
                match state.apply(event) {
                    Ok(next) => assert!(state != State::Removing || next == State::Removing),
                    Err(error) => assert_eq!(error, InvalidTransition { state, event }),
                }
            }
        }
    }

    #[test]
    fn a_live_container_is_never_removed() {
        for state in STATES.into_iter().filter(|s| s.is_live()) {
            assert!(state.apply(Event::Remove).is_err());
        }
    }
}
