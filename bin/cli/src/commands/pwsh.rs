//! `pwsh`: the console for the cmdlets.

use anyhow::Context as _;
use clap::Args;
use cofferdam_pwsh::{Console, Host as _};

use super::Outcome;
use crate::console::{Here, read_lines, streamed};
use crate::session::Session;
use crate::{cmdlets, report};

/// Room for scripts that nest.
const STACK: usize = 64 << 20;

/// Arguments of `pwsh`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam pwsh [-NonInteractive] [-Command TEXT... | -File SCRIPT]")]
pub struct Arguments {
    /// -Command with lines to run, or -File with a script of them; else lines are read from standard input
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
    arguments: Vec<String>,
}

/// What is run.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Command(String),
    File(String),
    Input,
}

impl Arguments {
    /// Runs lines, and ends with 0 when the last one succeeded, 1 when not, or the code of `exit`.
    pub async fn run(&self, session: &Session) -> Outcome {
        let (what, interactive) = self.parse()?;
        let handle = tokio::runtime::Handle::current();
        let here = Here::new(handle, cmdlets::engine(session), interactive);
        // The console waits for what it runs; so it is not on the thread that does the work.
        let (done, result) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                let mut console = Console::new(here);
                let code = run(&mut console, what);
                console.host.leave();
                // Nobody waits for it when we are about to end.
                let _ = done.send(code);
            })
            .context("cannot start the console")?;
        result.await.context("the console ended")?
    }

    fn parse(&self) -> anyhow::Result<(What, bool)> {
        let (mut interactive, mut words) = (true, self.arguments.iter());
        while let Some(word) = words.next() {
            let rest = || words.clone().map(String::as_str).collect::<Vec<_>>().join(" ");
            match word.trim_start_matches('-').to_ascii_lowercase().as_str() {
                "command" | "c" if word.starts_with('-') => {
                    let text = rest();
                    return Ok(if text == "-" {
                        (What::Input, false)
                    } else {
                        (What::Command(text), interactive)
                    });
                }
                "file" | "f" if word.starts_with('-') => {
                    let path = words.next().context("-File needs a script")?;
                    anyhow::ensure!(words.next().is_none(), "arguments of scripts are not supported");
                    return Ok((What::File(path.clone()), interactive));
                }
                "noninteractive" => interactive = false,
                "noprofile" | "nologo" => {}
                _ if word.starts_with('-') => {
                    anyhow::bail!("unknown flag {word}: want -Command, -File, -NonInteractive")
                }
                _ => return Ok((What::File(word.clone()), interactive)),
            }
        }
        Ok((What::Input, interactive))
    }
}

fn run(console: &mut Console<Here>, what: What) -> anyhow::Result<i32> {
    match what {
        What::Command(text) => {
            let code = console.run(&text);
            Ok(code.unwrap_or(i32::from(!console.succeeded())))
        }
        What::File(path) => {
            let file = std::fs::File::open(&path).with_context(|| format!("cannot open {path}"));
            let file = file.map_err(|error| anyhow::anyhow!(report::sentence(&error)))?;
            streamed(console, std::io::BufReader::new(file))
        }
        What::Input => read_lines(console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_powershells() {
        let parse = |words: &[&str]| {
            Arguments { arguments: words.iter().map(|&word| word.to_owned()).collect() }.parse().ok()
        };
        assert_eq!(
            parse(&["-Command", "Get-Container", "-Name", "x"]),
            Some((What::Command("Get-Container -Name x".into()), true))
        );
        assert_eq!(parse(&["-NonInteractive", "-File", "x.ps1"]), Some((What::File("x.ps1".into()), false)));
        assert_eq!(parse(&[]), Some((What::Input, true)));
        assert_eq!(parse(&["-Colour"]), None);
    }
}
