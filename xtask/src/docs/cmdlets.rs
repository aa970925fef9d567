//! docs/cmdlets.md: every cmdlet, from the table.

use std::fmt::Write as _;

use cofferdam_cmdlet::help;
use cofferdam_cmdlet::table::{self, Cmdlet};

const HEAD: &str = include_str!("cmdlets.md");

/// The page.
pub fn page() -> String {
    let mut text = HEAD.to_owned();
    for cmdlet in table::all() {
        let name = cmdlet.name;
        let _ = writeln!(text, "* [{name}](#{}): {}", name.to_lowercase(), cmdlet.synopsis);
    }
    for cmdlet in table::all() {
        text += &section(cmdlet);
    }
    text
}

/// What Markdown would take for its own.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if "*_<>|[]$".contains(letter) {
            plain.push('\\');
        }
        plain.push(letter);
    }
    plain
}

fn section(cmdlet: &Cmdlet) -> String {
    let mut text = format!("\n### {}\n\n{}", cmdlet.name, plain(cmdlet.synopsis));
    if !cmdlet.description.is_empty() {
        let _ = write!(text, " {}", plain(cmdlet.description));
    }
    let _ = write!(text, "\n\n```powershell\n{}\n```\n\n```\n", cmdlet.example);
    for line in help::syntax(cmdlet) {
        text += &help::wrap(&line, 0, 120);
    }
    text += "```\n\n";
    // What concerns the daemon and -WhatIf is the same everywhere, and said once.
    for parameter in cmdlet.parameters {
        let kind = parameter.kind.shown();
        let kind = if kind.is_empty() { String::new() } else { format!(" `{kind}`") };
        let facts = help::facts(parameter);
        let facts = if facts.is_empty() { facts } else { format!(" {facts}") };
        let _ = writeln!(text, "* **-{}**{kind}: {}{}", parameter.name, plain(parameter.help), plain(&facts));
    }
    if !cmdlet.output.is_empty() {
        let _ = writeln!(text, "* gives: {}", plain(cmdlet.output));
    }
    text
}
