//! Reading a container's log, which its shim writes as Docker's json-file: one object a line, `log`, `stream`,
//! `time`. It can be read while it is being written.

mod follow;
mod tail;

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use cofferdam_api::stdcopy::{self, Stream};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{mpsc, watch};

use super::record::Status;

/// How much is read at once, and about how much is sent at once.
const PIECE: usize = 64 << 10;
/// A line longer than this is not the shim's: it is skipped, so that a broken file cannot fill the memory.
const LONGEST_LINE: usize = 1 << 20;

/// What a client wants to see.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Standard output (and a TTY's output).
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Whether to wait for more while the container runs.
    pub follow: bool,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Unix nanoseconds.
    pub since: Option<i64>,
    /// Unix nanoseconds.
    pub until: Option<i64>,
    /// Whether output is raw (a TTY's) instead of in stdcopy frames.
    pub raw: bool,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    time: Timestamp,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Shown,
    Skipped,
    /// It is later than `until`; so is all that follows.
    End,
}

/// Where read log goes. A closed one ends the reading.
pub type Sink = mpsc::Sender<std::io::Result<Bytes>>;

/// Sends what the client wants until there is no more, or until the client goes away.
pub async fn send(
    path: PathBuf,
    options: Options,
    status: watch::Receiver<std::sync::Arc<Status>>,
    sink: Sink,
) {
    if let Err(error) = read(path, &options, status, &sink).await {
        // Nobody listens when the client went away.
        let _ = sink.send(Err(error)).await;
    }
}

async fn read(
    path: PathBuf,
    options: &Options,
    mut status: watch::Receiver<std::sync::Arc<Status>>,
    sink: &Sink,
) -> std::io::Result<()> {
    let mut file = match tokio::fs::File::open(&path).await {
        Ok(file) => file,
        // Never started, or no log is kept.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Watched before it is read: what is written in between is then seen.
    let mut watch = if options.follow { Some(follow::Watch::new(&path)?) } else { None };
    if let Some(lines) = options.tail {
        let start = tail::start_of_last(&mut file, lines).await?;
        file.seek(std::io::SeekFrom::Start(start)).await?;
    }
    let mut input = BytesMut::with_capacity(PIECE);
    let mut output = Vec::new();
    loop {
        // Before the file, so that nothing written before the end is missed.
        let live = status.borrow_and_update().state.is_live();
        loop {
            input.reserve(PIECE);
            if file.read_buf(&mut input).await? == 0 {
                break;
            }
            let ended = take_lines(&mut input, options, &mut output);
            if !output.is_empty() && sink.send(Ok(std::mem::take(&mut output).into())).await.is_err() {
                return Ok(());
            }
            if ended {
                return Ok(());
            }
        }
        let Some(watch) = watch.as_mut().filter(|_| live) else { return Ok(()) };
        let until = follow::deadline(options.until);
        tokio::select! {
            changed = watch.changed() => changed?,
            _ = status.changed() => {}
            () = sink.closed() => return Ok(()),
            () = tokio::time::sleep(until) => return Ok(()),
        }
    }
}

/// Takes whole lines out of `input` and renders them; `true` when the end was reached.
fn take_lines(input: &mut BytesMut, options: &Options, output: &mut Vec<u8>) -> bool {
    while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
        let line = input.split_to(end + 1);
        if render(&line, options, output) == Fate::End {
            return true;
        }
    }
    if input.len() > LONGEST_LINE {
        input.clear();
    }
    false
}

fn render(line: &[u8], options: &Options, output: &mut Vec<u8>) -> Fate {
    // A line torn by a crash is no reason to hide the others.
    let Ok(line) = serde_json::from_slice::<Line>(line) else { return Fate::Skipped };
    let time = i64::try_from(line.time.as_nanosecond()).unwrap_or(i64::MAX);
    if options.until.is_some_and(|until| time > until) {
        return Fate::End;
    }
    let stream = if line.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    let wanted = if stream == Stream::Stderr { options.stderr } else { options.stdout };
    if !wanted || options.since.is_some_and(|since| time < since) {
        return Fate::Skipped;
    }
    let mut text = String::new();
    if options.timestamps {
        text = format!("{:.9} ", line.time);
    }
    text.push_str(&line.log);
    if options.raw {
        output.extend_from_slice(text.as_bytes());
    } else {
        output.extend(stdcopy::encode(stream, text.as_bytes()));
    }
    Fate::Shown
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use cofferdam_model::State;

    use super::*;

    const LOG: &str = concat!(
        r#"{"log":"one\n","stream":"stdout","time":"2026-01-01T00:00:01.5Z"}"#,
        "\n",
        r#"{"log":"two\n","stream":"stderr","time":"2026-01-01T00:00:02Z"}"#,
        "\n",
        "torn {\n",
        r#"{"log":"three\n","stream":"stdout","time":"2026-01-01T00:00:03.000000007Z"}"#,
        "\n",
    );

    fn wanted() -> Options {
        Options { stdout: true, stderr: true, raw: true, ..Options::default() }
    }

    fn status(state: State) -> watch::Sender<Arc<Status>> {
        watch::Sender::new(Arc::new(Status { state, ..Status::default() }))
    }

    async fn shown(options: Options) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), LOG).unwrap();
        let (sink, mut pieces) = mpsc::channel(8);
        send(file.path().to_owned(), options, status(State::Exited).subscribe(), sink).await;
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            text.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn what_is_shown() {
        assert_eq!(shown(wanted()).await, "one\ntwo\nthree\n");
        assert_eq!(shown(Options { stderr: false, ..wanted() }).await, "one\nthree\n");
        assert_eq!(shown(Options { tail: Some(1), ..wanted() }).await, "three\n");
        assert_eq!(shown(Options { tail: Some(0), ..wanted() }).await, "");
        assert_eq!(shown(Options { tail: Some(99), ..wanted() }).await, "one\ntwo\nthree\n");
        let second = 1_767_225_602_000_000_000;
        assert_eq!(shown(Options { since: Some(second), ..wanted() }).await, "two\nthree\n");
        assert_eq!(shown(Options { until: Some(second), ..wanted() }).await, "one\ntwo\n");
        assert_eq!(
            shown(Options { timestamps: true, tail: Some(1), ..wanted() }).await,
            "2026-01-01T00:00:03.000000007Z three\n"
        );
        assert_eq!(
            shown(Options { raw: false, tail: Some(1), ..wanted() }).await.as_bytes(),
            b"\x01\0\0\0\0\0\0\x06three\n"
        );
    }

    #[tokio::test]
    async fn following_sees_what_is_written_and_ends_with_the_container() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(LOG.as_bytes()).unwrap();
        let status = status(State::Running);
        let (sink, mut pieces) = mpsc::channel(8);
        let options = Options { follow: true, tail: Some(0), ..wanted() };
        let reading = tokio::spawn(send(file.path().to_owned(), options, status.subscribe(), sink));
        // Whether the line comes before the first look or after it: it is shown either way or was history.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let line = "{\"log\":\"four\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:04Z\"}\n";
        let (first, rest) = line.split_at(20);
        file.write_all(first.as_bytes()).unwrap();
        file.write_all(rest.as_bytes()).unwrap();
        assert_eq!(&pieces.recv().await.unwrap().unwrap()[..], b"four\n");
        status.send_replace(Arc::new(Status { state: State::Exited, ..Status::default() }));
        assert!(pieces.recv().await.is_none());
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn a_log_that_was_never_written_is_empty() {
        let (sink, mut pieces) = mpsc::channel(1);
        send("/nonexistent/log".into(), wanted(), status(State::Created).subscribe(), sink).await;
        assert!(pieces.recv().await.is_none());
    }
}
