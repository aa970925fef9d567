//! `export`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use cofferdam_client::TarStream;

use super::Outcome;
use crate::report::Hinted;
use crate::session::Session;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    container: String,
}

impl Arguments {
    /// Writes the container's root file system.
    pub async fn run(&self, session: &Session) -> Outcome {
        refuse_terminal(self.output.as_deref())?;
        write(session.client.export(&self.container).await?, self.output.as_deref()).await?;
        Ok(0)
    }
}

/// An archive is not for a terminal. Said before the daemon is asked.
pub fn refuse_terminal(output: Option<&Path>) -> anyhow::Result<()> {
    if output.is_none() && std::io::stdout().is_terminal() {
        return Err(Hinted::error(
            "cowardly refusing to save to a terminal",
            "name a file with --output, or send it through a pipe",
        ));
    }
    Ok(())
}

/// Everything to the file, else to standard output.
pub async fn write(archive: TarStream, output: Option<&Path>) -> anyhow::Result<()> {
    match output {
        Some(path) => save(archive, path).await,
        None => to_stdout(archive).await,
    }
}

/// Everything to standard output.
pub async fn to_stdout(mut archive: TarStream) -> anyhow::Result<()> {
    let mut stdout = tokio::io::stdout();
    tokio::io::copy(&mut archive, &mut stdout).await.context("the archive broke off")?;
    tokio::io::AsyncWriteExt::flush(&mut stdout).await?;
    Ok(())
}

/// The file has its name only when it is whole.
async fn save(mut archive: TarStream, path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}", path.display());
    let scratch = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    let mut file = tokio::fs::File::from_std(scratch.reopen().with_context(failed)?);
    tokio::io::copy(&mut archive, &mut file).await.context("the archive broke off")?;
    tokio::io::AsyncWriteExt::flush(&mut file).await.with_context(failed)?;
    scratch.persist(path).with_context(failed)?;
    Ok(())
}
