//! From names, IDs and objects to what the daemon has.

use cofferdam_client::models::Network;
use cofferdam_client::{Filters, ListContainers};
use serde_json::Value as Json;

use super::objects::{self, Image};
use super::{Done, Run};
use crate::{Failure, Value, wildcard};

/// A container's `inspect`, and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub id: String,
    pub name: String,
    pub json: Json,
}

/// A switch, which is a network.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    /// What the cmdlets call it.
    pub name: String,
    /// What the daemon calls it.
    pub network: Network,
}

/// The documents' names for the network that is there without being made.
const DEFAULT_SWITCH: [&str; 2] = ["NAT", "Virtual Switch"];

impl Run<'_> {
    /// The containers that the parameters name: `-Name`, `-ContainerName`, `-Container`, `-Id`, `-ContainerId`. What is
    /// not there is reported.
    pub(super) async fn containers(&mut self) -> Result<Vec<Found>, Failure> {
        let ids: Vec<String> = match self.bound.get("Container") {
            Some(containers) => {
                containers.items().iter().map(|item| item.member("ContainerId").to_string()).collect()
            }
            None => ["Id", "ContainerId"].iter().find_map(|name| self.bound.texts(name)).unwrap_or_default(),
        };
        if !ids.is_empty() {
            let mut found = Vec::new();
            for id in ids {
                // IDs print in upper case in places.
                let inspected = self.inspect(&id.to_ascii_lowercase()).await;
                match inspected {
                    Ok(Some(one)) if one.id.starts_with(&id.to_ascii_lowercase()) => found.push(one),
                    Ok(_) => {
                        let message = format!("Cannot find a container with the ID \"{id}\".");
                        let category = crate::Category::ObjectNotFound;
                        self.report(Failure::of(category, "ObjectNotFound", &id, message))?;
                    }
                    Err(failure) => self.report(failure)?,
                }
            }
            return Ok(found);
        }
        let patterns = ["Name", "ContainerName"].iter().find_map(|name| self.bound.texts(name));
        self.containers_named(&patterns.unwrap_or_else(|| vec!["*".into()])).await
    }

    async fn containers_named(&mut self, patterns: &[String]) -> Result<Vec<Found>, Failure> {
        let all = ListContainers { all: true, ..ListContainers::default() };
        let listed = self.client.list_containers(&all).await.map_err(|error| Failure::daemon(&error, ""))?;
        let mut names: Vec<(String, String)> = listed
            .into_iter()
            .filter_map(|one| {
                let name = one.names?.into_iter().next()?.trim_start_matches('/').to_owned();
                Some((name, one.id?))
            })
            .collect();
        names.sort();
        let mut found: Vec<Found> = Vec::new();
        for pattern in patterns {
            let fits = |name: &str| wildcard::matches(pattern, name);
            let ids: Vec<_> = names.iter().filter(|(name, _)| fits(name)).map(|(_, id)| id.clone()).collect();
            if ids.is_empty() && !wildcard::is_pattern(pattern) {
                self.report(Failure::not_found("container", pattern))?;
            }
            for id in ids {
                if found.iter().all(|other| other.id != id) {
                    found.extend(self.inspect(&id).await?);
                }
            }
        }
        Ok(found)
    }

    /// Everything about a container; nothing when it is not there (any more).
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<Found>, Failure> {
        match self.client.inspect_container(id, false).await {
            Ok(document) => {
                let json: Json = document.read().unwrap_or_default();
                let name = objects::text(&json, "/Name").trim_start_matches('/').to_owned();
                Ok(Some(Found { id: objects::text(&json, "/Id").to_owned(), name, json }))
            }
            Err(cofferdam_client::ClientError::Daemon { status: 404, .. }) => Ok(None),
            Err(error) => Err(Failure::daemon(&error, id)),
        }
    }

    /// Gives containers as objects.
    pub(super) async fn give(&mut self, found: &[Found]) -> Done {
        let images = self.images().await?;
        for one in found {
            let id = objects::text(&one.json, "/Image");
            let asked = objects::text(&one.json, "/Config/Image");
            let named = |image: &&Image| image.id == id && image.reference == asked;
            let image = images.iter().find(named).or_else(|| images.iter().find(|image| image.id == id));
            let parent = image.map_or(asked, |image| image.name.as_str());
            self.output.objects.push(objects::container(&one.json, parent));
        }
        Ok(())
    }

    /// Gives a container as it is now, with `-Passthru`.
    pub(super) async fn pass_thru(&mut self, id: &str) -> Done {
        if self.bound.flag("Passthru")
            && let Some(found) = self.inspect(id).await?
        {
            self.give(&[found]).await?;
        }
        Ok(())
    }

    /// All images, by their names.
    pub(super) async fn images(&self) -> Result<Vec<Image>, Failure> {
        let failed = |error| Failure::daemon(&error, "");
        let listed = self.client.list_images(false, false, &Filters::default()).await.map_err(failed)?;
        let mut images = Vec::new();
        for summary in listed {
            match self.client.inspect_image(&summary.id).await {
                Ok(document) => images.extend(Image::of(&document.read().unwrap_or_default())),
                // Removed in the meantime.
                Err(cofferdam_client::ClientError::Daemon { status: 404, .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(images)
    }

    /// The images that name, publisher and version choose.
    pub(super) async fn images_named(
        &self,
        name: Option<&str>,
        publisher: Option<&str>,
        version: Option<&str>,
    ) -> Result<Vec<Image>, Failure> {
        let fits = |pattern: Option<&str>, texts: &[&str]| {
            pattern.is_none_or(|pattern| texts.iter().any(|text| wildcard::matches(pattern, text)))
        };
        let mut images = self.images().await?;
        images.retain(|image| {
            let without_tag = image.reference.rsplit_once(':').map_or("", |(path, _)| path);
            fits(name, &[&image.name, &image.reference, without_tag])
                && fits(
                    publisher,
                    &[&image.publisher, image.publisher.strip_prefix("CN=").unwrap_or_default()],
                )
                && fits(version, &[&image.version])
        });
        Ok(images)
    }

    /// The switches: networks that containers can be put in.
    pub(super) async fn switches(&self) -> Result<Vec<Switch>, Failure> {
        let failed = |error| Failure::daemon(&error, "");
        let networks = self.client.list_networks(&Filters::default()).await.map_err(failed)?;
        let name_of = |network: &Network| network.name.clone().unwrap_or_default();
        let taken = |name: &str| networks.iter().any(|network| name_of(network).eq_ignore_ascii_case(name));
        let default = DEFAULT_SWITCH.into_iter().find(|name| !taken(name)).unwrap_or("bridge");
        let mut switches: Vec<_> = networks
            .iter()
            .filter(|network| !matches!(name_of(network).as_str(), "host" | "none"))
            .map(|network| {
                let name = name_of(network);
                let name = if name == "bridge" { default.to_owned() } else { name };
                Switch { name, network: network.clone() }
            })
            .collect();
        switches.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(switches)
    }

    /// The switch of that name; the default one has both of the documents' names, and the daemon's.
    pub(super) async fn switch(&self, name: &str) -> Result<Switch, Failure> {
        let switches = self.switches().await?;
        if let Some(switch) = switches.iter().find(|switch| switch.name.eq_ignore_ascii_case(name)) {
            return Ok(switch.clone());
        }
        let is_default = DEFAULT_SWITCH.iter().chain(&["bridge"]).any(|own| own.eq_ignore_ascii_case(name));
        let default = |switch: &&Switch| switch.network.name.as_deref() == Some("bridge");
        let found = switches.iter().find(default).filter(|_| is_default).cloned();
        found.ok_or_else(|| Failure::not_found("virtual switch", name))
    }
}

/// A property of an object that the parameters have, as text.
pub(super) fn property(value: &Value, name: &str) -> String {
    value.member(name).to_string()
}
