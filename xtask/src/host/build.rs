//! What was built here as a read-only disk for the test host: programs, guest, table, clients.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::packages;
use crate::project::{cargo, release, run, target, which};
use crate::schema;

const INIT: &str = include_str!("init.sh");

/// The engine's programs, which find each other and the guest by lying beside each other.
const PROGRAMS: [&str; 4] = ["cofferdamd", "cofferdam", "cofferdam-shim", "cofferdam-oci"];

/// What a daemon looks for in the guest's directory.
const GUEST: [&str; 3] = ["vmlinuz", "initrd.img", "release"];

/// How the table is to run there.
pub struct Table {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment besides the paths of what is on the disk.
    pub environment: Vec<(&'static str, String)>,
}

/// Makes the disk in this directory.
pub fn disk(directory: &Path, table: &Table) -> Result<PathBuf> {
    let tree = directory.join("build");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
    }
    for name in ["bin", "guest", "clients"] {
        fs::create_dir_all(tree.join(name)).with_context(|| tree.display().to_string())?;
    }
    for name in PROGRAMS {
        put(&release().join(name), &tree.join("bin").join(name))?;
    }
    for name in GUEST {
        put(&target().join("guest").join(name), &tree.join("guest").join(name))?;
    }
    put(&table_program()?, &tree.join("e2e"))?;
    let old = packages::docker_cli()?;
    put(&old, &tree.join("docker-20"))?;
    put(&which("docker").unwrap_or(old), &tree.join("clients/docker"))?;
    put(&schema::fetch()?, &tree.join("swagger.yaml"))?;
    script(&tree.join("init"), INIT)?;
    script(&tree.join("run"), &command(table))?;
    let disk = directory.join("build.img");
    // The same every time, and silent: what it prints is for its developers.
    run(Command::new("mkfs.erofs").args(["--quiet", "-T0"]).arg(&disk).arg(&tree).stdout(Stdio::null()))?;
    fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
    Ok(disk)
}

/// Another name for the file; a copy where that cannot be.
fn put(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("{} is not there: build first", from.display()))?;
    }
    Ok(())
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| path.display().to_string())
}

/// The shell script that runs the table.
fn command(table: &Table) -> String {
    let mut lines = vec!["#!/bin/sh".to_owned()];
    let paths = [
        ("COFFERDAM_BIN", "/build/bin"),
        ("COFFERDAM_DOCKER", "/build/clients/docker"),
        ("COFFERDAM_DOCKER_20", "/build/docker-20"),
        ("COFFERDAM_API_SCHEMA", "/build/swagger.yaml"),
        // docker-compose calls it by its name.
        ("PATH", "/build/clients:$PATH"),
    ];
    lines.extend(paths.iter().map(|(key, value)| format!("export {key}={value}")));
    lines.extend(table.environment.iter().map(|(key, value)| format!("export {key}={}", quoted(value))));
    let words: Vec<String> = table.arguments.iter().map(|word| quoted(word)).collect();
    lines.push(format!("exec /build/e2e {}\n", words.join(" ")));
    lines.join("\n")
}

/// A word for a shell, whatever it holds.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Builds the table and says where it is.
fn table_program() -> Result<PathBuf> {
    let build = ["test", "--package", "cofferdam-tests", "--test", "e2e", "--locked", "--no-run"];
    let mut command = cargo(&build);
    let mut child = command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped()).spawn()?;
    let mut program = None;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
        if message["target"]["name"] == "e2e"
            && let Some(path) = message["executable"].as_str()
        {
            program = Some(PathBuf::from(path));
        }
    }
    if !child.wait()?.success() {
        bail!("the table cannot be built");
    }
    program.context("cargo named no program for the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_keeps_every_word_whole() {
        let table = Table {
            arguments: vec!["it's one".to_owned(), "$HOME".to_owned()],
            environment: vec![("A", "b c".to_owned())],
        };
        let text = command(&table);
        assert!(text.starts_with("#!/bin/sh\n"));
        assert!(text.contains("\nexport A='b c'\n"));
        assert!(text.ends_with("\nexec /build/e2e 'it'\\''s one' '$HOME'\n"), "{text}");
    }
}
