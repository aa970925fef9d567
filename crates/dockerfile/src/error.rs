//! What is wrong, and where.

/// Why a Dockerfile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(clippy::error_impl_error, reason = "every crate has one and is named before it: dockerfile::Error")]
pub enum Error {
    /// One line of it; Docker's words.
    #[error("dockerfile parse error on line {line}: {reason}")]
    Line {
        /// The line where its instruction begins, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// There is nothing in it.
    #[error("the Dockerfile (Dockerfile) cannot be empty")]
    Empty,
    /// It has no instruction, or no stage.
    #[error("{0}")]
    Whole(String),
}

impl Error {
    /// What is wrong, without where: for an instruction that came by itself.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Line { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn at(line: usize) -> impl Fn(String) -> Self {
        move |reason| Self::Line { line, reason }
    }
}
