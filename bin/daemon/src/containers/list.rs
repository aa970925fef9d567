//! `GET /containers/json`: which containers, and what the list says of each.

use std::sync::Arc;

use cofferdam_api::Filters;
use cofferdam_model::{Isolation, Protocol, decimal};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::Record;
use super::{Container, inspect};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::ports;

const KNOWN: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "label!",
];
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Those that do not run too.
    pub all: bool,
    /// The newest so many, whatever their state.
    pub limit: Option<usize>,
    /// With the size of their files.
    pub size: bool,
    /// Filters.
    pub filters: Filters,
}

/// The list, newest first.
pub fn list(engine: &Shared, query: &Query) -> ApiResult<Vec<Value>> {
    let chosen = choose(engine, query)?;
    let now = Timestamp::now();
    Ok(chosen.iter().map(|container| summary(engine, container, now, query.size)).collect())
}

fn choose(engine: &Engine, query: &Query) -> ApiResult<Vec<Arc<Container>>> {
    let filters = &query.filters;
    filters.check(&KNOWN)?;
    if let Some(state) = filters.values("status").find(|state| !STATES.contains(state)) {
        return Err(ApiError::bad_request(format!("invalid filter 'status={state}'")));
    }
    if let Some(word) = filters.values("health").find(|word| !HEALTH.contains(word)) {
        return Err(ApiError::bad_request(format!("Unrecognised filter value for health: {word}")));
    }
    let exits: Vec<i32> = filters
        .values("exited")
        .map(|code| {
            code.parse()
                .map_err(|_unreadable| ApiError::bad_request(format!("invalid filter 'exited={code}'")))
        })
        .collect::<ApiResult<_>>()?;
    let levels: Vec<Isolation> = filters
        .values("isolation")
        .map(|level| Isolation::parse_or(level, engine.config.default_isolation))
        .collect::<Result<_, _>>()
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let moment = |key: &str| -> ApiResult<Option<Timestamp>> {
        filters.values(key).next().map(|name| Ok(engine.containers.find(name)?.record().created)).transpose()
    };
    let (before, since) = (moment("before")?, moment("since")?);
    // A name of an image that does not exist matches nothing.
    let ancestors: Vec<String> = filters
        .values("ancestor")
        .map(|name| {
            engine.images.resolve(name).map_or_else(|_| name.to_owned(), |image| image.id().to_string())
        })
        .collect();
    let all = query.all || query.limit.is_some() || filters.has("status") || filters.has("exited");
    let passes = |container: &Arc<Container>| {
        let (record, status, name) = (container.record(), container.status(), container.name());
        let named = |wanted: &str| matches_name(&name, wanted);
        (all || status.is_running())
            && filters.any("id", |wanted| container.id.as_str().starts_with(wanted))
            && filters.any("name", named)
            && filters.matches("status", status.word())
            && filters.matches("health", status.health_word())
            && filters.matches("is-task", "false")
            && filters.labels("label", |key| record.config.labels.get(key).map(String::as_str))
            && !(filters.has("label!")
                && filters.labels("label!", |key| record.config.labels.get(key).map(String::as_str)))
            && (ancestors.is_empty() || ancestors.contains(&record.image))
            && (exits.is_empty()
                || (status.finished.is_some() && !status.is_running() && exits.contains(&status.exit_code)))
            && (levels.is_empty() || levels.contains(&record.isolation))
            && filters.any("network", |wanted| in_network(&record, wanted))
            && filters.any("volume", |wanted| {
                record.mounts.iter().any(|mount| {
                    mount.name == wanted || mount.source == wanted || mount.destination == wanted
                })
            })
            && filters.any("expose", |wanted| {
                record
                    .config
                    .exposed_ports
                    .keys()
                    .any(|port| port.split('/').next() == wanted.split('/').next())
            })
            && filters.any("publish", |wanted| {
                status.ports.iter().any(|port| names_port(wanted, port.container_port, port.protocol))
            })
            && before.is_none_or(|before| record.created < before)
            && since.is_none_or(|since| record.created > since)
    };
    Ok(engine.containers.all().into_iter().filter(passes).take(query.limit.unwrap_or(usize::MAX)).collect())
}

fn in_network(record: &Record, wanted: &str) -> bool {
    record.endpoints.iter().any(|endpoint| wanted == endpoint.name || wanted == endpoint.network)
        || record.endpoints.is_empty() && wanted == record.network()
}

/// `80`, `80/udp`, `8000-8010/tcp`
fn names_port(wanted: &str, number: u16, protocol: Protocol) -> bool {
    let (numbers, of) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let range = decimal(first).zip(decimal(last));
    of == protocol.to_string() && range.is_some_and(|(first, last)| (first..=last).contains(&number))
}

/// Docker's name filter is a pattern; a part of the name, with or without slash and anchors, is what people write.
fn matches_name(name: &str, wanted: &str) -> bool {
    let (start, wanted) = match wanted.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let (end, wanted) = match wanted.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let full = format!("/{name}");
    let slashed = wanted.starts_with('/');
    let subject = if slashed { full.as_str() } else { name };
    let from_start = start || slashed;
    match (from_start, end) {
        (true, true) => subject == wanted,
        (true, false) => subject.starts_with(wanted),
        (false, true) => subject.ends_with(wanted),
        (false, false) => subject.contains(wanted),
    }
}

fn summary(engine: &Engine, container: &Container, now: Timestamp, size: bool) -> Value {
    let (record, status) = (container.record(), container.status());
    let words = std::iter::once(&record.path).chain(&record.args);
    let command = words.map(|word| quoted(word.as_str())).collect::<Vec<_>>().join(" ");
    let mut json = json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name())],
        "Image": image_name(engine, &record.config.image, &record.image),
        "ImageID": record.image,
        "Command": command,
        "Created": record.created.as_second(),
        "Ports": if status.state.is_live() { ports::summary(&record.config, &status) } else { json!([]) },
        "Labels": record.config.labels,
        "State": status.word(),
        "Status": status.sentence(now),
        "Health": {
            "Status": status.health_word(),
            "FailingStreak": status.health.as_ref().map_or(0, |health| health.failing_streak),
        },
        "HostConfig": { "NetworkMode": record.network(), "Isolation": record.isolation },
        "NetworkSettings": { "Networks": inspect::networks(engine, container, &record, &status) },
        "Mounts": inspect::mounts(engine, container),
        "Cofferdam": { "Isolation": record.isolation },
    });
    if size {
        let (own, all) = inspect::sizes(engine, container);
        json["SizeRw"] = json!(own);
        json["SizeRootFs"] = json!(all);
    }
    json
}

/// The name that was used, as long as it still means the image; else its ID.
fn image_name(engine: &Engine, name: &str, id: &str) -> String {
    match engine.images.resolve(name) {
        Ok(image) if image.id().to_string() == id => name.to_owned(),
        _ => id.to_owned(),
    }
}

/// A word as Docker shows it: quoted when it has blanks.
fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_every_spelling() {
        for wanted in ["web", "we", "eb-1", "/web", "^web-1$", "^/web-1$", "-1$", "/web-1"] {
            assert!(matches_name("web-1", wanted), "{wanted}");
        }
        for wanted in ["^eb", "/eb", "web$", "^/web$", "x"] {
            assert!(!matches_name("web-1", wanted), "{wanted}");
        }
    }

    #[test]
    fn words_with_blanks_are_quoted() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("ab"), "ab");
    }
}
