//! Containers: made, changed, started, stopped, removed.

use cofferdam_client::models::{ContainerCreateBody, NetworkDisconnectRequest};
use cofferdam_client::{ClientError, Removal};
use serde_json::json;

use super::objects::Image;
use super::resolve::property;
use super::{Done, Run};
use crate::{Category, Failure};

impl Run<'_> {
    pub(super) async fn new_container(&mut self) -> Done {
        if self.bound.get("Path").is_some() {
            return Err(Failure::binding(
                "PathNotSupported",
                "-Path is not supported: containers are in the daemon's data root. `cofferdamd --data-root` chooses it.",
            ));
        }
        let image = self.chosen_image().await?;
        let name = self.bound.text("Name");
        if !self.should_process(name.as_deref().unwrap_or(&image.reference))? {
            return Ok(());
        }
        let switch = match self.bound.text("SwitchName") {
            Some(name) => Some(self.switch(&name).await?),
            None => None,
        };
        let details = self.client.inspect_image(&image.id).await;
        let details: serde_json::Value =
            details.map_err(|error| Failure::daemon(&error, &image.reference))?.read().unwrap_or_default();
        let words = |key: &str| -> Vec<String> {
            let list = details.pointer(key).and_then(serde_json::Value::as_array);
            list.into_iter().flatten().filter_map(|word| word.as_str()).map(str::to_owned).collect()
        };
        let (entrypoint, mut command) = (words("/Config/Entrypoint"), words("/Config/Cmd"));
        if entrypoint.is_empty() && command.is_empty() {
            command = vec!["/bin/sh".into()];
        }
        let mut host = json!({});
        // A name that is not there is the daemon's to refuse, too: it may go in this moment.
        host["NetworkMode"] =
            json!(switch.as_ref().and_then(|switch| switch.network.name.clone()).unwrap_or("bridge".into()));
        if let Some(runtime) = self.bound.text("RuntimeType") {
            host["Isolation"] = json!(if runtime == "HyperV" { "hyperv" } else { "process" });
        }
        if let Some(bytes) = self.bound.long("MaximumMemoryBytes") {
            host["Memory"] = json!(bytes);
        }
        if let Some(bytes) = self.bound.long("MemoryStartupBytes") {
            host["MemoryReservation"] = json!(bytes);
        }
        let mut body = json!({
            "Image": image.reference,
            "Cmd": command,
            // On a terminal that nobody closes, a shell stays.
            "Tty": true,
            "OpenStdin": true,
        });
        if entrypoint.is_empty() && is_shell(&command) {
            // A shell on a terminal ignores the signal to end, and ends when its terminal hangs up; but as a first
            // process it would ignore that, too.
            body["StopSignal"] = json!("SIGHUP");
            host["Init"] = json!(true);
        }
        body["HostConfig"] = host;
        let body: ContainerCreateBody = serde_json::from_value(body).map_err(|error| {
            Failure::of(Category::NotSpecified, "OperationFailed", &image.reference, error.to_string())
        })?;
        let target = name.clone().unwrap_or_default();
        let created = self.client.create_container(name.as_deref(), None, &body).await;
        let created = created.map_err(|error| Failure::daemon(&error, &target))?;
        self.output.warnings.extend(created.warnings);
        if switch.is_none() {
            let leave = NetworkDisconnectRequest { container: created.id.clone(), force: Some(false) };
            if let Err(error) = self.client.disconnect_network("bridge", &leave).await {
                // Half of what was asked for is not kept.
                let _ = self.client.remove_container(&created.id, Removal::default()).await;
                return Err(Failure::daemon(&error, &target));
            }
        }
        match self.inspect(&created.id).await? {
            Some(found) => self.give(&[found]).await,
            None => Ok(()),
        }
    }

    /// The image of a new container.
    async fn chosen_image(&self) -> Result<Image, Failure> {
        if let Some(object) = self.bound.get("ContainerImage") {
            let (id, reference) = (property(object, "ImageId"), property(object, "FullName"));
            return Ok(Image {
                reference: if reference.is_empty() { id.clone() } else { reference },
                id,
                ..Image::default()
            });
        }
        let text = |name: &str| self.bound.text(name);
        let (name, publisher, version) = (
            text("ContainerImageName").unwrap_or_default(),
            text("ContainerImagePublisher"),
            text("ContainerImageVersion"),
        );
        let mut found = self.images_named(Some(&name), publisher.as_deref(), version.as_deref()).await?;
        // The one that Docker would take comes first: the tag latest, then the greatest version.
        found.sort_by_key(|image| (image.reference.ends_with(":latest"), version_key(&image.version)));
        found.pop().ok_or_else(|| {
            let mut failure = Failure::not_found("container image", &name);
            failure.message += " Get-ContainerImage lists what is here; Install-ContainerImage gets more.";
            failure
        })
    }

    pub(super) async fn get_container(&mut self) -> Done {
        let found = self.containers().await?;
        self.give(&found).await
    }

    pub(super) async fn set_container(&mut self) -> Done {
        let (runtime, new_name) = (self.bound.text("RuntimeType"), self.bound.text("NewName"));
        if runtime.is_none() && new_name.is_none() {
            return Err(Failure::binding(
                "NothingToChange",
                "Set-Container needs what is to be changed: -RuntimeType or -NewName.",
            ));
        }
        let found = self.containers().await?;
        if new_name.is_some() && found.len() > 1 {
            return Err(Failure::binding("AmbiguousName", "-NewName is for one container."));
        }
        for one in found {
            if !self.should_process(&one.name)? {
                continue;
            }
            if let Some(runtime) = &runtime {
                let level = if runtime == "HyperV" { "hyperv" } else { "process" };
                let is = super::objects::text(&one.json, "/Cofferdam/Isolation");
                if is != level {
                    let converted = self.client.convert(&one.id, level).await;
                    if self.take(converted, &one.name)?.is_none() {
                        continue;
                    }
                }
            }
            if let Some(name) = &new_name {
                let renamed = self.client.rename(&one.id, name).await;
                if self.take(renamed, &one.name)?.is_none() {
                    continue;
                }
            }
            self.pass_thru(&one.id).await?;
        }
        Ok(())
    }

    pub(super) async fn start_container(&mut self) -> Done {
        for one in self.containers().await? {
            if !self.should_process(&one.name)? {
                continue;
            }
            let started = self.client.start(&one.id, None).await;
            if self.take(started, &one.name)?.is_some() {
                self.pass_thru(&one.id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn stop_container(&mut self) -> Done {
        for one in self.containers().await? {
            if !self.should_process(&one.name)? {
                continue;
            }
            let stopped = if self.bound.flag("TurnOff") {
                match self.client.kill(&one.id, "KILL").await {
                    // It does not run: nothing to do, as for a stop.
                    Err(ClientError::Daemon { status: 409, .. }) => Ok(()),
                    killed => {
                        // Off is when it has ended.
                        if killed.is_ok() {
                            let ended =
                                self.client.wait(&one.id, cofferdam_client::WaitUntil::NotRunning).await;
                            if let Ok(wait) = ended {
                                let _ = wait.exit().await;
                            }
                        }
                        killed
                    }
                }
            } else {
                self.client.stop(&one.id, None, None).await
            };
            if self.take(stopped, &one.name)?.is_some() {
                self.pass_thru(&one.id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_container(&mut self) -> Done {
        for one in self.containers().await? {
            if !self.should_process(&one.name)? {
                continue;
            }
            let how = Removal { force: self.bound.flag("Force"), volumes: true, link: false };
            let removed = self.client.remove_container(&one.id, how).await;
            if self.take(removed, &one.name)?.is_some() && self.bound.flag("Passthru") {
                self.give(&[one]).await?;
            }
        }
        Ok(())
    }
}

/// Whether a command is a shell that waits for lines.
fn is_shell(command: &[String]) -> bool {
    let name = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    matches!(command, [only] if ["sh", "bash", "ash", "dash"].contains(&name(only).as_str()))
}

/// Versions in their order: number by number, and what is none before them.
fn version_key(version: &str) -> Vec<u64> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}
