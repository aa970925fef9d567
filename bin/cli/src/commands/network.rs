//! `network create`, `ls`, `rm`, `prune`, `connect`, `disconnect`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use clap::Args;
use cofferdam_client::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, Network, NetworkConnectRequest,
    NetworkCreateRequest, NetworkDisconnectRequest,
};

use super::Outcome;
use super::each::each;
use super::prune::{confirm, deleted};
use crate::output::{self, Listing, Row};
use crate::session::Session;
use crate::values;

/// Arguments of `network create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Driver to manage the network
    #[arg(short, long, default_value = "bridge", value_name = "DRIVER")]
    driver: String,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<String>,
    /// IPv4 gateway for the subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Allocate container addresses from a sub-range
    #[arg(long, value_name = "RANGE")]
    ip_range: Vec<String>,
    /// Auxiliary IPv4 addresses that no container gets
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Enable IPv6 networking
    #[arg(long)]
    ipv6: bool,
    /// IP address management driver
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Set metadata on a network
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    #[arg(value_name = "NETWORK")]
    name: String,
}

/// Arguments of `network ls`.
#[derive(Debug, Args)]
pub struct List {
    /// Provide filter values (driver=bridge)
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `network rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

/// Arguments of `network prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Provide filter values (until=TIMESTAMP, label=NAME)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Arguments of `network connect`.
#[derive(Debug, Args)]
pub struct Connect {
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Add link to another container (CONTAINER:ALIAS)
    #[arg(long, value_name = "CONTAINER:ALIAS")]
    link: Vec<String>,
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    #[arg(value_name = "NETWORK")]
    network: String,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Arguments of `network disconnect`.
#[derive(Debug, Args)]
pub struct Disconnect {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    #[arg(value_name = "NETWORK")]
    network: String,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

const LISTING: Listing = Listing {
    titles: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

impl Create {
    /// Makes a network, and prints its ID.
    pub async fn run(&self, session: &Session) -> Outcome {
        let made = session.client.create_network(&self.request()?).await?;
        if !made.warning.is_empty() {
            eprintln!("WARNING: {}", made.warning);
        }
        output::line(made.id)?;
        Ok(0)
    }

    fn request(&self) -> anyhow::Result<NetworkCreateRequest> {
        if self.subnet.len() > 1 || self.gateway.len() > 1 || self.ip_range.len() > 1 {
            anyhow::bail!("a network has one subnet, one gateway and one range of addresses");
        }
        let config = IpamConfig {
            subnet: self.subnet.first().cloned(),
            ip_range: self.ip_range.first().cloned(),
            gateway: self.gateway.first().cloned(),
            auxiliary_addresses: (!self.aux_address.is_empty()).then(|| values::map(&self.aux_address)),
        };
        let some = config != IpamConfig::default();
        let none_or = |map: HashMap<_, _>| (!map.is_empty()).then_some(map);
        Ok(NetworkCreateRequest {
            name: self.name.clone(),
            driver: Some(self.driver.clone()),
            internal: Some(self.internal),
            attachable: Some(self.attachable),
            enable_ipv6: Some(self.ipv6),
            ipam: Some(Ipam {
                driver: self.ipam_driver.clone(),
                config: some.then(|| vec![config]),
                options: None,
            }),
            options: none_or(values::map(&self.opt)),
            labels: none_or(values::map(&self.label)),
            ..NetworkCreateRequest::default()
        })
    }
}

impl List {
    /// Shows the networks, by name.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut networks = session.client.list_networks(&values::filters(&self.filter)).await?;
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        let rows = networks.iter().map(|network| self.row(network)).collect();
        output::print(&LISTING.render(self.format.as_deref().unwrap_or_default(), self.quiet, rows)?)?;
        Ok(0)
    }

    fn row(&self, network: &Network) -> Row {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let id = text(&network.id);
        let id = if self.no_trunc { id } else { id.chars().take(12).collect() };
        let mut labels: Vec<String> =
            network.labels.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        labels.sort();
        let flag = |flag: Option<bool>| flag.unwrap_or_default().to_string();
        Row::default()
            .with("ID", id)
            .with("Name", text(&network.name))
            .with("Driver", text(&network.driver))
            .with("Scope", text(&network.scope))
            .with("IPv6", flag(network.enable_ipv6))
            .with("Internal", flag(network.internal))
            .with("Labels", labels.join(","))
            .with("CreatedAt", network.created.as_ref().map(ToString::to_string).unwrap_or_default())
    }
}

impl Remove {
    /// Removes networks.
    pub async fn run(&self, session: &Session) -> Outcome {
        let remove = async |name: &str| match session.client.remove_network(name).await {
            Err(error) if self.force && error.is_not_found() => Ok(None),
            result => Ok(result.map(|()| Some(name.to_owned()))?),
        };
        each(&self.names, remove).await
    }
}

impl Prune {
    /// Removes networks that no container is in.
    pub async fn run(&self, session: &Session) -> Outcome {
        let warning = "WARNING! This will remove all custom networks not used by at least one container.";
        if !self.force && !confirm(warning)? {
            return Ok(0);
        }
        let pruned = session.client.prune_networks(&values::filters(&self.filter)).await?;
        deleted("Networks", &pruned.networks_deleted.unwrap_or_default())?;
        Ok(0)
    }
}

impl Connect {
    /// Attaches a container to a network.
    pub async fn run(&self, session: &Session) -> Outcome {
        let address = EndpointIpamConfig {
            ipv4_address: self.ip.map(|address| address.to_string()),
            ipv6_address: self.ip6.map(|address| address.to_string()),
            ..EndpointIpamConfig::default()
        };
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let endpoint = EndpointSettings {
            ipam_config: (self.ip.is_some() || self.ip6.is_some()).then_some(address),
            aliases: some(&self.alias),
            links: some(&self.link),
            ..EndpointSettings::default()
        };
        let request =
            NetworkConnectRequest { container: self.container.clone(), endpoint_config: Some(endpoint) };
        session.client.connect_network(&self.network, &request).await?;
        Ok(0)
    }
}

impl Disconnect {
    /// Takes a container out of a network.
    pub async fn run(&self, session: &Session) -> Outcome {
        let request = NetworkDisconnectRequest { container: self.container.clone(), force: Some(self.force) };
        session.client.disconnect_network(&self.network, &request).await?;
        Ok(0)
    }
}
