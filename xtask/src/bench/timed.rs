//! Running one command to its end, never longer than a limit.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// No command of any figure needs longer, unless it hangs.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Starts a command, waits for its success, and says how long that took and what it printed.
///
/// Output goes to files: a pipe would have to be read to an end that a detached grandchild holds open.
pub fn run(mut command: Command) -> Result<(Duration, String)> {
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", line(&command)))?;
    let ended = ended(&child, LIMIT);
    let wall = start.elapsed();
    if !ended? {
        end(&mut child);
        bail!("`{}` did not end within {} s", line(&command), LIMIT.as_secs());
    }
    let status = child.wait()?;
    if !status.success() {
        let said = format!("{} {}", text(&mut err)?, text(&mut out)?);
        // On one line, and without what a guest's console tells a terminal.
        let said = said.replace(char::is_control, " ");
        let said: Vec<&str> = said.split_whitespace().collect();
        bail!("`{}` ended with {status}: {}", line(&command), said.join(" "));
    }
    Ok((wall, text(&mut out)?))
}

/// Waits for a child without reaping it. Asking again and again would be as coarse as its pauses.
fn ended(child: &Child, limit: Duration) -> Result<bool> {
    let descriptor = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).context("pidfd_open")?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: i64::try_from(left.as_secs())?, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks a child to end, and ends it if it does not.
pub fn end(child: &mut Child) {
    let pid = Pid::from_child(child);
    // It may be gone already, which is what is wanted.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    if !ended(child, Duration::from_secs(20)).unwrap_or(false) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_failure_are_told() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command)
        };
        assert_eq!(shell("echo yes; sleep 1 & echo end").unwrap().1, "yes\nend");
        let error = shell("echo because >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("because") && error.contains('3'), "{error}");
    }
}
