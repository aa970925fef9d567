//! `Get-Help`, from the table.

use crate::table::{COMMON, Cmdlet, Kind, Parameter};

/// One parameter as a syntax line has it.
fn shown(parameter: &Parameter) -> String {
    let name = if parameter.position.is_some() {
        format!("[-{}]", parameter.name)
    } else {
        format!("-{}", parameter.name)
    };
    let whole = match parameter.kind {
        Kind::Switch => format!("-{}", parameter.name),
        kind => format!("{name} {}", kind.shown()),
    };
    if parameter.mandatory { whole } else { format!("[{whole}]") }
}

/// A line for each parameter set.
#[must_use]
pub fn syntax(cmdlet: &Cmdlet) -> Vec<String> {
    let mut lines = Vec::new();
    for set in cmdlet.sets {
        let mut parameters: Vec<_> =
            cmdlet.all_parameters().filter(|parameter| parameter.is_in(set)).collect();
        parameters.sort_by_key(|parameter| parameter.position.unwrap_or(u8::MAX));
        let shown: Vec<_> = parameters.into_iter().map(shown).collect();
        let line = format!("{} {}", cmdlet.name, shown.join(" "));
        lines.push(format!("{} [<CommonParameters>]", line.trim_end()));
    }
    lines
}

/// Text with lines of at most `width`, each after `indent` blanks.
#[must_use]
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > width {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{:indent$}{line}\n", "")
}

/// The whole help of a cmdlet.
#[must_use]
pub fn full(cmdlet: &Cmdlet) -> String {
    let mut text =
        format!("\nNAME\n    {}\n\nSYNOPSIS\n{}\nSYNTAX\n", cmdlet.name, wrap(cmdlet.synopsis, 4, 100));
    for line in syntax(cmdlet) {
        text += &wrap(&line, 4, 100);
        text += "\n";
    }
    if !cmdlet.description.is_empty() {
        text += &format!("DESCRIPTION\n{}\n", wrap(cmdlet.description, 4, 100));
    }
    text += "PARAMETERS\n";
    for parameter in cmdlet.all_parameters() {
        text += &format!("    -{} {}\n", parameter.name, parameter.kind.shown()).replace(" \n", "\n");
        text += &wrap(parameter.help, 8, 100);
        let facts = facts(parameter);
        if !facts.is_empty() {
            text += &wrap(&facts, 8, 100);
        }
        text += "\n";
    }
    let common: Vec<_> = COMMON.iter().map(|parameter| format!("-{}", parameter.name)).collect();
    text += &format!("    <CommonParameters>\n{}\n", wrap(&common.join(", "), 8, 100));
    if !cmdlet.output.is_empty() {
        text += &format!("OUTPUTS\n    {}\n\n", cmdlet.output);
    }
    text + &format!("EXAMPLE\n    {}\n", cmdlet.example)
}

/// What else there is to know of a parameter, in a sentence; nothing for an ordinary one.
#[must_use]
pub fn facts(parameter: &Parameter) -> String {
    let mut facts = Vec::new();
    if parameter.mandatory {
        facts.push("required".to_owned());
    }
    if let Some(position) = parameter.position {
        facts.push(format!("position {position}"));
    }
    match (parameter.by_value, parameter.by_name) {
        (true, true) => facts.push("pipeline input by value and by property name".into()),
        (true, false) => facts.push("pipeline input by value".into()),
        (false, true) => facts.push("pipeline input by property name".into()),
        (false, false) => {}
    }
    if !parameter.aliases.is_empty() {
        facts.push(format!("aliases {}", parameter.aliases.join(", ")));
    }
    if facts.is_empty() { String::new() } else { format!("({})", facts.join("; ")) }
}
