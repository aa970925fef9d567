//! `port`

use std::collections::BTreeMap;

use clap::Args;
use cofferdam_client::models::PortMap;

use super::Outcome;
use crate::output;
use crate::session::Session;

/// Arguments of `port`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only this port of the container
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

impl Arguments {
    /// Shows which ports of the host lead to a container.
    pub async fn run(&self, session: &Session) -> Outcome {
        let found = session.client.inspect_container(&self.container, false).await?.value;
        let ports = found.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let Some(wanted) = &self.port else {
            let lines = lines(&ports);
            if !lines.is_empty() {
                output::print(&lines.join("\n"))?;
            }
            return Ok(0);
        };
        let key = if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
        let bindings = ports.get(&key).cloned().flatten().unwrap_or_default();
        if bindings.is_empty() {
            anyhow::bail!("no public port '{wanted}' published for {}", self.container);
        }
        let lines: Vec<String> = bindings.iter().map(place).collect();
        output::print(&lines.join("\n"))?;
        Ok(0)
    }
}

/// `80/tcp -> 0.0.0.0:8080`, by the container's port.
fn lines(ports: &PortMap) -> Vec<String> {
    let number = |port: &str| port.split('/').next().and_then(|text| text.parse::<u16>().ok());
    let sorted: BTreeMap<_, _> =
        ports.iter().map(|(port, bindings)| ((number(port), port), bindings)).collect();
    let of = |((_, port), bindings): ((Option<u16>, &String), &Option<Vec<_>>)| {
        let bindings = bindings.iter().flatten();
        bindings.map(|binding| format!("{port} -> {}", place(binding))).collect::<Vec<_>>()
    };
    sorted.into_iter().flat_map(of).collect()
}

fn place(binding: &cofferdam_client::models::PortBinding) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}:{}", text(&binding.host_ip), text(&binding.host_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_listed_by_port() {
        let ports: PortMap = serde_json::from_value(serde_json::json!({
            "443/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8443" }],
            "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }, { "HostIp": "127.0.0.1", "HostPort": "81" }],
            "90/tcp": null,
        }))
        .unwrap();
        assert_eq!(
            lines(&ports),
            ["80/tcp -> 0.0.0.0:8080", "80/tcp -> 127.0.0.1:81", "443/tcp -> 0.0.0.0:8443"]
        );
    }
}
