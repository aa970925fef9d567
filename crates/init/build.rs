//! Compiles `program/main.rs` into a static executable for the target, which the library then carries as bytes. It
//! must run in any container, so it cannot be an ordinary binary of the workspace, which is linked dynamically.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=program/main.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let output = PathBuf::from(variable("OUT_DIR")).join("docker-init");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "docker_init"])
        .args(["--target", &variable("TARGET")])
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "lto=fat", "-C", "strip=symbols"])
        .arg("-o")
        .arg(&output)
        .arg("program/main.rs")
        .status()
        .unwrap_or_else(|error| panic!("cannot run rustc: {error}"));
    assert!(status.success(), "the init program does not compile: {status}");
}
