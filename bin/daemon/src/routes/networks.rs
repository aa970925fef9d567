//! `/networks`: the three that every engine has, and users'.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, response::IntoResponse};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::containers::config::{self, lenient};
use crate::containers::inspect::endpoint_id;
use crate::containers::lifecycle;
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::events::Event;
use crate::networks::Place;
use crate::server::{JsonBody, Params};
use crate::{containers, network, networks};

/// When the engine's own networks were made: Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{name}", get(inspect).delete(remove))
        .route("/networks/{name}/connect", post(connect))
        .route("/networks/{name}/disconnect", post(disconnect))
}

async fn list(State(engine): State<Shared>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let dangling = filters.flag("dangling")?;
    if let Some(kind) = filters.values("type").find(|kind| !["builtin", "custom"].contains(kind)) {
        return Err(ApiError::bad_request(format!("invalid filter: 'type'='{kind}'")));
    }
    let networks: Vec<Value> = all(&engine)
        .into_iter()
        .filter(|network| {
            let text = |key: &str| network[key].as_str().unwrap_or_default();
            let builtin = network["Created"] == NEVER;
            let unused = || {
                !builtin && endpoints(&engine, text("Id"), text("Name")).as_object().is_none_or(Map::is_empty)
            };
            dangling.is_none_or(|wanted| unused() == wanted)
                && filters.labels("label", |key| network["Labels"][key].as_str())
                && filters.any("name", |wanted| text("Name").contains(wanted))
                && filters.any("id", |wanted| text("Id").contains(wanted))
                && filters.matches("driver", text("Driver"))
                && filters.matches("scope", "local")
                && filters.matches("type", if builtin { "builtin" } else { "custom" })
        })
        .collect();
    Ok(Json(networks).into_response())
}

async fn create(State(engine): State<Shared>, JsonBody(body): JsonBody<Value>) -> ApiResult {
    let request = lenient(body).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    let network = networks::create(&engine, request).await?;
    let warning = if network.resolves() {
        String::new()
    } else {
        format!(
            "Containers do not find each other by name: nothing can listen on {} port 53.",
            network.spec.gateway
        )
    };
    Ok((StatusCode::CREATED, Json(json!({ "Id": network.id, "Warning": warning }))).into_response())
}

async fn inspect(State(engine): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<Value>> {
    let mut network = find(&engine, &name)?;
    let text = |key: &str| network[key].as_str().unwrap_or_default().to_owned();
    network["Containers"] = endpoints(&engine, &text("Id"), &text("Name"));
    Ok(Json(network))
}

async fn remove(State(engine): State<Shared>, Path(name): Path<String>) -> ApiResult<StatusCode> {
    let found = find(&engine, &name)?;
    let (id, name) = (found["Id"].as_str().unwrap_or_default(), found["Name"].as_str().unwrap_or_default());
    if found["Created"] == NEVER {
        return Err(ApiError::forbidden(format!("{name} is a pre-defined network and cannot be removed")));
    }
    networks::remove(&engine, &engine.networks.find(id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(State(engine): State<Shared>, params: Params) -> ApiResult<Json<Value>> {
    let filters = params.filters()?;
    filters.check(&["label", "label!", "until"])?;
    let until = filters.values("until").next().map(containers::prune::parse_until).transpose()?;
    let mut gone: Vec<String> = Vec::new();
    for network in engine.networks.all() {
        let label = |key: &str| network.spec.labels.get(key).map(String::as_str);
        let spared = filters.has("label!") && filters.labels("label!", label)
            || !filters.labels("label", label)
            || until.is_some_and(|until: Timestamp| network.created > until);
        // One that somebody uses, or has removed meanwhile, is simply not pruned.
        if !spared && networks::remove(&engine, &network).await.is_ok() {
            gone.push(network.name.clone());
        }
    }
    engine.events.publish(Event::now("network", "prune", "").with("reclaimed", "0"));
    Ok(Json(json!({ "NetworksDeleted": if gone.is_empty() { Value::Null } else { json!(gone) } })))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Connection {
    container: String,
    endpoint_config: config::Endpoint,
    force: bool,
}

async fn connect(
    State(engine): State<Shared>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult<StatusCode> {
    let (network, asked) = connection(&engine, &name, body)?;
    let container = engine.containers.find(&asked.container)?;
    if ["host", "none"].contains(&network.1.as_str()) {
        return Err(ApiError::forbidden(format!(
            "container cannot be connected to the {} network: it is a network mode, chosen when the container is made",
            network.1
        )));
    }
    let endpoint = Place::find(&engine, &network.0)?.endpoint(&engine, &asked.endpoint_config)?;
    lifecycle::connect(&container, endpoint).await?;
    Ok(StatusCode::OK)
}

async fn disconnect(
    State(engine): State<Shared>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult<StatusCode> {
    let ((network, _), asked) = connection(&engine, &name, body)?;
    // Force is for endpoints of containers that are gone, which there are none of here.
    let container = match engine.containers.find(&asked.container) {
        Err(_absent) if asked.force => return Ok(StatusCode::OK),
        found => found?,
    };
    lifecycle::disconnect(&container, network).await?;
    Ok(StatusCode::OK)
}

/// The network's ID and name, and what is asked of it.
fn connection(engine: &Engine, name: &str, body: Value) -> ApiResult<((String, String), Connection)> {
    let asked: Connection =
        lenient(body).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    let network = find(engine, name)?;
    let text = |key: &str| network[key].as_str().unwrap_or_default().to_owned();
    Ok(((text("Id"), text("Name")), asked))
}

fn find(engine: &Engine, name: &str) -> ApiResult<Value> {
    let networks = all(engine);
    let by_name = networks.iter().find(|network| network["Name"] == name);
    let by_id = || {
        let starts = |network: &&Value| network["Id"].as_str().is_some_and(|id| id.starts_with(name));
        if name.is_empty() { None } else { networks.iter().find(starts) }
    };
    by_name.or_else(by_id).cloned().ok_or_else(|| ApiError::not_found(format!("network {name} not found")))
}

/// The containers that run in a network, by its ID and name.
fn endpoints(engine: &Engine, id: &str, name: &str) -> Value {
    let mut endpoints = Map::new();
    for container in engine.containers.all() {
        let (record, status) = (container.record(), container.status());
        if !status.is_running() {
            continue;
        }
        let joined = status.networks.iter().find(|joined| joined.network == id);
        // `host` and `none` are modes.
        if joined.is_none() && !(record.endpoints.is_empty() && record.network() == name) {
            continue;
        }
        let config = joined.map(|joined| &joined.interface.config);
        let address = config.map(|config| format!("{}/{}", config.address, config.prefix));
        let address6 =
            config.and_then(|config| config.ipv6).map(|at| format!("{}/{}", at.address, at.prefix));
        let endpoint = json!({
            "Name": container.name(),
            "EndpointID": endpoint_id(&container, id),
            "MacAddress": config.map(|config| config.mac.as_str()).unwrap_or_default(),
            "IPv4Address": address.unwrap_or_default(),
            "IPv6Address": address6.unwrap_or_default(),
        });
        endpoints.insert(container.id.to_string(), endpoint);
    }
    Value::Object(endpoints)
}

fn all(engine: &Engine) -> Vec<Value> {
    let mut networks = Vec::new();
    if let Some(bridge) = &engine.network.bridge {
        let options = json!({
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.name": bridge.name,
            "com.docker.network.driver.mtu": bridge.mtu.to_string(),
        });
        let subnets = json!([{ "Subnet": bridge.subnet(), "Gateway": bridge.gateway }]);
        networks.push(network(network::NAME, &engine.network.id, "bridge", subnets, options));
    }
    for (name, driver) in [("host", "host"), ("none", "null")] {
        let id = hex::encode(Sha256::digest(format!("cofferdam network {name} of {}", engine.instance)));
        networks.push(network(name, &id, driver, Value::Null, json!({})));
    }
    networks.extend(engine.networks.all().iter().map(|network| network.to_json()));
    networks
}

fn network(name: &str, id: &str, driver: &str, subnets: Value, options: Value) -> Value {
    json!({
        "Name": name,
        "Id": id,
        // They were never made: they come with the engine. Go's zero time says so.
        "Created": NEVER,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": subnets },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": Map::new(),
        "Options": options,
        "Labels": Map::new(),
    })
}
