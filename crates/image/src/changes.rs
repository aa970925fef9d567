//! Dockerfile instructions that change an image's configuration and nothing else: those of a build, and those given to
//! import and commit as `--change`.

use cofferdam_dockerfile::{Command, Healthcheck, Instruction, Lex, parse_instruction};
use serde_json::{Value, json};

use crate::Error;
use crate::config::ContainerConfig;

/// Applies instructions to a configuration, in order.
pub fn apply_changes<S: AsRef<str>>(config: &mut ContainerConfig, changes: &[S]) -> Result<(), Error> {
    for line in changes.iter().flat_map(|change| change.as_ref().lines()).map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let step = parse_instruction(line).map_err(|error| Error::Change(error.reason()))?;
        let lex = Lex::new('\\');
        let env = environment(config);
        apply_instruction(config, &step.instruction, &lex, &env)?;
    }
    Ok(())
}

/// A configuration's variables, for expanding.
fn environment(config: &ContainerConfig) -> impl Fn(&str) -> Option<String> + use<> {
    let pairs: Vec<_> = config.env.clone();
    move |name| pairs.iter().find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// Applies one instruction, with the values of its variables.
pub fn apply_instruction(
    config: &mut ContainerConfig,
    instruction: &Instruction,
    lex: &Lex,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    let expand = |text: &str| lex.expand(text, env).map_err(Error::Change);
    match instruction {
        Instruction::Cmd(command) => config.cmd = Some(words(config, command)),
        Instruction::Entrypoint(command) => config.entrypoint = Some(words(config, command)),
        Instruction::Env(pairs) => {
            for (name, value) in pairs {
                let (name, value) = (expand(name)?, expand(value)?);
                set_variable(&mut config.env, &name, &value);
            }
        }
        Instruction::Label(pairs) => {
            for (name, value) in pairs {
                config.labels.insert(expand(name)?, expand(value)?);
            }
        }
        Instruction::Expose(ports) => {
            for port in ports {
                for port in lex.expand_words(port, env).map_err(Error::Change)? {
                    config.exposed_ports.extend(exposed(&port)?.into_iter().map(|port| (port, json!({}))));
                }
            }
        }
        Instruction::Volume(paths) => {
            for path in paths {
                let path = expand(path)?.trim().to_owned();
                if path.is_empty() {
                    return Err(Error::Change("VOLUME specified can not be an empty string".into()));
                }
                config.volumes.insert(path, json!({}));
            }
        }
        Instruction::User(user) => config.user = expand(user)?,
        Instruction::Workdir(path) => config.working_dir = join(&config.working_dir, &expand(path)?),
        Instruction::StopSignal(signal) => config.stop_signal = expand(signal)?,
        Instruction::OnBuild(text) => config.on_build.push(text.clone()),
        Instruction::Shell(shell) => config.shell = Some(shell.clone()),
        Instruction::Healthcheck(check) => config.healthcheck = Some(healthcheck(check)),
        other => {
            return Err(Error::Change(format!(
                "{} is not a valid change command",
                other.name().to_lowercase()
            )));
        }
    }
    Ok(())
}

/// Sets a variable in a list of `NAME=value`, where it is.
pub fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let is_it = |pair: &&mut String| pair.split_once('=').map_or(pair.as_str(), |(own, _)| own) == name;
    let pair = format!("{name}={value}");
    match env.iter_mut().find(is_it) {
        Some(old) => *old = pair,
        None => env.push(pair),
    }
}

/// The exec form, or the shell form through the image's shell.
fn words(config: &ContainerConfig, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => config.shell_words(text),
    }
}

/// `80`, `53/udp`, `8000-8010/tcp`: each port by itself.
fn exposed(text: &str) -> Result<Vec<String>, Error> {
    let bad = || Error::Change(format!("invalid containerPort: {text}"));
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let number = |text: &str| text.parse::<u16>().map_err(|_letters| bad());
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// A path from a directory, absolute and without detours.
fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// As Docker stores it.
fn healthcheck(check: &Healthcheck) -> Value {
    let mut json = json!({ "Test": check.test });
    for (name, value) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", check.retries),
    ] {
        if let Some(value) = value.filter(|value| *value != 0) {
            json[name] = json!(value);
        }
    }
    json
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
            "EXPOSE 80 53/udp $A-3",
            r#"LABEL k="v w""#,
            r#"VOLUME ["/data"]"#,
            "WORKDIR /srv",
            "WORKDIR ./app/../app/",
            "USER 1000:1000",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD true",
        ]);
        assert_eq!(config.cmd.unwrap(), ["a", "b"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(config.env, ["A=2", "B=two words", "C=x y"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["2/tcp", "3/tcp", "53/udp", "80/tcp"]);
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
        assert_eq!(message("EXPOSE 9-8"), "invalid containerPort: 9-8");
        assert!(message("FOO x").contains("unknown instruction: FOO"));
    }
}
