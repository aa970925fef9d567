//! Dockerfile instructions given to import and commit as `--change`.

use serde_json::{Value, json};

use crate::Error;
use crate::config::ContainerConfig;

/// Applies instructions to a configuration, in order.
pub fn apply_changes<S: AsRef<str>>(config: &mut ContainerConfig, changes: &[S]) -> Result<(), Error> {
    for line in changes.iter().flat_map(|change| change.as_ref().lines()).map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            apply(config, line)?;
        }
    }
    Ok(())
}

fn apply(config: &mut ContainerConfig, line: &str) -> Result<(), Error> {
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (instruction, rest) = (instruction.to_ascii_uppercase(), rest.trim());
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    if !known.contains(&instruction.as_str()) {
        return Err(Error::Change(format!("{} is not a valid change command", instruction.to_lowercase())));
    }
    if rest.is_empty() && !matches!(instruction.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(Error::Change(format!("{instruction} requires at least one argument")));
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, rest)),
        "ENV" => {
            for (key, value) in pairs("ENV", rest)? {
                let prefix = format!("{key}=");
                config.env.retain(|old| !old.starts_with(&prefix));
                config.env.push(prefix + &value);
            }
        }
        "LABEL" => config.labels.extend(pairs("LABEL", rest)?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                config.exposed_ports.insert(exposed(port)?, json!({}));
            }
        }
        "VOLUME" => {
            let list =
                json_words(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            config.volumes.extend(list.into_iter().map(|path| (path, json!({}))));
        }
        "USER" => config.user = rest.to_owned(),
        "WORKDIR" => config.working_dir = join(&config.working_dir, &unquote(rest)),
        "STOPSIGNAL" => config.stop_signal = rest.to_owned(),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "SHELL" => {
            let shell = json_words(rest).filter(|words| !words.is_empty());
            config.shell =
                Some(shell.ok_or_else(|| {
                    Error::Change("SHELL requires the arguments to be in JSON form".into())
                })?);
        }
        _ => config.healthcheck = Some(healthcheck(rest)?),
    }
    Ok(())
}

/// The exec form (a JSON list), or the shell form through the image's shell.
fn command(config: &ContainerConfig, rest: &str) -> Vec<String> {
    if rest.is_empty() {
        return Vec::new();
    }
    json_words(rest).unwrap_or_else(|| {
        let mut words = config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
        words.push(rest.to_owned());
        words
    })
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `key=value key2="value 2"`, or the old `key value`.
fn pairs(instruction: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::Change(format!("{instruction} must have two arguments")))?;
        return Ok(vec![(key.to_owned(), unquote(value.trim()))]);
    }
    words(text)
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::Change(format!(
                "syntax error in {instruction}: {word:?}: must be of the form name=value"
            ))),
        })
        .collect()
}

/// Splits at white space outside quotes; takes quotes and backslashes away.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut inside) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.extend(chars.next());
                inside = true;
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                inside = true;
            }
            (c, None) if c.is_whitespace() => {
                if inside {
                    words.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            (c, _) => {
                word.push(c);
                inside = true;
            }
        }
    }
    if inside {
        words.push(word);
    }
    words
}

fn unquote(text: &str) -> String {
    words(text).join(" ")
}

fn exposed(port: &str) -> Result<String, Error> {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let good =
        numbers.split('-').all(|number| number.parse::<u16>().is_ok()) && numbers.split('-').count() <= 2;
    if !good || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(Error::Change(format!("invalid containerPort: {port}")));
    }
    Ok(format!("{numbers}/{protocol}"))
}

fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// `NONE`, or `[--interval=…] … CMD command`.
fn healthcheck(text: &str) -> Result<Value, Error> {
    let (mut check, mut rest) = (serde_json::Map::new(), text);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let bad = || Error::Change(format!("invalid HEALTHCHECK option: --{option}"));
        let (name, value) = option.split_once('=').ok_or_else(bad)?;
        let (field, value) = match name {
            "interval" => ("Interval", nanoseconds(value).ok_or_else(bad)?),
            "timeout" => ("Timeout", nanoseconds(value).ok_or_else(bad)?),
            "start-period" => ("StartPeriod", nanoseconds(value).ok_or_else(bad)?),
            "start-interval" => ("StartInterval", nanoseconds(value).ok_or_else(bad)?),
            "retries" => ("Retries", value.parse().map_err(|_letters| bad())?),
            _ => return Err(bad()),
        };
        check.insert(field.into(), json!(value));
        rest = after.trim_start();
    }
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match (kind.to_ascii_uppercase().as_str(), arguments.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", arguments) if !arguments.is_empty() => match json_words(arguments) {
            Some(words) => [vec!["CMD".to_owned()], words].concat(),
            None => vec!["CMD-SHELL".to_owned(), arguments.to_owned()],
        },
        _ => return Err(Error::Change(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)"))),
    };
    check.insert("Test".into(), json!(test));
    Ok(Value::Object(check))
}

/// Go's durations: `1m30s`, `1.5s`, `100ms`.
fn nanoseconds(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| end + n);
        let unit = match &rest[end..unit_end] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    (!text.is_empty() && total < 9e18).then(|| {
        #[allow(clippy::cast_possible_truncation)] // Checked in the line above.
        let nanoseconds = total as i64;
        nanoseconds
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[&str]) -> ContainerConfig {
        let mut config = ContainerConfig::default();
        apply_changes(&mut config, changes).unwrap();
        config
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = after(&[
            r#"CMD ["a", "b"]"#,
            "entrypoint echo hi",
            r#"ENV A=1 B="two words" C=x\ y"#,
            "ENV A 2",
            "EXPOSE 80 53/udp",
            r#"LABEL k="v w""#,
            r#"VOLUME ["/data"]"#,
            "WORKDIR /srv",
            "WORKDIR app",
            "USER 1000:1000",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD true",
        ]);
        assert_eq!(config.cmd.unwrap(), ["a", "b"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(config.env, ["B=two words", "C=x y", "A=2"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.labels["k"], "v w");
        assert!(config.volumes.contains_key("/data"));
        assert_eq!(config.working_dir, "/srv/app");
        assert_eq!((config.user.as_str(), config.stop_signal.as_str()), ("1000:1000", "SIGINT"));
        assert_eq!(
            config.healthcheck.unwrap(),
            json!({ "Interval": 90_000_000_000_i64, "Retries": 3, "Test": ["CMD-SHELL", "true"] })
        );
    }

    #[test]
    fn nonsense_is_named() {
        let mut config = ContainerConfig::default();
        let mut message = |change| apply_changes(&mut config, &[change]).unwrap_err().to_string();
        assert_eq!(message("FROM x"), "from is not a valid change command");
        assert_eq!(message("ENV"), "ENV requires at least one argument");
        assert_eq!(message("EXPOSE http"), "invalid containerPort: http");
    }
}
