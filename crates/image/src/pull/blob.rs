//! Fetching one blob: once at a time, with retries, verified.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::StreamExt;
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use tokio::sync::mpsc;

use crate::blobs::BlobWriter;
use crate::leases::{Item, Lease};
use crate::manifest::Descriptor;
use crate::progress::Throttle;
use crate::{Error, ImageStore, LayerStatus, ProgressSender};

use super::registry::Registry;

/// Attempts for one blob, with waits of 1, 2, 4 and 8 seconds between them.
const ATTEMPTS: u32 = 5;

/// Why an attempt failed.
enum Failure {
    /// Trying again is of no use.
    Final(Error),
    /// The network, or a registry that may recover.
    Passing(Error),
}

impl ImageStore {
    /// Brings a blob into the store, unless it is there. `lease` holds it.
    pub(super) async fn fetch_blob(
        &self,
        registry: &Registry,
        lease: &Lease,
        blob: &Descriptor,
        what: &'static str,
        progress: &ProgressSender,
    ) -> Result<(), Error> {
        let id = blob.digest.short();
        if self.shared.blobs.size(&blob.digest) == Some(blob.size) {
            progress.layer(&id, LayerStatus::DownloadComplete);
            return Ok(());
        }
        let _alone = self.shared.leases.exclusive(&Item::Blob(blob.digest.clone())).await;
        if self.shared.blobs.size(&blob.digest) == Some(blob.size) {
            progress.layer(&id, LayerStatus::DownloadComplete);
            return Ok(());
        }
        progress.layer(&id, LayerStatus::Waiting);
        let _permit = self.shared.downloads.acquire().await.map_err(|_closed| Error::Cancelled)?;
        let mut attempt = 1;
        loop {
            match self.attempt(registry, lease, blob, what, progress).await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) if attempt == ATTEMPTS => return Err(error),
                Err(Failure::Passing(error)) => {
                    tracing::warn!(digest = %blob.digest, attempt, %error, "trying again");
                    for left in (1..=1_u64 << (attempt - 1)).rev() {
                        progress.layer(&id, LayerStatus::Retrying(left));
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        if progress.cancelled() {
                            return Err(Error::Cancelled);
                        }
                    }
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(
        &self,
        registry: &Registry,
        lease: &Lease,
        blob: &Descriptor,
        what: &'static str,
        progress: &ProgressSender,
    ) -> Result<(), Failure> {
        let (id, digest) = (blob.digest.short(), blob.digest.to_string());
        let name = registry.oci_name(&digest);
        // Only the digest: other addresses in a manifest are a stranger's choice of whom we talk to.
        let response = registry.client.pull_blob_stream(&name, digest.as_str()).await;
        let mut stream = response
            .map_err(|error| match is_passing(&error) {
                true => Failure::Passing(registry.error(error)),
                false => Failure::Final(registry.error(error)),
            })?
            .stream;
        let writer = self.shared.blobs.writer().map_err(Failure::Final)?;
        let (sender, receiver) = mpsc::channel(32);
        let writing = lease.spawn_blocking(move || write(writer, receiver));
        let (mut received, mut throttle, mut failed) = (0, Throttle::new(), None);
        while let Some(chunk) = stream.next().await {
            if progress.cancelled() {
                return Err(Failure::Final(Error::Cancelled));
            }
            match chunk {
                Ok(chunk) => {
                    received += chunk.len() as u64;
                    if received > blob.size {
                        break;
                    }
                    if throttle.passes(received) {
                        progress.layer(&id, LayerStatus::Downloading(received, blob.size));
                    }
                    // A writer that has gone says why below.
                    if sender.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let writer = match writing.await {
            Ok(result) => result.map_err(Failure::Final)?,
            Err(_panicked) => return Err(Failure::Final(Error::Aborted("writing a blob"))),
        };
        if received > blob.size {
            let what = format!("{what} {digest}");
            return Err(Failure::Final(Error::SizeMismatch { what, expected: blob.size, actual: received }));
        }
        match failed {
            // The library checks the digest too, and says so by an error behind the last byte.
            Some(error) if !is_digest_error(&error) => {
                let (registry, message) = (name.registry().to_owned(), format!("blob {digest}: {error}"));
                return Err(Failure::Passing(Error::Registry { registry, message }));
            }
            _ => {}
        }
        progress.layer(&id, LayerStatus::VerifyingChecksum);
        let (expected, what) = (blob.clone(), format!("{what} {digest}"));
        let verify = move || writer.commit_as(&what, &expected.digest, expected.size);
        lease.blocking("verifying a blob", verify).await.map_err(Failure::Final)?;
        progress.layer(&id, LayerStatus::DownloadComplete);
        Ok(())
    }
}

/// Whether the registry may answer otherwise in a while.
fn is_passing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 429 || *code >= 500,
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| error.code == OciErrorCode::Toomanyrequests)
        }
        _ => false,
    }
}

fn write(mut writer: BlobWriter, mut chunks: mpsc::Receiver<bytes::Bytes>) -> Result<BlobWriter, Error> {
    while let Some(chunk) = chunks.blocking_recv() {
        if let Err(error) = writer.write_all(&chunk) {
            return Err(Error::io(writer.path(), error));
        }
    }
    Ok(writer)
}

fn is_digest_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<DigestError>())
}
