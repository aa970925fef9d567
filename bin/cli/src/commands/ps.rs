//! `ps`

use clap::Args;
use cofferdam_client::ListContainers;
use cofferdam_client::models::{ContainerSummary, PortSummary};

use super::Outcome;
use crate::output::{self, Listing, Row, ago, ellipsis, human_size, local};
use crate::session::Session;
use crate::values;
use cofferdam_template::quote;

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const TITLES: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

const LISTING: Listing = Listing {
    titles: TITLES,
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

const WITH_SIZE: Listing = Listing {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    ..LISTING
};

impl Arguments {
    /// Lists containers.
    pub async fn run(&self, session: &Session) -> Outcome {
        let limit = if self.latest { Some(1) } else { self.last.filter(|last| *last > 0) };
        let format = match (&self.format, self.quiet) {
            (Some(format), _) => format.as_str(),
            (None, true) => "",
            (None, false) => session.config.ps_format.as_str(),
        };
        let what = ListContainers {
            all: self.all || limit.is_some(),
            limit,
            // A template that shows sizes needs them.
            size: self.size || format.contains(".Size"),
            filters: values::filters(&self.filter),
        };
        let containers = session.client.list_containers(&what).await?;
        let rows = containers.iter().map(|container| row(container, !self.no_trunc)).collect();
        let listing = if self.size { WITH_SIZE } else { LISTING };
        output::print(&listing.render(format, self.quiet, rows)?)?;
        Ok(0)
    }
}

fn row(container: &ContainerSummary, truncate: bool) -> Row {
    let id = container.id.as_deref().unwrap_or_default();
    let created = container.created.unwrap_or_default();
    let command = container.command.as_deref().unwrap_or_default();
    let labels = container.labels.clone().unwrap_or_default();
    let mut sorted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    sorted.sort();
    let mounts = container.mounts.as_deref().unwrap_or_default();
    let mount_names = mounts.iter().filter_map(|mount| {
        let name = mount.name.as_ref().filter(|name| !name.is_empty()).or(mount.source.as_ref())?;
        Some(if truncate { ellipsis(name, 15) } else { name.clone() })
    });
    let mount_names: Vec<String> = mount_names.collect();
    let local_volumes = mounts.iter().filter(|mount| mount.driver.as_deref() == Some("local")).count();
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<&str> =
        networks.map(|all| all.keys().map(String::as_str).collect()).unwrap_or_default();
    networks.sort_unstable();
    Row::default()
        .with("ID", if truncate { id.chars().take(12).collect() } else { id.to_owned() })
        .with("Image", image(container, truncate))
        .with("Command", quote(&if truncate { ellipsis(command, 20) } else { command.to_owned() }))
        .with("CreatedAt", local(created))
        .with("RunningFor", ago(created))
        .with("Ports", ports(container.ports.as_deref().unwrap_or_default()))
        .with("State", container.state.map(|state| state.to_string()).unwrap_or_default())
        .with("Status", container.status.clone().unwrap_or_default())
        .with("Size", size(container))
        .with("Names", names(container))
        .with("Labels", sorted.join(","))
        .with("Mounts", mount_names.join(","))
        .with("LocalVolumes", local_volumes.to_string())
        .with("Networks", networks.join(","))
        .with_labels(&labels)
}

/// The image as it was named; an ID where the name has gone to another image.
fn image(container: &ContainerSummary, truncate: bool) -> String {
    let name = container.image.as_deref().unwrap_or_default();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    let is_id = container
        .image_id
        .as_deref()
        .is_some_and(|id| id == name || id.strip_prefix("sha256:") == Some(name));
    if truncate && is_id {
        return name.strip_prefix("sha256:").unwrap_or(name).chars().take(12).collect();
    }
    // A digest says more than a list has room for.
    match name.split_once("@sha256:") {
        Some((repository, _)) if truncate => repository.to_owned(),
        _ => name.to_owned(),
    }
}

/// Names without their slash; links to other containers left out.
fn names(container: &ContainerSummary) -> String {
    let names = container.names.as_deref().unwrap_or_default();
    let own =
        names.iter().map(|name| name.strip_prefix('/').unwrap_or(name)).filter(|name| !name.contains('/'));
    own.collect::<Vec<_>>().join(",")
}

/// `0.0.0.0:80->80/tcp, 443/tcp`, neighbouring ports as ranges.
fn ports(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by_key(|port| {
        (port.public_port.is_none(), port.ip.clone(), port.typ.map(|t| t.to_string()), port.private_port)
    });
    let mut shown: Vec<(u16, u16, &PortSummary)> = Vec::new();
    for port in sorted {
        let public_gap = |first: &PortSummary, length: u16| match (first.public_port, port.public_port) {
            (Some(first), Some(this)) => first.checked_add(length) == Some(this),
            (None, None) => true,
            _ => false,
        };
        match shown.last_mut() {
            Some((start, end, first))
                if first.ip == port.ip
                    && first.typ == port.typ
                    && end.checked_add(1) == Some(port.private_port)
                    && public_gap(first, port.private_port - *start) =>
            {
                *end = port.private_port;
            }
            _ => shown.push((port.private_port, port.private_port, port)),
        }
    }
    let range = |first: u16, length: u16| match length {
        0 => first.to_string(),
        _ => format!("{first}-{}", first.saturating_add(length)),
    };
    let show = |(start, end, port): &(u16, u16, &PortSummary)| {
        let protocol = port.typ.map(|kind| kind.to_string()).unwrap_or_else(|| "tcp".to_owned());
        let inside = format!("{}/{protocol}", range(*start, end - start));
        match (port.public_port, port.ip.as_deref()) {
            (Some(public), Some(ip)) if ip.contains(':') => {
                format!("[{ip}]:{}->{inside}", range(public, end - start))
            }
            (Some(public), Some(ip)) => format!("{ip}:{}->{inside}", range(public, end - start)),
            (Some(public), None) => format!("{}->{inside}", range(public, end - start)),
            (None, _) => inside,
        }
    };
    shown.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn size(container: &ContainerSummary) -> String {
    let own = human_size(container.size_rw.unwrap_or(0) as f64, 3);
    match container.size_root_fs.unwrap_or(0) {
        0 => own,
        whole => format!("{own} (virtual {})", human_size(whole as f64, 3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: Option<&str>, private: u16, public: Option<u16>) -> PortSummary {
        PortSummary {
            ip: ip.map(str::to_owned),
            private_port: private,
            public_port: public,
            typ: Some(cofferdam_client::models::PortSummaryTypeEnum::TCP),
        }
    }

    #[test]
    fn the_table_is_dockers() {
        let container = ContainerSummary {
            id: Some("0123456789abcdef".repeat(4)),
            names: Some(vec!["/web".to_owned(), "/other/link".to_owned()]),
            image: Some("nanoserver".to_owned()),
            command: Some("sh -c 'while true; do sleep 1; done'".to_owned()),
            created: Some(jiff::Timestamp::now().as_second() - 7200),
            status: Some("Up 3 seconds".to_owned()),
            ..ContainerSummary::default()
        };
        let text = LISTING.render("", false, vec![row(&container, true)]).unwrap();
        let want = "CONTAINER ID   IMAGE        COMMAND                  CREATED       STATUS         PORTS     NAMES\n\
                    0123456789ab   nanoserver   \"sh -c 'while true; …\"   2 hours ago   Up 3 seconds             web\n";
        assert_eq!(text, want);
        let text = LISTING.render("", true, vec![row(&container, false)]).unwrap();
        assert_eq!(text, "0123456789abcdef".repeat(4) + "\n");
    }

    #[test]
    fn ports_join_to_ranges() {
        let all = [
            port(None, 443, None),
            port(Some("0.0.0.0"), 81, Some(8081)),
            port(Some("0.0.0.0"), 80, Some(8080)),
            port(Some("::"), 80, Some(8080)),
        ];
        assert_eq!(ports(&all), "0.0.0.0:8080-8081->80-81/tcp, [::]:8080->80/tcp, 443/tcp");
        assert_eq!(ports(&[]), "");
    }
}
