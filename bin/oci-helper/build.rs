//! Compiles `preload/lib.rs` into a shared library, which the program then carries as bytes.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=preload/lib.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let output = PathBuf::from(variable("OUT_DIR")).join("preload.so");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "preload"])
        .args(["--target", &variable("TARGET")])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "lto=fat", "-C", "strip=symbols"])
        .args(["-C", "link-arg=-nostdlib"])
        .arg("-o")
        .arg(&output)
        .arg("preload/lib.rs")
        .status()
        .unwrap_or_else(|error| panic!("cannot run rustc: {error}"));
    assert!(status.success(), "the preloaded library does not compile: {status}");
}
