//! Restart policies: whether a container starts again when it exits, and after how long.

use std::time::Duration;

use super::config::RestartPolicy;

/// The first delay, and the least.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// A run this long makes the next delay short again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// What is wrong with a policy, in Docker's words; `None` when it is good.
#[must_use]
pub fn refusal(policy: &RestartPolicy, auto_remove: bool) -> Option<String> {
    let (name, count) = (policy.name.as_str(), policy.maximum_retry_count);
    match name {
        "" | "no" => {
            (count != 0 && name == "no" || count < 0)
                .then(|| "invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned())
        }
        "always" | "unless-stopped" if count != 0 => Some(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned(),
        ),
        "on-failure" if count < 0 => Some(
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative"
                .to_owned(),
        ),
        "always" | "unless-stopped" | "on-failure" => {
            auto_remove.then(|| "can't create 'AutoRemove' container with restart policy".to_owned())
        }
        other => Some(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )),
    }
}

/// Whether a container that exited by itself starts again.
#[must_use]
pub fn after_exit(policy: &RestartPolicy, exit_code: i32, restarts: u32, stopped_by_hand: bool) -> bool {
    if stopped_by_hand {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            exit_code != 0 && (most <= 0 || i64::from(restarts) < most)
        }
        _ => false,
    }
}

/// Whether a container that does not run starts when the daemon does. `was_running` says that its end was not
/// seen by any daemon.
#[must_use]
pub fn at_daemon_start(
    policy: &RestartPolicy,
    exit_code: i32,
    restarts: u32,
    by_hand: bool,
    was_running: bool,
) -> bool {
    match policy.name.as_str() {
        // Docker starts `always` containers even when they were stopped by hand.
        "always" => true,
        "unless-stopped" => !by_hand,
        _ => was_running && after_exit(policy, exit_code, restarts, by_hand),
    }
}

/// The delays of one container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff(Option<Duration>);

impl Backoff {
    /// The delay after a run of this length.
    pub fn next(&mut self, ran: Duration) -> Duration {
        let delay = match self.0 {
            Some(last) if ran < GOOD_RUN => (last * 2).min(LONGEST),
            _ => SHORTEST,
        };
        self.0 = Some(delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, count: i64) -> RestartPolicy {
        RestartPolicy { name: name.to_owned(), maximum_retry_count: count }
    }

    #[test]
    fn delays_double_to_a_minute_and_reset() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let delays: Vec<_> = (0..12).map(|_| backoff.next(short).as_millis()).collect();
        assert_eq!(&delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[11], 60_000);
        assert_eq!(backoff.next(Duration::from_secs(11)).as_millis(), 100);
    }

    #[test]
    fn who_starts_again() {
        assert!(after_exit(&policy("always", 0), 0, 9, false));
        assert!(!after_exit(&policy("always", 0), 0, 0, true));
        assert!(!after_exit(&policy("on-failure", 0), 0, 0, false));
        assert!(after_exit(&policy("on-failure", 2), 1, 1, false));
        assert!(!after_exit(&policy("on-failure", 2), 1, 2, false));
        assert!(!after_exit(&policy("no", 0), 1, 0, false));
        assert!(at_daemon_start(&policy("always", 0), 0, 0, true, false));
        assert!(!at_daemon_start(&policy("unless-stopped", 0), 0, 0, true, false));
        assert!(at_daemon_start(&policy("on-failure", 0), 255, 0, false, true));
        assert!(!at_daemon_start(&policy("on-failure", 0), 1, 0, false, false));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(refusal(&policy("sometimes", 0), false).unwrap().contains("unknown policy 'sometimes'"));
        assert!(refusal(&policy("always", 3), false).is_some());
        assert!(refusal(&policy("on-failure", -1), false).is_some());
        assert!(refusal(&policy("always", 0), true).unwrap().contains("AutoRemove"));
        for good in [policy("", 0), policy("no", 0), policy("on-failure", 5)] {
            assert_eq!(refusal(&good, good.name != "on-failure"), None);
        }
    }
}
