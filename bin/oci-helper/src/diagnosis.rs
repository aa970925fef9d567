//! libcontainer says the cause of a failure only in its log, and only the outermost words in the error that crosses
//! its processes. The first error logged by any of them is kept here, in a file without a name that all inherit.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use rustix::fs::MemfdFlags;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Where the processes of one request write their errors.
pub struct Diagnosis(File);

impl Diagnosis {
    /// Listens from here on. Without a place to write to, causes stay unknown and nothing else changes.
    pub fn listen() -> Option<Self> {
        let file = File::from(rustix::fs::memfd_create("diagnosis", MemfdFlags::CLOEXEC).ok()?);
        let log = ErrorLog(file.try_clone().ok()?);
        tracing::subscriber::set_global_default(log).ok()?;
        Some(Self(file))
    }

    /// The first error, which is the innermost: callers log after their callees.
    pub fn first(mut self) -> Option<String> {
        let mut text = String::new();
        self.0.seek(SeekFrom::Start(0)).ok()?;
        self.0.read_to_string(&mut text).ok()?;
        text.lines().next().map(str::to_owned)
    }
}

struct ErrorLog(File);

impl Subscriber for ErrorLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.is_event()
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::ERROR)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}\n", line.message, line.fields).replace("\n ", " ");
        // One write, so that lines of several processes stay whole.
        let _ = (&self.0).write_all(text.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "err" | "error" | "ret" => write!(self.fields, ": {value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
