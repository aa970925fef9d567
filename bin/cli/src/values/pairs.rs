//! `KEY=VALUE`: environment, labels, options, filters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cofferdam_client::Filters;

/// The environment: files first, then the flags, as Docker orders them. A name alone takes our own value, and
/// nothing when there is none.
pub fn environment(
    files: &[PathBuf],
    flags: &[String],
    ours: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in files {
        all.extend(lines(file)?);
    }
    all.extend(flags.iter().cloned());
    let mut environment = Vec::new();
    for entry in all {
        match entry.split_once('=') {
            Some(("", _)) => return Err(format!("invalid environment variable: {entry}")),
            Some(_) => environment.push(entry),
            None if entry.is_empty() => return Err("invalid environment variable: it is empty".to_owned()),
            None => environment.extend(ours(&entry).map(|value| format!("{entry}={value}"))),
        }
    }
    Ok(environment)
}

/// Labels: files first, then the flags. A name alone is an empty label.
pub fn labels(files: &[PathBuf], flags: &[String]) -> Result<HashMap<String, String>, String> {
    let mut all = Vec::new();
    for file in files {
        all.extend(lines(file)?);
    }
    all.extend(flags.iter().cloned());
    Ok(map(&all))
}

/// `KEY=VALUE` or `KEY`; a later one wins.
#[must_use]
pub fn map(entries: &[String]) -> HashMap<String, String> {
    let pair = |entry: &String| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        (key.to_owned(), value.to_owned())
    };
    entries.iter().map(pair).collect()
}

/// One `--filter key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    key: String,
    value: String,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("bad format of filter (expected name=value)")?;
        Ok(Self { key: key.trim().to_ascii_lowercase(), value: value.trim().to_owned() })
    }
}

/// All of them.
#[must_use]
pub fn filters(all: &[Filter]) -> Filters {
    let mut filters = Filters::default();
    for filter in all {
        filters.add(&filter.key, &filter.value);
    }
    filters
}

/// A file's lines without blank ones and comments.
fn lines(file: &Path) -> Result<Vec<String>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut lines = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("{}, line {}: invalid name {name:?}", file.display(), number + 1));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_first_and_bare_names_are_ours() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env");
        std::fs::write(&file, "# comment\n\n  A=1 2\nHOME\nUNSET\n").unwrap();
        let ours = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let got =
            environment(std::slice::from_ref(&file), &["A=3".to_owned(), "B=".to_owned()], ours).unwrap();
        assert_eq!(got, ["A=1 2", "HOME=/root", "A=3", "B="]);
        std::fs::write(&file, "a b=1\n").unwrap();
        let error = environment(std::slice::from_ref(&file), &[], ours).unwrap_err();
        assert!(error.ends_with("line 1: invalid name \"a b\""), "{error}");
        assert!(environment(&[], &["=x".to_owned()], ours).is_err());
        assert!(environment(&[directory.path().join("none")], &[], ours).is_err());
    }

    #[test]
    fn filters_need_a_value() {
        let parsed = ["Status=running", "label=a=b"].map(|text| text.parse().unwrap());
        assert_eq!(filters(&parsed).to_json(), r#"{"label":["a=b"],"status":["running"]}"#);
        assert!("running".parse::<Filter>().is_err());
    }
}
