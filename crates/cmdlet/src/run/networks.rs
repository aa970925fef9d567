//! Adapters, switches, NAT.

use cofferdam_client::models::{
    EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use serde_json::Value as Json;

use super::objects::text;
use super::resolve::Found;
use super::{Done, Run};
use crate::{Category, Failure, Object, Value, wildcard};

/// A container's place in a network.
struct Adapter {
    container: Found,
    switch: String,
    network: String,
    endpoint: Json,
}

impl Adapter {
    fn object(&self) -> Value {
        let addresses = ["/IPAddress", "/GlobalIPv6Address"].map(|path| text(&self.endpoint, path));
        let addresses: Vec<_> =
            addresses.into_iter().filter(|address| !address.is_empty()).map(Value::text).collect();
        Object::new("ContainerNetworkAdapter")
            .with("ContainerName", self.container.name.as_str())
            .with("ContainerId", self.container.id.as_str())
            .with("Name", self.switch.as_str())
            .with("SwitchName", self.switch.as_str())
            .with("MacAddress", text(&self.endpoint, "/MacAddress").to_uppercase().replace(':', "-"))
            .with("IPAddresses", Value::list(addresses))
            .into()
    }
}

impl Run<'_> {
    /// The adapters that the parameters choose.
    async fn adapters(&mut self) -> Result<Vec<Adapter>, Failure> {
        let switches = self.switches().await?;
        let wanted = self.bound.text("Name").unwrap_or_else(|| "*".into());
        let mut adapters = Vec::new();
        for container in self.containers().await? {
            let joined =
                container.json.pointer("/NetworkSettings/Networks").and_then(Json::as_object).cloned();
            let mut found = false;
            for (name, endpoint) in joined.unwrap_or_default() {
                let Some(switch) =
                    switches.iter().find(|switch| switch.network.name.as_deref() == Some(name.as_str()))
                else {
                    continue;
                };
                if wildcard::matches(&wanted, &switch.name) || wildcard::matches(&wanted, &name) {
                    found = true;
                    adapters.push(Adapter {
                        container: container.clone(),
                        switch: switch.name.clone(),
                        network: name,
                        endpoint,
                    });
                }
            }
            if !found && !wildcard::is_pattern(&wanted) {
                let mut failure = Failure::not_found("network adapter", &wanted);
                failure.message += &format!(" The container is {}.", container.name);
                self.report(failure)?;
            }
        }
        Ok(adapters)
    }

    pub(super) async fn get_adapter(&mut self) -> Done {
        for adapter in self.adapters().await? {
            self.output.objects.push(adapter.object());
        }
        Ok(())
    }

    fn no_bandwidth(&self) -> Done {
        match self.bound.get("MaximumBandwidth") {
            Some(_) => Err(Failure::binding(
                "BandwidthNotSupported",
                "-MaximumBandwidth is not supported: this engine has no limits on networks.",
            )),
            None => Ok(()),
        }
    }

    /// The MAC address that is asked for.
    fn mac(&self) -> Result<Option<String>, Failure> {
        let Some(given) = self.bound.text("StaticMacAddress") else { return Ok(None) };
        let digits: Vec<char> = given.chars().filter(|letter| !matches!(letter, '-' | ':' | '.')).collect();
        if digits.len() != 12 || !digits.iter().all(char::is_ascii_hexdigit) {
            let message = format!("Cannot bind parameter 'StaticMacAddress'. \"{given}\" is no MAC address.");
            return Err(Failure::binding("InvalidMacAddress", message));
        }
        let pairs: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
        Ok(Some(pairs.join(":").to_lowercase()))
    }

    async fn join(
        &mut self,
        container: &Found,
        network: &str,
        mac: Option<String>,
        alias: Option<String>,
    ) -> Result<bool, Failure> {
        let endpoint = EndpointSettings {
            mac_address: mac,
            aliases: alias.map(|alias| vec![alias]),
            ..EndpointSettings::default()
        };
        let request =
            NetworkConnectRequest { container: container.id.clone(), endpoint_config: Some(endpoint) };
        let joined = self.client.connect_network(network, &request).await;
        Ok(self.take(joined, &container.name)?.is_some())
    }

    async fn leave(&mut self, adapter: &Adapter) -> Result<bool, Failure> {
        let request =
            NetworkDisconnectRequest { container: adapter.container.id.clone(), force: Some(false) };
        let left = self.client.disconnect_network(&adapter.network, &request).await;
        Ok(self.take(left, &adapter.container.name)?.is_some())
    }

    /// With `-Passthru`, the adapters that a container now has in a network.
    async fn pass_adapter(&mut self, container: &Found, network: &str, switch: &str) -> Done {
        if !self.bound.flag("Passthru") {
            return Ok(());
        }
        let Some(container) = self.inspect(&container.id).await? else { return Ok(()) };
        let networks = container.json.pointer("/NetworkSettings/Networks");
        let endpoint = networks.and_then(|networks| networks.get(network)).cloned();
        if let Some(endpoint) = endpoint {
            let (switch, network) = (switch.to_owned(), network.to_owned());
            self.output.objects.push(Adapter { container, switch, network, endpoint }.object());
        }
        Ok(())
    }

    pub(super) async fn add_adapter(&mut self) -> Done {
        self.no_bandwidth()?;
        let mac = self.mac()?;
        let name = self.bound.text("SwitchName").unwrap_or_else(|| "bridge".into());
        let switch = self.switch(&name).await?;
        let network = switch.network.name.clone().unwrap_or_default();
        for container in self.containers().await? {
            if self.should_process(&container.name)?
                && self.join(&container, &network, mac.clone(), self.bound.text("Name")).await?
            {
                self.pass_adapter(&container, &network, &switch.name).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn set_adapter(&mut self) -> Done {
        self.no_bandwidth()?;
        let mac = self.mac()?;
        if mac.is_none() && !self.bound.flag("DynamicMacAddress") {
            return Err(Failure::binding(
                "NothingToChange",
                "Set-ContainerNetworkAdapter needs what is to be changed: -StaticMacAddress or -DynamicMacAddress.",
            ));
        }
        for adapter in self.adapters().await? {
            if !self.should_process(&adapter.container.name)? || !self.leave(&adapter).await? {
                continue;
            }
            if self.join(&adapter.container, &adapter.network, mac.clone(), None).await? {
                self.pass_adapter(&adapter.container, &adapter.network, &adapter.switch).await?;
            } else {
                // Refused, and reported: as it was.
                let before = Some(text(&adapter.endpoint, "/MacAddress").to_owned());
                self.join(&adapter.container, &adapter.network, before.filter(|mac| !mac.is_empty()), None)
                    .await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_adapter(&mut self) -> Done {
        for adapter in self.adapters().await? {
            if self.should_process(&adapter.container.name)?
                && self.leave(&adapter).await?
                && self.bound.flag("Passthru")
            {
                self.output.objects.push(adapter.object());
            }
        }
        Ok(())
    }

    pub(super) async fn connect_adapter(&mut self) -> Done {
        let name = self.bound.text("SwitchName").unwrap_or_default();
        let switch = self.switch(&name).await?;
        let network = switch.network.name.clone().unwrap_or_default();
        let old = match self.bound.get("Name") {
            Some(_) => Some(self.adapters().await?),
            None => None,
        };
        let containers = match &old {
            Some(adapters) => adapters.iter().map(|adapter| adapter.container.clone()).collect(),
            None => self.containers().await?,
        };
        for container in containers {
            if !self.should_process(&container.name)? || !self.join(&container, &network, None, None).await? {
                continue;
            }
            let left: Vec<_> = old.iter().flatten().filter(|old| old.container.id == container.id).collect();
            for adapter in left {
                self.leave(adapter).await?;
            }
            self.pass_adapter(&container, &network, &switch.name).await?;
        }
        Ok(())
    }

    pub(super) async fn new_switch(&mut self) -> Done {
        let name = self.bound.text("Name").unwrap_or_default();
        if !self.should_process(&name)? {
            return Ok(());
        }
        let adapter = self.bound.text("NetAdapterName");
        let subnet = self.bound.text("NATSubnetAddress");
        let closed = self.bound.text("SwitchType").is_some_and(|kind| kind != "NAT");
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some(if adapter.is_some() { "macvlan" } else { "bridge" }.to_owned()),
            internal: Some(closed),
            ipam: subnet.map(|subnet| Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet), ..IpamConfig::default() }]),
                ..Ipam::default()
            }),
            options: adapter.map(|adapter| [("parent".to_owned(), adapter)].into()),
            ..NetworkCreateRequest::default()
        };
        let created = self.client.create_network(&request).await;
        created.map_err(|error| Failure::daemon(&error, &name))?;
        let switch = self.switch(&name).await?;
        self.output.objects.push(switch_object(&switch.name, &switch.network));
        Ok(())
    }

    pub(super) async fn get_switch(&mut self) -> Done {
        let wanted = self.bound.texts("Name").unwrap_or_else(|| vec!["*".into()]);
        let switches = self.switches().await?;
        for pattern in wanted {
            let fitting: Vec<_> =
                switches.iter().filter(|switch| wildcard::matches(&pattern, &switch.name)).collect();
            if fitting.is_empty() && !wildcard::is_pattern(&pattern) {
                // Perhaps one of the default one's other names.
                match self.switch(&pattern).await {
                    Ok(switch) => self.output.objects.push(switch_object(&switch.name, &switch.network)),
                    Err(failure) => self.report(failure)?,
                }
            }
            self.output.objects.extend(fitting.iter().map(|one| switch_object(&one.name, &one.network)));
        }
        Ok(())
    }

    pub(super) async fn new_nat(&mut self) -> Done {
        let (name, prefix) = (
            self.bound.text("Name").unwrap_or_default(),
            self.bound.text("InternalIPInterfaceAddressPrefix").unwrap_or_default(),
        );
        if !self.should_process(&name)? {
            return Ok(());
        }
        let switches = self.switches().await?;
        let Some(switch) = switches.iter().find(|switch| subnet(&switch.network) == prefix) else {
            let mut failure = Failure::not_found("network with NAT for the subnet", &prefix);
            failure.message = format!(
                "No network has the subnet {prefix}. A network brings its own NAT: New-VMSwitch -Name {name} -SwitchType \
                 NAT -NATSubnetAddress {prefix} makes both."
            );
            return Err(failure);
        };
        let nat = Object::new("NetNat")
            .with("Name", switch.name.as_str())
            .with("InternalIPInterfaceAddressPrefix", prefix)
            .with("Active", true);
        self.output.objects.push(nat.into());
        Ok(())
    }

    pub(super) async fn add_mapping(&mut self) -> Done {
        let address = self.bound.text("InternalIPAddress").unwrap_or_default();
        if !self.should_process(&address)? {
            return Ok(());
        }
        let (outer, inner) =
            (self.bound.long("ExternalPort").unwrap_or(0), self.bound.long("InternalPort").unwrap_or(0));
        let protocol = self.bound.text("Protocol").unwrap_or_default().to_lowercase();
        let message = format!(
            "Ports are published when a container is created: create the container of {address} again with `docker \
             create -p {outer}:{inner}/{protocol}`."
        );
        Err(Failure::of(Category::NotImplemented, "MappingNotSupported", &address, message))
    }

    pub(super) async fn get_mapping(&mut self) -> Done {
        let wanted = self.bound.texts("NatName").unwrap_or_else(|| vec!["*".into()]);
        let switches = self.switches().await?;
        let mut named = Vec::new();
        for one in self.containers().await? {
            let Some(networks) = one.json.pointer("/NetworkSettings/Networks").and_then(Json::as_object)
            else {
                continue;
            };
            let Some((network, endpoint)) = networks.iter().next() else { continue };
            let switch = switches.iter().find(|switch| switch.network.name.as_deref() == Some(network));
            let nat = switch.map_or(network.clone(), |switch| switch.name.clone());
            let ports = one.json.pointer("/NetworkSettings/Ports").and_then(Json::as_object);
            for (port, bindings) in ports.into_iter().flatten() {
                let (inner, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                for binding in bindings.as_array().into_iter().flatten() {
                    let number = |text: &str| Value::from(text.parse::<i64>().ok());
                    let mapping = Object::new("NetNatStaticMapping")
                        .with("NatName", nat.as_str())
                        .with("Protocol", protocol.to_uppercase())
                        .with("ExternalIPAddress", text(binding, "/HostIp"))
                        .with("ExternalPort", number(text(binding, "/HostPort")))
                        .with("InternalIPAddress", text(endpoint, "/IPAddress"))
                        .with("InternalPort", number(inner))
                        .with("ContainerName", one.name.as_str());
                    named.push((nat.clone(), Value::from(mapping)));
                }
            }
        }
        let fits = |name: &str| wanted.iter().any(|pattern| wildcard::matches(pattern, name));
        self.output
            .objects
            .extend(named.into_iter().filter(|(nat, _)| fits(nat)).map(|(_, mapping)| mapping));
        Ok(())
    }
}

fn subnet(network: &cofferdam_client::models::Network) -> String {
    let config = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    config.and_then(|ranges| ranges.first()?.subnet.clone()).unwrap_or_default()
}

fn switch_object(name: &str, network: &cofferdam_client::models::Network) -> Value {
    let kind = match network.driver.as_deref() {
        Some("macvlan") => "External",
        _ if network.internal == Some(true) => "Internal",
        _ => "NAT",
    };
    let parent = network.options.as_ref().and_then(|options| options.get("parent").cloned());
    Object::new("VMSwitch")
        .with("Name", name)
        .with("SwitchType", kind)
        .with("NetAdapterInterfaceDescription", parent.unwrap_or_default())
        .with("NATSubnetAddress", subnet(network))
        .with("Id", network.id.clone())
        .with("NetworkName", network.name.clone())
        .into()
}
