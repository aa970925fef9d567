//! Health checks: a program is executed in the container again and again, and its exit codes say how healthy it is.
//!
//! The container's actor owns the [`Monitor`] while the container runs, so results are applied in order with everything
//! else that happens to it, and none comes after its end. Nothing is probed while it is paused.

mod check;
mod probe;
mod state;

use std::sync::Arc;

use cofferdam_model::State;
use jiff::Timestamp;
use tokio::time::Instant;

pub use check::{Check, Healthcheck};
use probe::Probe;
pub use state::{Health, Probed};

use super::Container;
use super::actor::Actor;
use super::record::Status;
use crate::engine::Shared;
use crate::error::chain;

/// Probes one container while it runs. Dropping it ends that.
pub(super) struct Monitor {
    check: Check,
    due: Instant,
    probe: Option<Probe>,
}

impl Monitor {
    /// The next result. Whoever stops waiting for it loses nothing.
    pub(super) async fn result(&mut self, engine: &Shared, container: &Arc<Container>) -> Probed {
        loop {
            if let Some(probe) = &mut self.probe {
                let probed = probe.result().await;
                self.probe = None;
                return probed;
            }
            tokio::time::sleep_until(self.due).await;
            self.probe = Some(Probe::start(engine, container, &self.check));
        }
    }
}

impl Actor {
    /// Begins to probe, if the container runs and has something to be probed with.
    pub(super) fn watch_health(&mut self) {
        let status = self.container.status();
        let check = Check::of(&self.container.record().config).filter(|_| status.state == State::Running);
        self.health = check.zip(status.health.as_ref()).map(|(check, health)| {
            let due = Instant::now() + health.interval(&check, status.started, Timestamp::now());
            Monitor { check, due, probe: None }
        });
    }

    /// Ends the probing; the program of a probe is gone afterwards.
    pub(super) async fn unwatch_health(&mut self) {
        if let Some(Monitor { probe: Some(probe), .. }) = self.health.take() {
            probe.stop().await;
        }
    }

    /// Takes a result, and says when the next one is due.
    pub(super) fn probed(&mut self, probed: Probed) {
        let status = self.status();
        let (Some(monitor), Some(before)) = (&mut self.health, status.health.clone()) else { return };
        let word = before.status;
        let health = before.after(probed, &monitor.check, status.started);
        monitor.due = Instant::now() + health.interval(&monitor.check, status.started, Timestamp::now());
        let now = health.status;
        let status = Status { health: Some(health), ..status };
        if now == word {
            // Not worth a write: the next daemon begins anew in any case.
            self.container.publish(status);
            return;
        }
        if let Err(error) = self.record(status) {
            tracing::error!(id = %self.container.id, "cannot record a container's health: {}", chain(&error));
        }
        self.engine.events.publish(self.container.event(format!("health_status: {}", now.as_str())));
    }
}
