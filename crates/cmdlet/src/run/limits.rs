//! Limits and shared folders.

use cofferdam_client::models::ContainerUpdateBody;
use serde_json::Value as Json;

use super::objects::text;
use super::{Done, Run};
use crate::{Category, Failure, Object, wildcard};

/// Docker's share of a container that has none of its own; the cmdlets' weight of 100.
const SHARES: i64 = 1024;

impl Run<'_> {
    async fn update_each(&mut self, body: &ContainerUpdateBody) -> Done {
        for one in self.containers().await? {
            if !self.should_process(&one.name)? {
                continue;
            }
            let updated = self.client.update(&one.id, body).await;
            if let Some(answer) = self.take(updated, &one.name)? {
                self.output.warnings.extend(answer.warnings.unwrap_or_default());
                self.pass_thru(&one.id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn set_memory(&mut self) -> Done {
        // With the limit on swap, too: it may not be the smaller one.
        let bytes = self.bound.long("MaximumBytes");
        let body =
            ContainerUpdateBody { memory: bytes, memory_swap: bytes, ..ContainerUpdateBody::default() };
        self.update_each(&body).await
    }

    pub(super) async fn set_processor(&mut self) -> Done {
        let wrong = |message: &str| Failure::binding("ParameterArgumentValidationError", message);
        let body = match (self.bound.long("RelativeWeight"), self.bound.long("Maximum")) {
            (Some(_), Some(_)) => return Err(wrong("-RelativeWeight and -Maximum exclude each other.")),
            (None, None) => return Err(wrong("Set-ContainerProcessor needs -RelativeWeight or -Maximum.")),
            (Some(weight), None) => {
                if !(1..=10_000).contains(&weight) {
                    return Err(wrong(
                        "Cannot validate argument on parameter 'RelativeWeight'. The argument must be from 1 to 10000.",
                    ));
                }
                let shares = (weight * SHARES / 100).max(2);
                ContainerUpdateBody { cpu_shares: Some(shares), ..ContainerUpdateBody::default() }
            }
            (None, Some(percent)) => {
                if !(1..=100).contains(&percent) {
                    return Err(wrong(
                        "Cannot validate argument on parameter 'Maximum'. The argument must be from 1 to 100.",
                    ));
                }
                let info = self.client.info().await.map_err(|error| Failure::daemon(&error, ""))?;
                let info: Json = info.read().unwrap_or_default();
                let cpus = info.get("NCPU").and_then(Json::as_i64).unwrap_or(1).max(1);
                ContainerUpdateBody {
                    nano_cpus: Some(cpus * 10_000_000 * percent),
                    cpu_shares: Some(SHARES),
                    ..ContainerUpdateBody::default()
                }
            }
        };
        self.update_each(&body).await
    }

    pub(super) async fn set_storage(&mut self) -> Done {
        for one in self.containers().await? {
            if self.should_process(&one.name)? {
                let message = format!(
                    "The rates of {} are chosen when it is created: docker create --device-read-bps --device-write-bps \
                     --device-read-iops --device-write-iops.",
                    one.name
                );
                let failure =
                    Failure::of(Category::NotImplemented, "StorageNotSupported", &one.name, message);
                self.report(failure)?;
            }
        }
        Ok(())
    }

    pub(super) async fn get_shared_folder(&mut self) -> Done {
        let pattern = |name: &str| self.bound.text(name).unwrap_or_else(|| "*".into());
        let (source, destination) = (pattern("SourcePath"), pattern("DestinationPath"));
        for one in self.containers().await? {
            let mounts = one.json.get("Mounts").and_then(Json::as_array);
            for mount in mounts.into_iter().flatten().filter(|mount| text(mount, "/Type") == "bind") {
                let (from, to) = (text(mount, "/Source"), text(mount, "/Destination"));
                if !wildcard::matches(&source, from) || !wildcard::matches(&destination, to) {
                    continue;
                }
                let writable = mount.get("RW").and_then(Json::as_bool).unwrap_or(false);
                let folder = Object::new("ContainerSharedFolder")
                    .with("ContainerName", one.name.as_str())
                    .with("SourcePath", from)
                    .with("DestinationPath", to)
                    .with("AccessMode", if writable { "ReadWrite" } else { "ReadOnly" })
                    .with("ContainerId", one.id.as_str());
                self.output.objects.push(folder.into());
            }
        }
        Ok(())
    }

    pub(super) async fn change_shared_folder(&mut self) -> Done {
        for one in self.containers().await? {
            if self.should_process(&one.name)? {
                let message = format!(
                    "The folders of {} are chosen when it is created: docker create -v SOURCE:DESTINATION[:ro].",
                    one.name
                );
                let failure =
                    Failure::of(Category::NotImplemented, "SharedFolderNotSupported", &one.name, message);
                self.report(failure)?;
            }
        }
        Ok(())
    }
}
