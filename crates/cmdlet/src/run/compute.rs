//! Compute processes.

use cofferdam_client::Filters;
use cofferdam_client::api::ComputeProcess;

use super::resolve::property;
use super::{Done, Run};
use crate::{Failure, Object, Value, wildcard};

impl Run<'_> {
    pub(super) async fn get_compute_process(&mut self) -> Done {
        let listed = self.client.list_compute(&Filters::default()).await;
        let listed = listed.map_err(|error| Failure::daemon(&error, ""))?;
        let fits = |parameter: &str, text: &str| {
            let wanted = self.bound.texts(parameter);
            wanted.is_none_or(|patterns| patterns.iter().any(|pattern| wildcard::matches(pattern, text)))
        };
        let chosen: Vec<_> = listed
            .iter()
            .map(object)
            .filter(|process| {
                ["Id", "Name", "Owner", "Type"].iter().all(|name| fits(name, &property(process, name)))
            })
            .collect();
        let named = ["Id", "Name"].iter().find_map(|name| self.bound.texts(name)).unwrap_or_default();
        for name in named.iter().filter(|name| chosen.is_empty() && !wildcard::is_pattern(name)) {
            self.report(Failure::not_found("compute process", name))?;
        }
        self.output.objects.extend(chosen);
        Ok(())
    }

    pub(super) async fn stop_compute_process(&mut self) -> Done {
        let ids: Vec<String> = match self.bound.get("ComputeProcess") {
            Some(processes) => processes.items().iter().map(|process| property(process, "Id")).collect(),
            None => self.bound.texts("Id").unwrap_or_default(),
        };
        for id in ids {
            if self.should_process(&id)? {
                // The daemon knows its own by lower-case IDs.
                let id = if id.contains('-') { id } else { id.to_lowercase() };
                let stopped = self.client.stop_compute(&id, self.bound.flag("Force")).await;
                self.take(stopped, &id)?;
            }
        }
        Ok(())
    }
}

fn object(process: &ComputeProcess) -> Value {
    let kind = serde_json::to_value(process.kind).unwrap_or_default();
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    #[allow(clippy::cast_precision_loss, reason = "seconds with two digits behind the point")]
    let cpu = process.cpu_nanos as f64 / 1e9;
    Object::new("ComputeProcess")
        .with("Id", process.id.to_uppercase())
        .with("Name", process.name.as_str())
        .with("Owner", process.owner.as_str())
        .with("Type", kind.as_str().unwrap_or_default())
        .with(
            "RuntimeType",
            match process.isolation.as_str() {
                "hyperv" => "HyperV",
                "process" => "Default",
                _ => "",
            },
        )
        .with("ProcessId", i64::from(process.pid))
        .with("UserName", process.user.as_str())
        .with("UserId", i64::from(process.uid))
        .with("Memory", number(process.memory))
        .with("CPU", cpu)
        .with("ReadOnly", process.read_only)
        .into()
}
