//! Where the milliseconds of a start go: named moments of this process, on the clock that all processes of a host share.

use std::sync::{Mutex, PoisonError};

/// More than a start has; a process that marks without end keeps the first ones.
const MOST: usize = 64;

static MARKS: Mutex<Vec<(&'static str, u64)>> = Mutex::new(Vec::new());

/// Notes that `what` is done now.
pub fn mark(what: &'static str) {
    let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    if marks.len() < MOST {
        marks.push((what, now()));
    }
}

/// What was noted so far, in order: what was done, and when, in microseconds of [`now`].
#[must_use]
pub fn marks() -> Vec<(String, u64)> {
    let marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    marks.iter().map(|&(what, at)| (what.to_owned(), at)).collect()
}

/// The monotonic clock in microseconds.
#[must_use]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Neither is negative: the clock counts from the host's boot.
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_order() {
        mark("one");
        mark("two");
        let marks = marks();
        let at = |name| marks.iter().find(|(what, _)| what == name).unwrap().1;
        assert!(at("one") <= at("two") && at("two") <= now());
    }
}
