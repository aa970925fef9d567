//! What a user reads when something fails: one sentence, a hint, and Docker's exit code.

use std::fmt;
use std::io;

use cofferdam_client::ClientError;

/// An error with something to do about it.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    /// A message and what to do.
    pub fn error(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { message: message.into(), hint: hint.into() })
    }

    /// An error as it is, and what to do.
    pub fn wrap(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
        Self::error(sentence(&error), hint)
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// Failures of a command with several operands, each already reported.
#[derive(Debug, thiserror::Error)]
#[error("some of the operands failed")]
pub struct AlreadyReported;

/// A failure before the container's own program ran: the exit code says which kind.
#[derive(Debug)]
pub struct BeforeStart {
    /// 125, 126 or 127.
    pub code: i32,
    /// Why.
    pub source: anyhow::Error,
}

impl fmt::Display for BeforeStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

impl std::error::Error for BeforeStart {}

impl BeforeStart {
    /// Docker's reading of the daemon's words: 127 not found, 126 not executable, 125 anything else.
    pub fn from(source: anyhow::Error) -> anyhow::Error {
        let text = sentence(&source).to_lowercase();
        let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
        let code = match source.downcast_ref::<ClientError>() {
            Some(ClientError::Daemon { status: 400..=500, .. }) | None => {
                if has(&["executable file not found", "no such file or directory", "command not found"]) {
                    127
                } else if has(&[
                    "permission denied",
                    "is a directory",
                    "not a directory",
                    "exec format error",
                ]) {
                    126
                } else {
                    125
                }
            }
            _ => 125,
        };
        anyhow::Error::new(Self { code, source })
    }

    /// A failure of our own, before the daemon was asked.
    pub fn plain(source: anyhow::Error) -> anyhow::Error {
        anyhow::Error::new(Self { code: 125, source })
    }
}

/// Reports a command's error, and gives the exit code.
pub fn report(error: &anyhow::Error, verb: &str) -> i32 {
    if error.is::<AlreadyReported>() {
        return 1;
    }
    if is_closed_pipe(error) {
        // As a program that SIGPIPE ended.
        return 141;
    }
    let (error, code) = match error.downcast_ref::<BeforeStart>() {
        Some(before) => (&before.source, before.code),
        None => (error, 1),
    };
    say(error);
    if code == 125 && !verb.is_empty() {
        eprintln!("See 'cofferdam {verb} --help'.");
    }
    code
}

/// Prints the sentence and the hint.
pub fn say(error: &anyhow::Error) {
    eprintln!("cofferdam: {}", sentence(error));
    if let Some(hint) = hint(error) {
        eprintln!("hint: {hint}");
    }
}

/// The error and its causes; of a failed connection only what the user can use.
pub fn sentence(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ClientError>() {
        Some(connect @ ClientError::Connect { .. }) => connect.to_string(),
        _ => format!("{error:#}"),
    }
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        return Some(hinted.hint.clone());
    }
    match error.downcast_ref::<ClientError>()? {
        ClientError::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Some("the socket is for root and its group: use sudo, or join the group".to_owned())
        }
        ClientError::Connect { .. } => Some(
            "start it with 'cofferdamd' (as root), or name another daemon with --host or COFFERDAM_HOST"
                .to_owned(),
        ),
        ClientError::Daemon { message, .. } => daemon_hint(message).map(str::to_owned),
        ClientError::Connection(error) if error.is_parse() => Some(
            "no daemon speaks HTTP there; a port with TLS wants DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
                .to_owned(),
        ),
        _ => None,
    }
}

/// What to do about the daemon's most frequent words.
fn daemon_hint(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let has = |needle: &str| message.contains(needle);
    if has("no such container") {
        Some("'cofferdam ps -a' lists all containers")
    } else if has("no such image") {
        Some("'cofferdam images' lists what is here, 'cofferdam pull' and 'cofferdam image install' get more")
    } else if has("pull access denied") || has("unauthorized") {
        Some("'docker login' keeps credentials where they are found here, too")
    } else if has("is already in use by container") {
        Some("remove that container with 'cofferdam rm', rename it, or choose another --name")
    } else if has("is paused") {
        Some("'cofferdam unpause' lets it go on")
    } else if has("you cannot remove a running container") || has("container is running") {
        Some("stop it first, or use --force")
    } else if has("kvm") || has("qemu") || has("guest kernel") {
        Some("'cofferdam doctor' checks what the hyperv level needs")
    } else {
        None
    }
}

/// Whether standard output's reader went away.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        match cause.downcast_ref::<ClientError>() {
            Some(ClientError::Output(error)) => closed(error),
            Some(_) => false,
            None => cause.downcast_ref::<io::Error>().is_some_and(closed),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(message: &str) -> i32 {
        let daemon = ClientError::Daemon { status: 400, message: message.to_owned() };
        BeforeStart::from(daemon.into()).downcast::<BeforeStart>().unwrap().code
    }

    #[test]
    fn exit_codes_are_dockers() {
        assert_eq!(code("exec: \"nope\": executable file not found in $PATH: unknown"), 127);
        assert_eq!(code("exec: \"/etc\": permission denied: unknown"), 126);
        assert_eq!(code("exec: \"/etc\": is a directory"), 126);
        assert_eq!(code("Conflict. The container name is in use"), 125);
    }

    #[test]
    fn frequent_failures_have_hints() {
        let error = |message: &str| {
            anyhow::Error::new(ClientError::Daemon { status: 404, message: message.to_owned() })
        };
        assert!(hint(&error("No such container: x")).unwrap().contains("ps -a"));
        assert!(hint(&error("No such image: x:latest")).unwrap().contains("image install"));
        assert_eq!(hint(&error("something else")), None);
        let host = cofferdam_client::Host::unix("/s");
        let connect: anyhow::Error =
            ClientError::Connect { host, source: io::ErrorKind::NotFound.into() }.into();
        assert_eq!(
            sentence(&connect),
            "cannot connect to the Cofferdam daemon at unix:///s. Is cofferdamd running?"
        );
        assert!(hint(&connect).is_some());
    }
}
