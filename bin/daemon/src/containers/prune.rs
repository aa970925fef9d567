//! `POST /containers/prune`: removes containers that do not run.

use cofferdam_api::Filters;
use cofferdam_model::State;
use jiff::Timestamp;

use super::{inspect, remove};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::events::Event;
use crate::server::parse_timestamp;

/// Removes them; their IDs and the bytes of their files.
pub async fn prune(engine: &Shared, filters: &Filters) -> ApiResult<(Vec<String>, u64)> {
    filters.check(&["label", "label!", "until"])?;
    let until = filters.values("until").next().map(parse_until).transpose()?;
    let (mut ids, mut bytes) = (Vec::new(), 0);
    for container in engine.containers.all() {
        let (record, status) = (container.record(), container.status());
        let label = |key: &str| record.config.labels.get(key).map(String::as_str);
        let spared = filters.has("label!") && filters.labels("label!", label);
        let at_rest = matches!(status.state, State::Created | State::Exited) && !status.restarting;
        if !at_rest
            || spared
            || !filters.labels("label", label)
            || until.is_some_and(|until| record.created > until)
        {
            continue;
        }
        let size = {
            let (engine, container) = (engine.clone(), container.clone());
            tokio::task::spawn_blocking(move || inspect::sizes(&engine, &container).0).await.unwrap_or(0)
        };
        // One that was started or removed meanwhile is simply not pruned.
        if remove::remove_container(engine, &container, false, true).await.is_ok() {
            ids.push(container.id.to_string());
            bytes += size;
        }
    }
    engine.events.publish(Event::now("container", "prune", "").with("reclaimed", bytes.to_string()));
    Ok((ids, bytes))
}

/// A moment: a timestamp, or how long ago (`24h`, `1h30m`).
pub fn parse_until(text: &str) -> ApiResult<Timestamp> {
    let invalid = || ApiError::bad_request(format!("invalid filter 'until={text}'"));
    if let Some(nanos) = parse_timestamp(text) {
        return Timestamp::from_nanosecond(nanos.into()).map_err(|_out_of_range| invalid());
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_unreadable| invalid())?;
    Timestamp::now().checked_sub(span).map_err(|_out_of_range| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(parse_until("1700000000").unwrap().as_second(), 1_700_000_000);
        assert!(parse_until("24h").unwrap() < Timestamp::now());
        assert!(parse_until("1h30m").is_ok());
        assert!(parse_until("yesterday").is_err());
    }
}
