//! `windowsservercore`: a Debian base system of the host's own release, from the host's own package sources.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::json;

use super::archive::{self, Image};
use crate::programs;
use crate::report::Hinted;

/// Makes the archive: minutes of work.
pub fn make(say: &dyn Fn(&str)) -> anyhow::Result<File> {
    let mmdebstrap = programs::find("mmdebstrap")
        .ok_or_else(|| Hinted::error("mmdebstrap was not found", "install the package mmdebstrap"))?;
    let suite = suite(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    let sources = sources(&suite)?;
    say(&format!("Building a Debian {suite} base; this takes a few minutes"));
    let mut layer = tempfile::tempfile().context("cannot make a temporary file")?;
    let output = layer.try_clone().context("cannot share the temporary file")?;
    let mut command = Command::new(mmdebstrap);
    // Devices are the runtime's business.
    command.args(["--variant=minbase", "--format=tar", "--skip=output/dev"]);
    for proxy in proxies() {
        command.arg(format!("--aptopt={proxy}"));
    }
    command.arg(&suite).arg("-").args(&sources);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run mmdebstrap")?;
    // The last lines say why it failed.
    let mut last = std::collections::VecDeque::new();
    if let Some(messages) = child.stderr.take() {
        for line in BufReader::new(messages).lines() {
            let line = line.context("cannot read mmdebstrap's messages")?;
            if let Some(step) = line.trim().strip_prefix("I: ") {
                say(&format!("  {step}"));
            }
            last.push_back(line);
            last.drain(..last.len().saturating_sub(5));
        }
    }
    let status = child.wait().context("cannot wait for mmdebstrap")?;
    if !status.success() {
        let words: Vec<String> = last.into();
        let words = words.join("\n  ");
        return Err(Hinted::error(
            format!("mmdebstrap failed ({status}):\n  {words}"),
            "check the package sources with 'apt-get update'",
        ));
    }
    let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let config = json!({
        "Cmd": ["bash"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    });
    let made_of = format!("mmdebstrap --variant=minbase {suite}");
    let image = Image { name: "windowsservercore", created: &created, made_of: &made_of, config };
    archive::write(&image, &mut layer).context("cannot write the archive")
}

/// The host's release, when it is a Debian.
fn suite(os_release: &str) -> anyhow::Result<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let is_debian = value("ID") == "debian" || value("ID_LIKE").split(' ').any(|id| id == "debian");
    let codename = value("VERSION_CODENAME");
    if !is_debian || codename.is_empty() {
        return Err(Hinted::error(
            "windowsservercore is built from Debian's packages, and this host is no released Debian",
            "build it on a Debian host and bring it here with 'docker save' and 'cofferdam load'",
        ));
    }
    Ok(codename)
}

/// The host's files of package sources that are the distribution's: third parties have no `main`.
fn sources(suite: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(directory) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(directory.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.retain(|file| {
        file.extension().is_some_and(|extension| extension == "list" || extension == "sources")
    });
    files.retain(|file| std::fs::read_to_string(file).is_ok_and(|text| is_distributions(&text, suite)));
    files.sort();
    anyhow::ensure!(
        !files.is_empty(),
        "no package sources of {suite} in /etc/apt/sources.list or sources.list.d"
    );
    Ok(files)
}

fn is_distributions(text: &str, suite: &str) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.contains(&"main") && words.contains(&suite)
}

/// The proxies that the host's apt is told to use.
fn proxies() -> Vec<String> {
    let Ok(dump) = Command::new("apt-config")
        .args(["dump", "--no-empty", "--format", "%f \"%v\";%n", "Acquire"])
        .output()
    else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&dump.stdout).into_owned();
    text.lines().filter(|line| line.to_ascii_lowercase().contains("::proxy")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_debian_will_do() {
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert_eq!(suite("ID=x\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=\"n\"\n").unwrap(), "n");
        assert!(suite("ID=fedora\nVERSION_CODENAME=x\n").is_err());
        assert!(suite("ID=debian\n").is_err());
    }

    #[test]
    fn third_parties_are_left_out() {
        let deb822 = "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert!(is_distributions(deb822, "bookworm"));
        assert!(is_distributions("deb http://deb.debian.org/debian bookworm main contrib\n", "bookworm"));
        assert!(!is_distributions("# deb http://deb.debian.org/debian bookworm main\n", "bookworm"));
        assert!(!is_distributions("deb https://example.org/linux bookworm stable\n", "bookworm"));
        assert!(!is_distributions(deb822, "trixie"));
    }
}
