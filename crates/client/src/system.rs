//! The daemon itself: version, info, events, disk usage.

use cofferdam_api::models::EventMessage;
use cofferdam_api::{Filters, Info, Version};

use crate::query::Query;
use crate::{Client, ClientError, Document, JsonLines};

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventsQuery {
    /// From this Unix time (`seconds` or `seconds.nanoseconds`).
    pub since: Option<String>,
    /// To this Unix time; the stream then ends.
    pub until: Option<String>,
    /// Docker's filters.
    pub filters: Filters,
}

impl Client {
    /// The daemon's version and its parts'.
    pub async fn version(&self) -> Result<Document<Version>, ClientError> {
        self.get("/version").document().await
    }

    /// What the daemon can do on its host, and what it has.
    pub async fn info(&self) -> Result<Document<Info>, ClientError> {
        self.get("/info").document().await
    }

    /// What happens, as it happens. The value is kept as JSON: event types are an open set.
    pub async fn events(&self, which: &EventsQuery) -> Result<JsonLines<serde_json::Value>, ClientError> {
        let query = Query::new()
            .option("since", which.since.as_deref())
            .option("until", which.until.as_deref())
            .filters(&which.filters);
        self.get("/events").query(&query).lines().await
    }

    /// [`Client::events`], typed.
    pub async fn typed_events(&self, which: &EventsQuery) -> Result<JsonLines<EventMessage>, ClientError> {
        let query = Query::new()
            .option("since", which.since.as_deref())
            .option("until", which.until.as_deref())
            .filters(&which.filters);
        self.get("/events").query(&query).lines().await
    }

    /// What takes how much space, by kind (as since API 1.52).
    pub async fn disk_usage(&self) -> Result<Document<serde_json::Value>, ClientError> {
        self.get("/system/df").document().await
    }
}
