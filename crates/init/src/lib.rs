//! The init program of containers started with `--init`: a static executable of our own, carried as bytes. It starts
//! the container's program as its child, passes signals on to it, reaps every orphan, and ends as its child ended.
//! The daemon mounts it read-only at `/sbin/docker-init`, the same at both isolation levels.

/// The executable.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/docker-init"));

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn it_is_static_and_ends_as_its_child() {
        assert_eq!(&super::PROGRAM[..4], b"\x7fELF");
        let path = std::env::temp_dir().join(format!("cofferdam-init-{}", std::process::id()));
        std::fs::write(&path, super::PROGRAM).expect("the temporary directory can be written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
        let code = |words: &[&str]| {
            let status = Command::new(&path).arg("--").args(words).status().expect("it runs");
            status.code()
        };
        let codes = [
            code(&["sh", "-c", "exit 7"]),
            code(&["sh", "-c", "kill -TERM $$"]),
            code(&["/nonexistent"]),
            code(&["/etc/passwd"]),
        ];
        let _ = std::fs::remove_file(&path);
        assert_eq!(codes, [Some(7), Some(143), Some(127), Some(126)]);
    }
}
