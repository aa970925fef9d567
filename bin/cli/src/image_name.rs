//! Image references as the command line splits them.

/// The images that `image install` makes. Their names match in any case, as on the original system.
pub const BUILT_IN: [&str; 2] = ["nanoserver", "windowsservercore"];

/// `Nanoserver` means `nanoserver`; every other name stays as it is.
#[must_use]
pub fn canonical(name: &str) -> String {
    let (repository, rest) = name.split_at(name.find([':', '@']).unwrap_or(name.len()));
    match BUILT_IN.iter().find(|known| known.eq_ignore_ascii_case(repository)) {
        Some(known) => format!("{known}{rest}"),
        None => name.to_owned(),
    }
}

/// The repository and the tag or digest, which may be empty.
#[must_use]
pub fn split(reference: &str) -> (&str, &str) {
    if let Some((repository, digest)) = reference.split_once('@') {
        // A digest decides alone; a tag before it is decoration.
        return (split_tag(repository).0, digest);
    }
    split_tag(reference)
}

/// A colon before the last slash is a port's.
fn split_tag(reference: &str) -> (&str, &str) {
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[name..].find(':') {
        Some(colon) => (&reference[..name + colon], &reference[name + colon + 1..]),
        None => (reference, ""),
    }
}

/// The reference with `:latest` where nothing is said.
#[must_use]
pub fn with_tag(reference: &str) -> String {
    match split(reference) {
        (repository, "") => format!("{repository}:latest"),
        _ => reference.to_owned(),
    }
}

/// The registry that a reference names, under which credentials are kept.
#[must_use]
pub fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// `os/arch[/variant]` as the API has platforms of images that are here: JSON.
pub fn platform(text: &str) -> anyhow::Result<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let json = match parts[..] {
        [os, architecture] => serde_json::json!({ "os": os, "architecture": architecture }),
        [os, architecture, variant] => {
            serde_json::json!({ "os": os, "architecture": architecture, "variant": variant })
        }
        _ => anyhow::bail!("invalid platform {text:?}: want os/arch[/variant]"),
    };
    Ok(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_split_at_the_right_colon() {
        assert_eq!(split("busybox"), ("busybox", ""));
        assert_eq!(split("busybox:1.36"), ("busybox", "1.36"));
        assert_eq!(split("localhost:5000/a/b"), ("localhost:5000/a/b", ""));
        assert_eq!(split("localhost:5000/a/b:c"), ("localhost:5000/a/b", "c"));
        assert_eq!(split("a:b@sha256:12"), ("a", "sha256:12"));
        assert_eq!(with_tag("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(with_tag("a@sha256:12"), "a@sha256:12");
    }

    #[test]
    fn registries_and_built_in_names() {
        assert_eq!(registry("busybox"), "docker.io");
        assert_eq!(registry("user/busybox"), "docker.io");
        assert_eq!(registry("localhost/x"), "localhost");
        assert_eq!(registry("r.example:5000/x"), "r.example:5000");
        assert_eq!(canonical("NanoServer:Latest"), "nanoserver:Latest");
        assert_eq!(canonical("WINDOWSSERVERCORE"), "windowsservercore");
        assert_eq!(canonical("Other"), "Other");
    }
}
