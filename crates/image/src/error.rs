//! What can go wrong with images, in Docker's words where clients match on them.

use std::io;
use std::path::{Path, PathBuf};

use crate::InvalidDigest;
use crate::reference::InvalidReference;

/// An image operation failed. [`Error::kind`] says what kind of answer it deserves.
#[derive(Debug, thiserror::Error)]
#[allow(clippy::error_impl_error, reason = "every crate has one and is named before it: image::Error")]
pub enum Error {
    /// The text names no image.
    #[error(transparent)]
    InvalidReference(#[from] InvalidReference),
    /// The text is not a digest.
    #[error(transparent)]
    InvalidDigest(#[from] InvalidDigest),
    /// No such image; with the name as Docker shows it.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// Several images' IDs begin so.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousId(String),
    /// Something still needs the image.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The archive given to load or import is not one, or is hostile.
    #[error("invalid archive: {0}")]
    Archive(String),
    /// One entry of an archive is refused.
    #[error("invalid archive entry {entry:?}: {reason}")]
    Entry {
        /// Its name, lossily.
        entry: String,
        /// Why.
        reason: String,
    },
    /// An image's configuration or manifest is malformed.
    #[error("invalid {what}: {reason}")]
    Document {
        /// Which document.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A `--change` instruction is malformed.
    #[error("{0}")]
    Change(String),
    /// The bytes are not the promised ones.
    #[error("{what} verification failed: expected digest {expected}, got {actual}")]
    DigestMismatch {
        /// What was verified.
        what: String,
        /// Promised.
        expected: String,
        /// Found.
        actual: String,
    },
    /// There are more or fewer bytes than promised.
    #[error("{what} verification failed: expected {expected} bytes, got {actual}")]
    SizeMismatch {
        /// What was verified.
        what: String,
        /// Promised.
        expected: u64,
        /// Found.
        actual: u64,
    },
    /// The disk is full.
    #[error("{}: no space left on device", .0.display())]
    NoSpace(PathBuf),
    /// The registry knows no such manifest.
    #[error("manifest for {reference} not found: manifest unknown: {message}")]
    ManifestUnknown {
        /// The image asked for.
        reference: String,
        /// The registry's words.
        message: String,
    },
    /// The registry knows no such repository, or does not show it to us.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': denied: {message}"
    )]
    AccessDenied {
        /// The repository.
        repository: String,
        /// The registry's words.
        message: String,
    },
    /// The image exists, but not for this platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoPlatform {
        /// As `os/architecture`.
        platform: String,
    },
    /// The image is here, but for another platform.
    #[error("image {image} is here, but not for the platform {platform}")]
    OtherPlatform {
        /// The image.
        image: String,
        /// The platform asked for.
        platform: String,
    },
    /// A compressed layer that older versions did not keep.
    #[error("the blob {0} is not in the store: pull the image again")]
    NoBlob(crate::Digest),
    /// The registry answered something else, or nothing.
    #[error("registry {registry}: {message}")]
    Registry {
        /// Its host and port.
        registry: String,
        /// What went wrong.
        message: String,
    },
    /// The caller went away.
    #[error("cancelled")]
    Cancelled,
    /// A program that is needed is not installed.
    #[error("{program} not found: install the package {package}")]
    MissingTool {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program failed; with its last words.
    #[error("{program} failed ({status}): {stderr}")]
    Tool {
        /// The program.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// Reading what the client sends failed.
    #[error("read archive: {0}")]
    Stream(io::Error),
    /// A file or directory of the store.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A task of ours ended without an answer.
    #[error("{0} ended early")]
    Aborted(&'static str),
}

/// What kind of answer an [`Error`] deserves; the daemon maps it to a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong.
    Invalid,
    /// The thing does not exist.
    NotFound,
    /// The thing is in use.
    Conflict,
    /// The registry wants other credentials.
    Unauthorized,
    /// It is our side's, or the host's, fault.
    Internal,
}

impl Error {
    /// The kind of answer this error deserves.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidReference(_) | Self::InvalidDigest(_) | Self::Change(_) | Self::AmbiguousId(_) => {
                ErrorKind::Invalid
            }
            Self::Archive(_) | Self::Entry { .. } | Self::Document { .. } => ErrorKind::Invalid,
            Self::NoSuchImage(_)
            | Self::ManifestUnknown { .. }
            | Self::AccessDenied { .. }
            | Self::OtherPlatform { .. }
            | Self::NoBlob(_)
            | Self::NoPlatform { .. } => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        }
    }

    /// An I/O error at `path`; a full disk becomes [`Error::NoSpace`].
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::NoSpace(path.to_owned());
        }
        Self::Io { path: path.to_owned(), source }
    }

    /// A refused entry.
    pub(crate) fn entry(name: &[u8], reason: impl Into<String>) -> Self {
        Self::Entry { entry: String::from_utf8_lossy(name).into_owned(), reason: reason.into() }
    }

    /// A malformed document.
    pub(crate) fn document(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Document { what: what.into(), reason: reason.to_string() }
    }
}

/// Whether the error means a full disk or an exhausted quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Adds the path to an I/O error.
pub(crate) trait IoContext<T> {
    /// Names the file or directory that the operation was about.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::io(path, source))
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::io(path, source.into()))
    }
}
