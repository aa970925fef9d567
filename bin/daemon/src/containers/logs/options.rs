//! `HostConfig.LogConfig`: the log drivers and their options, in Docker's words.

use std::collections::BTreeMap;

use cofferdam_api::size;
use cofferdam_log::Format;
use cofferdam_model::LogRotation;

use super::attributes;
use crate::containers::config::LogConfig;

/// The drivers there are, beside `none`.
pub const DRIVERS: [&str; 3] = ["journald", "json-file", "local"];

/// Options of every driver, about how it is fed; and about the copy that makes the log of a driver readable that
/// cannot be read itself.
const COMMON: [&str; 6] =
    ["mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
/// Options about files.
const FILES: [&str; 3] = ["max-size", "max-file", "compress"];

/// What a driver with its options means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is written on the disk, where it can be read again.
    pub file: Option<(Format, LogRotation)>,
    /// Whether lines go to the journal.
    pub journal: bool,
    /// Whether output waits for a log that does not keep up.
    pub waits: bool,
}

/// Completes what was asked for with the daemon's defaults, as Docker does: options go with their driver.
pub fn complete(config: &mut LogConfig, default: &LogConfig) {
    if config.driver.is_empty() {
        config.driver.clone_from(&default.driver);
    }
    let same = config.driver == default.driver;
    for (name, value) in default.options.iter().filter(|(name, _)| same || name.starts_with("cache-")) {
        config.options.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// What a driver with its options means, or what is wrong with them.
pub fn settings(config: &LogConfig) -> Result<Settings, String> {
    let (driver, options) = (config.driver.as_str(), &config.options);
    let mut settings = Settings { file: None, journal: false, waits: true };
    if driver == "none" {
        return Ok(settings);
    }
    settings.waits = waits(options)?;
    if !DRIVERS.contains(&driver) {
        return Err(format!("logger: no log driver named '{driver}' is registered"));
    }
    let known = |name: &str| {
        COMMON.contains(&name)
            || attributes::OPTIONS.contains(&name)
            || (driver != "journald" && FILES.contains(&name))
    };
    if let Some(name) = options.keys().find(|name| !known(name)) {
        return Err(match driver {
            "local" => format!("unknown log opt '{name}' for log driver local"),
            _ => format!("unknown log opt '{name}' for {driver} log driver"),
        });
    }
    let not_cached = switch(options, "cache-disabled").map_err(|_words| {
        format!("invalid value for option cache-disabled: {}", options["cache-disabled"])
    })?;
    let failed = |text: String| format!("failed to initialize logging driver: {text}");
    attributes::check(options).map_err(failed)?;
    settings.file = match driver {
        "json-file" => Some((Format::Json, json_file(options).map_err(failed)?)),
        "local" => Some((Format::Local, local(options, "").map_err(failed)?)),
        _ if not_cached == Some(true) => None,
        _ => Some((Format::Local, local(options, "cache-").map_err(failed)?)),
    };
    settings.journal = driver == "journald";
    Ok(settings)
}

type Options = BTreeMap<String, String>;

fn waits(options: &Options) -> Result<bool, String> {
    let waits = match options.get("mode").map_or("", String::as_str) {
        "" | "blocking" => true,
        "non-blocking" => false,
        other => return Err(format!("logger: logging mode not supported: {other}")),
    };
    if let Some(buffer) = options.get("max-buffer-size") {
        if waits {
            return Err(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned()
            );
        }
        size::bytes(buffer).map_err(|_not_a_size| {
            format!("error parsing option max-buffer-size: invalid size: '{buffer}'")
        })?;
    }
    Ok(waits)
}

fn json_file(options: &Options) -> Result<LogRotation, String> {
    let max_size = match options.get("max-size").map(|text| bytes(text)).transpose()? {
        Some(0) => return Err("max-size must be a positive number".to_owned()),
        size => size,
    };
    let max_files = match options.get("max-file").map(|text| number(text)).transpose()? {
        Some(..1) => return Err("max-file cannot be less than 1".to_owned()),
        count => count.map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX)),
    };
    let compress = switch(options, "compress")?.unwrap_or(false);
    if compress && (max_files == 1 || max_size.is_none()) {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_owned());
    }
    Ok(LogRotation { max_size, max_files, compress })
}

fn local(options: &Options, prefix: &str) -> Result<LogRotation, String> {
    let option = |name: &str| options.get(&format!("{prefix}{name}"));
    let invalid = |name: &str, text: &str, error: &str| format!("invalid value for {name}: {text}: {error}");
    let max_size = match option("max-size") {
        Some(text) => bytes(text).map_err(|error| invalid("max-size", text, &error))?,
        None => 20 << 20,
    };
    let max_files = match option("max-file") {
        Some(text) => number(text).map_err(|error| invalid("max-file", text, &error))?,
        None => 5,
    };
    let max_files =
        u32::try_from(max_files).map_err(|_negative| "max-file must not be negative".to_owned())?;
    let compress = switch(options, &format!("{prefix}compress"))
        .map_err(|error| format!("invalid boolean value for compress: {error}"))?
        .unwrap_or(true);
    if compress && max_files <= 1 {
        return Err("compression cannot be enabled when max file count is 1".to_owned());
    }
    Ok(LogRotation { max_size: Some(max_size), max_files, compress })
}

fn bytes(text: &str) -> Result<u64, String> {
    let size = size::decimal_bytes(text).ok().and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| format!("invalid size: '{text}'"))
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_not_a_number| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Go's `ParseBool`.
fn switch(options: &Options, name: &str) -> Result<Option<bool>, String> {
    match options.get(name).map(String::as_str) {
        None => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
        Some(other) => Err(format!("strconv.ParseBool: parsing {other:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        LogConfig { driver: driver.to_owned(), options: options.collect() }
    }

    fn rotation(driver: &str, options: &[(&str, &str)]) -> (Option<u64>, u32, bool) {
        let (_, rotation) = settings(&config(driver, options)).unwrap().file.unwrap();
        (rotation.max_size, rotation.max_files, rotation.compress)
    }

    #[test]
    fn options_and_their_defaults_are_dockers() {
        assert_eq!(rotation("json-file", &[]), (None, 1, false));
        assert_eq!(
            rotation("json-file", &[("max-size", "10k"), ("max-file", "3"), ("compress", "true")]),
            (Some(10_000), 3, true)
        );
        assert_eq!(rotation("local", &[]), (Some(20 << 20), 5, true));
        assert_eq!(
            rotation("local", &[("max-file", "1"), ("compress", "false")]),
            (Some(20 << 20), 1, false)
        );
        assert_eq!(rotation("journald", &[("cache-max-size", "1m")]), (Some(1_000_000), 5, true));
        let journald = |options: &[_]| settings(&config("journald", options)).unwrap();
        assert!(journald(&[]).journal && journald(&[]).waits);
        assert_eq!(journald(&[("cache-disabled", "true")]).file, None);
        assert!(!journald(&[("mode", "non-blocking"), ("max-buffer-size", "1m")]).waits);
        // Docker does not look at the options of nothing.
        assert_eq!(settings(&config("none", &[("x", "y")])).unwrap().file, None);
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        let start = "failed to initialize logging driver: ";
        for (driver, name, value, text) in [
            ("syslog", "", "", "logger: no log driver named 'syslog' is registered"),
            ("json-file", "colour", "red", "unknown log opt 'colour' for json-file log driver"),
            ("local", "colour", "red", "unknown log opt 'colour' for log driver local"),
            ("journald", "max-size", "1m", "unknown log opt 'max-size' for journald log driver"),
            ("json-file", "mode", "x", "logger: logging mode not supported: x"),
            (
                "json-file",
                "max-buffer-size",
                "1m",
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            ("json-file", "max-size", "x", &format!("{start}invalid size: 'x'")),
            ("json-file", "max-size", "0", &format!("{start}max-size must be a positive number")),
            ("json-file", "max-file", "0", &format!("{start}max-file cannot be less than 1")),
            (
                "json-file",
                "max-file",
                "many",
                &format!("{start}strconv.Atoi: parsing \"many\": invalid syntax"),
            ),
            (
                "json-file",
                "compress",
                "true",
                &format!(
                    "{start}compress cannot be true when max-file is less than 2 or max-size is not set"
                ),
            ),
            ("local", "max-size", "x", &format!("{start}invalid value for max-size: x: invalid size: 'x'")),
            ("local", "max-file", "-1", &format!("{start}max-file must not be negative")),
            (
                "local",
                "max-file",
                "1",
                &format!("{start}compression cannot be enabled when max file count is 1"),
            ),
            ("journald", "cache-disabled", "x", "invalid value for option cache-disabled: x"),
        ] {
            let options: &[_] = if name.is_empty() { &[] } else { &[(name, value)] };
            assert_eq!(settings(&config(driver, options)).unwrap_err(), text, "{driver} {name}={value}");
        }
    }

    #[test]
    fn defaults_go_with_their_driver() {
        let default = config("local", &[("max-file", "9"), ("cache-max-file", "2")]);
        let completed = |mut asked: LogConfig| {
            complete(&mut asked, &default);
            asked
        };
        assert_eq!(completed(LogConfig::default()), default);
        assert_eq!(completed(config("local", &[("max-file", "3")])).options["max-file"], "3");
        assert_eq!(completed(config("json-file", &[])), config("json-file", &[("cache-max-file", "2")]));
    }
}
