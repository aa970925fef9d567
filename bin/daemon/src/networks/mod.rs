//! Networks that users make: each a bridge, a table of rules, a resolver, and a row in the store.
//!
//! ```text
//! create   record ─► bridge and rules ─► resolver          remove   record (unless somebody has an address) ─► the rest
//! ```
//!
//! The record goes first both ways, so that whatever is on the host without one is a crash's, and swept when the next
//! daemon starts. That makes everything on record again that is not there.

mod endpoint;
pub mod join;
pub mod links;
mod names;
mod spec;

use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use cofferdam_dns::Server;
use cofferdam_model::Instance;
use cofferdam_store::{NetworkRow, Store, StoreError};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::containers::record::Record;
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult, chain};
use crate::events::Event;
use crate::network::LOCK;
pub use endpoint::{
    Attachment, Endpoint, Place, attachments, check_mac, choose_default, free_number, is_own_mode, resolve,
};
pub use join::shim_of;
pub use names::names_of;
pub use spec::{Driver, Request, Spec};

/// How long a network's removal waits for containers whose removal clients were told of.
const LAST_CONTAINERS: Duration = Duration::from_secs(10);

/// A network.
#[derive(Debug)]
pub struct Network {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// What it is.
    pub spec: Spec,
    /// Why it is not on the host; empty when it is.
    problem: String,
    resolver: Mutex<Option<Server>>,
}

/// All networks of users.
#[derive(Debug, Default)]
pub struct Networks {
    all: RwLock<Vec<Arc<Network>>>,
    /// Held while one is made or removed.
    changing: tokio::sync::Mutex<()>,
}

impl Networks {
    /// Makes everything on record, and removes what is on the host without a record. Blocking.
    pub fn open(instance: &Instance, store: &Store) -> anyhow::Result<Self> {
        let (mut all, mut unreadable) = (Vec::new(), false);
        for row in store.networks()? {
            let name = row.name.clone();
            let network = match Network::from_row(row) {
                Ok(network) => network,
                Err(error) => {
                    tracing::error!(
                        "the record of network {name} is of another build of Cofferdam, and this one cannot read it \
                         ({error}): it is left alone; start that build again"
                    );
                    unreadable = true;
                    continue;
                }
            };
            if !network.problem.is_empty() {
                tracing::warn!("network {}: {}", network.name, network.problem);
            }
            all.push(Arc::new(network));
        }
        for bridge in cofferdam_net::bridges(&prefix(instance)).unwrap_or_default() {
            // It may be the unreadable one's.
            if !unreadable && !all.iter().any(|network| network.spec.bridge == bridge) {
                tracing::info!("removing the bridge {bridge}, which belongs to no network");
                take_down(&bridge, &table(instance, &bridge));
            }
        }
        Ok(Self { all: RwLock::new(all), changing: tokio::sync::Mutex::default() })
    }

    /// Every network of a user's, oldest first.
    pub fn all(&self) -> Vec<Arc<Network>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By name, ID, or the beginning of an ID.
    pub fn find(&self, reference: &str) -> ApiResult<Arc<Network>> {
        let all = self.all();
        let exact = all.iter().find(|network| network.id == reference);
        if let Some(network) = exact.or_else(|| all.iter().find(|network| network.name == reference)) {
            return Ok(Arc::clone(network));
        }
        let mut starts = all.iter().filter(|network| network.id.starts_with(reference));
        match (starts.next(), starts.next()) {
            (Some(network), None) if !reference.is_empty() => Ok(Arc::clone(network)),
            (Some(_), Some(_)) if !reference.is_empty() => Err(ApiError::bad_request(format!(
                "network {reference} is ambiguous (2 matches found on ID)"
            ))),
            _ => Err(ApiError::not_found(format!("network {reference} not found"))),
        }
    }

    /// Removes from the host what no container uses any more; records stay. Blocking.
    pub fn tear_down(&self) {
        for network in self.all() {
            network.stop_resolver();
            take_down(&network.spec.bridge, &network.spec.nft_table);
        }
    }
}

impl Network {
    fn from_row(row: NetworkRow) -> anyhow::Result<Self> {
        let spec: Spec = serde_json::from_str(&row.spec)?;
        let problem = put_up(&spec).err().unwrap_or_default();
        Ok(Self {
            id: row.id,
            name: row.name,
            created: Timestamp::from_nanosecond(row.created.into())?,
            spec,
            problem,
            resolver: Mutex::default(),
        })
    }

    /// Whether it has a resolver.
    pub fn resolves(&self) -> bool {
        self.resolver.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn stop_resolver(&self) {
        self.resolver.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// As `inspect` shows it, without its containers.
    pub fn to_json(&self) -> Value {
        let spec = &self.spec;
        let subnet = spec.subnet().map(|subnet| subnet.to_string()).unwrap_or_default();
        let mut config = json!({ "Subnet": subnet, "Gateway": spec.gateway });
        let ipv6 = spec.ipv6.as_ref();
        let ipv6 = ipv6.map(|ipv6| json!({ "Subnet": ipv6.subnet().to_string(), "Gateway": ipv6.gateway }));
        if !spec.range.is_empty() {
            config["IPRange"] = json!(spec.range);
        }
        if !spec.auxiliary.is_empty() {
            config["AuxiliaryAddresses"] = json!(spec.auxiliary);
        }
        json!({
            "Name": self.name,
            "Id": self.id,
            "Created": self.created.to_string(),
            "Scope": "local",
            "Driver": spec.driver.name(),
            "EnableIPv4": true,
            "EnableIPv6": ipv6.is_some(),
            "IPAM": {
                "Driver": "default",
                "Options": {},
                "Config": std::iter::once(config).chain(ipv6).collect::<Vec<_>>(),
            },
            "Internal": spec.internal,
            "Attachable": spec.attachable,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": Map::new(),
            "Options": spec.options,
            "Labels": spec.labels,
        })
    }

    /// What has happened to it, or to a container in it.
    pub fn event(&self, action: &str) -> Event {
        let event = Event::now("network", action, self.id.as_str()).with("name", self.name.clone());
        event.with("type", self.spec.driver.name())
    }
}

/// The resolver that a container asks: that of the first of its networks that has one. Each answers for all of them.
pub fn resolver(engine: &Engine, record: &Record) -> Option<Ipv4Addr> {
    let mut networks =
        record.endpoints.iter().filter_map(|endpoint| engine.networks.find(&endpoint.network).ok());
    networks.find(|network| network.resolves()).map(|network| network.spec.gateway)
}

/// Starts the resolvers of the networks that are there.
pub async fn listen(engine: &Shared) {
    for network in engine.networks.all() {
        if network.problem.is_empty() {
            start_resolver(engine, &network).await;
        }
    }
}

/// Starts a network's resolver, if an address there is the host's.
async fn start_resolver(engine: &Shared, network: &Network) {
    if network.spec.driver != Driver::Bridge {
        return;
    }
    match Server::start(network.spec.gateway, names::of(engine, network)).await {
        Ok(server) => {
            *network.resolver.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        }
        Err(error) => tracing::warn!(
            "network {} has no resolver: cannot listen on {} port 53: {error}",
            network.name,
            network.spec.gateway
        ),
    }
}

/// Makes a network.
pub async fn create(engine: &Shared, request: Request) -> ApiResult<Arc<Network>> {
    let _changing = engine.networks.changing.lock().await;
    let making = {
        let engine = Arc::clone(engine);
        tokio::task::spawn_blocking(move || make(&engine, request))
    };
    let made =
        making.await.map_err(|error| ApiError::internal(format!("cannot make the network: {error}")))??;
    let network = Arc::new(made);
    start_resolver(engine, &network).await;
    engine.networks.all.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&network));
    engine.events.publish(network.event("create"));
    Ok(network)
}

fn make(engine: &Engine, request: Request) -> ApiResult<Network> {
    // Another daemon must not choose the same subnet meanwhile.
    let _lock = File::create(LOCK).and_then(|file| file.lock().map(|()| file));
    let name = request.name.clone();
    if engine.networks.all().iter().any(|network| network.name == name) {
        return Err(ApiError::conflict(format!("network with name {name} already exists")));
    }
    let mut spec = Spec::check(request, || {
        let (gateway, prefix) =
            cofferdam_net::free_subnet().map_err(|error| ApiError::internal(chain(&error)))?;
        cofferdam_net::Subnet::new(gateway, prefix).map_err(|error| ApiError::internal(error.to_string()))
    })?;
    if overlaps(engine, &spec)? {
        return Err(ApiError::forbidden(
            "invalid pool request: Pool overlaps with other one on this address space",
        ));
    }
    match &spec.driver {
        Driver::Bridge => {
            spec.bridge = free_bridge(&engine.instance);
            spec.nft_table = table(&engine.instance, &spec.bridge);
        }
        Driver::Macvlan { parent, .. } => only_user_of(engine, parent)?,
    }
    let row = NetworkRow {
        id: cofferdam_model::random_hex(32),
        name,
        created: i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX),
        spec: serde_json::to_string(&spec).map_err(|error| ApiError::from_chain(&error))?,
    };
    engine.store.insert_network(&row)?;
    let id = row.id.clone();
    let network = Network::from_row(row).map_err(|error| ApiError::internal(format!("{error:#}")))?;
    if network.problem.is_empty() {
        return Ok(network);
    }
    engine.store.remove_network(&id)?;
    Err(ApiError::internal(network.problem))
}

/// Removes a network that no container is in.
pub async fn remove(engine: &Shared, network: &Arc<Network>) -> ApiResult<()> {
    let _changing = engine.networks.changing.lock().await;
    let deadline = tokio::time::Instant::now() + LAST_CONTAINERS;
    loop {
        match engine.store.remove_network(&network.id) {
            Ok(()) => break,
            Err(StoreError::NetworkInUse(holders)) => {
                let active = active(engine, &holders);
                if !active.is_empty() || tokio::time::Instant::now() > deadline {
                    return Err(ApiError::forbidden(format!(
                        "error while removing network: network {} has active endpoints ({})",
                        network.name,
                        active.join(", ")
                    )));
                }
            }
            Err(StoreError::NoNetwork(_)) => {
                return Err(ApiError::not_found(format!("network {} not found", network.name)));
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine
        .networks
        .all
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|other| other.id != network.id);
    network.stop_resolver();
    let gone = Arc::clone(network);
    let removing = tokio::task::spawn_blocking(move || take_down(&gone.spec.bridge, &gone.spec.nft_table));
    removing.await.map_err(|error| ApiError::internal(format!("cannot remove the network: {error}")))?;
    engine.events.publish(network.event("destroy"));
    Ok(())
}

/// Of containers with addresses, those that are not on their way out.
fn active(engine: &Engine, holders: &[String]) -> Vec<String> {
    let found = holders.iter().filter_map(|id| engine.containers.find(id).ok());
    let live = found.filter(|container| {
        let state = container.status().state;
        state.is_live() || state == cofferdam_model::State::Starting
    });
    live.map(|container| format!("name:{:?} id:{:?}", container.name(), container.id.short())).collect()
}

/// Whether another has addresses of its subnets. What is the outside's anyway may be the host's, too.
fn overlaps(engine: &Engine, spec: &Spec) -> ApiResult<bool> {
    let subnet = spec.subnet()?;
    let others = engine.networks.all();
    let mut others = others.iter().map(|other| &other.spec);
    let meets = |other: &Spec| {
        subnet.overlaps(other.gateway, other.prefix)
            || spec.ipv6.as_ref().zip(other.ipv6.as_ref()).is_some_and(|(one, other)| {
                one.subnet().contains(other.gateway) || other.subnet().contains(one.gateway)
            })
    };
    Ok(others.any(meets)
        || spec.driver == Driver::Bridge
            && !cofferdam_net::is_free(spec.gateway, spec.prefix)
                .map_err(|error| ApiError::internal(chain(&error)))?)
}

/// An interface carries one macvlan network.
fn only_user_of(engine: &Engine, wanted: &str) -> ApiResult<()> {
    let all = engine.networks.all();
    let user = all
        .iter()
        .find(|network| matches!(&network.spec.driver, Driver::Macvlan { parent, .. } if parent == wanted));
    match user {
        Some(user) => Err(ApiError::forbidden(format!(
            "network {} is already using parent interface {wanted}",
            user.name
        ))),
        None => Ok(()),
    }
}

fn put_up(spec: &Spec) -> Result<(), String> {
    if let Driver::Macvlan { parent, .. } = &spec.driver {
        let there = std::path::Path::new("/sys/class/net").join(parent).exists();
        return if there { Ok(()) } else { Err(format!("the host has no interface {parent}")) };
    }
    let (bridge, policy) = spec.on_host();
    let there = std::path::Path::new("/sys/class/net").join(&spec.bridge).exists();
    if !there && !cofferdam_net::is_free(spec.gateway, spec.prefix).map_err(|error| chain(&error))? {
        return Err(format!("its subnet, with {}/{}, is in use by now", spec.gateway, spec.prefix));
    }
    cofferdam_net::ensure_network(&bridge, policy).map_err(|error| {
        let hint = error.hint().map(|hint| format!(": {hint}")).unwrap_or_default();
        format!("{}{hint}", chain(&error))
    })
}

fn take_down(bridge: &str, table: &str) {
    if bridge.is_empty() {
        return;
    }
    if let Err(error) = cofferdam_net::remove_bridge(bridge, table) {
        tracing::warn!("cannot remove the bridge {bridge}: {}", chain(&error));
    }
}

/// What the names of an instance's bridges begin with: no instance's name has a dash, so it is no other's.
fn prefix(instance: &Instance) -> String {
    format!("cn{instance}-")
}

/// A name of 15 bytes at most that no interface has.
fn free_bridge(instance: &Instance) -> String {
    loop {
        let name = format!("{}{}", prefix(instance), cofferdam_model::random_hex(2));
        if !std::path::Path::new("/sys/class/net").join(&name).exists() {
            return name;
        }
    }
}

/// The table that goes with a bridge.
fn table(instance: &Instance, bridge: &str) -> String {
    format!("{}_{}", instance.nft_table(), bridge.rsplit('-').next().unwrap_or_default())
}
