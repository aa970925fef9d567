//! A command on a real pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::{Invocation, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a command on it.
pub struct Pty {
    child: Child,
    line: String,
    master: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts the command on a terminal of 24 rows and 80 columns.
    pub fn spawn(invocation: Invocation) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = File::options().read(true).write(true).open(name.to_str()?)?;
        let master = File::from(master);
        let line = invocation.line().to_owned();
        let inner = invocation.into_command();
        // setsid makes the terminal the controlling one, so that a resize raises SIGWINCH as in a real terminal.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        let child = command
            .env("TERM", "xterm")
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave)
            .spawn()
            .with_context(|| format!("cannot start `{line}` on a terminal"))?;
        // The builder holds the terminal's other end; while it lives, the end of the command is not seen here.
        drop(command);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut source) = (Arc::clone(&screen), master.try_clone()?);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                sink.lock().expect("no holder panics").extend_from_slice(&buffer[..count]);
            }
        });
        let pty = Self { child, line, master, screen };
        pty.resize(24, 80)?;
        Ok(pty)
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Changes the terminal's size, as dragging a window's corner does.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        Ok(tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
    }

    /// Everything shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no holder panics")).into_owned()
    }

    /// Waits until the terminal shows `text`.
    pub fn expect(&self, text: &str) -> Result<()> {
        eventually(PATIENCE, || Ok(self.screen().contains(text).then_some(())))
            .with_context(|| format!("`{}` never showed {text:?}, but {:?}", self.line, self.screen()))
    }

    /// Waits for the command's end; its exit code.
    pub fn finish(mut self) -> Result<i32> {
        let status = eventually(PATIENCE, || Ok(self.child.try_wait()?))
            .with_context(|| format!("`{}` does not end; it showed {:?}", self.line, self.screen()))?;
        match status.code() {
            Some(code) => Ok(code),
            None => bail!("`{}` ended with {status}", self.line),
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::Pty;
    use crate::Invocation;

    #[test]
    fn a_command_sees_a_terminal() {
        let script = "stty size; read line; stty size; echo \"got $line\"; exit 4";
        let mut pty = Pty::spawn(Invocation::new("sh", &["-c", script])).expect("a terminal");
        pty.expect("24 80").expect("its size");
        pty.resize(30, 90).expect("a resize");
        pty.send("word\r").expect("input");
        pty.expect("30 90").expect("its new size");
        pty.expect("got word").expect("its output");
        assert_eq!(pty.finish().expect("its end"), 4);
    }
}
