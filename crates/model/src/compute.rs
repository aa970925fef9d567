//! What runs containers and virtual machines on a host beside this engine, told by the programs that do. Their arguments
//! are whatever somebody has passed: what is taken from them is shown, bounded and harmless, and never acted on.

use serde::{Deserialize, Serialize};

/// What a compute process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComputeType {
    /// A container, whatever its level.
    #[default]
    Container,
    /// A virtual machine that is not a container's.
    VirtualMachine,
}

impl ComputeType {
    /// As the cmdlets spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "Container",
            Self::VirtualMachine => "VirtualMachine",
        }
    }
}

/// Which of the processes is the compute process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that was looked at.
    Itself,
    /// Each of its children that has a control group of its own.
    Children,
}

/// Another engine's container or virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Whose: `dockerd`, `containerd`, `podman`, `conmon`, `cofferdam`, `libvirt`, `QEMU`.
    pub owner: &'static str,
    /// What it is.
    pub kind: ComputeType,
    /// Where it is.
    pub place: Place,
    /// Its ID there; empty when the arguments do not say.
    pub id: String,
    /// Its name there; empty when the arguments do not say.
    pub name: String,
}

/// The longest ID or name that is shown.
const LONGEST: usize = 128;

/// What a process runs, by its program's file name and its arguments (the program's own name first). `None` for
/// everything that is no engine's.
#[must_use]
pub fn recognise(program: &str, arguments: &[Vec<u8>]) -> Option<Foreign> {
    let arguments = arguments.get(1..).unwrap_or_default();
    let (kind, place) = (ComputeType::Container, Place::Children);
    if program.starts_with("containerd-shim") {
        let namespace = shown(value_of(arguments, &["namespace"]));
        let owner = if namespace == "moby" { "dockerd" } else { "containerd" };
        let id = shown(value_of(arguments, &["id"]));
        return Some(Foreign { owner, kind, place, name: id.clone(), id });
    }
    if program == "conmon" {
        // One for a program executed in a container is not one for the container.
        let has = |word: &str| arguments.iter().any(|argument| argument == word.as_bytes());
        if has("-e") || has("--exec") {
            return None;
        }
        let podman = arguments.iter().any(|argument| {
            argument.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name == b"podman")
        });
        let id = shown(value_of(arguments, &["c", "cid"]));
        let name = shown(value_of(arguments, &["n", "name"]));
        return Some(Foreign { owner: if podman { "podman" } else { "conmon" }, kind, place, id, name });
    }
    if program == "cofferdam-shim" {
        let bundle = value_of(arguments, &["bundle"]).unwrap_or_default();
        let id = shown(bundle.rsplit(|byte| *byte == b'/').next());
        return Some(Foreign { owner: "cofferdam", kind, place, name: id.clone(), id });
    }
    if program.starts_with("qemu-system-") || program == "qemu-kvm" {
        let libvirt = arguments.iter().any(|argument| {
            argument.windows(b"/libvirt/qemu/".len()).any(|window| window == b"/libvirt/qemu/")
        });
        // `-name NAME`, `-name guest=NAME,debug-threads=on`
        let name = value_of(arguments, &["name"]).unwrap_or_default();
        let mut parts = name.split(|byte| *byte == b',');
        let first = parts.next().unwrap_or_default();
        let name = first.strip_prefix(b"guest=").unwrap_or(first);
        return Some(Foreign {
            owner: if libvirt { "libvirt" } else { "QEMU" },
            kind: ComputeType::VirtualMachine,
            place: Place::Itself,
            id: shown(value_of(arguments, &["uuid"])),
            name: shown(Some(name)),
        });
    }
    None
}

/// The container that a control group's path names: engines call the group after it (`/docker/<id>`,
/// `…/cri-containerd-<id>.scope`). The first such part is the engine's; further ones may be the container's own.
#[must_use]
pub fn container_of_group(path: &str) -> Option<&str> {
    path.split('/').find_map(|part| {
        let mut words = part.split(|c: char| !c.is_ascii_alphanumeric());
        words.find(|word| {
            word.len() == 64 && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    })
}

/// The value of the first of these flags: `-name value`, `--name value`, `-name=value`, `--name=value`.
fn value_of<'a>(arguments: &'a [Vec<u8>], names: &[&str]) -> Option<&'a [u8]> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(flag) = argument.strip_prefix(b"-") else { continue };
        let flag = flag.strip_prefix(b"-").unwrap_or(flag);
        for name in names {
            match flag.strip_prefix(name.as_bytes()) {
                Some([]) => return rest.next().map(Vec::as_slice),
                Some([b'=', value @ ..]) => return Some(value),
                _ => {}
            }
        }
    }
    None
}

/// What can be shown on any terminal and used in any path of the API.
fn shown(text: Option<&[u8]>) -> String {
    let plain = |byte: &u8| {
        if byte.is_ascii_alphanumeric() || b"-_.:@+".contains(byte) { char::from(*byte) } else { '_' }
    };
    text.unwrap_or_default().iter().take(LONGEST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(program: &str, line: &str) -> Option<(&'static str, String, String)> {
        let arguments: Vec<_> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        recognise(program, &arguments).map(|found| (found.owner, found.id, found.name))
    }

    #[test]
    fn engines_are_told_by_their_programs() {
        for (program, line, owner, id, name) in [
            (
                "containerd-shim-runc-v2",
                "/usr/bin/containerd-shim-runc-v2 -namespace moby -id abc -address /run/c.sock",
                "dockerd",
                "abc",
                "abc",
            ),
            ("containerd-shim-runc-v2", "x -namespace k8s.io -id=pod", "containerd", "pod", "pod"),
            (
                "conmon",
                "conmon --api-version 1 -c 0123 -u 0123 -n web --exit-command /usr/bin/podman",
                "podman",
                "0123",
                "web",
            ),
            ("conmon", "conmon -s -c 99 -n k8s_x", "conmon", "99", "k8s_x"),
            (
                "cofferdam-shim",
                "/usr/lib/cofferdam-shim --bundle /run/x/containers/77",
                "cofferdam",
                "77",
                "77",
            ),
            (
                "qemu-system-x86_64",
                "qemu -name guest=win,debug-threads=on -object file=/var/lib/libvirt/qemu/d -uuid 1-2",
                "libvirt",
                "1-2",
                "win",
            ),
            ("qemu-system-aarch64", "qemu -name vm1 -m 1", "QEMU", "", "vm1"),
        ] {
            assert_eq!(seen(program, line), Some((owner, id.to_owned(), name.to_owned())), "{line}");
        }
        assert_eq!(seen("conmon", "conmon -e -c 99"), None);
        assert_eq!(seen("sleep", "containerd-shim -id 1"), None);
        assert_eq!(seen("qemu-img", "qemu-img -name x"), None);
    }

    #[test]
    fn names_are_made_harmless() {
        let found = seen("conmon", "conmon -c \u{1b}[31m/../x -n \u{202e}a\tb").unwrap();
        assert_eq!((found.1.as_str(), found.2.as_str()), ("__31m_.._x", "___a_b"));
        let long = format!("conmon -c {}", "a".repeat(4096));
        assert_eq!(seen("conmon", &long).unwrap().1.len(), LONGEST);
        assert_eq!(seen("conmon", "conmon -c"), Some(("conmon", String::new(), String::new())));
    }

    #[test]
    fn a_groups_container_is_the_engines() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        for path in [
            format!("/docker/{a}"),
            format!("/system.slice/docker-{a}.scope"),
            format!("/kubepods/burstable/podx/cri-containerd-{a}.scope/{b}"),
            format!("/machine.slice/libpod-{a}.scope/container"),
        ] {
            assert_eq!(container_of_group(&path), Some(a.as_str()), "{path}");
        }
        for path in ["/", "", "/user.slice", "/docker/abc"] {
            assert_eq!(container_of_group(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_arguments_are_bounded(
            program in "(containerd-shim|conmon|cofferdam-shim|qemu-system-x)",
            arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        ) {
            if let Some(found) = recognise(&program, &arguments) {
                for text in [&found.id, &found.name] {
                    prop_assert!(text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }
    }
}
