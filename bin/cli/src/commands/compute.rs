//! `compute ls`, `stop`, `inspect`: what runs containers and virtual machines on the host.

use clap::Args;
use cofferdam_client::api::ComputeProcess;
use cofferdam_template::{Functions, Template};

use super::Outcome;
use super::each::each;
use crate::output::{self, Listing, Row, memory_size};
use crate::session::Session;
use crate::values;

/// Arguments of `compute ls`.
#[derive(Debug, Args)]
pub struct List {
    /// Show only what matches: id, name, owner, type or isolation
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show IDs
    #[arg(short, long)]
    quiet: bool,
    /// Also show level, PID, user, memory and CPU time
    #[arg(short, long)]
    wide: bool,
}

/// Arguments of `compute stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Kill it at once
    #[arg(short, long)]
    force: bool,
    /// IDs, the beginnings of IDs, or names
    #[arg(required = true, value_name = "COMPUTE")]
    processes: Vec<String>,
}

/// Arguments of `compute inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// IDs, the beginnings of IDs, or names
    #[arg(required = true, value_name = "COMPUTE")]
    processes: Vec<String>,
}

const LISTING: Listing = Listing {
    titles: &[
        ("Id", "Id"),
        ("Name", "Name"),
        ("Owner", "Owner"),
        ("Type", "Type"),
        ("Isolation", "Isolation"),
        ("Pid", "PID"),
        ("User", "User"),
        ("Uid", "Uid"),
        ("Memory", "Memory"),
        ("Cpu", "CPU"),
        ("ReadOnly", "ReadOnly"),
    ],
    table: "{{.Id}}\t{{.Name}}\t{{.Owner}}\t{{.Type}}",
    quiet: "{{.Id}}",
};

const WIDE: Listing = Listing {
    table: "{{.Id}}\t{{.Name}}\t{{.Owner}}\t{{.Type}}\t{{.Isolation}}\t{{.Pid}}\t{{.User}}\t{{.Uid}}\t{{.Memory}}\t{{.Cpu}}",
    ..LISTING
};

impl List {
    /// Shows them.
    pub async fn run(&self, session: &Session) -> Outcome {
        let processes = session.client.list_compute(&values::filters(&self.filter)).await?;
        let rows = processes.iter().map(|process| self.row(process)).collect();
        let listing = if self.wide { WIDE } else { LISTING };
        output::print(&listing.render(self.format.as_deref().unwrap_or_default(), self.quiet, rows)?)?;
        Ok(0)
    }

    fn row(&self, process: &ComputeProcess) -> Row {
        // A UUID stays whole: its beginning says little.
        let short = !self.no_trunc && process.id.len() == 64;
        let id = if short { process.id.chars().take(12).collect() } else { process.id.clone() };
        let name = if short && process.name == process.id { id.clone() } else { process.name.clone() };
        Row::default()
            .with("Id", id)
            .with("Name", name)
            .with("Owner", process.owner.clone())
            .with("Type", process.kind.as_str())
            .with("Isolation", process.isolation.clone())
            .with("Pid", process.pid.to_string())
            .with("User", process.user.clone())
            .with("Uid", process.uid.to_string())
            .with("Memory", memory_size(process.memory as f64))
            .with("Cpu", format!("{:.2}s", process.cpu_nanos as f64 / 1e9))
            .with("ReadOnly", process.read_only.to_string())
    }
}

impl Stop {
    /// Stops containers of this engine.
    pub async fn run(&self, session: &Session) -> Outcome {
        each(&self.processes, async |id| {
            session.client.stop_compute(id, self.force).await?;
            Ok(Some(id.to_owned()))
        })
        .await
    }
}

impl Inspect {
    /// Shows everything about them.
    pub async fn run(&self, session: &Session) -> Outcome {
        let template = match self.format.as_deref() {
            None | Some("" | "json") => None,
            Some(text) => Some(Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))?),
        };
        each(&self.processes, async |id| {
            let raw = session.client.inspect_compute(id).await?.raw;
            let shown = match (&template, self.format.as_deref()) {
                (Some(template), _) => template.render(&serde_json::from_str(&raw)?, Functions::Values)?,
                (None, Some("json")) => raw,
                _ => output::indent(&raw, 0),
            };
            Ok(Some(shown))
        })
        .await
    }
}
