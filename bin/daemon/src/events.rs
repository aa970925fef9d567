//! The event bus: what happens to containers, images and networks, for `/events`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::broadcast;

/// How many past events `since` can bring back; Docker keeps 256.
const REMEMBERED: usize = 256;

/// How many events a slow listener may lag behind before it loses some.
const BACKLOG: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind of object: `container`, `image`, `network`, `daemon`.
    pub kind: &'static str,
    /// What happened to it, in Docker's word: `start`, `die`, `exec_create: sh`.
    pub action: String,
    /// The object's ID.
    pub id: String,
    /// Facts about it: `name`, `image`, `exitCode`, and its labels.
    pub attributes: BTreeMap<String, String>,
    /// When, as Unix time in nanoseconds.
    pub time_nanos: i64,
}

impl Event {
    /// An event of this moment, without attributes.
    pub fn now(kind: &'static str, action: impl Into<String>, id: impl Into<String>) -> Self {
        let time_nanos = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        Self { kind, action: action.into(), id: id.into(), attributes: BTreeMap::new(), time_nanos }
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Docker's JSON; `legacy` adds the fields that clients before API 1.52 may still read.
    pub fn to_json(&self, legacy: bool) -> Value {
        let mut json = json!({
            "Type": self.kind,
            "Action": self.action,
            "Actor": { "ID": self.id, "Attributes": self.attributes },
            "scope": "local",
            "time": self.time_nanos.div_euclid(1_000_000_000),
            "timeNano": self.time_nanos,
        });
        if legacy && matches!(self.kind, "container" | "image") {
            json["status"] = json!(self.action);
            json["id"] = json!(self.id);
            if let (Some(image), "container") = (self.attributes.get("image"), self.kind) {
                json["from"] = json!(image);
            }
        }
        json
    }
}

/// Publishes events to everyone who listens, and remembers the last ones.
#[derive(Debug)]
pub struct EventBus {
    past: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self { past: Mutex::default(), sender: broadcast::Sender::new(BACKLOG) }
    }
}

impl EventBus {
    /// Tells everyone.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(Arc::clone(&event));
        // Sent under the lock, so that `subscribe` neither misses nor repeats an event. Nobody listening is fine.
        let _ = self.sender.send(event);
    }

    /// The remembered events, and those to come.
    pub fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.sender.subscribe())
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_dockers_with_and_without_the_old_fields() {
        let mut event = Event::now("container", "start", "abc").with("image", "busybox").with("name", "x");
        event.time_nanos = 1_700_000_000_123_456_789;
        let json = event.to_json(true);
        assert_eq!(json["status"], "start");
        assert_eq!(json["from"], "busybox");
        assert_eq!(json["time"], 1_700_000_000);
        assert_eq!(json["Actor"]["Attributes"]["name"], "x");
        assert!(event.to_json(false).get("status").is_none());
    }

    #[test]
    fn the_past_is_bounded_and_nothing_is_missed() {
        let bus = EventBus::default();
        for n in 0..REMEMBERED + 3 {
            bus.publish(Event::now("image", "pull", n.to_string()));
        }
        let (past, mut coming) = bus.subscribe();
        assert_eq!(past.len(), REMEMBERED);
        assert_eq!(past[0].id, "3");
        bus.publish(Event::now("image", "tag", "last"));
        assert_eq!(coming.try_recv().unwrap().id, "last");
    }
}
