//! What an instruction says.

use crate::duration::nanoseconds;
use crate::flags::{self, Flags};
use crate::heredoc::{self, Heredoc};
use crate::lines::Line;
use crate::pairs::{self, pairs};

/// One instruction. Variables in it are not replaced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// A stage begins.
    From(From),
    /// Values that whoever builds may give.
    Arg(Vec<ArgDefault>),
    /// Variables of the environment.
    Env(Vec<(String, String)>),
    /// Labels.
    Label(Vec<(String, String)>),
    /// The author.
    Maintainer(String),
    /// Files, also from URLs and archives.
    Add(Copying),
    /// Files.
    Copy(Copying),
    /// A program runs.
    Run(Run),
    /// The image's default command.
    Cmd(Command),
    /// The image's program.
    Entrypoint(Command),
    /// Ports.
    Expose(Vec<String>),
    /// Directories that are volumes.
    Volume(Vec<String>),
    /// Who runs programs.
    User(String),
    /// Where programs run.
    Workdir(String),
    /// The signal that ends the program.
    StopSignal(String),
    /// The shell of commands in shell form.
    Shell(Vec<String>),
    /// How the container is probed.
    Healthcheck(Healthcheck),
    /// An instruction for images that are built on this one.
    OnBuild(String),
}

/// `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image, or an earlier stage.
    pub image: String,
    /// The stage's name, in lower case.
    pub name: Option<String>,
    /// The image's platform.
    pub platform: Option<String>,
}

/// `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDefault {
    /// Its name.
    pub name: String,
    /// Its value when nobody gives one.
    pub default: Option<String>,
}

/// A command in one of two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// For a shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What runs.
    pub command: Command,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// Whether its only word is a here-document: that is the script then.
    pub script: bool,
    /// `--network=…`.
    pub network: Option<String>,
    /// `--mount=…`.
    pub mounts: Vec<String>,
    /// `--security=…`.
    pub security: Option<String>,
}

/// Where a copied file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path or a URL.
    Path(String),
    /// The Dockerfile itself.
    Text(Heredoc),
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copying {
    /// What.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
    /// A stage or an image, instead of the build's context.
    pub from: Option<String>,
    /// The owner of what is made.
    pub chown: Option<String>,
    /// The mode of what is made.
    pub chmod: Option<String>,
    /// The digest of what is fetched.
    pub checksum: Option<String>,
    /// What is left out.
    pub exclude: Vec<String>,
    /// Whether sources keep the directories that they are in.
    pub parents: bool,
    /// Whether the layer is to be independent of those below.
    pub link: bool,
    /// Whether `.git` comes along.
    pub keep_git_dir: bool,
    /// Whether an archive from a URL is unpacked.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// Docker's list: `NONE`, or `CMD` and words, or `CMD-SHELL` and a text.
    pub test: Vec<String>,
    /// Nanoseconds between two probes.
    pub interval: Option<i64>,
    /// Nanoseconds that one may take.
    pub timeout: Option<i64>,
    /// Nanoseconds at the beginning in which failures do not count.
    pub start_period: Option<i64>,
    /// Nanoseconds between two probes meanwhile.
    pub start_interval: Option<i64>,
    /// How many failures in a row count.
    pub retries: Option<i64>,
}

const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Instruction {
    pub(crate) fn parse(line: &Line, escape: char) -> Result<Self, String> {
        let (word, rest) = line.text.split_once(char::is_whitespace).unwrap_or((&line.text, ""));
        let name = word.to_ascii_uppercase();
        if !KNOWN.contains(&name.as_str()) {
            let shown: String = name.chars().take(100).collect();
            return Err(format!("unknown instruction: {shown}"));
        }
        let (flags, rest) = match name.as_str() {
            // The trigger's flags are its own.
            "ONBUILD" => (Vec::new(), rest.trim()),
            _ => flags::split(rest.trim(), escape)?,
        };
        let mut flags = Flags::new(flags);
        if rest.is_empty() && !matches!(name.as_str(), "CMD" | "ENTRYPOINT") {
            return Err(match name.as_str() {
                "FROM" => "FROM requires either one or three arguments".to_owned(),
                "RUN" | "ARG" | "ENV" | "LABEL" | "EXPOSE" | "VOLUME" | "SHELL" | "COPY" | "ADD"
                | "HEALTHCHECK" => {
                    format!("{name} requires at least one argument")
                }
                _ => format!("{name} requires exactly one argument"),
            });
        }
        let parsed = match name.as_str() {
            "FROM" => Self::From(from(rest, &mut flags)?),
            "ARG" => Self::Arg(args(rest, escape)?),
            "ENV" => Self::Env(pairs("ENV", rest, escape)?),
            "LABEL" => Self::Label(pairs("LABEL", rest, escape)?),
            "MAINTAINER" => Self::Maintainer(rest.to_owned()),
            "COPY" => Self::Copy(copying(&name, rest, &mut flags, line)?),
            "ADD" => Self::Add(copying(&name, rest, &mut flags, line)?),
            "RUN" => Self::Run(run(rest, &mut flags, line, escape)?),
            "CMD" => Self::Cmd(command(rest)?),
            "ENTRYPOINT" => Self::Entrypoint(command(rest)?),
            "EXPOSE" => Self::Expose(rest.split_whitespace().map(str::to_owned).collect()),
            "VOLUME" => {
                let paths = json_words(rest)?.unwrap_or_else(|| pairs::words(rest, escape));
                if paths.iter().any(|path| path.trim().is_empty()) {
                    return Err("VOLUME specified can not be an empty string".to_owned());
                }
                Self::Volume(paths)
            }
            "USER" => Self::User(rest.to_owned()),
            "WORKDIR" => Self::Workdir(rest.to_owned()),
            "STOPSIGNAL" => Self::StopSignal(rest.to_owned()),
            "SHELL" => match json_words(rest)? {
                Some(words) if !words.is_empty() => Self::Shell(words),
                _ => return Err("SHELL requires the arguments to be in JSON form".to_owned()),
            },
            "HEALTHCHECK" => Self::Healthcheck(healthcheck(rest, &mut flags)?),
            _ => Self::OnBuild(trigger(rest)?),
        };
        flags.finish()?;
        Ok(parsed)
    }

    /// The instruction's name in capitals.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::From(_) => "FROM",
            Self::Arg(_) => "ARG",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Add(_) => "ADD",
            Self::Copy(_) => "COPY",
            Self::Run(_) => "RUN",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Expose(_) => "EXPOSE",
            Self::Volume(_) => "VOLUME",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Shell(_) => "SHELL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::OnBuild(_) => "ONBUILD",
        }
    }
}

/// A JSON list of texts; `None` when it is something else, which then is a text itself.
fn json_words(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let words = list.into_iter().map(|value| match value {
        serde_json::Value::String(word) => Ok(word),
        _ => Err("only string type is allowed in JSON arrays".to_owned()),
    });
    words.collect::<Result<_, _>>().map(Some)
}

fn command(text: &str) -> Result<Command, String> {
    Ok(match json_words(text)? {
        Some(words) => Command::Exec(words),
        None if text.is_empty() => Command::Exec(Vec::new()),
        None => Command::Shell(text.to_owned()),
    })
}

fn from(text: &str, flags: &mut Flags) -> Result<From, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let name = match words.as_slice() {
        [_] => None,
        [_, by, name] if by.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
        _ => return Err("FROM requires either one or three arguments".to_owned()),
    };
    if let Some(name) = &name {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
            return Err(format!(
                "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
            ));
        }
    }
    Ok(From { image: words[0].to_owned(), name, platform: flags.text("platform")? })
}

fn args(text: &str, escape: char) -> Result<Vec<ArgDefault>, String> {
    let arg = |word: &String| {
        let (name, default) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if name.is_empty() {
            return Err("ARG names can not be blank".to_owned());
        }
        Ok(ArgDefault { name: name.to_owned(), default })
    };
    pairs::words(text, escape).iter().map(arg).collect()
}

fn run(text: &str, flags: &mut Flags, line: &Line, escape: char) -> Result<Run, String> {
    let script = match line.heredocs.as_slice() {
        [_] => pairs::words(text, escape).len() == 1,
        _ => false,
    };
    Ok(Run {
        command: command(text)?,
        heredocs: line.heredocs.clone(),
        script,
        network: flags.text("network")?,
        mounts: flags.texts("mount")?,
        security: flags.text("security")?,
    })
}

fn copying(name: &str, text: &str, flags: &mut Flags, line: &Line) -> Result<Copying, String> {
    let words = match json_words(text)? {
        Some(words) => words,
        // Words with quotes lose them only here: variables come later.
        None => text.split_whitespace().map(str::to_owned).collect(),
    };
    let Some((destination, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        ));
    };
    let mut heredocs = line.heredocs.iter();
    let mut read = Vec::new();
    for word in sources {
        let announces = !line.heredocs.is_empty() && heredoc::of_word(word).is_some();
        match announces.then(|| heredocs.next()).flatten() {
            Some(document) => read.push(Source::Text(document.clone())),
            None => read.push(Source::Path(word.clone())),
        }
    }
    if heredocs.next().is_some() {
        return Err(format!("{name} cannot accept a heredoc as a destination"));
    }
    let (add, copy) = (name == "ADD", name == "COPY");
    Ok(Copying {
        sources: read,
        destination: destination.clone(),
        from: if copy { flags.text("from")? } else { None },
        chown: flags.text("chown")?,
        chmod: flags.text("chmod")?,
        checksum: if add { flags.text("checksum")? } else { None },
        exclude: flags.texts("exclude")?,
        parents: copy && flags.switch("parents")?,
        link: flags.switch("link")?,
        keep_git_dir: add && flags.switch("keep-git-dir")?,
        unpack: match add.then(|| flags.text("unpack")).transpose()?.flatten().as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(format!("expecting boolean value for flag unpack, not: {other}")),
        },
    })
}

fn healthcheck(text: &str, flags: &mut Flags) -> Result<Healthcheck, String> {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let mut time = |name: &str| -> Result<Option<i64>, String> {
        flags.text(name)?.map(|value| nanoseconds(&value)).transpose()
    };
    let times = [time("interval")?, time("timeout")?, time("start-period")?, time("start-interval")?];
    let retries = match flags.text("retries")? {
        None => None,
        Some(text) => match text.parse::<i32>() {
            Ok(count) if count >= 0 => Some(count.into()),
            _ => return Err(format!("--retries cannot be negative or no number ({text})")),
        },
    };
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => match command(rest)? {
            Command::Exec(words) if words.is_empty() => {
                return Err("missing command after HEALTHCHECK CMD".to_owned());
            }
            Command::Exec(words) => [vec!["CMD".to_owned()], words].concat(),
            Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
        },
        _ => return Err(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    };
    let [interval, timeout, start_period, start_interval] = times;
    Ok(Healthcheck { test, interval, timeout, start_period, start_interval, retries })
}

fn trigger(text: &str) -> Result<String, String> {
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "ONBUILD" => Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "MAINTAINER" | "FROM" => Err(format!("{word} isn't allowed as an ONBUILD trigger")),
        known if KNOWN.contains(&known) => Ok(text.to_owned()),
        _ => Err(format!("unknown instruction: {}", word.chars().take(100).collect::<String>())),
    }
}
