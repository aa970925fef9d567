//! How a demonstration looks on a terminal: chapters, sentences, and commands with their real output.

use std::io::IsTerminal;

use anyhow::{Result, ensure};
use cofferdam_tests::Invocation;

/// Prints a demonstration.
pub struct Story {
    colour: bool,
}

impl Story {
    /// With colour where that can be seen.
    pub fn new() -> Self {
        Self { colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A heading.
    pub fn chapter(&self, title: &str) {
        println!("\n{}", self.paint("1", &format!("── {title} ──")));
    }

    /// A sentence.
    pub fn say(&self, text: &str) {
        println!("\n{text}");
    }

    /// A result that matters.
    pub fn point(&self, text: &str) {
        println!("{}", self.paint("32", &format!("  ✓ {text}")));
    }

    /// Runs a command as if typed at this prompt; its output.
    pub fn play(&self, prompt: &str, invocation: Invocation) -> Result<String> {
        let line = invocation.line().to_owned();
        println!("{} {}", self.paint("36", prompt), self.paint("1", &line));
        let output = invocation.output()?;
        print!("{}", output.stdout);
        eprint!("{}", output.stderr);
        ensure!(output.code == 0, "`{line}` ended with {}", output.code);
        Ok(output.stdout)
    }

    /// Runs a command that is expected to find nothing, and shows that.
    pub fn play_in_vain(&self, prompt: &str, invocation: Invocation) -> Result<()> {
        let line = invocation.line().to_owned();
        println!("{} {}", self.paint("36", prompt), self.paint("1", &line));
        let output = invocation.output()?;
        print!("{}", output.stdout);
        ensure!(output.code != 0 && output.stdout.is_empty(), "`{line}` found something: {}", output.stdout);
        println!("{}", self.paint("2", "(nothing)"));
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
