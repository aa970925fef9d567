//! Where a container's log is, for its shim and for readers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cofferdam_log::{Files, Format};
use cofferdam_model::{JournalSpec, LogDriver, LogSpec};

use super::{attributes, options};
use crate::containers::Container;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};

/// A log that can be read.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its files.
    pub files: Files,
    /// Their format.
    pub format: Format,
}

/// The file of a container's log, as Docker names it.
fn path(engine: &Engine, container: &Container) -> PathBuf {
    let directory = engine.paths.container(&container.id);
    match container.record().host.log_config.driver.as_str() {
        "local" => directory.join("local-logs").join("container.log"),
        "journald" => directory.join("container-cached.log"),
        _ => directory.join(format!("{}-json.log", container.id)),
    }
}

impl Log {
    /// A container's; `None` when nothing is kept that could be read.
    pub fn of(engine: &Engine, container: &Container) -> Option<Self> {
        let settings = options::settings(&container.record().host.log_config).ok()?;
        let (format, _) = settings.file?;
        Some(Self { files: Files::at(path(engine, container)), format })
    }
}

/// What `inspect` shows: the file, where its format is everybody's.
pub fn shown_path(engine: &Engine, container: &Container) -> String {
    match Log::of(engine, container) {
        Some(Log { files, format: Format::Json }) => files.current().to_string_lossy().into_owned(),
        _ => String::new(),
    }
}

/// What a shim is told.
pub fn spec(engine: &Engine, container: &Container) -> ApiResult<LogSpec> {
    let record = container.record();
    let config = &record.host.log_config;
    let failed = |text: String| ApiError::internal(format!("failed to initialize logging driver: {text}"));
    let settings = options::settings(config).map_err(ApiError::internal)?;
    let mut attributes = attributes::of(&record, &config.options).map_err(failed)?;
    let tag = |default| attributes::tag(container, &record, &config.options, default).map_err(failed);
    let journal = if settings.journal {
        let socket = engine.config.journald_socket.clone();
        if !cofferdam_log::journal_is_present(&socket) {
            return Err(failed("journald is not enabled on this host".to_owned()));
        }
        let tag = tag("{{.ID}}")?;
        let own = attributes.iter().map(|(name, value)| (attributes::journal_name(name), value.clone()));
        let mut fields: BTreeMap<String, String> = own.filter(|(name, _)| !name.is_empty()).collect();
        fields.extend(
            [
                ("CONTAINER_ID", container.id.short()),
                ("CONTAINER_ID_FULL", container.id.as_str()),
                ("CONTAINER_NAME", &container.name()),
                ("CONTAINER_TAG", &tag),
                ("IMAGE_NAME", &record.config.image),
                ("SYSLOG_IDENTIFIER", &tag),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        Some(JournalSpec { socket, fields, waits: settings.waits })
    } else {
        let tag = tag("")?;
        if !tag.is_empty() {
            attributes.insert("tag".to_owned(), tag);
        }
        None
    };
    let (driver, rotation) = match settings.file {
        Some((Format::Json, rotation)) => (LogDriver::JsonFile, rotation),
        Some((Format::Local, rotation)) => (LogDriver::Local, rotation),
        None => (LogDriver::None, Default::default()),
    };
    Ok(LogSpec { driver, path: path(engine, container), rotation, attributes, journal })
}
