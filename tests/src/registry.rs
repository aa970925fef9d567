//! A real registry (Debian's `docker-registry`) on loopback.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::archive::{Image, digest};
use crate::{Skip, check, eventually, tcp};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry, ended when dropped.
pub struct Registry {
    server: Child,
    /// `127.0.0.1:port`.
    pub address: String,
}

impl Registry {
    /// Starts one whose files live in `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, "")
    }

    /// Starts one that wants a user and a password: `auth` is the htpasswd file's content.
    pub fn start_with(dir: &Path, htpasswd: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            dir.display()
        );
        if !htpasswd.is_empty() {
            let file = dir.join("htpasswd");
            std::fs::write(&file, htpasswd)?;
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: tests\n    path: {}\n", file.display()));
        }
        let file = dir.join("config.yml");
        std::fs::write(&file, config)?;
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Skip::because(format!("no docker-registry here: {error}")))?;
        let registry = Self { server, address };
        eventually(Duration::from_secs(20), || {
            Ok(std::net::TcpStream::connect(&registry.address).ok().map(drop))
        })
        .context("the registry does not listen")?;
        Ok(registry)
    }

    /// Puts an image there under `repository:tag`; the manifest's digest.
    pub fn push(&self, image: &Image, repository: &str, tag: &str) -> Result<String> {
        self.push_as(&[], image, repository, tag)
    }

    /// The same with headers that say who pushes.
    pub fn push_as(
        &self,
        login: &[(&str, &str)],
        image: &Image,
        repository: &str,
        tag: &str,
    ) -> Result<String> {
        let blobs = image.layers.iter().map(|layer| layer.compressed()).chain([image.config()]);
        for blob in blobs {
            self.push_blob_as(login, repository, &digest(&blob), &blob)?;
        }
        let manifest = image.manifest(MANIFEST);
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = tcp(&self.address, "PUT", &path, &headers(MANIFEST, login), Some(&manifest))?;
        check!(answer.status == 201, "push of {repository}:{tag}: {} {}", answer.status, answer.text());
        Ok(digest(&manifest))
    }

    /// Puts one blob of this digest there.
    pub fn push_blob(&self, repository: &str, digest: &str, blob: &[u8]) -> Result<()> {
        self.push_blob_as(&[], repository, digest, blob)
    }

    fn push_blob_as(
        &self,
        login: &[(&str, &str)],
        repository: &str,
        digest: &str,
        blob: &[u8],
    ) -> Result<()> {
        let headers = headers("application/octet-stream", login);
        let path = format!("/v2/{repository}/blobs/uploads/");
        let answer = tcp(&self.address, "POST", &path, &headers, None)?;
        let location = answer.header("location").context("the registry names no upload location")?;
        let location = location.split_once(&self.address).map_or(location, |(_, path)| path);
        let separator = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{separator}digest={digest}");
        let answer = tcp(&self.address, "PUT", &path, &headers, Some(blob))?;
        check!(answer.status == 201, "push of a blob: {} {}", answer.status, answer.text());
        Ok(())
    }
}

fn headers<'a>(kind: &'a str, login: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("Content-Type", kind)], login].concat()
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
