//! `load`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use tokio::io::AsyncRead;

use super::Outcome;
use crate::progress::{self, Sink};
use crate::report::Hinted;
use crate::session::Session;

/// Arguments of `load`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
    /// Load only the given platform variant
    #[arg(long, hide = true)]
    platform: Option<String>,
}

impl Arguments {
    /// Loads images from an archive.
    pub async fn run(&self, session: &Session) -> Outcome {
        let lines = match &self.input {
            Some(path) => {
                let failed = || format!("cannot open {}", path.display());
                let file = tokio::fs::File::open(path).await.with_context(failed)?;
                let length = file.metadata().await.with_context(failed)?.len();
                let bar = upload_bar(length, self.quiet);
                session.client.load(Counting { reader: file, bar }, self.quiet).await?
            }
            None if std::io::stdin().is_terminal() => {
                return Err(Hinted::error(
                    "requested load from stdin, but stdin is empty",
                    "name the archive with --input, or send it through a pipe",
                ));
            }
            None => session.client.load(tokio::io::stdin(), self.quiet).await?,
        };
        progress::show(lines, Sink::Stdout).await?;
        Ok(0)
    }
}

/// How much of the archive is sent, on a terminal.
fn upload_bar(length: u64, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("Sending archive [{bar:40}] {decimal_bytes}/{decimal_total_bytes}");
    let bar = ProgressBar::new(length);
    bar.set_style(style.unwrap_or_else(|_broken| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

/// A reader that shows how far it is; its bar goes with it.
struct Counting<R> {
    reader: R,
    bar: ProgressBar,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counting<R> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = std::pin::Pin::new(&mut self.reader).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.bar.inc(u64::try_from(read).unwrap_or(0));
        if polled.is_ready() && read == 0 {
            self.bar.finish_and_clear();
        }
        polled
    }
}
