//! The program to run: found as a shell would, refused in Docker's words, which clients match on.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use cofferdam_model::DEFAULT_PATH;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;
use oci_spec::runtime::{Process, Spec};
use rustix::fs::{Access, AtFlags, CWD};

use crate::park::Park;
use crate::privileges::Privileges;

/// libcontainer's last step, done our way.
#[derive(Clone)]
pub struct Program {
    /// What the program will have.
    pub privileges: Privileges,
    /// Where orders come from, when it is not the specification that says what to run.
    pub park: Option<Park>,
}

impl Executor for Program {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        let process =
            process.ok_or_else(|| ExecutorValidationError::ArgValidationError("no process".into()))?;
        // The last thing before libcontainer waits for the start: what is looked for must be found without privileges.
        self.privileges
            .assume()
            .map_err(|failure| ExecutorValidationError::ArgValidationError(failure.message))?;
        // Who is parked does not know yet what it will run.
        if self.park.is_some() {
            return Ok(());
        }
        find(process).map(drop).map_err(ExecutorValidationError::ArgValidationError)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let process = match &self.park {
            Some(park) => &park.wait(process),
            None => process,
        };
        let message = run(process);
        // Nobody waits for an answer any more: the container was created long ago. Its own output is what is left.
        eprintln!("{message}");
        Err(ExecutorError::Other(message))
    }
}

/// Replaces this process by the program, whose environment is this process's. Returns only the reason why not.
pub fn run(process: &Process) -> String {
    let path = match find(process) {
        Ok(path) => path,
        Err(message) => return message,
    };
    let arguments: Result<Vec<CString>, _> =
        process.args().iter().flatten().map(|argument| CString::new(argument.as_str())).collect();
    let (Ok(file), Ok(arguments)) = (CString::new(path.as_os_str().as_encoded_bytes()), arguments) else {
        return format!("exec {}: an argument contains a zero byte", path.display());
    };
    crate::fork::restore_sigpipe();
    let Err(errno) = nix::unistd::execv(&file, &arguments);
    format!("exec {}: {}", path.display(), words(errno))
}

/// The program's path as the current user finds it, or Docker's words for why there is none.
pub fn find(process: &Process) -> Result<PathBuf, String> {
    let name = process.args().as_ref().and_then(|args| args.first()).map_or("", String::as_str);
    let refused = |why: &str| Err(format!("exec: {name:?}: {why}"));
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(errno @ (Errno::EACCES | Errno::EPERM | Errno::EISDIR)) => refused(&words(errno)),
            Err(errno) => refused(&format!("stat {name}: {}", words(errno))),
        };
    }
    let environment = process.env().iter().flatten();
    let path = environment.rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let candidates = path.split(':').map(|directory| if directory.is_empty() { "." } else { directory });
    let found = candidates.map(|directory| Path::new(directory).join(name)).find(|path| check(path).is_ok());
    match found {
        Some(path) if !name.is_empty() => Ok(path),
        _ => refused("executable file not found in $PATH"),
    }
}

fn check(path: &Path) -> Result<(), Errno> {
    let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
    if rustix::fs::FileType::from_raw_mode(rustix::fs::stat(path).map_err(errno)?.st_mode).is_dir() {
        return Err(Errno::EISDIR);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(errno)
}

/// The kernel's words as Docker's clients know them: without a capital.
fn words(errno: Errno) -> String {
    let text = errno.desc();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::ProcessBuilder;

    use super::*;

    fn process(program: &str, path: &str) -> Process {
        ProcessBuilder::default()
            .args(vec![program.to_owned()])
            .env(vec![format!("PATH={path}")])
            .build()
            .unwrap()
    }

    #[test]
    fn a_program_is_found_in_the_path() {
        assert_eq!(find(&process("sh", "/nonexistent:/bin")).unwrap(), Path::new("/bin/sh"));
        assert_eq!(find(&process("/bin/sh", "")).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        let words = |program| find(&process(program, "/bin:/usr/bin")).unwrap_err();
        assert_eq!(words("no-such"), r#"exec: "no-such": executable file not found in $PATH"#);
        assert_eq!(words("/no-such"), r#"exec: "/no-such": stat /no-such: no such file or directory"#);
        assert_eq!(words("/etc"), r#"exec: "/etc": is a directory"#);
        assert_eq!(words("/etc/passwd"), r#"exec: "/etc/passwd": permission denied"#);
        assert_eq!(words(""), r#"exec: "": executable file not found in $PATH"#);
    }
}
