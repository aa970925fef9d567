//! `--volume`, `--mount`, `--tmpfs`.

use std::path::{Component, Path, PathBuf};

use cofferdam_client::models::{Mount, MountBindOptionsPropagationEnum, MountType};

/// `--volume source:target[:options]`. A relative source is made absolute, as newer Docker CLIs do; a name stays.
pub fn bind(text: &str, directory: &Path) -> Result<String, String> {
    let mut parts = text.splitn(3, ':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next());
    match target {
        Some(_) if source.is_empty() => Err(format!("invalid volume {text:?}: the source is empty")),
        Some("") => Err(format!("invalid volume {text:?}: the target is empty")),
        Some(_) if source.starts_with('.') => {
            let rest = &text[source.len()..];
            Ok(format!("{}{rest}", normal(&directory.join(source)).display()))
        }
        _ => Ok(text.to_owned()),
    }
}

/// A path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// `--tmpfs target[:options]`
pub fn tmpfs(text: &str) -> (String, String) {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    (target.to_owned(), options.to_owned())
}

/// `--mount type=bind,source=…,target=…`
pub fn mount(text: &str) -> Result<Mount, String> {
    let invalid = |why: String| format!("invalid mount {text:?}: {why}");
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    for field in text.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let needed = || value.ok_or_else(|| invalid(format!("{key} needs a value")));
        let switch = || match value {
            None | Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(invalid(format!("{key} is true or false, not {other:?}"))),
        };
        match key.as_str() {
            "type" => {
                mount.typ = Some(match needed()?.to_ascii_lowercase().as_str() {
                    "bind" => MountType::BIND,
                    "volume" => MountType::VOLUME,
                    "tmpfs" => MountType::TMPFS,
                    other => {
                        return Err(invalid(format!("unknown type {other:?}: want bind, volume or tmpfs")));
                    }
                });
            }
            "source" | "src" => mount.source = Some(needed()?.to_owned()),
            "target" | "dst" | "destination" => mount.target = Some(needed()?.to_owned()),
            "readonly" | "ro" => mount.read_only = switch()?,
            "consistency" => mount.consistency = Some(needed()?.to_owned()),
            "bind-propagation" => {
                let propagation =
                    propagation(needed()?).ok_or_else(|| invalid("unknown propagation".to_owned()))?;
                mount.bind_options.get_or_insert_default().propagation = Some(propagation);
            }
            "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = switch()?,
            "tmpfs-size" => {
                let size = super::bytes(needed()?).map_err(invalid)?;
                mount.tmpfs_options.get_or_insert_default().size_bytes = Some(size);
            }
            "tmpfs-mode" => {
                let mode = i64::from_str_radix(needed()?, 8)
                    .map_err(|error| invalid(format!("tmpfs-mode: {error}")))?;
                mount.tmpfs_options.get_or_insert_default().mode = Some(mode);
            }
            "volume-subpath" => {
                mount.volume_options.get_or_insert_default().subpath = Some(needed()?.to_owned());
            }
            "volume-driver" => {
                let config =
                    mount.volume_options.get_or_insert_default().driver_config.get_or_insert_default();
                config.name = Some(needed()?.to_owned());
            }
            "volume-label" => {
                let (key, value) = needed()?.split_once('=').unwrap_or((needed()?, ""));
                let labels = mount.volume_options.get_or_insert_default().labels.get_or_insert_default();
                labels.insert(key.to_owned(), value.to_owned());
            }
            "volume-opt" => {
                let (key, value) =
                    needed()?.split_once('=').ok_or_else(|| invalid("volume-opt is KEY=VALUE".to_owned()))?;
                let config =
                    mount.volume_options.get_or_insert_default().driver_config.get_or_insert_default();
                config.options.get_or_insert_default().insert(key.to_owned(), value.to_owned());
            }
            "bind-create-src" => mount.bind_options.get_or_insert_default().create_mountpoint = switch()?,
            "volume-nocopy" => mount.volume_options.get_or_insert_default().no_copy = switch()?,
            other => return Err(invalid(format!("unknown field {other:?}"))),
        }
    }
    match (&mount.target, mount.typ, &mount.source) {
        (None, ..) => Err(invalid("a target is needed".to_owned())),
        (_, Some(MountType::BIND), None) => Err(invalid("a bind mount needs a source".to_owned())),
        (_, Some(MountType::TMPFS), Some(_)) => Err(invalid("a tmpfs has no source".to_owned())),
        _ => Ok(mount),
    }
}

fn propagation(text: &str) -> Option<MountBindOptionsPropagationEnum> {
    Some(match text.to_ascii_lowercase().as_str() {
        "private" => MountBindOptionsPropagationEnum::PRIVATE,
        "rprivate" => MountBindOptionsPropagationEnum::RPRIVATE,
        "shared" => MountBindOptionsPropagationEnum::SHARED,
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        "slave" => MountBindOptionsPropagationEnum::SLAVE,
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_become_absolute() {
        let here = Path::new("/work/here");
        assert_eq!(bind("./a:/b:ro", here).unwrap(), "/work/here/a:/b:ro");
        assert_eq!(bind("../a:/b", here).unwrap(), "/work/a:/b");
        assert_eq!(bind(".:/b", here).unwrap(), "/work/here:/b");
        assert_eq!(bind("/a:/b", here).unwrap(), "/a:/b");
        assert_eq!(bind("name:/b", here).unwrap(), "name:/b");
        for bad in [":/b", "/a:", ":"] {
            assert!(bind(bad, here).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_read_as_dockers() {
        let got = mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave").unwrap();
        assert_eq!((got.typ, got.read_only), (Some(MountType::BIND), Some(true)));
        assert_eq!((got.source.as_deref(), got.target.as_deref()), (Some("/a"), Some("/b")));
        let got = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777").unwrap().tmpfs_options.unwrap();
        assert_eq!((got.size_bytes, got.mode), (Some(1 << 20), Some(0o1777)));
        for bad in [
            "",
            "type=bind,target=/b",
            "type=floppy,target=/b",
            "target",
            "type=tmpfs,src=/a,target=/b",
            "dst=/a,x=1",
        ] {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }
}
