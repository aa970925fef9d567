//! The host, and its processes.

use serde_json::Value as Json;

use super::objects::text;
use super::{Done, Run, processes};
use crate::{Failure, Object, Value, wildcard};

impl Run<'_> {
    pub(super) async fn get_container_host(&mut self) -> Done {
        let info = self.client.info().await.map_err(|error| Failure::daemon(&error, ""))?;
        let info: Json = info.read().unwrap_or_default();
        let host = Object::new("ContainerHost")
            .with("Name", text(&info, "/Name"))
            .with("ContainerImageRepositoryLocation", format!("{}/images", text(&info, "/DockerRootDir")))
            .with("OperatingSystem", text(&info, "/OperatingSystem"))
            .with("KernelVersion", text(&info, "/KernelVersion"))
            .with("Hypervisor", text(&info, "/Cofferdam/Hypervisor"))
            .with("Accelerator", text(&info, "/Cofferdam/Accelerator"));
        self.output.objects.push(host.into());
        Ok(())
    }

    pub(super) fn get_process(&mut self) -> Done {
        let chosen = choose_processes(self.bound, processes::of_host());
        let (chosen, missing) = chosen;
        self.output.objects.extend(chosen);
        for failure in missing {
            self.report(failure)?;
        }
        Ok(())
    }
}

/// Those that `-Name` or `-Id` choose, and what of these is not there.
#[must_use]
pub fn choose_processes(bound: &crate::Bound, all: Vec<Value>) -> (Vec<Value>, Vec<Failure>) {
    let (patterns, property, what) = match (bound.texts("Name"), bound.texts("Id")) {
        (Some(names), _) => (names, "ProcessName", "process"),
        (None, Some(ids)) => (ids, "Id", "process"),
        (None, None) => return (all, Vec::new()),
    };
    let fits =
        |process: &Value, pattern: &str| wildcard::matches(pattern, &process.member(property).to_string());
    let missing = patterns
        .iter()
        .filter(|pattern| !wildcard::is_pattern(pattern) && !all.iter().any(|process| fits(process, pattern)))
        .map(|pattern| Failure::not_found(what, pattern))
        .collect();
    let chosen =
        all.into_iter().filter(|process| patterns.iter().any(|pattern| fits(process, pattern))).collect();
    (chosen, missing)
}
