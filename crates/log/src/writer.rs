//! Appending to a log, and beginning a new file when one is full.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use cofferdam_model::LogRotation;
use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::compress::compress;
use crate::files::open_to_append;
use crate::tail::start_of_last;
use crate::{Cut, Files, Format, Stream};

/// A log that is written.
pub struct Writer {
    files: Files,
    format: Format,
    rotation: LogRotation,
    attributes: Option<Box<RawValue>>,
    file: File,
    size: u64,
    compressing: Option<JoinHandle<io::Result<()>>>,
    failed: bool,
}

impl Writer {
    /// Opens the file to append; a restarted container continues it. A line that an earlier shim has died over is
    /// taken away, for the next one must not become a part of it.
    pub fn open(
        path: PathBuf,
        format: Format,
        rotation: LogRotation,
        attributes: Option<Box<RawValue>>,
    ) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            match std::fs::DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let files = Files::at(path);
        let _half_made = std::fs::remove_file(files.scratch());
        let mut file = open_to_append(files.current())?;
        let (size, _) = start_of_last(&mut file, format, 0)?;
        if size < file.metadata()?.len() {
            file.set_len(size)?;
        }
        Ok(Self { files, format, rotation, attributes, file, size, compressing: None, failed: false })
    }

    /// Appends lines. A full disk costs lines, not the container.
    pub async fn append(&mut self, stream: Stream, time: Timestamp, lines: &Cut) {
        let mut entries = Vec::new();
        for line in lines.iter() {
            if self.is_full(entries.len()) {
                self.write(&mut entries);
                self.rotate().await;
            }
            self.format.encode(stream, time, line, self.attributes.as_deref(), &mut entries);
        }
        self.write(&mut entries);
    }

    fn is_full(&self, waiting: usize) -> bool {
        self.rotation.max_size.is_some_and(|most| self.size + waiting as u64 >= most)
    }

    fn write(&mut self, entries: &mut Vec<u8>) {
        match self.file.write_all(entries) {
            Ok(()) => {
                self.size += entries.len() as u64;
                self.failed = false;
            }
            Err(error) => self.complain("cannot write the container's log", &error),
        }
        entries.clear();
    }

    async fn rotate(&mut self) {
        // Output waits for it, so that a container cannot fill the disk faster than it is compressed.
        if let Some(compressing) = self.compressing.take() {
            match compressing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.complain("cannot compress the container's log", &error),
                Err(error) => self.complain("compressing the container's log", &io::Error::other(error)),
            }
        }
        match self.files.rotate(self.rotation.max_files) {
            Ok(Some(file)) => (self.file, self.size) = (file, 0),
            // Somebody opens the files in this moment: with the next line, then.
            Ok(None) => return,
            Err(error) => return self.complain("cannot rotate the container's log", &error),
        }
        if self.rotation.compress {
            let files = self.files.clone();
            self.compressing = Some(tokio::task::spawn_blocking(move || compress(&files)));
        }
    }

    /// Once, until it works again.
    fn complain(&mut self, what: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!("{what}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use flate2::read::MultiGzDecoder;

    use super::*;
    use crate::{Lines, Taken};

    fn texts(files: &Files, format: Format) -> Vec<String> {
        let mut texts = Vec::new();
        for source in files.open(None).unwrap() {
            let mut bytes = Vec::new();
            let _ = match source.compressed {
                true => io::copy(&mut MultiGzDecoder::new(source.file), &mut bytes),
                false => io::copy(&mut &source.file, &mut bytes),
            }
            .unwrap();
            let mut input = BytesMut::from(&bytes[..]);
            while let Taken::Record(record) = format.take(&mut input) {
                texts.push(String::from_utf8(record.text).unwrap());
            }
            assert!(input.is_empty(), "{format:?}: a torn file");
        }
        texts
    }

    #[tokio::test]
    async fn full_files_are_rotated_and_compressed() {
        for format in [Format::Json, Format::Local] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("logs").join("log");
            let rotation = LogRotation { max_size: Some(1000), max_files: 4, compress: true };
            let mut writer = Writer::open(path.clone(), format, rotation, None).unwrap();
            let mut lines = Lines::default();
            for number in 0..200 {
                let cut = lines.push(format!("line {number}\n").as_bytes());
                writer.append(Stream::Stdout, Timestamp::UNIX_EPOCH, &cut).await;
            }
            writer.compressing.take().unwrap().await.unwrap().unwrap();
            let files = Files::at(path.clone());
            let older = files.older().unwrap();
            assert_eq!(older.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
            assert!(older.values().all(|form| form.compressed && !form.plain), "{older:?}");
            assert!(std::fs::metadata(&path).unwrap().len() < 1100);
            let texts = texts(&files, format);
            let first = 200 - texts.len();
            let wanted: Vec<_> = (first..200).map(|number| format!("line {number}\n")).collect();
            assert_eq!(texts, wanted);
            // Each file is full, but for the last.
            assert!(texts.len() > 30, "{}", texts.len());
        }
    }

    #[tokio::test]
    async fn many_lines_at_once_keep_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let rotation = LogRotation { max_size: Some(1000), max_files: 1000, compress: false };
        let mut writer = Writer::open(path.clone(), Format::Json, rotation, None).unwrap();
        writer
            .append(Stream::Stdout, Timestamp::UNIX_EPOCH, &Lines::default().push(&b"x\n".repeat(500)))
            .await;
        let files = Files::at(path);
        assert!(files.open(None).unwrap().iter().all(|source| source.file.metadata().unwrap().len() < 1100));
        assert_eq!(texts(&files, Format::Json).len(), 500);
    }

    #[tokio::test]
    async fn a_torn_line_does_not_spoil_the_next() {
        for format in [Format::Json, Format::Local] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            for torn in 1..25 {
                let open = || Writer::open(path.clone(), format, LogRotation::default(), None).unwrap();
                let cut = Lines::default().push(b"whole\n");
                open().append(Stream::Stdout, Timestamp::UNIX_EPOCH, &cut).await;
                let whole = std::fs::read(&path).unwrap();
                std::fs::write(&path, [&whole[..], &whole[..torn]].concat()).unwrap();
                open().append(Stream::Stderr, Timestamp::UNIX_EPOCH, &cut).await;
                assert_eq!(texts(&Files::at(path.clone()), format), ["whole\n", "whole\n"]);
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
}
