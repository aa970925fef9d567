//! `cp`

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use cofferdam_client::TarStream;
use tokio::net::unix::pipe;

use super::Outcome;
use super::export::to_stdout;
use crate::output::human_size;
use crate::session::Session;

/// Arguments of `cp`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a local path, or - for a tar archive
    source: String,
    /// CONTAINER:PATH, a local path, or - for a tar archive
    target: String,
}

/// One side of a copy.
enum Side<'a> {
    Container(&'a str, &'a str),
    Local(&'a str),
}

impl Side<'_> {
    /// A name before a colon is a container's, unless the text begins like a path.
    fn of(text: &str) -> Side<'_> {
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with(['/', '.']) && !name.is_empty() => {
                Side::Container(name, path)
            }
            _ => Side::Local(text),
        }
    }
}

impl Arguments {
    /// Copies.
    pub async fn run(&self, session: &Session) -> Outcome {
        let bytes = match (Side::of(&self.source), Side::of(&self.target)) {
            (Side::Container(name, path), Side::Local(to)) => self.copy_out(session, name, path, to).await?,
            (Side::Local(from), Side::Container(name, path)) => {
                self.copy_in(session, from, name, path).await?
            }
            (Side::Container(..), Side::Container(..)) => {
                bail!("copying between containers is not supported")
            }
            (Side::Local(_), Side::Local(_)) => bail!("must specify at least one container source"),
        };
        if let Some(bytes) = bytes.filter(|_| !self.quiet) {
            let size = human_size(bytes as f64, 3);
            writeln!(io::stderr(), "Successfully copied {size} to {}", self.target)?;
        }
        Ok(0)
    }

    async fn copy_out(
        &self,
        session: &Session,
        name: &str,
        path: &str,
        to: &str,
    ) -> anyhow::Result<Option<u64>> {
        let mut path = path.to_owned();
        if self.follow_link {
            let stat = session.client.path_stat(name, &path).await?;
            if stat.is_link() && !stat.link_target.is_empty() {
                path = stat.link_target;
            }
        }
        let (stat, archive) = session.client.read_archive(name, &path).await?;
        if to == "-" {
            return to_stdout(archive).await.map(|()| None);
        }
        let (target, keep) = (PathBuf::from(to), self.archive);
        let contents = path.ends_with("/.") || path == ".";
        let place = match std::fs::metadata(&target) {
            Ok(there) if there.is_dir() => Place::Into(target),
            Ok(_) if stat.is_directory() => bail!("cannot copy directory"),
            Ok(_) => Place::As(target),
            Err(_) if stat.is_directory() && contents => {
                std::fs::create_dir(&target).with_context(|| target.display().to_string())?;
                Place::Into(target)
            }
            Err(_) if to.ends_with('/') && !stat.is_directory() => bail!("no such directory: {to}"),
            Err(_) => Place::As(target),
        };
        unpack(archive, place, keep).await.map(Some)
    }

    async fn copy_in(
        &self,
        session: &Session,
        from: &str,
        name: &str,
        path: &str,
    ) -> anyhow::Result<Option<u64>> {
        let client = &session.client;
        if from == "-" {
            client.write_archive(name, path, false, self.archive, tokio::io::stdin()).await?;
            return Ok(None);
        }
        let source = PathBuf::from(from);
        let look = if self.follow_link || from.ends_with('/') {
            std::fs::metadata
        } else {
            std::fs::symlink_metadata
        };
        let local = look(&source).with_context(|| from.to_owned())?;
        let mut path = path.to_owned();
        let mut there = client.path_stat(name, &path).await;
        if let Ok(stat) = &there
            && stat.is_link()
            && !stat.link_target.is_empty()
        {
            path.clone_from(&stat.link_target);
            there = client.path_stat(name, &path).await;
        }
        let contents = from.ends_with("/.") || from == ".";
        let base = || {
            let real = if contents { std::fs::canonicalize(&source).ok() } else { None };
            let name =
                real.as_deref().unwrap_or(&source).file_name().map(|name| PathBuf::from(name.to_owned()));
            name.unwrap_or_else(|| PathBuf::from("root"))
        };
        let (directory, name_there) = match there {
            Ok(stat) if stat.is_directory() && contents => (path, PathBuf::new()),
            Ok(stat) if stat.is_directory() => (path, base()),
            Ok(_) if local.is_dir() => bail!("cannot copy directory"),
            Ok(_) => split(&path),
            Err(error) if error.is_not_found() && path.ends_with('/') && !local.is_dir() => {
                bail!("no such directory: {path}")
            }
            Err(error) if error.is_not_found() => split(&path),
            Err(error) => return Err(error.into()),
        };
        let (sender, receiver) = pipe::pipe()?;
        let sink = File::from(sender.into_blocking_fd()?);
        let follow = self.follow_link;
        let packing = tokio::task::spawn_blocking(move || pack(&source, &name_there, follow, sink));
        let sent = client.write_archive(name, &directory, true, self.archive, receiver).await;
        let packed = packing.await?;
        sent?;
        packed.map(Some)
    }
}

/// A path's directory and last name.
fn split(path: &str) -> (String, PathBuf) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), PathBuf::from(name)),
        Some((directory, name)) => (directory.to_owned(), PathBuf::from(name)),
        None => ("/".to_owned(), PathBuf::from(path)),
    }
}

/// Writes a local file or directory as tar under another name; an empty one means what is in the directory.
fn pack(source: &Path, name: &Path, follow: bool, sink: File) -> anyhow::Result<u64> {
    let mut builder = tar::Builder::new(Counted(sink, 0));
    builder.follow_symlinks(false);
    let look = if follow { std::fs::metadata } else { std::fs::symlink_metadata };
    let end = if follow { std::fs::canonicalize(source)? } else { source.to_owned() };
    let metadata = look(source).with_context(|| source.display().to_string())?;
    if metadata.is_dir() && name.as_os_str().is_empty() {
        builder.append_dir_all(".", &end)?;
    } else if metadata.is_dir() {
        builder.append_dir_all(name, &end)?;
    } else {
        builder.append_path_with_name(&end, name)?;
    }
    Ok(builder.into_inner()?.1)
}

/// Where an archive goes.
enum Place {
    /// Into an existing directory.
    Into(PathBuf),
    /// Its one entry, or its directory, under this name.
    As(PathBuf),
}

/// Extracts an archive from a container, which may contain anything: nothing of it leaves the directory that it goes to.
async fn unpack(mut archive: TarStream, place: Place, keep: bool) -> anyhow::Result<u64> {
    let (mut sender, receiver) = pipe::pipe()?;
    let source: OwnedFd = receiver.into_blocking_fd()?;
    let unpacking = tokio::task::spawn_blocking(move || match place {
        Place::Into(directory) => extract(File::from(source), &directory, keep),
        Place::As(target) => {
            let parent =
                target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let scratch = tempfile::Builder::new().prefix(".cofferdam-cp-").tempdir_in(parent);
            let scratch = scratch.with_context(|| format!("cannot copy to {}", parent.display()))?;
            extract(File::from(source), scratch.path(), keep)?;
            let mut entries = std::fs::read_dir(scratch.path())?;
            let entry = entries.next().context("the archive is empty")??;
            let size = entry.metadata()?.len();
            std::fs::rename(entry.path(), &target).with_context(|| target.display().to_string())?;
            Ok(size)
        }
    });
    let copied = tokio::io::copy(&mut archive, &mut sender).await;
    drop(sender);
    let size = unpacking.await??;
    let total = copied.context("the archive broke off")?;
    Ok(total.max(size))
}

fn extract(source: File, directory: &Path, keep: bool) -> anyhow::Result<u64> {
    let mut archive = tar::Archive::new(source);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(keep);
    archive.unpack(directory).with_context(|| format!("cannot copy to {}", directory.display()))?;
    // What follows the end of the archive is padding; the sender must not find the pipe closed.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(Into::into)
}

/// Counts what is written.
struct Counted(File, u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1 += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
