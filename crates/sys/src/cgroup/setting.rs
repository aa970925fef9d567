//! Values for files of a group, written so that all of them hold or none.

use std::path::PathBuf;

use super::{CgroupError, number, read, write};

/// One value for one file.
#[derive(Debug)]
pub(super) struct Setting {
    path: PathBuf,
    value: String,
    /// Whether the file takes one line of many: what was there before is not written back.
    once: bool,
    /// The memory limit that this is, and the file that says how much is in use.
    memory: Option<(u64, PathBuf)>,
}

impl Setting {
    pub(super) fn new(path: PathBuf, value: impl Into<String>) -> Self {
        Self { path, value: value.into(), once: false, memory: None }
    }

    /// It stays when a later one fails.
    pub(super) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// It is a memory limit: the kernel calls the file busy when more is in use.
    pub(super) fn refused_when_busy(self, limit: u64, usage: PathBuf) -> Self {
        Self { memory: Some((limit, usage)), ..self }
    }

    fn write(&self) -> Result<(), CgroupError> {
        write(&self.path, &self.value).map_err(|error| match (&self.memory, &error) {
            (Some((limit, usage)), CgroupError::File { source, .. })
                if source.raw_os_error() == Some(libc::EBUSY) =>
            {
                CgroupError::MemoryInUse { limit: *limit, usage: number(usage).unwrap_or(0) }
            }
            _ => error,
        })
    }
}

/// The values that limits had before they were set.
#[derive(Debug, Default)]
pub struct Before(Vec<(PathBuf, String)>);

impl Before {
    /// Sets them again.
    pub fn restore(self) -> Result<(), CgroupError> {
        // An empty value needs its line, too.
        self.0.iter().rev().try_for_each(|(path, value)| write(path, &format!("{value}\n")))
    }
}

/// Writes them in order; when one fails those before it get their old values back.
pub(super) fn apply(settings: &[Setting]) -> Result<Before, CgroupError> {
    let mut before = Before::default();
    for setting in settings {
        match old(setting).and_then(|old| setting.write().map(|()| old)) {
            Ok(old) => before.0.extend(old.map(|old| (setting.path.clone(), old))),
            Err(error) => {
                before.restore()?;
                return Err(error);
            }
        }
    }
    Ok(before)
}

/// What a file holds: its first line is what can be written to it.
fn old(setting: &Setting) -> Result<Option<String>, CgroupError> {
    if setting.once {
        return Ok(None);
    }
    Ok(Some(read(&setting.path)?.lines().next().unwrap_or_default().to_owned()))
}
