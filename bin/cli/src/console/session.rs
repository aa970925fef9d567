//! A session: one shell in a container, to which lines are given one at a time. What they print comes as it is printed;
//! a line of the shell's own, with a mark that nobody else knows, says that a line has ended, how, and where the shell is.

use std::time::Duration;

use cofferdam_client::models::ExecConfig;
use cofferdam_client::{AttachedInput, Client, ClientError};
use cofferdam_cmdlet::processes::LISTING;
use cofferdam_cmdlet::{Category, Failure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// How long the shell may take to begin: at the hyperv level, under emulation, on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);
/// Kept output; more is a mistake.
const MOST_KEPT: usize = 16 << 20;

/// The variable by which what a session has started is found again.
const VARIABLE: &str = "COFFERDAM_SESSION";

pub struct Session {
    /// The container's ID.
    pub container: String,
    /// Its name.
    pub name: String,
    /// Whether it is a utility VM's.
    pub hyperv: bool,
    /// Where the shell is.
    pub directory: String,
    mark: String,
    exec: String,
    shell: i64,
    input: AttachedInput,
    stdout: DuplexStream,
    stderr: DuplexStream,
}

/// How a line ended.
pub enum Ended {
    /// With this exit code.
    Code(i64),
    /// The shell ended with it.
    Shell,
}

/// Where a line's output goes.
pub enum Output<'a> {
    /// To our own.
    Shown,
    /// Here; errors still to our own.
    Kept(&'a mut Vec<u8>),
}

fn failed(name: &str, message: impl Into<String>) -> Failure {
    Failure { terminating: true, ..Failure::of(Category::InvalidOperation, "SessionFailed", name, message) }
}

fn refused(error: &ClientError, name: &str) -> Failure {
    Failure { terminating: true, ..Failure::daemon(error, name) }
}

fn exec(command: &[&str], administrator: bool, env: Vec<String>, stdin: bool) -> ExecConfig {
    ExecConfig {
        attach_stdin: Some(stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        env: Some(env),
        user: administrator.then(|| "0".to_owned()),
        ..ExecConfig::default()
    }
}

impl Session {
    /// Opens one.
    pub async fn open(client: &Client, reference: &str, administrator: bool) -> Result<Self, Failure> {
        let document =
            client.inspect_container(reference, false).await.map_err(|error| refused(&error, reference))?;
        let json: serde_json::Value = document.read().unwrap_or_default();
        let text =
            |path: &str| json.pointer(path).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let name = text("/Name").trim_start_matches('/').to_owned();
        if json.pointer("/State/Running").and_then(serde_json::Value::as_bool) != Some(true) {
            return Err(failed(
                &name,
                format!("The container {name} is not running. Start-Container starts it."),
            ));
        }
        let mut random = [0_u8; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| failed(&name, error.to_string()))?;
        let mark = hex::encode(random);
        let config = exec(&["/bin/sh"], administrator, vec![format!("{VARIABLE}={mark}")], true);
        let exec = client.create_exec(&text("/Id"), &config).await.map_err(|error| refused(&error, &name))?;
        let attached = client.start_exec(&exec, false).await.map_err(|error| refused(&error, &name))?;
        // Their room is what the container may be ahead of the screen.
        let (mut to_stdout, stdout) = tokio::io::duplex(64 * 1024);
        let (mut to_stderr, stderr) = tokio::io::duplex(64 * 1024);
        let mut output = attached.output;
        tokio::spawn(async move {
            // A connection that breaks is the end of both.
            let _ = output.copy(&mut to_stdout, &mut to_stderr).await;
        });
        let mut session = Self {
            container: text("/Id"),
            hyperv: text("/Cofferdam/Isolation") == "hyperv",
            directory: "/".into(),
            shell: 0,
            exec,
            input: attached.input,
            name,
            mark,
            stdout,
            stderr,
        };
        let begun = tokio::time::timeout(PATIENCE, session.run("", &mut Output::Shown)).await;
        match begun {
            Ok(Ok(Ended::Code(_))) => Ok(session),
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(Ended::Shell)) => {
                Err(failed(&session.name, format!("The container {} has no shell, /bin/sh.", session.name)))
            }
            Err(_elapsed) => {
                Err(failed(&session.name, format!("The shell in {} does not answer.", session.name)))
            }
        }
    }

    /// Runs a line.
    pub async fn run(&mut self, line: &str, output: &mut Output<'_>) -> Result<Ended, Failure> {
        let name = self.name.clone();
        let broken = |error: std::io::Error| failed(&name, format!("The session broke: {error}."));
        // Within quotes nothing has a meaning but the quote. `command` keeps a line with wrong syntax from ending the
        // shell; there is nothing to read, as the shell's own input is more lines.
        let quoted = line.replace('\'', "'\\''");
        let mark = &self.mark;
        let text = format!(
            "command eval '{quoted}' </dev/null; printf '\\n{mark} %d %d %s\\n' \"$?\" \"$$\" \"$PWD\"; \
             printf '\\n{mark}\\n' >&2\n"
        );
        if self.input.write(text.as_bytes()).await.is_err() {
            return Ok(Ended::Shell);
        }
        let (mut out, mut err) = (Until::new(mark), Until::new(mark));
        let (mut from_out, mut from_err) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        while !(out.done && err.done) {
            tokio::select! {
                read = self.stdout.read(&mut from_out), if !out.done => {
                    let length = read.map_err(broken)?;
                    let piece = out.push(&from_out[..length]);
                    match output {
                        Output::Shown => {
                            let mut ours = tokio::io::stdout();
                            ours.write_all(&piece).await.map_err(broken)?;
                            ours.flush().await.map_err(broken)?;
                        }
                        Output::Kept(kept) if kept.len() + piece.len() > MOST_KEPT => {
                            return Err(failed(&name, "The block prints too much: more than 16 MiB."));
                        }
                        Output::Kept(kept) => kept.extend(piece),
                    }
                }
                read = self.stderr.read(&mut from_err), if !err.done => {
                    let length = read.map_err(broken)?;
                    let piece = err.push(&from_err[..length]);
                    let mut ours = tokio::io::stderr();
                    ours.write_all(&piece).await.map_err(broken)?;
                }
            }
        }
        let Some(last) = out.last else { return Ok(Ended::Shell) };
        let mut parts = last.splitn(3, ' ');
        let mut number = || parts.next().and_then(|text| text.parse::<i64>().ok());
        let (code, shell) = (number().unwrap_or(1), number().unwrap_or(0));
        self.shell = shell;
        self.directory = parts.next().unwrap_or("/").to_owned();
        Ok(Ended::Code(code))
    }

    /// The shell's exit code, when it has ended by itself.
    pub async fn exit_code(&self, client: &Client) -> Option<i64> {
        client.inspect_exec(&self.exec).await.ok()?.value.exit_code
    }

    /// What the container's processes say of themselves, as root: read in a process of its own.
    pub async fn listing(&self, client: &Client) -> Result<String, Failure> {
        let text =
            aside(client, &self.container, LISTING).await.map_err(|error| refused(&error, &self.name))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends what the session has started; all of it, or with `but_shell` what is not the shell.
    pub async fn sweep(&self, client: &Client, but_shell: bool) {
        let spared = if but_shell { self.shell } else { 0 };
        // By the variable, which children inherit, and by the shell's session, which those without it are still in.
        // What forks meanwhile is found in the next round.
        let script = format!(
            r#"n=0; while [ $n -lt 20 ]; do n=$((n+1)); k=; for d in /proc/[0-9]*; do p=${{d#/proc/}}
[ "$p" = "$$" ] || [ "$p" = {spared} ] && continue
{{ IFS= read -r s <"$d/stat"; }} 2>/dev/null || continue
set -- ${{s##*) }}; [ "$1" = Z ] && continue
e=$(cat "$d/environ" 2>/dev/null)
case "$e" in *{VARIABLE}={mark}*) ;; *) [ "$4" = {shell} ] || continue ;; esac
kill -9 "$p" 2>/dev/null && k=1; done; [ -z "$k" ] && break; done"#,
            mark = self.mark,
            shell = if self.shell > 0 { self.shell } else { -1 },
        );
        // A container that has ended has ended them all.
        let _ = tokio::time::timeout(PATIENCE, aside(client, &self.container, &script)).await;
    }
}

/// Runs a script beside the session; what it prints.
async fn aside(client: &Client, container: &str, script: &str) -> Result<Vec<u8>, ClientError> {
    let config = exec(&["/bin/sh", "-c", script], true, Vec::new(), false);
    let exec = client.create_exec(container, &config).await?;
    let mut attached = client.start_exec(&exec, false).await?;
    let mut printed = Vec::new();
    attached.copy_output(&mut printed, &mut tokio::io::sink()).await?;
    Ok(printed)
}

/// A stream up to a line with the mark; what could still become the mark is held back.
struct Until {
    mark: Vec<u8>,
    held: Vec<u8>,
    done: bool,
    /// What follows the mark on its line.
    last: Option<String>,
}

impl Until {
    fn new(mark: &str) -> Self {
        Self { mark: format!("\n{mark}").into_bytes(), held: Vec::new(), done: false, last: None }
    }

    /// Takes a piece (an empty one is the end); gives what is certainly not the mark.
    fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if piece.is_empty() {
            self.done = true;
            return std::mem::take(&mut self.held);
        }
        self.held.extend_from_slice(piece);
        if let Some(at) = self.held.windows(self.mark.len()).position(|window| window == self.mark) {
            let after = at + self.mark.len();
            let Some(end) = self.held[after..].iter().position(|byte| *byte == b'\n') else {
                let rest = self.held.split_off(at);
                return std::mem::replace(&mut self.held, rest);
            };
            self.last = Some(String::from_utf8_lossy(&self.held[after..after + end]).trim().to_owned());
            self.done = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        // The longest end that the mark begins with stays.
        let most = self.mark.len().min(self.held.len());
        let keep = (1..=most).rev().find(|length| self.held.ends_with(&self.mark[..*length])).unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::Until;

    #[test]
    fn the_mark_is_found_wherever_it_is_cut() {
        let whole = b"a\nb\n\nMARK 3 7 /tmp x\n";
        for cut in 1..whole.len() {
            let mut until = Until::new("MARK");
            let mut seen = until.push(&whole[..cut]);
            if !until.done {
                seen.extend(until.push(&whole[cut..]));
            }
            assert_eq!((seen.as_slice(), until.done), (&b"a\nb\n"[..], true), "{cut}");
            assert_eq!(until.last.as_deref(), Some("3 7 /tmp x"));
        }
        let mut until = Until::new("MARK");
        let mut seen = until.push(b"x\nMA");
        seen.extend(until.push(b""));
        assert_eq!((seen.as_slice(), until.last), (&b"x\nMA"[..], None));
    }
}
