//! `volume create`, `ls`, `prune`, `rm`.

use clap::Args;
use cofferdam_client::models::{Volume, VolumeCreateRequest};

use super::Outcome;
use super::each::each;
use super::prune::{confirm, deleted, reclaimed};
use crate::output::{self, Listing, Row, human_size};
use crate::session::Session;
use crate::values;

/// Arguments of `volume create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Specify volume driver name
    #[arg(short, long, default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Set driver specific options (type=none, o=bind, device=/path)
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

/// Arguments of `volume ls`.
#[derive(Debug, Args)]
pub struct List {
    /// Provide filter values (dangling=true, driver=local, label=NAME, name=PART)
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `volume prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (label=NAME)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Arguments of `volume rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Make no error of volumes that do not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

const LISTING: Listing = Listing {
    titles: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

impl Create {
    /// Makes a volume, or finds it, and prints its name.
    pub async fn run(&self, session: &Session) -> Outcome {
        let request = VolumeCreateRequest {
            name: self.name.clone(),
            driver: Some(self.driver.clone()),
            driver_opts: Some(values::map(&self.opt)),
            labels: Some(values::map(&self.label)),
            ..VolumeCreateRequest::default()
        };
        output::line(session.client.create_volume(&request).await?.name)?;
        Ok(0)
    }
}

impl List {
    /// Shows the volumes.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut volumes = session.client.list_volumes(&values::filters(&self.filter)).await?;
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let rows = volumes.iter().map(row).collect();
        output::print(&LISTING.render(self.format.as_deref().unwrap_or_default(), self.quiet, rows)?)?;
        Ok(0)
    }
}

fn row(volume: &Volume) -> Row {
    let mut labels: Vec<_> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort();
    let usage = volume.usage_data.as_ref();
    let unknown = || "N/A".to_owned();
    Row::default()
        .with("Name", volume.name.clone())
        .with("Driver", volume.driver.clone())
        .with("Scope", "local")
        .with("Mountpoint", volume.mountpoint.clone())
        .with("Labels", labels.join(","))
        .with("Links", usage.map_or_else(unknown, |usage| usage.ref_count.to_string()))
        .with("Size", usage.map_or_else(unknown, |usage| human_size(usage.size as f64, 4)))
        .with("Availability", "N/A")
        .with("Group", "N/A")
        .with("Status", "N/A")
}

impl Prune {
    /// Removes volumes that no container uses.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut filters = values::filters(&self.filter);
        if self.all {
            filters.add("all", "true");
        }
        let which = if self.all { "all local volumes" } else { "anonymous local volumes" };
        let warning = format!("WARNING! This will remove {which} not used by at least one container.");
        if !self.force && !confirm(&warning)? {
            return Ok(0);
        }
        let pruned = session.client.prune_volumes(&filters).await?;
        deleted("Volumes", &pruned.volumes_deleted.unwrap_or_default())?;
        reclaimed(pruned.space_reclaimed.unwrap_or(0))?;
        Ok(0)
    }
}

impl Remove {
    /// Removes volumes.
    pub async fn run(&self, session: &Session) -> Outcome {
        let remove = async |name: &str| {
            session.client.remove_volume(name, self.force).await?;
            Ok(Some(name.to_owned()))
        };
        each(&self.names, remove).await
    }
}
