//! `completion`

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::Outcome;
use crate::args::Cli;

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell
    shell: Name,
}

impl Arguments {
    /// Prints the script.
    pub fn run(&self) -> Outcome {
        let shell = match self.shell {
            Name::Bash => Shell::Bash,
            Name::Zsh => Shell::Zsh,
            Name::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
        crate::output::print(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}
