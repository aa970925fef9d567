use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use cofferdam_log::{Files, Format, Lines, Stream, Writer};
use cofferdam_model::{LogRotation, State};

use super::*;

const LOG: &str = concat!(
    r#"{"log":"one\n","stream":"stdout","time":"2026-01-01T00:00:01.5Z"}"#,
    "\n",
    r#"{"log":"two\n","stream":"stderr","attrs":{"a b":"c,d","tag":"x"},"time":"2026-01-01T00:00:02Z"}"#,
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

fn log(path: &Path, format: Format) -> Log {
    Log { files: Files::at(path.to_owned()), format }
}

async fn text_of(log: Log, options: Options) -> String {
    let (sink, mut pieces) = mpsc::channel(8);
    let ended = status(State::Exited);
    let sending = tokio::spawn(send(log, options, ended.subscribe(), sink));
    let mut text = Vec::new();
    while let Some(piece) = pieces.recv().await {
        text.extend_from_slice(&piece.unwrap());
    }
    sending.await.unwrap();
    String::from_utf8(text).unwrap()
}

async fn shown(options: Options) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, LOG).unwrap();
    text_of(log(&path, Format::Json), options).await
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
        shown(Options { details: true, timestamps: true, until: Some(second), ..wanted() }).await,
        "2026-01-01T00:00:01.500000000Z  one\n2026-01-01T00:00:02.000000000Z a+b=c%2Cd,tag=x two\n"
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
    let options = Options { follow: true, tail: Some(1), ..wanted() };
    let reading = tokio::spawn(send(log(file.path(), Format::Json), options, status.subscribe(), sink));
    assert_eq!(&pieces.recv().await.unwrap().unwrap()[..], b"three\n");
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
    assert_eq!(text_of(log(Path::new("/nonexistent/log"), Format::Local), wanted()).await, "");
}

async fn write(writer: &mut Writer, lines: std::ops::Range<usize>) {
    for number in lines {
        let cut = Lines::default().push(format!("line {number}\n").as_bytes());
        writer.append(Stream::Stdout, jiff::Timestamp::now(), &cut).await;
    }
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("line {number}\n")).collect()
}

#[tokio::test]
async fn rotated_files_are_read_as_one() {
    for format in [Format::Json, Format::Local] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let rotation = LogRotation { max_size: Some(2000), max_files: 50, compress: true };
        let mut writer = Writer::open(path.clone(), format, rotation, None).unwrap();
        write(&mut writer, 0..300).await;
        let log = log(&path, format);
        assert_eq!(text_of(log.clone(), wanted()).await, lines(0..300));
        for tail in [1, 20, 120, 299, 300, 1000] {
            let text = text_of(log.clone(), Options { tail: Some(tail), ..wanted() }).await;
            assert_eq!(text, lines(300 - tail.min(300)..300), "{format:?}: the last {tail}");
        }
        assert_eq!(text_of(log.clone(), Options { tail: Some(0), ..wanted() }).await, "");
    }
}

/// Whoever follows misses no line and sees none twice, however fast files are renamed, compressed and removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_on_over_rotations() {
    for (format, max_files, compress) in
        [(Format::Json, 100, true), (Format::Local, 100, false), (Format::Local, 100, true)]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let rotation = LogRotation { max_size: Some(1500), max_files, compress };
        let mut writer = Writer::open(path.clone(), format, rotation, None).unwrap();
        write(&mut writer, 0..40).await;
        let status = status(State::Running);
        let (sink, mut pieces) = mpsc::channel(8);
        let options = Options { follow: true, ..wanted() };
        let reading = tokio::spawn(send(log(&path, format), options, status.subscribe(), sink));
        let writing = tokio::spawn(async move {
            for begin in (40..1000).step_by(40) {
                write(&mut writer, begin..begin + 40).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let mut text = String::new();
        while text.len() < lines(0..1000).len() {
            text.push_str(std::str::from_utf8(&pieces.recv().await.unwrap().unwrap()).unwrap());
        }
        assert_eq!(text, lines(0..1000), "{format:?}");
        writing.await.unwrap();
        status.send_replace(Arc::new(Status { state: State::Exited, ..Status::default() }));
        assert!(pieces.recv().await.is_none());
        reading.await.unwrap();
    }
}

/// With one file there is nothing to go back to, but the new one is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_finds_the_file_that_replaces_the_only_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let rotation = LogRotation { max_size: Some(500), max_files: 1, compress: false };
    let mut writer = Writer::open(path.clone(), Format::Json, rotation, None).unwrap();
    write(&mut writer, 0..1).await;
    let status = status(State::Running);
    let (sink, mut pieces) = mpsc::channel(8);
    let options = Options { follow: true, ..wanted() };
    let reading = tokio::spawn(send(log(&path, Format::Json), options, status.subscribe(), sink));
    for number in 1..40 {
        assert_eq!(pieces.recv().await.unwrap().unwrap(), lines(number - 1..number));
        write(&mut writer, number..number + 1).await;
    }
    drop(pieces);
    reading.await.unwrap();
}
