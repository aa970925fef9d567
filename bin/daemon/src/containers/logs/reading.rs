//! A log that is being read: file after file, the oldest first, and over a rotation into the next one. Blocking; it
//! never waits for a client.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use bytes::BytesMut;
use cofferdam_log::{Identity, Source, Taken, count, start_of_last};
use flate2::read::MultiGzDecoder;

use super::follow::Watched;
use super::render::{Fate, render};
use super::{Log, Options};

/// How much is read at once, and about how much is sent at once.
const PIECE: usize = 64 << 10;

/// What came of reading on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This much, and there may be more.
    Output(Vec<u8>),
    /// There is no more for now.
    Idle,
    /// There will be no more that the client wants.
    End,
}

/// The reading.
pub(super) struct Reading {
    log: Log,
    options: Options,
    files: VecDeque<Open>,
    watched: Option<Watched>,
    input: BytesMut,
    /// Records at the begin that the client does not want.
    skip: usize,
}

struct Open {
    reader: Reader,
    identity: Identity,
    /// Nothing more in it can be read.
    broken: bool,
}

enum Reader {
    Plain(File),
    Compressed(Box<MultiGzDecoder<File>>),
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Compressed(decoder) => decoder.read(buffer),
        }
    }
}

impl From<Source> for Open {
    fn from(Source { file, compressed, identity }: Source) -> Self {
        let reader = match compressed {
            true => Reader::Compressed(Box::new(MultiGzDecoder::new(file))),
            false => Reader::Plain(file),
        };
        Self { reader, identity, broken: false }
    }
}

impl Reading {
    /// Opens the log where the client wants to begin.
    pub(super) fn open(log: Log, options: Options, watched: Option<Watched>) -> io::Result<Self> {
        let mut sources = log.files.open(None)?;
        let skip = match options.tail {
            Some(lines) => leave_last(&mut sources, &log, lines)?,
            None => 0,
        };
        let files = sources.into_iter().map(Open::from).collect();
        let mut reading = Self { log, options, files, watched, input: BytesMut::new(), skip };
        // Before it is read: what is written in between is then seen.
        reading.watch_current()?;
        Ok(reading)
    }

    fn watch_current(&mut self) -> io::Result<()> {
        match (&mut self.watched, self.files.back()) {
            (Some(watched), Some(Open { reader: Reader::Plain(file), .. })) => watched.change_to(file),
            _ => Ok(()),
        }
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let mut output = Vec::new();
        let mut piece = vec![0; PIECE];
        while output.len() < PIECE {
            let Some(file) = self.files.front_mut() else { break };
            let read = if file.broken { 0 } else { file.reader.read(&mut piece)? };
            if read > 0 {
                self.input.extend_from_slice(&piece[..read]);
                if self.take(&mut output) {
                    // What it wanted before goes first; the end is found again with the next step.
                    return Ok(if output.is_empty() { Step::End } else { Step::Output(output) });
                }
            } else if !self.next_file()? {
                break;
            }
        }
        Ok(if output.is_empty() { Step::Idle } else { Step::Output(output) })
    }

    /// Goes on to the next file when there is one: whether there is more to read.
    fn next_file(&mut self) -> io::Result<bool> {
        if self.files.len() == 1 {
            let newer = self.newer()?;
            if newer.is_empty() {
                return Ok(false);
            }
            self.files.extend(newer.into_iter().map(Open::from));
            self.watch_current()?;
            // Before it was renamed it may have been written to once more.
            return Ok(true);
        }
        self.files.pop_front();
        // A record does not go on in another file: this one was torn.
        self.input.clear();
        Ok(true)
    }

    /// The files that have come after the last known one, when somebody waits for them.
    fn newer(&self) -> io::Result<Vec<Source>> {
        let Some(last) = self.files.back().filter(|_| self.options.follow) else { return Ok(Vec::new()) };
        let now = match std::fs::metadata(self.log.files.current()) {
            Ok(current) => Some(current.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if now.is_some_and(|now| last.identity.is_inode(now)) {
            return Ok(Vec::new());
        }
        self.log.files.open(Some(last.identity))
    }

    /// Takes whole records out of what was read and renders them; `true` when the end was reached.
    fn take(&mut self, output: &mut Vec<u8>) -> bool {
        loop {
            match self.log.format.take(&mut self.input) {
                Taken::Record(_) | Taken::Skipped if self.skip > 0 => self.skip -= 1,
                Taken::Record(record) => {
                    if render(&record, &self.options, output) == Fate::End {
                        // Nothing that follows is earlier.
                        self.files.clear();
                        self.options.follow = false;
                        return true;
                    }
                }
                Taken::Skipped => {}
                Taken::Incomplete => return false,
                Taken::Broken => {
                    self.input.clear();
                    if let Some(file) = self.files.front_mut() {
                        file.broken = true;
                    }
                    return false;
                }
            }
        }
    }

    /// Whether there is anything to be read, now or later.
    pub(super) fn has_ended(&self) -> bool {
        self.files.is_empty()
    }
}

/// Leaves the files with the last records, at their place; how many records of the first one are too many still.
fn leave_last(sources: &mut Vec<Source>, log: &Log, lines: usize) -> io::Result<usize> {
    let (mut wanted, mut skip) = (lines, 0);
    let mut first = sources.len();
    while first > 0 && (wanted > 0 || first == sources.len()) {
        first -= 1;
        let source = &mut sources[first];
        if source.compressed {
            let found = count(MultiGzDecoder::new(&source.file), log.format)?;
            source.file.seek(SeekFrom::Start(0))?;
            (wanted, skip) = (wanted.saturating_sub(found), found.saturating_sub(wanted));
        } else {
            let (start, found) = start_of_last(&mut source.file, log.format, wanted)?;
            source.file.seek(SeekFrom::Start(start))?;
            wanted -= found.min(wanted);
        }
    }
    sources.drain(..first);
    Ok(skip)
}
