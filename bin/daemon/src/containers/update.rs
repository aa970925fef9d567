//! `update`: the record and what runs by it get other limits, or neither does.

use cofferdam_model::State;

use super::actor::{Actor, has_just_ended, to_json};
use super::config::HostConfig;
use super::limits::update::{fits, later, merge};
use super::record::Record;
use super::spec::HostFacts;
use super::spec::resources::resources;
use crate::error::{ApiError, ApiResult, chain};

impl Actor {
    /// `wanted` was checked by itself; here it meets what the container has. Returns warnings.
    pub(super) async fn update(&mut self, wanted: &HostConfig) -> ApiResult<Vec<String>> {
        let id = self.container.id.clone();
        let cannot = |why: String| format!("Cannot update container {id}: {why}");
        let status = self.status();
        if status.state == State::Removing {
            let why = "container is marked for removal and cannot be \"update\"".to_owned();
            return Err(ApiError::conflict(cannot(why)));
        }
        let before = self.container.record();
        let host = merge(&before.host, wanted).map_err(|why| ApiError::bad_request(cannot(why)))?;
        let vm = status.vm.as_ref().filter(|_| status.state.is_live());
        if let Some(vm) = vm {
            fits(vm, wanted, &host).map_err(|why| ApiError::conflict(cannot(why)))?;
        }
        let swap = HostFacts::below(before.isolation).offers.swap;
        let limits = resources(&host, swap);
        let changes = limits != resources(&before.host, swap);
        let record = Record { host, ..Record::clone(&before) };
        self.engine.store.set_spec(&id, &to_json(&record))?;
        if status.state.is_live() && changes {
            let shim = self.container.running_shim()?;
            match shim.limit(&limits).await {
                Err(error) if !has_just_ended(&error) => {
                    if let Err(error) = self.engine.store.set_spec(&id, &to_json(&*before)) {
                        tracing::error!(%id, "cannot take back an update: {}", chain(&error));
                    }
                    return Err(ApiError::internal(cannot(chain(&error))));
                }
                _ => {}
            }
        }
        self.container.set_record(record);
        self.engine.events.publish(self.container.event("update"));
        Ok(vm.and_then(|vm| later(vm, wanted)).into_iter().collect())
    }
}
