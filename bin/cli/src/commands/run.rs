//! `run`: create, attach, wait, start — in this order, so that nothing of a short life is missed.

use clap::Args;
use cofferdam_client::{Attach, WaitUntil};

use super::Outcome;
use super::body::body;
use super::create::create_to_run;
use super::options::Options;
use crate::output;
use crate::report::BeforeStart;
use crate::session::Session;
use crate::stdio::{self, DetachKeys, Ended, Target, Wanted};

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub struct Arguments {
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub detach: bool,
    /// Remove the container and its anonymous volumes when it exits
    #[arg(long)]
    pub rm: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Proxy received signals to the process [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub sig_proxy: bool,
    /// Print to standard error where the milliseconds of the start went
    #[arg(long)]
    pub trace: bool,
    /// What to run.
    #[command(flatten)]
    pub options: Options,
}

impl Arguments {
    /// Runs a container, and ends with its exit code.
    pub async fn run(&self, session: &Session) -> Outcome {
        if self.detach && !self.options.attach.is_empty() {
            return Err(BeforeStart::plain(anyhow::anyhow!(
                "conflicting options: cannot specify both --attach and --detach"
            )));
        }
        let keys = detach_keys(self.detach_keys.as_deref(), session).map_err(BeforeStart::plain)?;
        let (stdin, stdout, stderr) = self.options.streams(self.detach);
        if stdin && self.options.tty && !stdio::input_is_terminal() {
            return Err(not_a_terminal());
        }
        let body = body(&self.options, self.detach, self.rm).map_err(BeforeStart::plain)?;
        let id = create_to_run(session, &self.options, &body).await?;
        if !(stdin || stdout || stderr) {
            start(session, &id, self.trace).await?;
            output::line(&id)?;
            return Ok(0);
        }
        let attach = Attach { stdin, stdout, stderr, logs: false, detach_keys: keys.1.clone() };
        run_attached(
            session,
            &id,
            &attach,
            Attached {
                tty: self.options.tty,
                removed: self.rm,
                sig_proxy: self.sig_proxy,
                keys: keys.0,
                trace: self.trace,
            },
        )
        .await
    }
}

/// How an attached start is done.
pub struct Attached {
    /// The container has a TTY.
    pub tty: bool,
    /// The daemon removes it when it ends.
    pub removed: bool,
    /// Our signals go to it.
    pub sig_proxy: bool,
    /// The keys that detach.
    pub keys: DetachKeys,
    /// Where the milliseconds of the start went is printed.
    pub trace: bool,
}

/// Starts a container.
async fn start(session: &Session, id: &str, trace: bool) -> anyhow::Result<()> {
    let before_start = |error: cofferdam_client::ClientError| BeforeStart::from(error.into());
    if !trace {
        session.client.start(id, None).await.map_err(before_start)?;
        return Ok(());
    }
    let marks = session.client.start_traced(id).await.map_err(before_start)?;
    let begin = marks.first().map_or(0, |(_, at)| *at);
    let mut last = begin;
    eprintln!("{:>9} {:>9}  DONE", "AT MS", "TOOK MS");
    for (what, at) in marks {
        let milliseconds = |from: u64| at.saturating_sub(from) as f64 / 1000.0;
        eprintln!("{:>9.1} {:>9.1}  {what}", milliseconds(begin), milliseconds(last));
        last = at;
    }
    Ok(())
}

/// Starts a container with our standard streams on it, and ends with its exit code.
pub async fn run_attached(session: &Session, id: &str, attach: &Attach, how: Attached) -> Outcome {
    let client = &session.client;
    let _signals = how.sig_proxy.then(|| stdio::forward_signals(client, id)).transpose()?;
    let mut streams = client.attach(id, attach).await.map_err(|error| BeforeStart::plain(error.into()))?;
    streams.output.set_framed(!how.tty);
    let until = if how.removed { WaitUntil::Removed } else { WaitUntil::NextExit };
    let wait = client.wait(id, until).await.map_err(|error| BeforeStart::plain(error.into()))?;
    start(session, id, how.trace).await?;
    let _size = how.tty.then(|| stdio::follow_size(client, Target::Container(id.to_owned()))).transpose()?;
    let wanted =
        Wanted { stdin: attach.stdin, tty: how.tty, signals_forwarded: how.sig_proxy, detach_keys: how.keys };
    match stdio::pump(streams, wanted).await? {
        Ended::Detached => {
            eprintln!("read escape sequence");
            return Ok(0);
        }
        Ended::Signal(number) => return Ok(128 + number),
        Ended::Output => {}
    }
    let exit = wait.exit().await?;
    if let Some(message) = exit.error.and_then(|error| error.message).filter(|message| !message.is_empty()) {
        return Err(BeforeStart::plain(anyhow::Error::msg(message)));
    }
    Ok(i32::try_from(exit.status_code).unwrap_or(125))
}

/// The keys that detach, read and as text: the flag's, else the configuration's, else the daemon's default.
pub fn detach_keys(flag: Option<&str>, session: &Session) -> anyhow::Result<(DetachKeys, Option<String>)> {
    let configured = Some(session.config.detach_keys.as_str()).filter(|keys| !keys.is_empty());
    match flag.filter(|keys| !keys.is_empty()).or(configured) {
        None => Ok((DetachKeys::default(), None)),
        Some(text) => Ok((DetachKeys::parse(text).map_err(anyhow::Error::msg)?, Some(text.to_owned()))),
    }
}

/// A TTY needs a terminal on our side, too.
pub fn not_a_terminal() -> anyhow::Error {
    crate::report::Hinted::error(
        "the input device is not a TTY",
        "leave out --tty when input comes from a file or a pipe",
    )
}
