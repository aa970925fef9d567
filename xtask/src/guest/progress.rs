//! How far a long compilation is.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often a log is told.
const INTERVAL: Duration = Duration::from_secs(15);

/// Counts what a kernel's make says: one line on a terminal, one line now and then in a log.
pub struct Progress {
    start: Instant,
    shown: Instant,
    files: usize,
    terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        let now = Instant::now();
        Self { start: now, shown: now, files: 0, terminal: std::io::stdout().is_terminal() }
    }
}

impl Progress {
    /// Takes one line: `  CC      fs/open.o`.
    pub fn step(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(file)) = (words.next(), words.next()) else { return };
        if !line.starts_with("  ") || kind == "CALL" || kind == "DESCEND" {
            return;
        }
        self.files += 1;
        let (files, time) = (self.files, spoken(self.start.elapsed()));
        if self.terminal {
            // Clears the rest of what was there.
            print!("\rguest: {files} steps in {time}: {kind} {file}\x1b[K");
            std::io::stdout().flush().ok();
        } else if self.shown.elapsed() >= INTERVAL {
            println!("guest: {files} steps in {time}: {kind} {file}");
            self.shown = Instant::now();
        }
    }

    /// Ends the line.
    pub fn end(self) {
        if self.terminal && self.files > 0 {
            println!();
        }
    }
}

/// `3 min 5 s`
pub fn spoken(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}
