//! Why nothing was started, as the caller is told.

use std::error::Error;
use std::fmt;

use cofferdam_model::HelperReply;

/// A failed request: words for the user, and Docker's exit code when it is about the program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// 126 or 127.
    pub code: Option<u8>,
}

impl Failure {
    /// `doing: why`.
    pub fn new(doing: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { message: format!("{doing}: {why}"), code: None }
    }

    /// A failure that carries its own classification in its text, as it crosses a process boundary. The words are
    /// Docker's, which clients know: `exec: "x": executable file not found in $PATH`.
    pub fn from_text(message: impl Into<String>) -> Self {
        let message = message.into();
        let about_program = message.starts_with("exec: ") || message.starts_with("exec /");
        let missing =
            message.contains("executable file not found") || message.contains("no such file or directory");
        let code = about_program.then_some(if missing { 127 } else { 126 });
        Self { message, code }
    }

    /// An error and its sources, each said once.
    pub fn from_chain(error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self { message, code: None }
    }

    /// The same with words before it.
    #[must_use]
    pub fn prefixed(self, prefix: &str) -> Self {
        Self { message: format!("{prefix}: {}", self.message), ..self }
    }
}

impl From<Failure> for HelperReply {
    fn from(Failure { message, code }: Failure) -> Self {
        Self::Failed { message, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_run_get_dockers_codes() {
        let code = |text| Failure::from_text(text).code;
        assert_eq!(code(r#"exec: "foo": executable file not found in $PATH"#), Some(127));
        assert_eq!(code(r#"exec: "/foo": stat /foo: no such file or directory"#), Some(127));
        assert_eq!(code(r#"exec: "/etc/passwd": permission denied"#), Some(126));
        assert_eq!(code("failed to prepare rootfs: no such file or directory"), None);
    }
}
