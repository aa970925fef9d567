//! The engine's programs and guest as they were when the benchmark began: a build meanwhile replaces them one by one, and a shim
//! of one build does not understand the helper of another.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a daemon and its containers are.
const NAMES: [&str; 4] = ["cofferdamd", "cofferdam", "cofferdam-shim", "cofferdam-oci"];

/// The directory of the guest with the trimmed kernel (`cargo xtask guest --build`), beside the other's.
pub const TRIMMED: &str = "guest-trimmed";

/// What a utility VM boots.
const GUEST: [&str; 3] = ["vmlinuz", "initrd.img", "release"];

/// Copies them from `programs` to a directory below `dir`, with the guest where the daemon looks for it.
pub fn copy(programs: &Path, dir: &Path) -> Result<PathBuf> {
    let copies = dir.join("bin");
    fs::create_dir_all(&copies)?;
    for name in NAMES {
        let program = programs.join(name);
        fs::copy(&program, copies.join(name)).with_context(|| format!("copy {}", program.display()))?;
    }
    // Without one the hyperv level is absent, with the engine's own reason; the trimmed one is an addition.
    for guest in ["guest", TRIMMED] {
        let (from, to) = (programs.join("..").join(guest), dir.join(guest));
        if !from.is_dir() {
            continue;
        }
        fs::create_dir_all(&to)?;
        for name in GUEST {
            let file = from.join(name);
            fs::copy(&file, to.join(name)).with_context(|| format!("copy {}", file.display()))?;
        }
    }
    Ok(copies)
}
