//! Compiles the two pieces that run without this program, and which it carries as bytes: `preload/lib.rs`, a shared
//! library, and `thaw/main.rs`, a program.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let library = ["--crate-type", "cdylib", "-C", "lto=fat", "-C", "link-arg=-nostdlib"];
    compile("preload", "preload/lib.rs", "preload.so", &library);
    let program = [
        ["--crate-type", "bin"],
        ["-C", "relocation-model=static"],
        ["-C", "target-feature=+crt-static"],
        ["-C", "link-arg=-nostartfiles"],
        ["-C", "link-arg=-nostdlib"],
        ["-C", "link-arg=-static"],
        ["-C", "link-arg=-no-pie"],
    ];
    compile("thaw", "thaw/main.rs", "thaw", &program.concat());
}

fn compile(name: &str, source: &str, output: &str, more: &[&str]) {
    println!("cargo:rerun-if-changed={name}");
    let variable = |name: &str| env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-name", name, "--target", &variable("TARGET")])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(more)
        .arg("-o")
        .arg(PathBuf::from(variable("OUT_DIR")).join(output))
        .arg(source)
        .status()
        .unwrap_or_else(|error| panic!("cannot run rustc: {error}"));
    assert!(status.success(), "{source} does not compile: {status}");
}
