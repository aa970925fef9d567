//! `cmdlet`: the front for programs, which the module for PowerShell is a thin shell around.

use std::io::Read as _;

use anyhow::Context as _;
use clap::Args;
use cofferdam_cmdlet::{Argument, Failure, Ui, Value, bind, table};
use serde_json::json;

use super::Outcome;
use crate::report::Hinted;
use crate::session::Session;
use crate::{cmdlets, output};

/// How deep objects go in an answer: an image has its parent.
const DEPTH: usize = 4;
/// More than any command line has.
const MOST_INPUT: u64 = 4 << 20;

/// Arguments of `cmdlet`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Parameters as a JSON object by their names; - reads it from standard input
    #[arg(long, value_name = "OBJECT", default_value = "{}")]
    json: String,
    /// The cmdlet, as Get-Container; ls lists them
    name: String,
}

impl Arguments {
    /// Runs a cmdlet. Each line of the answer is an object with one key: `Object` (and its `Type`), `Warning`, `Message`
    /// or `Error`. The exit code is 1 when there was an error.
    pub async fn run(&self, session: &Session) -> Outcome {
        if self.name == "ls" {
            let names: Vec<_> = table::all().map(|cmdlet| cmdlet.name).collect();
            output::line(names.join("\n"))?;
            return Ok(0);
        }
        let cmdlet = table::find(&self.name).ok_or_else(|| {
            Hinted::error(format!("no cmdlet is called {:?}", self.name), "'cofferdam cmdlet ls' lists them")
        })?;
        let arguments = parameters(&self.text()?)?;
        let answer = bind(cmdlet, &arguments).and_then(|bound| bound.complete().map(|()| bound));
        let mut ui = Lines::default();
        let result = match answer {
            Ok(bound) => cmdlets::engine(session).execute(&bound, &mut ui).await,
            Err(failure) => {
                cofferdam_cmdlet::Output { errors: vec![failure], ..cofferdam_cmdlet::Output::default() }
            }
        };
        for message in ui.0 {
            output::line(json!({ "Message": message }).to_string())?;
        }
        for warning in result.warnings {
            output::line(json!({ "Warning": warning }).to_string())?;
        }
        for value in &result.objects {
            output::line(json!({ "Type": value.type_name(), "Object": value.to_json(DEPTH) }).to_string())?;
        }
        for error in &result.errors {
            output::line(json!({ "Error": described(error) }).to_string())?;
        }
        Ok(i32::from(!result.errors.is_empty()))
    }

    fn text(&self) -> anyhow::Result<String> {
        if self.json != "-" {
            return Ok(self.json.clone());
        }
        let mut text = String::new();
        std::io::stdin().take(MOST_INPUT).read_to_string(&mut text).context("cannot read standard input")?;
        Ok(text)
    }
}

/// The object's keys as arguments.
fn parameters(text: &str) -> anyhow::Result<Vec<Argument>> {
    let given: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).context("--json wants an object: {\"Name\": …}")?;
    let named = |(name, value): (&String, &serde_json::Value)| {
        Argument::Named(name.clone(), Some(Value::from_json(value)))
    };
    Ok(given.iter().map(named).collect())
}

fn described(failure: &Failure) -> serde_json::Value {
    json!({
        "Message": failure.message,
        "Category": format!("{:?}", failure.category),
        "Id": failure.id,
        "Target": failure.target,
        "Terminating": failure.terminating,
    })
}

/// Nobody can be asked; what is said is part of the answer.
#[derive(Default)]
struct Lines(Vec<String>);

impl Ui for Lines {
    fn say(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    /// The front has asked already: PowerShell's own `ShouldProcess` does it there.
    fn ask(&mut self, _action: &str, _target: &str) -> Result<bool, Failure> {
        Ok(true)
    }

    fn only_says(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parameters() {
        let arguments = parameters(r#"{"Name": ["a", "b"], "Force": true}"#).unwrap();
        let bound = bind(table::find("Remove-Container").unwrap(), &arguments).unwrap();
        assert_eq!(bound.texts("Name").unwrap(), ["a", "b"]);
        assert!(bound.flag("Force"));
        assert!(parameters("[1]").is_err());
    }
}
