//! Removing images, with Docker's rules and words.

use crate::leases::Item;
use crate::store::{blocking, find};
use crate::{Digest, Error, Image, ImageStore, Reference};

/// A container that uses an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUse {
    /// The container's ID.
    pub id: String,
    /// Whether it runs.
    pub running: bool,
}

/// One thing that a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone; in its familiar form.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(Digest),
}

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// In the order it happened.
    pub removed: Vec<Removed>,
    /// Bytes of removed layers' files.
    pub reclaimed: u64,
}

/// What is to be done about one image.
struct Plan {
    id: Digest,
    untag: Vec<Reference>,
    delete: bool,
}

impl ImageStore {
    /// Removes a name, or an image by its ID, and the image's content when nothing leads to it any more.
    /// `used_by` tells which containers use an image. An image that a container uses keeps its content, without a
    /// name, until a prune: even by force, so that a stopped container can be started again.
    pub async fn remove(
        &self,
        text: &str,
        force: bool,
        used_by: impl Fn(&Digest) -> Vec<ContainerUse>,
    ) -> Result<Vec<Removed>, Error> {
        let plan = self.plan(text, force, &used_by)?;
        Ok(self.carry_out(vec![plan]).await?.removed)
    }

    /// Removes images that no container uses and that `wanted` picks: with `all` every one, else those without a tag.
    pub async fn prune(
        &self,
        all: bool,
        wanted: impl Fn(&Image) -> bool,
        used_by: impl Fn(&Digest) -> Vec<ContainerUse>,
    ) -> Result<Pruned, Error> {
        let images = self.list().into_iter();
        let images = images
            .filter(|image| (all || image.is_dangling()) && wanted(image) && used_by(image.id()).is_empty());
        let plans =
            images.map(|image| Plan { id: image.id().clone(), untag: image.names().to_vec(), delete: true });
        self.carry_out(plans.collect()).await
    }

    fn plan(
        &self,
        text: &str,
        force: bool,
        used_by: &impl Fn(&Digest) -> Vec<ContainerUse>,
    ) -> Result<Plan, Error> {
        let catalog = self.catalog();
        let (id, name) = find(&catalog, text)?;
        let names = catalog.names_of(&id);
        let users = used_by(&id);
        if let Some(name) = name {
            let mut untag = vec![name.clone()];
            let rest = |untag: &[Reference]| {
                names.iter().filter(|name| !untag.contains(name)).cloned().collect::<Vec<_>>()
            };
            // The digests that came with the last tag of a repository go with it.
            let same_repository = |other: &Reference| other.familiar_name() == name.familiar_name();
            if name.digest().is_none()
                && !rest(&untag).iter().any(|other| same_repository(other) && other.tag().is_some())
            {
                untag.extend(rest(&untag).into_iter().filter(|other| same_repository(other)));
            }
            let last = rest(&untag).is_empty();
            if let (true, false, Some(user)) = (last, force, users.first()) {
                return Err(Error::Conflict(format!(
                    "unable to remove repository reference {text:?} (must force) - container {} is using its referenced image {}",
                    short(&user.id),
                    id.short()
                )));
            }
            return Ok(Plan { id, untag, delete: last && users.is_empty() });
        }
        let mut repositories: Vec<_> = names.iter().map(Reference::familiar_name).collect();
        repositories.dedup();
        if repositories.len() > 1 && !force {
            let message = "(must be forced) - image is referenced in multiple repositories";
            return Err(Error::Conflict(format!("unable to delete {} {message}", id.short())));
        }
        if let Some(user) = users.iter().find(|user| user.running) {
            return Err(Error::Conflict(format!(
                "unable to delete {} (cannot be forced) - image is being used by running container {}",
                id.short(),
                short(&user.id)
            )));
        }
        if let (Some(user), false) = (users.first(), force) {
            return Err(Error::Conflict(format!(
                "unable to delete {} (must be forced) - image is being used by stopped container {}",
                id.short(),
                short(&user.id)
            )));
        }
        Ok(Plan { id, untag: names, delete: users.is_empty() })
    }

    async fn carry_out(&self, plans: Vec<Plan>) -> Result<Pruned, Error> {
        if plans.is_empty() {
            return Ok(Pruned::default());
        }
        let (mut pruned, freed) = self
            .change(move |catalog| {
                let (mut pruned, mut freed) = (Pruned::default(), Vec::<Item>::new());
                for plan in plans {
                    for name in plan.untag {
                        // Unless it was given to another image meanwhile.
                        if catalog.names.get(&name) == Some(&plan.id) {
                            catalog.names.remove(&name);
                            pruned.removed.push(Removed::Untagged(name.familiar()));
                        }
                    }
                    if plan.delete
                        && catalog.names_of(&plan.id).is_empty()
                        && let Some(stored) = catalog.images.remove(&plan.id)
                    {
                        catalog.origins.remove(&plan.id);
                        pruned.removed.push(Removed::Deleted(plan.id));
                        freed.extend(stored.items());
                    }
                }
                Ok((pruned, freed))
            })
            .await?;
        if freed.is_empty() {
            return Ok(pruned);
        }
        let store = self.clone();
        let layers = blocking("removing an image", move || Ok(store.collect(freed))).await?;
        pruned.reclaimed = layers.iter().map(|(_, size)| size).sum();
        pruned.removed.extend(layers.into_iter().rev().map(|(layer, _)| Removed::Deleted(layer)));
        Ok(pruned)
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
