//! `exec`

use std::path::PathBuf;

use clap::Args;
use cofferdam_client::models::ExecConfig;

use super::Outcome;
use super::run::{detach_keys, not_a_terminal};
use crate::report::BeforeStart;
use crate::session::Session;
use crate::stdio::{self, Ended, Target, Wanted, window_size};
use crate::values;

/// Arguments of `exec`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub struct Arguments {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (<name|uid>[:<group|gid>])
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Container, and command with its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_name = "CONTAINER COMMAND [ARG...]")]
    container_and_command: Vec<String>,
}

impl Arguments {
    /// Runs a command in a container, and ends with its exit code.
    pub async fn run(&self, session: &Session) -> Outcome {
        let client = &session.client;
        let Some((container, command)) = self.container_and_command.split_first() else {
            anyhow::bail!("missing container");
        };
        let (keys, text) = detach_keys(self.detach_keys.as_deref(), session)?;
        if self.interactive && self.tty && !self.detach && !stdio::input_is_terminal() {
            return Err(not_a_terminal());
        }
        let environment = values::environment(&self.env_file, &self.env, |name| std::env::var(name).ok());
        let size = window_size().filter(|_| self.tty && !self.detach);
        let config = ExecConfig {
            attach_stdin: Some(self.interactive && !self.detach),
            attach_stdout: Some(!self.detach),
            attach_stderr: Some(!self.detach),
            console_size: size.map(|(height, width)| vec![height.into(), width.into()]),
            detach_keys: text,
            tty: Some(self.tty),
            env: Some(environment.map_err(anyhow::Error::msg)?),
            cmd: Some(command.to_vec()),
            privileged: Some(self.privileged),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
        };
        let exec = client.create_exec(container, &config).await?;
        if self.detach {
            client.start_exec_detached(&exec, self.tty).await.map_err(at_start)?;
            return Ok(0);
        }
        let streams = client.start_exec(&exec, self.tty).await.map_err(at_start)?;
        let _size = self.tty.then(|| stdio::follow_size(client, Target::Exec(exec.clone()))).transpose()?;
        let wanted =
            Wanted { stdin: self.interactive, tty: self.tty, signals_forwarded: false, detach_keys: keys };
        match stdio::pump(streams, wanted).await? {
            Ended::Detached => {
                eprintln!("read escape sequence");
                return Ok(0);
            }
            Ended::Signal(number) => return Ok(128 + number),
            Ended::Output => {}
        }
        let code = client.inspect_exec(&exec).await?.value.exit_code.unwrap_or(0);
        Ok(i32::try_from(code).unwrap_or(1))
    }
}

/// What cannot be started has Docker's exit codes 126 and 127; any other failure has 1.
fn at_start(error: cofferdam_client::ClientError) -> anyhow::Error {
    match BeforeStart::from(error.into()).downcast::<BeforeStart>() {
        Ok(BeforeStart { code: 125, source }) => source,
        Ok(before) => before.into(),
        Err(error) => error,
    }
}
