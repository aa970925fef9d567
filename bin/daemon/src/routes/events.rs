//! `GET /events`

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use cofferdam_api::Filters;
use tokio::sync::broadcast::error::RecvError;

use crate::engine::Shared;
use crate::error::ApiResult;
use crate::events::Event;
use crate::server::{Api, JsonLines, Params, json_lines};

/// The route.
pub fn router() -> Router<Shared> {
    Router::new().route("/events", get(events))
}

/// Filters that Docker knows; those of kinds that this engine does not have match nothing.
const KNOWN: [&str; 16] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
    "action",
    "status",
];

async fn events(State(engine): State<Shared>, Api(version): Api, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(&KNOWN)?;
    let (since, until) = (params.timestamp("since")?, params.timestamp("until")?);
    let legacy = !version.drops_legacy_event_fields();
    let (past, mut coming) = engine.events.subscribe();
    drop(engine);
    let wanted = move |event: &Event| {
        since.is_none_or(|since| event.time_nanos >= since)
            && until.is_none_or(|until| event.time_nanos <= until)
            && passes(&filters, event)
    };
    Ok(json_lines(move |lines: JsonLines| async move {
        let line = |event: &Event| format!("{}\n", event.to_json(legacy));
        // Without `since` only what comes counts, except that `until` in the past asks for the past too.
        let past = if since.is_some() || until.is_some() { past } else { Vec::new() };
        for event in past.iter().filter(|event| wanted(event)) {
            if !lines.send(line(event)).await {
                return;
            }
        }
        let end = async {
            match until {
                Some(until) => tokio::time::sleep(time_left(until)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let event: Arc<Event> = tokio::select! {
                () = &mut end => return,
                received = coming.recv() => match received {
                    Ok(event) => event,
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!("a slow listener lost {lost} events");
                        continue;
                    }
                    Err(RecvError::Closed) => return,
                },
            };
            if wanted(&event) && !lines.send(line(&event)).await {
                return;
            }
        }
    }))
}

fn time_left(until: i64) -> Duration {
    let now = jiff::Timestamp::now().as_nanosecond();
    Duration::from_nanos(u64::try_from(i128::from(until) - now).unwrap_or(0))
}

/// Whether the event passes the filters.
fn passes(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    // An exec's action carries its command line: `exec_create: sh -c …`.
    let action = event.action.split(':').next().unwrap_or_default();
    let names = |kind: &str, key: &str| {
        filters.any(key, |wanted| {
            event.kind == kind
                && (event.id == wanted
                    || (kind == "container" && !wanted.is_empty() && event.id.starts_with(wanted))
                    || attribute("name").is_some_and(|name| name == wanted.trim_start_matches('/')))
        })
    };
    let image = filters.any("image", |wanted| {
        let known = match event.kind {
            "container" => attribute("image"),
            "image" => attribute("name").or(Some(event.id.as_str())),
            _ => None,
        };
        known.is_some_and(|image| image == wanted || image.strip_suffix(":latest") == Some(wanted))
            || (event.kind == "image" && event.id == wanted)
    });
    ["event", "action", "status"].iter().all(|key| filters.any(key, |w| w == action || w == event.action))
        && filters.matches("type", event.kind)
        && filters.matches("scope", "local")
        && ["config", "node", "plugin", "secret", "service", "volume"].iter().all(|kind| names(kind, kind))
        && ["container", "network", "daemon"].iter().all(|kind| names(kind, kind))
        && image
        && filters.labels("label", |name| attribute(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes_json(json: &str, event: &Event) -> bool {
        passes(&Filters::parse(json).unwrap(), event)
    }

    #[test]
    fn filters_are_dockers() {
        let event = Event::now("container", "exec_create: sh -c true", "abcdef")
            .with("name", "web")
            .with("image", "busybox:latest")
            .with("tier", "front");
        for yes in [
            "{}",
            r#"{"type":["container"]}"#,
            r#"{"event":["exec_create"]}"#,
            r#"{"container":["web"]}"#,
            r#"{"container":["abc"]}"#,
            r#"{"image":["busybox"]}"#,
            r#"{"label":["tier=front"]}"#,
        ] {
            assert!(passes_json(yes, &event), "{yes}");
        }
        for no in [
            r#"{"type":["image"]}"#,
            r#"{"event":["start"]}"#,
            r#"{"container":["db"]}"#,
            r#"{"network":["web"]}"#,
            r#"{"label":["tier=back"]}"#,
            r#"{"scope":["swarm"]}"#,
        ] {
            assert!(!passes_json(no, &event), "{no}");
        }
    }
}
