//! `events`

use clap::Args;
use cofferdam_client::EventsQuery;
use jiff::Timestamp;
use serde_json::Value;

use super::Outcome;
use crate::output::{self, clock, point_in_time};
use crate::session::Session;
use crate::values;
use cofferdam_template::{Functions, Template};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Format output: json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show all events created since a time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Stream events until this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Arguments {
    /// Prints events as they happen.
    pub async fn run(&self, session: &Session) -> Outcome {
        let now = Timestamp::now();
        let time = |text: &Option<String>| {
            text.as_deref().map(|text| point_in_time(text, now)).transpose().map_err(anyhow::Error::msg)
        };
        let template = Template::of_format(self.format.as_deref())?;
        let which = EventsQuery {
            since: time(&self.since)?,
            until: time(&self.until)?,
            filters: values::filters(&self.filter),
        };
        let mut events = session.client.events(&which).await?;
        while let Some(event) = events.next().await? {
            output::line(match &template {
                Some(template) => template.render(&event, Functions::Values)?,
                None => line(&event),
            })?;
        }
        Ok(0)
    }
}

/// `<time> container start <id> (image=…, name=…)`
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nanos = event["timeNano"].as_i64().or_else(|| event["time"].as_i64()?.checked_mul(1_000_000_000));
    let actor = &event["Actor"];
    let mut attributes: Vec<String> = match &actor["Attributes"] {
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name}={}", text(value))).collect(),
        _ => Vec::new(),
    };
    attributes.sort();
    let mut line = format!(
        "{} {} {} {}",
        clock(nanos.unwrap_or(0)),
        text(&event["Type"]),
        text(&event["Action"]),
        text(&actor["ID"])
    );
    if !attributes.is_empty() {
        line += &format!(" ({})", attributes.join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let event = serde_json::json!({
            "Type": "container", "Action": "start", "time": 1, "timeNano": 1_000_000_002i64,
            "Actor": {"ID": "abc", "Attributes": {"name": "web", "image": "nanoserver"}},
        });
        assert!(
            line(&event).ends_with(" container start abc (image=nanoserver, name=web)"),
            "{}",
            line(&event)
        );
        assert!(line(&serde_json::json!({})).starts_with("19"), "{}", line(&serde_json::json!({})));
    }
}
