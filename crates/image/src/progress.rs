//! What a pull or load has to say while it runs, in Docker's words.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Digest, Reference};

/// One message to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A pull begins.
    PullingFrom {
        /// `library/debian`, or with its registry.
        repository: String,
        /// The tag or digest.
        tag: String,
    },
    /// A layer gets on.
    Layer {
        /// The first 12 digits of its digest.
        id: String,
        /// How far it is.
        status: LayerStatus,
    },
    /// The digest that the pulled name stands for.
    Digest(Digest),
    /// The pull changed nothing; with the familiar name.
    UpToDate(String),
    /// The pull brought something; with the familiar name.
    Downloaded(String),
    /// A load gave an image this name.
    Loaded(Reference),
    /// A load brought an image without a name.
    LoadedId(Digest),
    /// A load takes a name from another image.
    Renamed {
        /// The name.
        name: Reference,
        /// The image that had it.
        old: Digest,
    },
    /// An import made this image.
    Imported(Digest),
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerStatus {
    /// It is here already.
    AlreadyExists,
    /// It will be fetched.
    PullingFsLayer,
    /// Others are fetched first.
    Waiting,
    /// Bytes so far and in all.
    Downloading(u64, u64),
    /// Trying again in so many seconds.
    Retrying(u64),
    /// All bytes are here.
    VerifyingChecksum,
    /// And they are the promised ones.
    DownloadComplete,
    /// Compressed bytes unpacked so far and in all.
    Extracting(u64, u64),
    /// The same while loading from an archive.
    Loading(u64, u64),
    /// Done.
    PullComplete,
}

impl LayerStatus {
    /// Docker's text, and the figures that go with it.
    #[must_use]
    pub fn text(&self) -> (String, Option<(u64, u64)>) {
        let plain = |text: &str| (text.to_owned(), None);
        match *self {
            Self::AlreadyExists => plain("Already exists"),
            Self::PullingFsLayer => plain("Pulling fs layer"),
            Self::Waiting => plain("Waiting"),
            Self::Downloading(current, total) => ("Downloading".into(), Some((current, total))),
            Self::Retrying(1) => plain("Retrying in 1 second"),
            Self::Retrying(seconds) => (format!("Retrying in {seconds} seconds"), None),
            Self::VerifyingChecksum => plain("Verifying Checksum"),
            Self::DownloadComplete => plain("Download complete"),
            Self::Extracting(current, total) => ("Extracting".into(), Some((current, total))),
            Self::Loading(current, total) => ("Loading layer".into(), Some((current, total))),
            Self::PullComplete => plain("Pull complete"),
        }
    }
}

impl Progress {
    /// The message as a line of Docker's JSON stream (without the bar that old clients print: see the API's type).
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::PullingFrom { repository, tag } => {
                json!({ "status": format!("Pulling from {repository}"), "id": tag })
            }
            Self::Layer { id, status } => match status.text() {
                (text, Some((current, total))) => {
                    json!({ "status": text, "progressDetail": { "current": current, "total": total }, "id": id })
                }
                (text, None) => json!({ "status": text, "progressDetail": {}, "id": id }),
            },
            Self::Digest(_) | Self::UpToDate(_) | Self::Downloaded(_) | Self::Imported(_) => {
                json!({ "status": self.text() })
            }
            Self::Loaded(_) | Self::LoadedId(_) | Self::Renamed { .. } => {
                json!({ "stream": self.text() + "\n" })
            }
        }
    }

    /// The message's words without layer figures.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::PullingFrom { repository, .. } => format!("Pulling from {repository}"),
            Self::Layer { id, status } => format!("{id}: {}", status.text().0),
            Self::Digest(digest) => format!("Digest: {digest}"),
            Self::UpToDate(name) => format!("Status: Image is up to date for {name}"),
            Self::Downloaded(name) => format!("Status: Downloaded newer image for {name}"),
            Self::Loaded(name) => format!("Loaded image: {}", name.familiar()),
            Self::LoadedId(id) => format!("Loaded image ID: {id}"),
            Self::Renamed { name, old } => format!(
                "The image {} already exists, renaming the old one with ID {old} to empty string",
                name.familiar()
            ),
            Self::Imported(id) => id.to_string(),
        }
    }
}

/// Where progress goes. Figures come at most every 512 KiB of a layer, so that the queue stays short although nobody
/// ever waits for a slow reader. When the receiver is dropped the operation is cancelled.
#[derive(Clone, Debug, Default)]
pub struct ProgressSender(Option<mpsc::UnboundedSender<Progress>>);

impl ProgressSender {
    /// Sends into `sender`.
    #[must_use]
    pub fn new(sender: mpsc::UnboundedSender<Progress>) -> Self {
        Self(Some(sender))
    }

    /// Nobody listens, and nobody cancels.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(crate) fn send(&self, progress: Progress) {
        if let Some(sender) = &self.0 {
            // A receiver that went away cancels; see below.
            let _gone = sender.send(progress);
        }
    }

    pub(crate) fn layer(&self, id: &str, status: LayerStatus) {
        self.send(Progress::Layer { id: id.to_owned(), status });
    }

    pub(crate) fn cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(mpsc::UnboundedSender::is_closed)
    }
}

/// Lets a figure through every 512 KiB.
pub(crate) struct Throttle {
    next: u64,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { next: 0 }
    }

    pub(crate) fn passes(&mut self, current: u64) -> bool {
        if current < self.next {
            return false;
        }
        self.next = current + (512 << 10);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let id = "0123456789ab".to_owned();
        let layer = |status| Progress::Layer { id: id.clone(), status }.to_json().to_string();
        assert_eq!(
            layer(LayerStatus::PullingFsLayer),
            r#"{"id":"0123456789ab","progressDetail":{},"status":"Pulling fs layer"}"#
        );
        assert_eq!(
            layer(LayerStatus::Downloading(1, 2)),
            r#"{"id":"0123456789ab","progressDetail":{"current":1,"total":2},"status":"Downloading"}"#
        );
        assert_eq!(
            Progress::Loaded("debian".parse().unwrap()).to_json().to_string(),
            r#"{"stream":"Loaded image: debian:latest\n"}"#
        );
    }
}
