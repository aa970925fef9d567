//! The kernel's modules that a guest needs, with what they depend on, in the order in which they must be loaded.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::project::run;

/// Lists of modules: loaded at each boot, when a container has bind mounts, and when it is in several networks. ext4 asks
/// for a checksum module by alias, which the kernel cannot resolve without modprobe: it comes first.
const LISTS: [(&str, &[&str]); 3] = [
    ("boot", &["crc32c_generic", "virtio_blk", "virtio_net", "virtio_balloon", "erofs", "ext4", "overlay"]),
    ("share", &["fuse"]),
    ("vlan", &["8021q"]),
];

/// The file that says what was collected.
const WANTED: &str = "wanted";

/// Puts the modules of `unpacked`, a kernel package, uncompressed into `directory`, with one file for each list.
pub fn collect(unpacked: &Path, release: &str, directory: &Path) -> Result<()> {
    // Debian's package has no modules.dep: it is made when the package is installed.
    run(Command::new("depmod").arg("-b").arg(unpacked).arg(release))?;
    let tree = [unpacked.join("lib/modules"), unpacked.join("usr/lib/modules")];
    let tree = tree.iter().map(|tree| tree.join(release)).find(|tree| tree.is_dir()).context("no modules")?;
    let read = |name: &str| fs::read_to_string(tree.join(name)).with_context(|| name.to_owned());
    let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for (list, wanted) in LISTS {
        let mut names = Vec::new();
        for module in wanted {
            for path in load_order(module, &dependencies, &builtin)? {
                let name = format!("{}.ko", module_name(path));
                if names.contains(&name) {
                    continue;
                }
                unpack(&tree.join(path), &directory.join(&name))?;
                names.push(name);
            }
        }
        names.push(String::new());
        fs::write(directory.join(list), names.join("\n")).with_context(|| list.to_owned())?;
    }
    fs::write(directory.join(WANTED), wanted()).context(WANTED)
}

/// Whether what was collected in `directory` is what is wanted today.
pub fn are_current(directory: &Path) -> bool {
    fs::read_to_string(directory.join(WANTED)).is_ok_and(|collected| collected == wanted())
}

fn wanted() -> String {
    LISTS.map(|(list, modules)| format!("{list}: {}\n", modules.join(" "))).concat()
}

/// Empty lists, for a kernel that has everything built in.
pub fn none(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for (list, _) in LISTS {
        fs::write(directory.join(list), "").with_context(|| list.to_owned())?;
    }
    Ok(())
}

/// The module's file after those it depends on; empty when it is built into the kernel.
fn load_order<'a>(module: &str, dependencies: &'a str, builtin: &str) -> Result<Vec<&'a str>> {
    for line in dependencies.lines() {
        let Some((path, needs)) = line.split_once(':') else { continue };
        if module_name(path) == module {
            // modules.dep(5): what is needed first is last.
            let mut order: Vec<&str> = needs.split_whitespace().collect();
            order.reverse();
            order.push(path);
            return Ok(order);
        }
    }
    if builtin.lines().any(|path| module_name(path) == module) {
        return Ok(Vec::new());
    }
    bail!("the kernel has no module {module}")
}

/// `kernel/fs/fuse/fuse.ko.xz` is `fuse`; dashes are underscores.
fn module_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

/// Unpacks a module and takes its debug information and signature away: checking the signature costs an emulated
/// guest more than loading, and the initial RAM disk is as trustworthy as the kernel beside it.
fn unpack(from: &Path, to: &Path) -> Result<()> {
    let packed = fs::read(from).with_context(|| from.display().to_string())?;
    let module = match from.extension().and_then(|end| end.to_str()) {
        Some("xz") => unxz(&packed)?,
        Some("zst") => zstd::decode_all(packed.as_slice()).with_context(|| from.display().to_string())?,
        _ => packed,
    };
    fs::write(to, module).with_context(|| to.display().to_string())?;
    run(Command::new("strip").arg("--strip-debug").arg(to))
}

/// Decompresses by the program `xz`.
pub fn unxz(packed: &[u8]) -> Result<Vec<u8>> {
    let mut xz =
        Command::new("xz").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("xz")?;
    let mut stdin = xz.stdin.take().context("xz")?;
    // Written from a thread of its own: xz may fill its output before it has read all of its input.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(packed));
        xz.wait_with_output()
    })
    .context("xz")?;
    if !output.status.success() {
        bail!("xz ended with {}", output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first() {
        let dep = "kernel/fs/a-b.ko.xz: kernel/lib/c.ko.xz kernel/lib/d.ko.xz\nkernel/lib/d.ko.xz:\n";
        let order = load_order("a_b", dep, "").unwrap();
        assert_eq!(order, ["kernel/lib/d.ko.xz", "kernel/lib/c.ko.xz", "kernel/fs/a-b.ko.xz"]);
        assert!(load_order("virtio_pci", dep, "kernel/drivers/virtio/virtio_pci.ko\n").unwrap().is_empty());
        assert!(load_order("missing", dep, "").is_err());
    }
}
