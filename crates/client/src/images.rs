//! `/images`.

use base64::Engine as _;
use cofferdam_api::models::{
    ImageDeleteResponseItem, ImageHistoryResponseItem, ImageInspect, ImagePruneResponse, ImageSummary,
};
use cofferdam_api::{Filters, Progress};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::archive::body;
use crate::query::{Query, segment};
use crate::{Client, ClientError, Document, JsonLines, TarStream};

/// Credentials for a registry, as the `X-Registry-Auth` header carries them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryAuth {
    /// The user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The password.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// The registry.
    #[serde(default, rename = "serveraddress", skip_serializing_if = "String::is_empty")]
    pub server_address: String,
    /// A token instead of user and password.
    #[serde(default, rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub identity_token: String,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// What an imported root file system becomes.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// `repository`, or empty for an image without a name.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// A message for its history.
    pub message: String,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// Its platform.
    pub platform: String,
}

impl Client {
    /// Lists images.
    pub async fn list_images(
        &self,
        all: bool,
        digests: bool,
        filters: &Filters,
    ) -> Result<Vec<ImageSummary>, ClientError> {
        let query = Query::new().flag("all", all).flag("digests", digests).filters(filters);
        self.get("/images/json").query(&query).answer().await
    }

    /// Everything about an image.
    pub async fn inspect_image(&self, name: &str) -> Result<Document<ImageInspect>, ClientError> {
        self.get(&format!("/images/{}/json", segment(name))).document().await
    }

    /// How an image came to be, newest step first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<ImageHistoryResponseItem>, ClientError> {
        self.get(&format!("/images/{}/history", segment(name))).answer().await
    }

    /// Pulls `image` with its `tag` (or digest); an empty tag pulls all of them. A failure after the first line is
    /// in a line's `error_detail`.
    pub async fn pull(
        &self,
        image: &str,
        tag: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
    ) -> Result<JsonLines<Progress>, ClientError> {
        let query = Query::new().text("fromImage", image).text("tag", tag).option("platform", platform);
        let mut call = self.post("/images/create").query(&query);
        if let Some(auth) = auth {
            let json = serde_json::to_vec(auth).expect("plain texts always serialise");
            call = call.header("x-registry-auth", base64::engine::general_purpose::URL_SAFE.encode(json));
        }
        call.lines().await
    }

    /// Loads images from a `docker save` archive or an OCI layout, as tar.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Sync + 'static,
        quiet: bool,
    ) -> Result<JsonLines<Progress>, ClientError> {
        self.post("/images/load").query(&Query::new().flag("quiet", quiet)).tar(archive).lines().await
    }

    /// Images as one archive, which [`load`](Self::load) takes, as do Docker and tools for OCI layouts.
    pub async fn save(&self, images: &[String], platform: Option<&str>) -> Result<TarStream, ClientError> {
        let mut query = Query::new().option("platform", platform);
        for image in images {
            query = query.text("names", image);
        }
        Ok(body(self.get("/images/get").query(&query).send().await?))
    }

    /// Makes an image of a root file system, as tar.
    pub async fn import(
        &self,
        archive: impl AsyncRead + Send + Sync + 'static,
        what: &Import,
    ) -> Result<JsonLines<Progress>, ClientError> {
        let mut query = Query::new()
            .text("fromSrc", "-")
            .text("repo", &what.repository)
            .text("tag", &what.tag)
            .text("message", &what.message)
            .text("platform", &what.platform);
        for change in &what.changes {
            query = query.text("changes", change);
        }
        self.post("/images/create").query(&query).tar(archive).lines().await
    }

    /// Gives an image a further name.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), ClientError> {
        let query = Query::new().text("repo", repository).text("tag", tag);
        self.post(&format!("/images/{}/tag", segment(image))).query(&query).nothing().await
    }

    /// Removes a name of an image, and the image with its last name.
    pub async fn remove_image(
        &self,
        name: &str,
        force: bool,
        no_prune: bool,
    ) -> Result<Vec<ImageDeleteResponseItem>, ClientError> {
        let query = Query::new().flag("force", force).flag("noprune", no_prune);
        self.delete(&format!("/images/{}", segment(name))).query(&query).answer().await
    }

    /// Removes images without names or, with the filter `dangling=false`, all that no container uses.
    pub async fn prune_images(&self, filters: &Filters) -> Result<ImagePruneResponse, ClientError> {
        self.post("/images/prune").query(&Query::new().filters(filters)).answer().await
    }
}
