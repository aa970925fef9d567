//! Running a command to its end, or beside the case, never longer than a limit.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::patient;

/// How long any single command may take. A utility VM boots in seconds even under software emulation on two busy
/// cores, so a command that needs longer hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// A command to be run.
pub struct Invocation {
    command: Command,
    line: String,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

impl Invocation {
    /// Wraps a command; `line` is how it is shown in failures.
    #[must_use]
    pub fn new(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(&program);
        command.args(args);
        let name =
            std::path::Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words: Vec<_> = std::iter::once(name).chain(args.iter().map(|word| quoted(word))).collect();
        Self { command, line: words.join(" "), stdin: None, limit: LIMIT }
    }

    /// Shows it as this line instead.
    #[must_use]
    pub fn shown_as(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Gives standard input, then end-of-file.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Another limit than the usual one.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command itself, for a [`crate::Pty`].
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }

    /// How it is shown.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Runs it to its end.
    pub fn output(self) -> Result<Output> {
        let limit = self.limit;
        self.spawn()?.finish(limit)
    }

    /// Runs it to its end, which must be a success; its standard output without the last line end.
    pub fn ok(self) -> Result<String> {
        self.output()?.ok()
    }

    /// Runs it to its end, which must be this exit code; its standard error.
    pub fn fails(self, code: i32) -> Result<String> {
        self.output()?.fails(code)
    }

    /// Starts it beside the case.
    pub fn spawn(mut self) -> Result<Background> {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.start()
    }

    /// Starts it beside the case with its standard input held open.
    pub fn spawn_with_stdin(mut self) -> Result<Background> {
        self.command.stdin(Stdio::piped());
        self.start()
    }

    fn start(mut self) -> Result<Background> {
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let stdout = Captured::read(child.stdout.take().context("stdout is piped")?);
        let stderr = Captured::read(child.stderr.take().context("stderr is piped")?);
        if let Some(bytes) = self.stdin.take() {
            let mut stdin = child.stdin.take().context("stdin is piped")?;
            // The reader may go away early: that is its right, and shows in what the case looks at.
            thread::spawn(move || stdin.write_all(&bytes));
        }
        Ok(Background { child, line: self.line, stdout, stderr })
    }
}

/// A command that runs beside the case; killed when dropped.
pub struct Background {
    child: Child,
    line: String,
    stdout: Captured,
    stderr: Captured,
}

impl Background {
    /// Writes to its standard input (see [`Invocation::spawn_with_stdin`]).
    pub fn send(&mut self, text: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(text.as_bytes()).with_context(|| format!("write to `{}`", self.line))
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until its standard output contains `text`.
    pub fn expect(&self, text: &str) -> Result<()> {
        let shown = || format!("`{}` never printed {text:?}; it printed {:?}", self.line, self.stdout.text());
        eventually(LIMIT, || Ok(self.stdout.text().contains(text).then_some(()))).with_context(shown)
    }

    /// What it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a terminal's owner would not: at once.
    pub fn kill(mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let limit = patient(limit);
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                let (out, err) = (self.stdout.text(), self.stderr.text());
                bail!("`{}` did not end within {limit:?}; stdout {out:?}, stderr {err:?}", self.line);
            }
            thread::sleep(Duration::from_millis(5));
        };
        // A grandchild may hold the pipe; what the command itself wrote arrives at once.
        self.stdout.settle();
        self.stderr.settle();
        Ok(Output {
            line: self.line.clone(),
            code: exit_code(status),
            bytes: self.stdout.bytes(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A word as it would have to be typed.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    /// How it was called.
    pub line: String,
    /// Its exit code, or 128 plus the signal that ended it.
    pub code: i32,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
    /// Standard output as text.
    pub stdout: String,
    /// Standard error as text.
    pub stderr: String,
}

impl Output {
    /// It must have succeeded; its standard output without the last line end.
    pub fn ok(self) -> Result<String> {
        if self.code != 0 {
            bail!("`{}` exited with {}: {}{}", self.line, self.code, self.stderr, self.stdout);
        }
        Ok(self.stdout.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// It must have ended with this code; its standard error.
    pub fn fails(self, code: i32) -> Result<String> {
        if self.code != code {
            let Self { line, code: seen, stdout, stderr, .. } = self;
            bail!("`{line}` exited with {seen}, wanted {code}: {stderr}{stdout}");
        }
        Ok(self.stderr)
    }
}

/// One output stream, read by a thread of its own.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Captured {
    fn read(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                sink.lock().expect("no holder panics").extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("no holder panics").clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        while !self.reader.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Asks again and again until there is an answer, never longer than `limit` (or what that is on a slow host).
pub fn eventually<T>(limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let limit = patient(limit);
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("not within {limit:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Invocation;

    #[test]
    fn output_code_and_input_are_kept_apart() {
        let script = "cat; echo err >&2; exit 3";
        let output = Invocation::new("sh", &["-c", script]).stdin("in").output().expect("it runs");
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (3, "in", "err\n"));
        assert!(Invocation::new("false", &[]).ok().is_err());
        assert_eq!(Invocation::new("sh", &["-c", "kill -9 $$"]).output().expect("it runs").code, 137);
    }

    #[test]
    fn what_hangs_is_ended() {
        let error = Invocation::new("sleep", &["1000"]).limit(Duration::from_millis(50)).output();
        assert!(error.expect_err("it hangs").to_string().contains("sleep 1000"));
    }
}
