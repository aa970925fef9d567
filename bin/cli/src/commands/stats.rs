//! `stats`

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use cofferdam_client::{ClientError, ListContainers};
use serde_json::Value;

use super::Outcome;
use crate::output::{self, Listing, Row, human_size, memory_size};
use crate::session::Session;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clears a terminal and begins at its top, as Docker does.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    /// All that run, when none is named
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const LISTING: Listing = Listing {
    titles: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

impl Arguments {
    /// Shows what containers use, again and again.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut before = HashMap::new();
        self.look(session, &mut before).await?;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let rows = self.look(session, &mut before).await?;
            let text = LISTING.render(self.format.as_deref().unwrap_or_default(), false, rows)?;
            let clear = if self.no_stream || !std::io::stdout().is_terminal() { "" } else { CLEAR };
            output::print(&format!("{clear}{text}"))?;
            if self.no_stream {
                return Ok(0);
            }
        }
    }

    /// One look at each container, compared with the last one.
    async fn look(&self, session: &Session, before: &mut HashMap<String, Value>) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for name in self.names(session).await? {
            let sample = match session.client.stats_now(&name).await {
                Ok(sample) => sample,
                // One of all that was removed meanwhile.
                Err(ClientError::Daemon { status: 404, .. }) if self.containers.is_empty() => continue,
                Err(error) => return Err(error.into()),
            };
            let id = sample["id"].as_str().unwrap_or_default().to_owned();
            rows.push(row(&name, &sample, before.get(&id), !self.no_trunc));
            before.insert(id, sample);
        }
        Ok(rows)
    }

    async fn names(&self, session: &Session) -> anyhow::Result<Vec<String>> {
        if !self.containers.is_empty() {
            return Ok(self.containers.clone());
        }
        let what = ListContainers { all: self.all, ..ListContainers::default() };
        let found = session.client.list_containers(&what).await?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }
}

fn row(asked: &str, sample: &Value, before: Option<&Value>, truncate: bool) -> Row {
    let id = sample["id"].as_str().unwrap_or_default();
    let row = Row::default()
        .with("Container", asked)
        .with("ID", if truncate { id.chars().take(12).collect() } else { id.to_owned() })
        .with("Name", sample["name"].as_str().unwrap_or_default().trim_start_matches('/'));
    let Some(limit) = sample["memory_stats"]["limit"].as_f64() else {
        // It does not run.
        let names = ["CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
        return names
            .into_iter()
            .fold(row, |row, name| row.with(name, if name == "MemUsage" { "-- / --" } else { "--" }));
    };
    let (memory, disks) = (memory(sample), &sample["blkio_stats"]["io_service_bytes_recursive"]);
    let of_disks = |op: &str| {
        let entries = disks.as_array().into_iter().flatten().filter(|entry| entry["op"] == op);
        entries.filter_map(|entry| entry["value"].as_f64()).fold(0.0, |sum, value| sum + value)
    };
    let of_networks = |key: &str| {
        let interfaces = sample["networks"].as_object().into_iter().flat_map(|all| all.values());
        interfaces.filter_map(|interface| interface[key].as_f64()).fold(0.0, |sum, value| sum + value)
    };
    let pair = |one: f64, two: f64| format!("{} / {}", human_size(one, 3), human_size(two, 3));
    row.with("CPUPerc", format!("{:.2}%", processor(sample, before)))
        .with("MemUsage", format!("{} / {}", memory_size(memory), memory_size(limit)))
        .with("MemPerc", format!("{:.2}%", if limit > 0.0 { memory / limit * 100.0 } else { 0.0 }))
        .with("NetIO", pair(of_networks("rx_bytes"), of_networks("tx_bytes")))
        .with("BlockIO", pair(of_disks("read"), of_disks("write")))
        .with("PIDs", sample["pids_stats"]["current"].as_u64().unwrap_or(0).to_string())
}

/// Without the page cache that can be had back at once, as Docker counts.
fn memory(sample: &Value) -> f64 {
    let memory = &sample["memory_stats"];
    let (usage, cache) = (memory["usage"].as_f64(), memory["stats"]["inactive_file"].as_f64());
    let (usage, cache) = (usage.unwrap_or(0.0), cache.unwrap_or(0.0));
    if cache < usage { usage - cache } else { usage }
}

/// Percent of one processor since the last look.
fn processor(sample: &Value, before: Option<&Value>) -> f64 {
    let Some(before) = before else { return 0.0 };
    let growth = |path: &str| {
        let number = |sample: &Value| sample.pointer(path).and_then(Value::as_f64);
        number(sample).zip(number(before)).map_or(0.0, |(now, then)| now - then)
    };
    let (used, all) = (growth("/cpu_stats/cpu_usage/total_usage"), growth("/cpu_stats/system_cpu_usage"));
    let cpus = sample["cpu_stats"]["online_cpus"].as_f64().unwrap_or(1.0);
    if used > 0.0 && all > 0.0 { used / all * cpus * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample(used: u64, system: u64) -> Value {
        json!({
            "id": "0123456789abcdef", "name": "/web",
            "cpu_stats": { "cpu_usage": { "total_usage": used }, "system_cpu_usage": system, "online_cpus": 2 },
            "memory_stats": { "usage": 3 << 20, "limit": 512 << 20, "stats": { "inactive_file": 1 << 20 } },
            "networks": { "eth0": { "rx_bytes": 1200, "tx_bytes": 0 }, "eth1": { "rx_bytes": 300 } },
            "blkio_stats": { "io_service_bytes_recursive": [{ "op": "read", "value": 4096 }] },
            "pids_stats": { "current": 3 },
        })
    }

    #[test]
    fn columns_are_dockers() {
        let rows = vec![row("web", &sample(150, 2000), Some(&sample(100, 1000)), true)];
        let text = LISTING.render("", false, rows).unwrap();
        let want = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O         BLOCK I/O     PIDS\n\
                    0123456789ab   web       10.00%    2MiB / 512MiB       0.39%     1.5kB / 0B      4.1kB / 0B    3\n";
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), want.split_whitespace().collect::<Vec<_>>());
        let ended = json!({ "id": "0123456789abcdef", "name": "/web", "memory_stats": {} });
        let text = LISTING.render("", false, vec![row("web", &ended, None, true)]).unwrap();
        assert!(text.contains("-- / --"), "{text}");
    }
}
