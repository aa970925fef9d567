//! `version`

use clap::Args;
use cofferdam_client::api::ApiVersion;
use serde_json::{Value, json};

use super::Outcome;
use crate::output;
use crate::session::Session;
use cofferdam_template::{Functions, Template};

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
}

impl Arguments {
    /// Shows both sides' versions; without a daemon only ours, and the failure.
    pub async fn run(&self, session: &Session) -> Outcome {
        let template = Template::of_format(self.format.as_deref())?;
        let negotiated = session.client.api_version().await.unwrap_or(ApiVersion::NEWEST);
        let (server, failure) = match session.client.version().await {
            Ok(document) => (document.read::<Value>()?, None),
            Err(error) => (Value::Null, Some(anyhow::Error::new(error))),
        };
        let client = json!({
            "Platform": {"Name": "Cofferdam"},
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": negotiated.to_string(),
            "DefaultAPIVersion": ApiVersion::NEWEST.to_string(),
            "Os": std::env::consts::OS,
            "Arch": architecture(),
            "Host": session.client.host().to_string(),
        });
        let both = json!({"Client": client, "Server": server});
        match &template {
            Some(template) => output::line(template.render(&both, Functions::Values)?)?,
            None => output::print(&text(&both))?,
        }
        match failure {
            Some(error) => Err(session.explain(error)),
            None => Ok(0),
        }
    }
}

/// Go's name for it, which Docker's API uses.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(both: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let client = &both["Client"];
    let mut out = format!("Client: {}\n", word(&client["Platform"]["Name"]));
    let mut pair = |name: &str, value: String| out += &format!(" {:<18} {value}\n", format!("{name}:"));
    pair("Version", word(&client["Version"]));
    pair("API version", word(&client["ApiVersion"]));
    pair("OS/Arch", format!("{}/{}", word(&client["Os"]), word(&client["Arch"])));
    pair("Host", word(&client["Host"]));
    let server = &both["Server"];
    if server.is_null() {
        return out;
    }
    out += &format!("\nServer: {}\n", word(&server["Platform"]["Name"]));
    for component in server["Components"].as_array().into_iter().flatten() {
        out += &format!(" {}:\n", word(&component["Name"]));
        let mut pair = |name: &str, value: String| {
            if !value.is_empty() {
                out += &format!("  {:<17} {value}\n", format!("{name}:"));
            }
        };
        pair("Version", word(&component["Version"]));
        let details = &component["Details"];
        if let (Some(newest), Some(oldest)) =
            (details["ApiVersion"].as_str(), details["MinAPIVersion"].as_str())
        {
            pair("API version", format!("{newest} (minimum version {oldest})"));
        }
        for (name, key) in [("Git commit", "GitCommit"), ("Built", "BuildTime"), ("Kernel", "KernelVersion")]
        {
            pair(name, word(&details[key]));
        }
        if let (Some(os), Some(arch)) = (details["Os"].as_str(), details["Arch"].as_str()) {
            pair("OS/Arch", format!("{os}/{arch}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_shown() {
        let both = json!({
            "Client": {"Platform": {"Name": "Cofferdam"}, "Version": "1", "ApiVersion": "1.53", "Os": "linux", "Arch": "amd64", "Host": "unix:///s"},
            "Server": {"Platform": {"Name": "Cofferdam"}, "Components": [{"Name": "Engine", "Version": "2",
                "Details": {"ApiVersion": "1.53", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}}]},
        });
        let want = "Client: Cofferdam\n Version:           1\n API version:       1.53\n OS/Arch:           linux/amd64\n \
                    Host:              unix:///s\n\nServer: Cofferdam\n Engine:\n  Version:          2\n  \
                    API version:      1.53 (minimum version 1.24)\n  OS/Arch:          linux/amd64\n";
        assert_eq!(text(&both), want);
    }
}
