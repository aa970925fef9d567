//! `policy ls`, `test`: the isolation policy of the daemon's configuration.

use clap::{Args, ValueEnum};

use super::Outcome;
use crate::output;
use crate::session::Session;

/// Arguments of `policy ls`.
#[derive(Debug, Args)]
pub struct List {}

/// Who makes the container.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Front {
    /// Docker's API
    Docker,
    /// The cmdlets
    Cmdlet,
}

/// Arguments of `policy test`.
#[derive(Debug, Args)]
pub struct Test {
    /// For a container from this front
    #[arg(long, value_enum, default_value = "docker")]
    front: Front,
    /// For a container with this label (repeatable)
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    /// The image; one that is not here is judged as if it were pulled
    image: String,
}

impl List {
    /// Shows the rules.
    pub async fn run(&self, session: &Session) -> Outcome {
        let rules = session.client.policy(None, &[], None).await?.value.rules;
        if rules.is_empty() {
            output::line("no isolation policy: every image may run at any level")?;
        }
        for rule in rules {
            output::line(rule)?;
        }
        Ok(0)
    }
}

impl Test {
    /// Explains what may be done with an image.
    pub async fn run(&self, session: &Session) -> Outcome {
        let front = match self.front {
            Front::Docker => "docker",
            Front::Cmdlet => "cmdlet",
        };
        let answer = session.client.policy(Some(&self.image), &self.labels, Some(front)).await?;
        if self.json {
            output::line(output::indent(&answer.raw, 0))?;
            return Ok(0);
        }
        let answer = answer.value.image.unwrap_or_default();
        let or =
            |text: &str, nothing: &str| if text.is_empty() { nothing.to_owned() } else { text.to_owned() };
        let process = if answer.refusal.is_empty() { "allowed" } else { "refused" };
        let mut text = format!(
            "Image:\t{}\nID:\t{}\nDecision:\t{}\nBecause of:\t{}\nWithout --isolation:\t{}\n--isolation=process:\t{process}\n\
             --isolation=hyperv:\tallowed\n",
            answer.name,
            or(&answer.id, "not here: judged as if it were pulled"),
            answer.decision,
            or(&answer.rule, "no rule matches"),
            answer.isolation,
        );
        for origin in &answer.origins {
            text += &format!(
                "Origin:\t{}: {}, {}\n",
                origin.origin,
                origin.decision,
                or(&origin.rule, "no rule matches")
            );
        }
        output::print(&output::align(&text, 10))?;
        Ok(0)
    }
}
