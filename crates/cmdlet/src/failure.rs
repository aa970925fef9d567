//! What goes wrong in a cmdlet, in PowerShell's words.

use cofferdam_client::ClientError;

/// PowerShell's `ErrorCategory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// A value that the parameter cannot be.
    InvalidArgument,
    /// Nothing of that name.
    ObjectNotFound,
    /// There is one already, or it is in use.
    ResourceExists,
    /// Not in its present state.
    InvalidOperation,
    /// Nobody answers.
    ConnectionError,
    /// Not supported here.
    NotImplemented,
    /// Anything else.
    NotSpecified,
}

/// An error record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One or two sentences.
    pub message: String,
    /// Its kind.
    pub category: Category,
    /// The first part of `FullyQualifiedErrorId`.
    pub id: &'static str,
    /// What it is about.
    pub target: String,
    /// Whether it ends the statement, rather than one of its objects.
    pub terminating: bool,
}

impl Failure {
    /// One that concerns one object of several.
    pub fn of(category: Category, id: &'static str, target: &str, message: impl Into<String>) -> Self {
        Self { message: message.into(), category, id, target: target.to_owned(), terminating: false }
    }

    /// One that ends the statement: its command line cannot be bound.
    pub fn binding(id: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            category: Category::InvalidArgument,
            id,
            target: String::new(),
            terminating: true,
        }
    }

    /// Nothing of that name.
    #[must_use]
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::of(
            Category::ObjectNotFound,
            "ObjectNotFound",
            name,
            format!("Cannot find a {what} with the name \"{name}\"."),
        )
    }

    /// The daemon's refusal.
    #[must_use]
    pub fn daemon(error: &ClientError, target: &str) -> Self {
        let (category, id) = match error {
            ClientError::Daemon { status: 404, .. } => (Category::ObjectNotFound, "ObjectNotFound"),
            ClientError::Daemon { status: 400, .. } => (Category::InvalidArgument, "InvalidParameter"),
            ClientError::Daemon { status: 409, .. } => (Category::InvalidOperation, "InvalidState"),
            ClientError::Daemon { status: 501, .. } => (Category::NotImplemented, "NotImplemented"),
            ClientError::Connect { .. } => (Category::ConnectionError, "DaemonUnreachable"),
            _ => (Category::NotSpecified, "OperationFailed"),
        };
        let mut message = error.to_string();
        if !matches!(error, ClientError::Connect { .. } | ClientError::Daemon { .. }) {
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                message += &format!(": {cause}");
                source = cause.source();
            }
        }
        Self { terminating: category == Category::ConnectionError, ..Self::of(category, id, target, message) }
    }
}
