//! Files of a container in and out: `archive`, `export`, `changes`.

use std::pin::Pin;

use base64::Engine as _;
use futures_util::TryStreamExt as _;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::io::AsyncRead;

use crate::query::{Query, segment};
use crate::{Client, ClientError};

/// A tar archive as it arrives.
pub type TarStream = Pin<Box<dyn AsyncRead + Send>>;

/// What a path in a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    /// The last name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// Where a link leads in the end.
    pub link_target: String,
}

impl PathStat {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & (1 << 31) != 0
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.mode & (1 << 27) != 0
    }

    fn of(answer: &Response<Incoming>) -> Self {
        let header = answer.headers().get("x-docker-container-path-stat");
        let text =
            header.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PathChange {
    /// 0 changed, 1 added, 2 deleted.
    pub kind: u8,
    /// Which.
    pub path: String,
}

impl Client {
    /// What a path in a container is.
    pub async fn path_stat(&self, id: &str, path: &str) -> Result<PathStat, ClientError> {
        let query = Query::new().text("path", path);
        let answer = self.head(&format!("/containers/{}/archive", segment(id))).query(&query).send().await?;
        Ok(PathStat::of(&answer))
    }

    /// A path's content as tar.
    pub async fn read_archive(&self, id: &str, path: &str) -> Result<(PathStat, TarStream), ClientError> {
        let query = Query::new().text("path", path);
        let answer = self.get(&format!("/containers/{}/archive", segment(id))).query(&query).send().await?;
        Ok((PathStat::of(&answer), body(answer)))
    }

    /// Extracts a tar archive in a directory of a container. `keep_kinds` refuses to put files in directories' places
    /// and the reverse; `own` gives everything to the container's user.
    pub async fn write_archive(
        &self,
        id: &str,
        path: &str,
        keep_kinds: bool,
        own: bool,
        archive: impl AsyncRead + Send + Sync + 'static,
    ) -> Result<(), ClientError> {
        let query =
            Query::new().text("path", path).flag("noOverwriteDirNonDir", keep_kinds).flag("copyUIDGID", own);
        let call = self.put(&format!("/containers/{}/archive", segment(id)));
        call.query(&query).tar(archive).nothing().await
    }

    /// A container's root file system as tar.
    pub async fn export(&self, id: &str) -> Result<TarStream, ClientError> {
        Ok(body(self.get(&format!("/containers/{}/export", segment(id))).send().await?))
    }

    /// What a container has changed of its image's files.
    pub async fn changes(&self, id: &str) -> Result<Vec<PathChange>, ClientError> {
        let changes: Option<Vec<PathChange>> =
            self.get(&format!("/containers/{}/changes", segment(id))).answer().await?;
        Ok(changes.unwrap_or_default())
    }
}

/// An answer that is an archive.
pub(crate) fn body(answer: Response<Incoming>) -> TarStream {
    let pieces = answer.into_body().into_data_stream().map_err(std::io::Error::other);
    Box::pin(tokio_util::io::StreamReader::new(pieces))
}
