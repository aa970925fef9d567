//! `cargo xtask guest --build`: a kernel with what a utility VM needs and nothing else, in `target/guest-trimmed/`.
//!
//! The source is the distribution's, with its security fixes, downloaded and unpacked below `target/`, never installed.
//! The configuration is `trimmed.config` on top of nothing. Everything is built in: the initial RAM disk has no modules.
//! Names, date and number of the build are fixed, so that only source, configuration and compiler make a difference.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::progress::{Progress, spoken};
use super::{apt, find, modules, new_directory, write_whole};
use crate::packages;
use crate::project::{capture, run, target};

/// The configuration: answers to `make allnoconfig`.
const CONFIG: &str = include_str!("trimmed.config");
/// The package of sources: of the series that the distribution's kernel is of.
const SOURCE: &str = "linux-source-6.12";
/// What the kernel beside it was built from.
const BUILT_FROM: &str = "built-from";
/// Names the package whose source was unpacked to its end.
const UNPACKED: &str = "unpacked";

/// The release of a kernel that was built before, and whether `--build` would build another one.
pub fn present(directory: &Path) -> Option<(String, bool)> {
    let release = fs::read_to_string(directory.join("release")).ok()?;
    let built_from = fs::read_to_string(directory.join(BUILT_FROM)).ok()?;
    let old = built_from.split_once('\n').is_none_or(|(_, config)| config != CONFIG);
    directory.join("vmlinuz").is_file().then(|| (release.trim().to_owned(), old))
}

/// Builds what is missing or old. The source is what was unpacked before, unless a newer one is to be looked for.
pub fn build(directory: &Path, update: bool) -> Result<()> {
    let built_from = fs::read_to_string(directory.join(BUILT_FROM)).unwrap_or_default();
    if !update && present(directory).is_some_and(|(_, old)| !old) {
        return Ok(());
    }
    let source = match Workshop::unpacked() {
        Some(source) if !update => source,
        _ => newest_source()?,
    };
    if built_from == format!("{source}\n{CONFIG}") && present(directory).is_some() {
        return Ok(());
    }
    packages::install_for_kernel()?;
    let start = Instant::now();
    let workshop = Workshop::open(&source)?;
    workshop.configure()?;
    workshop.compile()?;
    let release = workshop.release()?;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    modules::none(&directory.join("modules"))?;
    write_whole(&directory.join("vmlinuz"), &workshop.image()?)?;
    write_whole(&directory.join("release"), release.as_bytes())?;
    write_whole(&directory.join(BUILT_FROM), format!("{source}\n{CONFIG}").as_bytes())?;
    let release = release.trim();
    println!("guest: built kernel {release} from {source} in {}", spoken(start.elapsed()));
    Ok(())
}

/// `linux-source-6.12=6.12.1-1`: the newest package of sources that apt offers.
fn newest_source() -> Result<String> {
    let found = apt::best(&[SOURCE], |package| {
        let shown = apt::cache(&["show", "--no-all-versions", package])?;
        let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version.map(|version| format!("{package}={version}")))
    })?;
    found.with_context(|| format!("apt offers no {SOURCE}; the distribution's kernel needs no --build"))
}

/// Where the kernel is made: `target/guest-kernel/`, 2 GB, which may be deleted after a build and makes the next faster.
struct Workshop {
    source: PathBuf,
    objects: PathBuf,
}

impl Workshop {
    fn directory() -> PathBuf {
        target().join("guest-kernel")
    }

    /// The package whose source is there.
    fn unpacked() -> Option<String> {
        fs::read_to_string(Self::directory().join(UNPACKED)).ok()
    }

    /// With the source of this package.
    fn open(package: &str) -> Result<Self> {
        let directory = Self::directory();
        let objects = directory.join("objects");
        if Self::unpacked().as_deref() == Some(package) {
            let source = find(&directory, |name| name.starts_with("linux-source-"))?;
            return Ok(Self { source, objects });
        }
        new_directory(&directory)?;
        fs::create_dir(&objects).with_context(|| objects.display().to_string())?;
        let scratch = directory.join("package");
        new_directory(&scratch)?;
        let deb = apt::download(package, &scratch)?;
        println!("guest: unpacking it");
        run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&scratch))?;
        let archive = find(&scratch.join("usr/src"), |name| name.ends_with(".tar.xz"))?;
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&directory))?;
        fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        let source = find(&directory, |name| name.starts_with("linux-source-"))?;
        write_whole(&directory.join(UNPACKED), package.as_bytes())?;
        Ok(Self { source, objects })
    }

    /// `make` with nothing of the machine's in the kernel but its compiler.
    fn make(&self) -> Command {
        let mut make = Command::new("make");
        make.arg("-C").arg(&self.source).arg(format!("O={}", self.objects.display()));
        make.envs([("LC_ALL", "C"), ("KBUILD_BUILD_USER", "cofferdam"), ("KBUILD_BUILD_HOST", "cofferdam")]);
        make.env("KBUILD_BUILD_VERSION", "1").env_remove("MAKEFLAGS");
        if let Some(date) = self.date() {
            make.env("KBUILD_BUILD_TIMESTAMP", date);
        }
        make
    }

    /// The source's own date.
    fn date(&self) -> Option<String> {
        let modified = fs::metadata(self.source.join("Makefile")).ok()?.modified().ok()?;
        let seconds = modified.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let date =
            capture(Command::new("date").env("LC_ALL", "C").args(["--utc", &format!("--date=@{seconds}")]));
        date.ok().map(|date| date.trim().to_owned())
    }

    fn configure(&self) -> Result<()> {
        let answers = self.objects.join("trimmed.config");
        write_whole(&answers, CONFIG.as_bytes())?;
        run(self.make().args(["-s", "allnoconfig"]).env("KCONFIG_ALLCONFIG", &answers))?;
        let path = self.objects.join(".config");
        let config = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lost = not_taken(CONFIG, &config);
        if !lost.is_empty() {
            // Renamed in a newer kernel, or something that it depends on is missing.
            bail!("trimmed.config: the kernel did not take {}", lost.join(", "));
        }
        Ok(())
    }

    /// Shows how far it is: a kernel takes minutes.
    fn compile(&self) -> Result<()> {
        let jobs = available_parallelism().map_or(1, std::num::NonZero::get);
        println!("guest: compiling the kernel, {jobs} files at a time");
        let mut make = self.make();
        make.arg(format!("-j{jobs}")).arg("vmlinux").stdout(Stdio::piped());
        let mut child = make.spawn().context("make")?;
        let mut progress = Progress::default();
        for line in BufReader::new(child.stdout.take().context("make")?).lines() {
            progress.step(&line.context("make")?);
        }
        progress.end();
        let status = child.wait().context("make")?;
        if !status.success() {
            bail!("make ended with {status}");
        }
        Ok(())
    }

    /// What `uname -r` will say, and a line feed.
    fn release(&self) -> Result<String> {
        let path = self.objects.join("include/config/kernel.release");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// The kernel as ELF without symbols: QEMU starts it directly (PVH), and nothing has to be unpacked by the guest.
    /// As a bzImage packed with LZ4 it is a third of the size, and was not clearly faster or slower to boot.
    fn image(&self) -> Result<Vec<u8>> {
        let image = self.objects.join("vmlinux.stripped");
        run(Command::new("objcopy")
            .args(["--strip-all", "--remove-section=.comment"])
            .arg(self.objects.join("vmlinux"))
            .arg(&image))?;
        fs::read(&image).with_context(|| image.display().to_string())
    }
}

/// The options of `wanted` that `config` has not, or not so.
fn not_taken<'a>(wanted: &'a str, config: &str) -> Vec<&'a str> {
    let is_no = |line: &&str| line.starts_with("# CONFIG_") && line.ends_with(" is not set");
    let options = wanted.lines().filter(|line| line.starts_with("CONFIG_") || is_no(line));
    let has = |option: &str| match option.strip_prefix("# ").and_then(|no| no.split_once(' ')) {
        // What cannot even be asked for is not set either.
        Some((name, _)) => !config.lines().any(|line| line.starts_with(&format!("{name}="))),
        None => config.lines().any(|line| line == option),
    };
    options.filter(|option| !has(option)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_kernel_does_not_know_is_named() {
        let wanted =
            "# A comment.\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n# CONFIG_D is not set\n";
        assert!(not_taken(wanted, "CONFIG_A=y\nCONFIG_C=\"x\"\n# CONFIG_D is not set\n").is_empty());
        let lost = not_taken(wanted, "# CONFIG_A is not set\nCONFIG_AB=y\nCONFIG_B=m\nCONFIG_C=\"xy\"\n");
        assert_eq!(lost, ["CONFIG_A=y", "# CONFIG_B is not set", "CONFIG_C=\"x\""]);
    }

    #[test]
    fn every_option_is_named_once() {
        let mut names: Vec<_> = CONFIG
            .lines()
            .filter_map(|line| {
                let line = line.strip_prefix("# ").unwrap_or(line);
                line.starts_with("CONFIG_").then(|| line.split(['=', ' ']).next())?
            })
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(count > 200);
        assert_eq!(names.len(), count);
    }
}
