//! Who runs a container's program: `--user` resolved with the container's own `/etc/passwd` and `/etc/group`.

use std::path::Path;

use cofferdam_model::user::{UnknownUser, User};

use super::layers::Layers;

/// Longer account files are cut: no real one is.
const LONGEST: u64 = 4 << 20;

/// Resolves `user` and more groups with a container's files.
pub fn resolve(
    layers: &Layers,
    user: &str,
    more_groups: &[String],
) -> std::io::Result<Result<User, UnknownUser>> {
    let read = |path: &str| -> std::io::Result<String> {
        let content = layers.read(Path::new(path), LONGEST)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    };
    Ok(cofferdam_model::user::resolve(&read("/etc/passwd")?, &read("/etc/group")?, user, more_groups))
}
