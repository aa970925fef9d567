//! `nanoserver`: the host's static BusyBox with a link for each of its tools. The same BusyBox gives the same image,
//! byte for byte.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use super::archive::{self, Image};
use super::elf;
use crate::programs;
use crate::report::Hinted;

/// The time of every file, and of the image: 2026-01-01.
const MADE: u64 = 1_767_225_600;
const MADE_TEXT: &str = "2026-01-01T00:00:00Z";

/// Directories, with their modes.
const DIRECTORIES: [(&str, u32); 13] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

const FILES: [(&str, &str); 4] = [
    ("etc/group", "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/os-release", "ID=nanoserver\nNAME=\"Nano Server\"\nPRETTY_NAME=\"Nano Server (BusyBox)\"\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
         www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    ),
];

/// Makes the archive.
pub fn make(say: &dyn Fn(&str)) -> anyhow::Result<File> {
    let busybox = find()?;
    say(&format!("Using {}", busybox.display()));
    let content = std::fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let listed = Command::new(&busybox).arg("--list").output();
    let listed = listed.with_context(|| format!("cannot run {}", busybox.display()))?;
    let tools = String::from_utf8_lossy(&listed.stdout).into_owned();
    let tools: Vec<&str> = tools.lines().filter(|tool| !tool.is_empty() && *tool != "busybox").collect();
    anyhow::ensure!(tools.contains(&"sh"), "{} has no sh", busybox.display());
    let mut layer = layer(&content, &tools).context("cannot write the layer")?;
    let config = json!({
        "Cmd": ["sh"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    });
    let image = Image {
        name: "nanoserver",
        created: MADE_TEXT,
        made_of: "static busybox of the host's distribution",
        config,
    };
    archive::write(&image, &mut layer).context("cannot write the archive")
}

fn find() -> anyhow::Result<std::path::PathBuf> {
    let hint = "install the package busybox-static";
    let path = programs::find("busybox").ok_or_else(|| Hinted::error("busybox was not found", hint))?;
    let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    match elf::is_static(&content) {
        Some(true) => Ok(path),
        Some(false) => Err(Hinted::error(format!("{} is linked dynamically", path.display()), hint)),
        None => Err(Hinted::error(format!("{} is not a program for this host", path.display()), hint)),
    }
}

/// The only layer, as tar.
fn layer(busybox: &[u8], tools: &[&str]) -> io::Result<File> {
    let mut tar = tar::Builder::new(tempfile::tempfile()?);
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(size).unwrap_or(0));
        header.set_mtime(MADE);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    for (name, mode) in DIRECTORIES {
        tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), format!("{name}/"), io::empty())?;
    }
    tar.append_data(&mut header(tar::EntryType::Regular, 0o755, busybox.len()), "bin/busybox", busybox)?;
    let mut link = |name: &str, target: &str| {
        tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), name, Path::new(target))
    };
    for tool in tools {
        link(&format!("bin/{tool}"), "busybox")?;
    }
    // What scripts name with its full path.
    link("sbin", "bin")?;
    link("usr/bin/env", "../../bin/busybox")?;
    link("usr/sbin", "bin")?;
    for (name, content) in FILES {
        tar.append_data(
            &mut header(tar::EntryType::Regular, 0o644, content.len()),
            name,
            content.as_bytes(),
        )?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _};

    #[test]
    fn the_layer_is_the_same_each_time() {
        let make = || {
            let mut file = layer(b"program", &["ls", "sh"]).unwrap();
            file.rewind().unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let bytes = make();
        assert_eq!(bytes, make());
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        for name in ["tmp/", "bin/busybox", "bin/sh", "bin/ls", "etc/passwd", "usr/bin/env"] {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
    }
}
