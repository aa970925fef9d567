//! Names for user ids that no user has, so that `ps` shows whose VM worker a process is.
//!
//! A name is published where the host's name service looks by itself and nothing of the administrator's is touched:
//! systemd's drop-in directory, when `nsswitch.conf` asks `systemd` for users, or else the `extrausers` file, when
//! it asks `extrausers`. Otherwise nothing is done: [`UserDb::publishes`] says so.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The names of users in the text of passwd(5); the first of an id counts.
#[must_use]
pub fn names(passwd: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok())) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// Where the host looks for users.
#[derive(Clone, Debug)]
pub struct UserDb(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// JSON records, one file for each user and a link for each id (systemd's `nss-systemd`, "drop-in records").
    DropIn(PathBuf),
    /// One file in the format of passwd(5).
    Extra(PathBuf),
    Nowhere,
}

/// The places that a host may have.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The name service switch.
    pub nsswitch: PathBuf,
    /// systemd's drop-in records.
    pub drop_in: PathBuf,
    /// The extra users.
    pub extra: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            nsswitch: "/etc/nsswitch.conf".into(),
            drop_in: "/run/userdb".into(),
            extra: "/var/lib/extrausers/passwd".into(),
        }
    }
}

impl UserDb {
    /// Looks where this host's users come from.
    #[must_use]
    pub fn detect(paths: &Paths) -> Self {
        let text = fs::read_to_string(&paths.nsswitch).unwrap_or_default();
        let services = passwd_services(&text);
        Self(if services.contains(&"systemd") {
            Place::DropIn(paths.drop_in.clone())
        } else if services.contains(&"extrausers") {
            Place::Extra(paths.extra.clone())
        } else {
            Place::Nowhere
        })
    }

    /// Whether published names can be resolved on this host.
    #[must_use]
    pub fn publishes(&self) -> bool {
        self.0 != Place::Nowhere
    }

    /// Gives `uid` (also its group id) the name `user`. Idempotent; does nothing when the host has no place for it.
    pub fn publish(&self, user: &str, uid: u32) -> io::Result<()> {
        check(user, uid)?;
        match &self.0 {
            Place::DropIn(directory) => publish_drop_in(directory, user, uid),
            Place::Extra(file) => edit_lines(file, |lines| {
                lines.retain(|line| !is_of(line, user));
                lines.push(format!(
                    "{user}:x:{uid}:{uid}:Cofferdam utility VM:/nonexistent:/usr/sbin/nologin"
                ));
            }),
            Place::Nowhere => Ok(()),
        }
    }

    /// Takes the name back. Idempotent.
    pub fn remove(&self, user: &str, uid: u32) -> io::Result<()> {
        check(user, uid)?;
        match &self.0 {
            Place::DropIn(directory) => {
                for name in [format!("{uid}.user"), format!("{user}.user")] {
                    match fs::remove_file(directory.join(name)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                Ok(())
            }
            Place::Extra(file) if file.exists() => {
                edit_lines(file, |lines| lines.retain(|line| !is_of(line, user)))
            }
            Place::Extra(_) | Place::Nowhere => Ok(()),
        }
    }
}

/// Nothing that could be read as another user, another field or another file.
fn check(user: &str, uid: u32) -> io::Result<()> {
    let good = (1..=32).contains(&user.len())
        && user.starts_with(|c: char| c.is_ascii_lowercase())
        && user.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    // Ids below 1000 belong to the system, and the greatest two to nobody.
    if good && (1000..u32::MAX - 1).contains(&uid) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("user {user:?} with id {uid} cannot be published"),
    ))
}

fn passwd_services(nsswitch: &str) -> Vec<&str> {
    let line = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("passwd:"));
    let line = line.unwrap_or_default();
    let line = line.split_once('#').map_or(line, |(before, _)| before);
    line.split_ascii_whitespace().filter(|word| !word.starts_with('[')).collect()
}

fn is_of(line: &str, user: &str) -> bool {
    line.split(':').next() == Some(user)
}

fn publish_drop_in(directory: &Path, user: &str, uid: u32) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let record = format!(
        concat!(
            r#"{{"userName":"{0}","uid":{1},"gid":{1},"realName":"Cofferdam utility VM","disposition":"container","#,
            r#""homeDirectory":"/nonexistent","shell":"/usr/sbin/nologin","locked":true}}"#,
            "\n"
        ),
        user, uid
    );
    write_atomically(&directory.join(format!("{user}.user")), record.as_bytes())?;
    match symlink(format!("{user}.user"), directory.join(format!("{uid}.user"))) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Changes the file's lines under a lock, and never leaves half a file.
fn edit_lines(file: &Path, edit: impl FnOnce(&mut Vec<String>)) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).open(file.with_extension("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        result => result?,
    };
    let mut lines = text.lines().map(str::to_owned).collect();
    edit(&mut lines);
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    write_atomically(file, text.as_bytes())
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let write = |mut file: File| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    let result = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(write);
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db(root: &Path, passwd_line: &str) -> UserDb {
        let paths = Paths {
            nsswitch: root.join("nsswitch.conf"),
            drop_in: root.join("userdb"),
            extra: root.join("x/passwd"),
        };
        fs::write(&paths.nsswitch, format!("# a comment\nhosts: files\n{passwd_line}\n")).unwrap();
        UserDb::detect(&paths)
    }

    #[test]
    fn users_have_names() {
        let names = names("root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\nbad\na:x:b:\ndaemon:x:1:1::/:\n");
        assert_eq!((names.len(), names[&0].as_str(), names[&1].as_str()), (2, "root", "daemon"));
    }

    #[test]
    fn systemd_gets_a_record_and_a_link() {
        let root = tempfile::tempdir().unwrap();
        let db = db(root.path(), "passwd:         files systemd");
        assert!(db.publishes());
        db.publish("cfd-0123abcd", 200_001).unwrap();
        db.publish("cfd-0123abcd", 200_001).unwrap();
        let by_id = fs::read_to_string(root.path().join("userdb/200001.user")).unwrap();
        assert!(by_id.contains(r#""userName":"cfd-0123abcd","uid":200001"#), "{by_id}");
        db.remove("cfd-0123abcd", 200_001).unwrap();
        db.remove("cfd-0123abcd", 200_001).unwrap();
        assert_eq!(fs::read_dir(root.path().join("userdb")).unwrap().count(), 0);
    }

    #[test]
    fn extra_users_keep_the_lines_of_others() {
        let root = tempfile::tempdir().unwrap();
        let db = db(root.path(), "passwd: files extrausers [NOTFOUND=return] # systemd");
        let file = root.path().join("x/passwd");
        db.remove("cfd-a", 200_001).unwrap();
        fs::create_dir(root.path().join("x")).unwrap();
        fs::write(&file, "someone:x:5000:5000::/:/bin/sh\n").unwrap();
        db.publish("cfd-a", 200_001).unwrap();
        db.publish("cfd-a", 200_001).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("\ncfd-a:x:200001:200001:"), "{text}");
        db.remove("cfd-a", 200_001).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "someone:x:5000:5000::/:/bin/sh\n");
    }

    #[test]
    fn a_plain_host_has_no_place() {
        let root = tempfile::tempdir().unwrap();
        let db = db(root.path(), "passwd: files");
        assert!(!db.publishes());
        db.publish("cfd-a", 200_001).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn dangerous_names_and_ids_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let db = db(root.path(), "passwd: systemd");
        for (user, uid) in
            [("root:x", 5000), ("../a", 5000), ("", 5000), ("a", 0), ("a", 999), ("a", u32::MAX)]
        {
            assert!(db.publish(user, uid).is_err(), "{user} {uid}");
        }
    }
}
