//! Images: listed, made, removed, written and read.

use std::path::{Path, PathBuf};

use cofferdam_client::{Commit, JsonLines, Progress};
use tokio::io::AsyncWriteExt as _;

use super::objects::Image;
use super::resolve::property;
use super::{Done, Run};
use crate::{Category, Failure, Object, wildcard};

impl Run<'_> {
    /// The images that the parameters choose: `-Image`, or `-Name -Publisher -Version`. A name that is nobody's is
    /// reported.
    async fn bound_images(&mut self) -> Result<Vec<Image>, Failure> {
        if let Some(objects) = self.bound.get("Image") {
            let all = self.images().await?;
            let mut chosen = Vec::new();
            for object in objects.items() {
                let (id, reference) = (property(&object, "ImageId"), property(&object, "FullName"));
                let fits =
                    |image: &&Image| image.id == id && (reference.is_empty() || image.reference == reference);
                match all.iter().find(fits) {
                    Some(image) => chosen.push(image.clone()),
                    None => self.report(Failure::not_found("container image", &reference))?,
                }
            }
            return Ok(chosen);
        }
        let name = self.bound.text("Name");
        let (publisher, version) = (self.bound.text("Publisher"), self.bound.text("Version"));
        let found = self.images_named(name.as_deref(), publisher.as_deref(), version.as_deref()).await?;
        if let Some(name) = name.filter(|name| found.is_empty() && !wildcard::is_pattern(name)) {
            self.report(Failure::not_found("container image", &name))?;
        }
        Ok(found)
    }

    pub(super) async fn get_container_image(&mut self) -> Done {
        let chosen = self.bound_images().await?;
        let all = self.images().await?;
        let base = self.bound.get("ChildOf").map(|object| property(object, "ImageId"));
        let base = base.map(|id| all.iter().find(|image| image.id == id).cloned().unwrap_or_default());
        for image in chosen {
            let is_child = base.as_ref().is_none_or(|base| {
                !base.layers.is_empty()
                    && image.layers.len() > base.layers.len()
                    && image.layers.starts_with(&base.layers)
            });
            if is_child {
                self.output.objects.push(image.object(&all));
            }
        }
        Ok(())
    }

    pub(super) async fn new_container_image(&mut self) -> Done {
        let name = self.bound.text("Name").unwrap_or_default().to_lowercase();
        let tag = self.bound.text("Version").unwrap_or_else(|| "latest".into());
        for one in self.containers().await? {
            if !self.should_process(&one.name)? {
                continue;
            }
            let vendor = self.bound.text("Publisher").map(|publisher| {
                let publisher = publisher.strip_prefix("CN=").unwrap_or(&publisher).to_owned();
                format!("LABEL org.opencontainers.image.vendor={publisher:?}")
            });
            let what = Commit {
                repository: name.clone(),
                tag: tag.clone(),
                changes: vendor.into_iter().collect(),
                pause: true,
                ..Commit::default()
            };
            let committed = self.client.commit(&one.id, &what).await;
            if self.take(committed, &one.name)?.is_some() {
                self.give_image(&format!("{name}:{tag}")).await?;
            }
        }
        Ok(())
    }

    /// Gives the image of a reference, as the daemon writes it.
    async fn give_image(&mut self, reference: &str) -> Done {
        let all = self.images().await?;
        let fits = |image: &&Image| image.reference == reference || image.id == reference;
        match all.iter().find(fits) {
            Some(image) => self.output.objects.push(image.object(&all)),
            None => self.report(Failure::not_found("container image", reference))?,
        }
        Ok(())
    }

    pub(super) async fn remove_container_image(&mut self) -> Done {
        for image in self.bound_images().await? {
            if self.should_process(&image.reference)? {
                // Without force: what a container depends on stays.
                let removed = self.client.remove_image(&image.reference, false, false).await;
                self.take(removed, &image.reference)?;
            }
        }
        Ok(())
    }

    pub(super) async fn export_container_image(&mut self) -> Done {
        let directory = PathBuf::from(self.bound.text("Path").unwrap_or_default());
        let chosen = self.bound_images().await?;
        let all = self.images().await?;
        for image in chosen {
            if !self.should_process(&image.reference)? {
                continue;
            }
            let file = directory.join(file_name(&image));
            match self.write_image(&image.reference, &file).await {
                Ok(()) if self.bound.flag("Passthru") => self.output.objects.push(image.object(&all)),
                Ok(()) => {}
                Err(failure) => self.report(failure)?,
            }
        }
        Ok(())
    }

    /// Writes an image to a file, which has its name when it is complete.
    async fn write_image(&self, reference: &str, file: &Path) -> Done {
        let failed = |error: std::io::Error| {
            let message = format!("Cannot write {}: {error}.", file.display());
            Failure::of(Category::InvalidOperation, "CannotWrite", reference, message)
        };
        let mut archive = self
            .client
            .save(&[reference.to_owned()], None)
            .await
            .map_err(|error| Failure::daemon(&error, reference))?;
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let mut output = tokio::fs::File::create(&part).await.map_err(failed)?;
        let written = async {
            tokio::io::copy(&mut archive, &mut output).await?;
            output.flush().await?;
            tokio::fs::rename(&part, file).await
        };
        if let Err(error) = written.await {
            // What is left of it is of no use.
            let _ = tokio::fs::remove_file(&part).await;
            return Err(failed(error));
        }
        Ok(())
    }

    pub(super) async fn import_container_image(&mut self) -> Done {
        let path = self.bound.text("Path").unwrap_or_default();
        if !self.should_process(&path)? {
            return Ok(());
        }
        let file = tokio::fs::File::open(&path).await.map_err(|error| {
            let message = format!("Cannot open {path}: {error}.");
            Failure::of(Category::ObjectNotFound, "CannotRead", &path, message)
        })?;
        let lines = self.client.load(file, true).await.map_err(|error| Failure::daemon(&error, &path))?;
        for text in follow(lines, &path).await? {
            // Docker's words, which name what was loaded.
            for prefix in ["Loaded image: ", "Loaded image ID: "] {
                if let Some(reference) = text.trim().strip_prefix(prefix) {
                    self.give_image(reference).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn test_container_image(&mut self) -> Done {
        for image in self.bound_images().await? {
            // The daemon reads manifest and configuration again to answer.
            let problem = match self.client.image_history(&image.id).await {
                Ok(_) if image.layers.is_empty() => "it has no layers".to_owned(),
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            let report = Object::new("ContainerImageReport")
                .with("Name", image.name.as_str())
                .with("Version", image.version.as_str())
                .with("IsValid", problem.is_empty())
                .with("Problem", problem);
            self.output.objects.push(report.into());
        }
        Ok(())
    }

    pub(super) fn find_container_image(&mut self) -> Done {
        let wanted = self.bound.text("Name").unwrap_or_else(|| "*".into());
        let version = self.bound.text("Version").unwrap_or_else(|| "*".into());
        let mut none = true;
        for (name, description) in self.services.built_in() {
            if wildcard::matches(&wanted, &name) && wildcard::matches(&version, "latest") {
                none = false;
                let offer = Object::new("ContainerImageOffer")
                    .with("Name", name)
                    .with("Version", "latest")
                    .with("Description", format!("Made of {description}"));
                self.output.objects.push(offer.into());
            }
        }
        if none && !wildcard::is_pattern(&wanted) {
            self.report(Failure::not_found("built-in container image", &wanted))?;
        }
        Ok(())
    }

    pub(super) async fn install_container_image(&mut self) -> Done {
        let reference = self.wanted_reference();
        if !self.should_process(&reference)? {
            return Ok(());
        }
        let installed = self.fetch(&reference).await?;
        self.give_image(&installed).await
    }

    /// `-Name` and `-Version` as one reference.
    fn wanted_reference(&self) -> String {
        let name = self.bound.text("Name").unwrap_or_default();
        match self.bound.text("Version") {
            Some(version) => format!("{name}:{version}"),
            None if name.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) => name,
            None => format!("{name}:latest"),
        }
    }

    /// Makes or pulls an image; its reference.
    async fn fetch(&self, reference: &str) -> Result<String, Failure> {
        let built_in = self.services.built_in().into_iter().map(|(name, _)| name).find(|name| {
            reference.strip_suffix(":latest").is_some_and(|wanted| wanted.eq_ignore_ascii_case(name))
        });
        let failed =
            |message: String| Failure::of(Category::NotSpecified, "InstallFailed", reference, message);
        match built_in {
            Some(name) => {
                self.services.install(&self.client, &name).await.map_err(failed)?;
                Ok(format!("{}:latest", name.to_lowercase()))
            }
            None => {
                self.services.pull(&self.client, reference).await.map_err(failed)?;
                Ok(reference.to_owned())
            }
        }
    }

    pub(super) async fn save_container_image(&mut self) -> Done {
        let reference = self.wanted_reference();
        if !self.should_process(&reference)? {
            return Ok(());
        }
        let installed = self.fetch(&reference).await?;
        let all = self.images().await?;
        let image = all.iter().find(|image| image.reference == installed).cloned().unwrap_or_default();
        let mut path = PathBuf::from(self.bound.text("Path").unwrap_or_default());
        if path.is_dir() {
            path.push(file_name(&image));
        }
        self.write_image(&installed, &path).await?;
        self.output.objects.push(image.object(&all));
        Ok(())
    }

    pub(super) async fn move_container_image_repository(&mut self) -> Done {
        let path = self.bound.text("Path").unwrap_or_default();
        if !self.should_process(&path)? {
            return Ok(());
        }
        let here = self.images().await?.len();
        let why = if here > 0 {
            format!("{here} images are here: the repository can only be moved while there are none.")
        } else {
            format!("Images are in the daemon's data root: stop it, and start it with --data-root {path}.")
        };
        Err(Failure::of(Category::InvalidOperation, "RepositoryNotMoved", &path, why))
    }
}

/// `web_1.0.tar`. A name and a tag have no characters that a path has a use for but `/`, which is cut off.
fn file_name(image: &Image) -> String {
    let tag = image.reference.rsplit_once(':').map_or("", |(_, tag)| tag);
    format!("{}_{tag}.tar", image.name)
}

/// Reads a stream of progress to its end; the texts in it.
async fn follow(mut lines: JsonLines<Progress>, target: &str) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    while let Some(line) = lines.next().await.map_err(|error| Failure::daemon(&error, target))? {
        if let Some(error) = line.error_detail {
            return Err(Failure::of(Category::NotSpecified, "OperationFailed", target, error.message));
        }
        texts.extend(line.stream);
    }
    Ok(texts)
}
