//! Progress of pull, load and import: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};

use cofferdam_client::{JsonLines, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Standard output: it is what was asked for.
    Stdout,
    /// Standard error: something else's output goes to standard output.
    Stderr,
    /// Nobody wants it.
    Nowhere,
}

/// Shows a stream to its end. Gives its last line of text; a failure in mid-stream is an error.
pub async fn show(mut lines: JsonLines<Progress>, sink: Sink) -> anyhow::Result<Option<String>> {
    let mut screen = Screen::new(sink);
    let mut last = None;
    while let Some(line) = lines.next().await? {
        if let Some(message) = failure(&line) {
            screen.finish()?;
            anyhow::bail!(message);
        }
        last = line.stream.clone().or(line.status.clone()).or(last);
        screen.show(&line)?;
    }
    screen.finish()?;
    Ok(last)
}

fn failure(line: &Progress) -> Option<String> {
    let detail = line.error_detail.as_ref().map(|detail| detail.message.clone());
    detail.filter(|message| !message.is_empty()).or_else(|| line.error.clone())
}

/// A text for one line when nothing moves.
fn plain(line: &Progress) -> Option<String> {
    if let Some(text) = &line.stream {
        return Some(text.clone());
    }
    // Figures are for those who watch.
    if line.detail.is_some_and(|detail| detail.current.is_some())
        || line.progress.as_ref().is_some_and(|p| !p.is_empty())
    {
        return None;
    }
    let status = line.status.as_deref()?;
    Some(match line.id.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => format!("{id}: {status}\n"),
        None => format!("{status}\n"),
    })
}

enum Screen {
    Nowhere,
    Plain(Sink),
    Bars(Bars),
}

/// What moves, in the order of its appearance.
struct Bars {
    all: MultiProgress,
    by_id: Vec<(String, ProgressBar)>,
    sink: Sink,
}

impl Screen {
    fn new(sink: Sink) -> Self {
        let target = match sink {
            Sink::Nowhere => return Self::Nowhere,
            Sink::Stdout if std::io::stdout().is_terminal() => ProgressDrawTarget::stdout(),
            Sink::Stderr if std::io::stderr().is_terminal() => ProgressDrawTarget::stderr(),
            plain => return Self::Plain(plain),
        };
        Self::Bars(Bars { all: MultiProgress::with_draw_target(target), by_id: Vec::new(), sink })
    }

    fn show(&mut self, line: &Progress) -> std::io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Plain(sink) => write(*sink, &plain(line).unwrap_or_default()),
            Self::Bars(bars) => bars.show(line),
        }
    }

    fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Bars(bars) => bars.settle(),
            _ => Ok(()),
        }
    }
}

impl Bars {
    fn show(&mut self, line: &Progress) -> std::io::Result<()> {
        let id = line.id.as_deref().unwrap_or_default();
        // Layers have bars; a line about the whole comes before or after them.
        let Some(detail) = line.detail.filter(|_| !id.is_empty()) else {
            self.settle()?;
            return write(self.sink, &plain(line).unwrap_or_default());
        };
        let bar = self.bar(id);
        match (detail.current, detail.total) {
            (Some(current), Some(total)) => {
                bar.set_style(style("{prefix}: {msg} [{bar:40}] {decimal_bytes}/{decimal_total_bytes}"));
                bar.set_length(total);
                bar.set_position(current);
            }
            (Some(current), None) => {
                bar.set_style(style("{prefix}: {msg} {decimal_bytes}"));
                bar.set_position(current);
            }
            (None, _) => bar.set_style(style("{prefix}: {msg}")),
        }
        bar.set_message(line.status.clone().unwrap_or_default());
        bar.tick();
        Ok(())
    }

    fn bar(&mut self, id: &str) -> ProgressBar {
        if let Some((_, bar)) = self.by_id.iter().find(|(known, _)| known == id) {
            return bar.clone();
        }
        let bar = ProgressBar::no_length().with_style(style("{prefix}: {msg}")).with_prefix(id.to_owned());
        let bar = self.all.add(bar);
        self.by_id.push((id.to_owned(), bar.clone()));
        bar
    }

    /// The bars become lines, and what follows stands below them.
    fn settle(&mut self) -> std::io::Result<()> {
        let mut lines = String::new();
        for (id, bar) in self.by_id.drain(..) {
            lines += &format!("{id}: {}\n", bar.message());
            bar.finish_and_clear();
        }
        write(self.sink, &lines)
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_broken| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

fn write(sink: Sink, text: &str) -> std::io::Result<()> {
    match sink {
        Sink::Stdout => crate::output::print(text),
        _ => std::io::stderr().write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_leave_the_figures_out() {
        assert_eq!(plain(&Progress::of("abc", "Pulling fs layer")).unwrap(), "abc: Pulling fs layer\n");
        assert_eq!(plain(&Progress::status("Status: done")).unwrap(), "Status: done\n");
        assert_eq!(plain(&Progress::text("Loaded image: x\n")).unwrap(), "Loaded image: x\n");
        assert_eq!(plain(&Progress::figures("abc", "Downloading", 1, 2)), None);
        assert_eq!(failure(&Progress::failed("disk full")).unwrap(), "disk full");
        assert_eq!(failure(&Progress::status("x")), None);
    }
}
