//! A container's log as its shim has it: whatever its options name, written together.

use std::io;

use cofferdam_model::{LogDriver, LogSpec};
use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Mutex;

use crate::journal::Journal;
use crate::{Cut, Format, Lines, Stream, Writer};

/// A log.
pub struct Log(Mutex<Outputs>);

struct Outputs {
    file: Option<Writer>,
    journal: Option<Journal>,
}

impl Log {
    /// Opens it; `None` when nothing is recorded.
    pub fn open(spec: &LogSpec) -> io::Result<Option<Self>> {
        let format = match spec.driver {
            LogDriver::JsonFile => Some(Format::Json),
            LogDriver::Local => Some(Format::Local),
            LogDriver::None => None,
        };
        let attributes: Option<Box<RawValue>> =
            (!spec.attributes.is_empty()).then(|| to_raw_value(&spec.attributes)).transpose()?;
        let open = |format| Writer::open(spec.path.clone(), format, spec.rotation, attributes);
        let file = format.map(open).transpose()?;
        let journal = spec.journal.as_ref().map(Journal::open).transpose()?;
        let outputs = Outputs { file, journal };
        Ok((outputs.file.is_some() || outputs.journal.is_some()).then(|| Self(Mutex::new(outputs))))
    }

    /// Records the lines that a piece of output completes.
    pub async fn record(&self, stream: Stream, lines: &mut Lines, piece: &[u8]) {
        self.append(stream, lines.push(piece)).await;
    }

    /// Records what came after the last newline of a stream that has ended.
    pub async fn finish(&self, stream: Stream, lines: &mut Lines) {
        self.append(stream, lines.finish()).await;
    }

    async fn append(&self, stream: Stream, lines: Cut) {
        if lines.is_empty() {
            return;
        }
        let mut outputs = self.0.lock().await;
        // In the order of the file: a line's time is when it could be written.
        let time = Timestamp::now();
        if let Some(file) = &mut outputs.file {
            file.append(stream, time, &lines).await;
        }
        if let Some(journal) = &mut outputs.journal {
            journal.append(stream, time, &lines).await;
        }
    }
}
