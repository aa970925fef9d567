//! How healthy a container is, and what a probe's result changes. Pure; shown by `inspect` as it is stored.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Check;

/// How many results are kept.
const KEPT: usize = 5;

/// The states of health, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Nothing is known yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// Too many probes failed in a row; or nobody probes, because it does not run.
    Unhealthy,
}

impl Word {
    /// As lists and filters have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// `State.Health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// How it is.
    pub status: Word,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results.
    pub log: Vec<Probed>,
}

/// One probe's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Probed {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 is healthy; -1 when it could not be run or took too long.
    pub exit_code: i32,
    /// What it printed, or why it could not be run.
    pub output: String,
}

impl Health {
    /// Of a container that begins to run, or that a new daemon has found running. What is known of earlier probes is
    /// kept.
    #[must_use]
    pub fn begin(before: Option<Self>) -> Self {
        Self {
            status: Word::Starting,
            failing_streak: 0,
            log: before.map_or(Vec::new(), |before| before.log),
        }
    }

    /// Nobody probes any more: Docker calls that unhealthy.
    #[must_use]
    pub fn unwatched(self) -> Self {
        Self { status: Word::Unhealthy, ..self }
    }

    /// After one more probe of a container that has run since `started`.
    #[must_use]
    pub fn after(mut self, probed: Probed, check: &Check, started: Option<Timestamp>) -> Self {
        if probed.exit_code == 0 {
            self.failing_streak = 0;
            self.status = Word::Healthy;
        } else if self.status != Word::Starting || age(started, probed.start) >= check.start_period {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = Word::Unhealthy;
            }
        }
        self.log.push(probed);
        self.log.drain(..self.log.len().saturating_sub(KEPT));
        self
    }

    /// How long the next probe is waited for at the moment `now`.
    #[must_use]
    pub fn interval(&self, check: &Check, started: Option<Timestamp>, now: Timestamp) -> Duration {
        if self.status == Word::Starting && age(started, now) < check.start_period {
            check.start_interval
        } else {
            check.interval
        }
    }

    /// As `ps` has it in parentheses.
    #[must_use]
    pub fn sentence(&self) -> &'static str {
        match self.status {
            Word::Starting => "health: starting",
            other => other.as_str(),
        }
    }
}

fn age(started: Option<Timestamp>, now: Timestamp) -> Duration {
    started.and_then(|started| Duration::try_from(now.duration_since(started)).ok()).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn probed(at: i64, exit_code: i32) -> Probed {
        Probed { start: second(at), end: second(at), exit_code, output: at.to_string() }
    }

    fn check() -> Check {
        Check {
            words: vec!["true".to_owned()],
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::from_secs(10),
            start_interval: Duration::from_secs(1),
            retries: 2,
        }
    }

    #[test]
    fn failures_count_after_the_start_period_and_in_a_row() {
        let (check, started) = (check(), Some(second(0)));
        let mut health = Health::begin(None);
        let mut after = |at, code| {
            health = health.clone().after(probed(at, code), &check, started);
            (health.status, health.failing_streak)
        };
        assert_eq!(after(1, 1), (Word::Starting, 0));
        assert_eq!(after(9, -1), (Word::Starting, 0));
        assert_eq!(after(10, 1), (Word::Starting, 1));
        assert_eq!(after(11, 0), (Word::Healthy, 0));
        assert_eq!(after(12, 1), (Word::Healthy, 1));
        assert_eq!(after(13, 137), (Word::Unhealthy, 2));
        assert_eq!(after(14, 0), (Word::Healthy, 0));
        let kept: Vec<_> = health.log.iter().map(|probed| probed.output.as_str()).collect();
        assert_eq!(kept, ["10", "11", "12", "13", "14"]);
        let again = Health::begin(Some(health.unwatched()));
        assert_eq!((again.status, again.log.len()), (Word::Starting, 5));
    }

    #[test]
    fn a_success_ends_the_short_intervals() {
        let (check, started) = (check(), Some(second(0)));
        let health = Health::begin(None);
        assert_eq!(health.interval(&check, started, second(3)), check.start_interval);
        assert_eq!(health.interval(&check, started, second(10)), check.interval);
        let healthy = health.after(probed(3, 0), &check, started);
        assert_eq!(healthy.interval(&check, started, second(4)), check.interval);
    }

    #[test]
    fn it_is_stored_as_docker_shows_it() {
        let health = Health::begin(None).after(probed(3, 0), &check(), None);
        let json = serde_json::to_value(&health).unwrap();
        let text = "1970-01-01T00:00:03Z";
        assert_eq!(
            json,
            serde_json::json!({
                "Status": "healthy", "FailingStreak": 0,
                "Log": [{ "Start": text, "End": text, "ExitCode": 0, "Output": "3" }],
            })
        );
        assert_eq!(serde_json::from_value::<Health>(json).unwrap(), health);
    }
}
