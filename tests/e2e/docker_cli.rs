//! Every verb and flag of the stock CLI is accounted for: its own help is walked, so that none is forgotten.

use std::path::Path;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Test, check};

pub const CASES: &[Test] = &[
    Test::engine("docker_cli::every_verb_and_flag", every_verb_and_flag),
    Test::engine("docker_cli::of_the_old_one", of_the_old_one),
];

const TABLE: &str = include_str!("../../docs/docker-cli.md");
const VERDICTS: [&str; 5] = ["works", "not yet", "refused", "Swarm only", "client only"];

/// What a verb's help names.
#[derive(Default)]
struct Help {
    verbs: Vec<String>,
    flags: Vec<String>,
}

fn parse(text: &str) -> Help {
    let (mut help, mut section) = (Help::default(), "");
    for line in text.lines() {
        if !line.is_empty() && !line.starts_with(' ') {
            section = line.trim();
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        // A star marks plugins of the CLI's own, which are other programs.
        if section.ends_with("Commands:")
            && line.starts_with("  ")
            && !line.starts_with("   ")
            && !word.ends_with('*')
        {
            help.verbs.push(word.to_owned());
        } else if section.ends_with("Options:") && word.starts_with('-') {
            // `-a, --all`, `--all`; anything else is a description that goes on.
            let second = line.split_whitespace().nth(1).filter(|_| word.len() == 3 && word.ends_with(','));
            let flag = if word.starts_with("--") { Some(word) } else { second };
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let flag = flag.filter(|flag| flag.bytes().all(plain));
            help.flags.extend(flag.map(str::to_owned));
        }
    }
    help.verbs.retain(|verb| !verb.is_empty());
    help
}

/// The verbs below this one that have none below them; what has no row is added to `missing`.
fn walk(daemon: &Daemon, cli: &Path, verb: &[&str], missing: &mut Vec<String>) -> Result<usize> {
    let args = [verb, &["--help"]].concat();
    let help = parse(&daemon.docker_at(cli, &args).ok()?);
    let mut count = 0;
    for below in &help.verbs {
        count += walk(daemon, cli, &[verb, &[below.as_str()]].concat(), missing)?;
    }
    if !help.verbs.is_empty() || verb.is_empty() {
        return Ok(count);
    }
    let name = format!("docker {}", verb.join(" "));
    let row = TABLE.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
    let Some(row) = row else {
        missing.push(name);
        return Ok(1);
    };
    let verdict = row.split('|').nth(2).context("a verdict")?.trim();
    check!(VERDICTS.iter().any(|one| verdict.starts_with(one)), "{name}: {verdict:?} is no verdict");
    let unlisted = help.flags.iter().filter(|flag| *flag != "--help" && !row.contains(&format!("`{flag}`")));
    missing.extend(unlisted.map(|flag| format!("{name} {flag}")));
    Ok(1)
}

fn every_verb_and_flag(case: &Case) -> Result<()> {
    listed(case.daemon()?, case.host.docker())
}

fn of_the_old_one(case: &Case) -> Result<()> {
    listed(case.daemon()?, case.host.old_docker()?)
}

fn listed(daemon: &Daemon, cli: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let count = walk(daemon, cli, &[], &mut missing)?;
    check!(count > 100, "{} has only {count} verbs", cli.display());
    check!(missing.is_empty(), "docs/docker-cli.md lacks {}", missing.join(", "));
    Ok(())
}
