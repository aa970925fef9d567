//! What options have said with every line of a log: labels, variables, and a tag.

use std::collections::BTreeMap;

use cofferdam_template::{Functions, Template};
use regex::Regex;
use serde_json::json;

use crate::containers::Container;
use crate::containers::record::Record;

/// The options.
pub(super) const OPTIONS: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

type Options = BTreeMap<String, String>;

fn text<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    options.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

fn pattern(options: &Options, name: &str) -> Result<Option<Regex>, String> {
    let compile = |text| Regex::new(text).map_err(|error| format!("error parsing regexp: {error}"));
    text(options, name).map(compile).transpose()
}

/// Whether they can be read.
pub(super) fn check(options: &Options) -> Result<(), String> {
    pattern(options, "labels-regex")?;
    pattern(options, "env-regex")?;
    text(options, "tag").map(Template::parse).transpose().map(drop).map_err(|error| error.to_string())
}

/// Those of a container.
pub(super) fn of(record: &Record, options: &Options) -> Result<BTreeMap<String, String>, String> {
    let environment = record.config.env.iter().filter_map(|entry| entry.split_once('='));
    let environment: Vec<_> = environment.collect();
    let labels: Vec<_> =
        record.config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut chosen = BTreeMap::new();
    for (all, names, regex) in [(labels, "labels", "labels-regex"), (environment, "env", "env-regex")] {
        let names: Vec<_> = text(options, names).unwrap_or_default().split(',').collect();
        let regex = pattern(options, regex)?;
        for (name, value) in all {
            if names.contains(&name) || regex.as_ref().is_some_and(|regex| regex.is_match(name)) {
                chosen.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    Ok(chosen)
}

/// The tag, made of this template when none was asked for; empty when there is none either.
pub(super) fn tag(
    container: &Container,
    record: &Record,
    options: &Options,
    default: &str,
) -> Result<String, String> {
    let image = record.image.strip_prefix("sha256:").unwrap_or(&record.image);
    let words: Vec<_> = std::iter::once(&record.path).chain(&record.args).map(String::as_str).collect();
    let data = json!({
        "ID": container.id.short(),
        "FullID": container.id,
        "Name": container.name(),
        "ImageID": &image[..image.len().min(12)],
        "ImageFullID": record.image,
        "ImageName": record.config.image,
        "Command": words.join(" "),
        "DaemonName": "cofferdam",
        "ContainerLabels": record.config.labels,
        "ContainerEnv": record.config.env,
    });
    let rendered = Template::parse(text(options, "tag").unwrap_or(default))
        .and_then(|template| template.render(&data, Functions::Values));
    rendered.map_err(|error| error.to_string())
}

/// An attribute's name as the journal takes it: capital letters, digits and underscores, which do not come first.
pub(super) fn journal_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(plain).collect::<String>().trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn labels_and_variables_are_chosen_by_name_and_pattern() {
        let record: Record = serde_json::from_value(json!({
            "image": "", "created": "2026-01-01T00:00:00Z", "isolation": "process", "path": "foo", "args": [],
            "config": { "Labels": { "tier": "web", "com.x.a": "1", "other": "2" }, "Env": ["OS=linux", "TERM=x", "A=b=c"] },
            "host": {}, "mounts": [], "endpoints": []
        }))
        .unwrap();
        let chosen = |asked: &[_]| {
            let chosen = of(&record, &options(asked)).unwrap();
            chosen.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(chosen(&[]), "");
        assert_eq!(chosen(&[("labels", "tier,missing"), ("env", "A")]), "A=b=c tier=web");
        assert_eq!(
            chosen(&[("labels-regex", "^com\\."), ("env-regex", "^(OS|TERM)$")]),
            "OS=linux TERM=x com.x.a=1"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [("labels-regex", "("), ("env-regex", "["), ("tag", "{{.ID")] {
            assert!(check(&options(&[(name, value)])).is_err(), "{name}");
        }
        assert!(check(&options(&[("tag", "{{.Name}}/{{.ID}}")])).is_ok());
        assert_eq!(journal_name("_com.x-a"), "COM_X_A");
    }
}
