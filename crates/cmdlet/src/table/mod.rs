//! The one table of cmdlets. Binding, help, completion, the PowerShell module and docs/cmdlets.md all come from it, so
//! they cannot disagree.

mod compute;
mod containers;
mod images;
mod networks;
mod storage;

/// A cmdlet.
#[derive(Debug)]
pub struct Cmdlet {
    /// `Get-Container`
    pub name: &'static str,
    /// One sentence.
    pub synopsis: &'static str,
    /// What else there is to know, in paragraphs; also where Linux differs from the original.
    pub description: &'static str,
    /// Its parameter sets; the first is the default.
    pub sets: &'static [&'static str],
    /// Its own parameters.
    pub parameters: &'static [Parameter],
    /// Whether it takes `-CimSession -ComputerName -Credential`.
    pub remote: bool,
    /// Whether it takes `-WhatIf -Confirm`, and how grave what it does is.
    pub process: Option<Impact>,
    /// The types of what it gives.
    pub output: &'static str,
    /// An example.
    pub example: &'static str,
}

/// How grave a change is: grave ones are asked about unless `-Confirm:$false` or `-Force` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impact {
    /// Can be undone.
    Medium,
    /// Something is lost.
    High,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Without the dash.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// The sets that it belongs to; empty for all.
    pub sets: &'static [&'static str],
    /// Its place among arguments without names.
    pub position: Option<u8>,
    /// Whether it must be given.
    pub mandatory: bool,
    /// Whether a pipeline's object can be its value.
    pub by_value: bool,
    /// Whether a property of that name can.
    pub by_name: bool,
    /// For help.
    pub help: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Switch,
    /// A text.
    Text,
    /// Texts.
    Texts,
    /// A whole number, with `KB` to `PB`.
    Long,
    /// `10.0.1`, or a tag.
    Version,
    /// A container's ID, or the beginning of one.
    Guid,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// An object of this type.
    Object(&'static str),
    /// Objects of this type.
    Objects(&'static str),
    /// A script block.
    Script,
}

impl Kind {
    /// As help shows it.
    #[must_use]
    pub fn shown(self) -> String {
        match self {
            Self::Switch => String::new(),
            Self::Text => "<string>".into(),
            Self::Texts => "<string[]>".into(),
            Self::Long => "<long>".into(),
            Self::Version => "<version>".into(),
            Self::Guid => "<guid>".into(),
            Self::Enum(words) => format!("{{{}}}", words.join(" | ")),
            Self::Object(kind) => format!("<{kind}>"),
            Self::Objects(kind) => format!("<{kind}[]>"),
            Self::Script => "<scriptblock>".into(),
        }
    }
}

/// A parameter of that name; what it is beyond that follows.
#[must_use]
pub const fn p(name: &'static str, kind: Kind, help: &'static str) -> Parameter {
    Parameter {
        name,
        aliases: &[],
        kind,
        sets: &[],
        position: None,
        mandatory: false,
        by_value: false,
        by_name: false,
        help,
    }
}

impl Parameter {
    const fn at(mut self, position: u8) -> Self {
        self.position = Some(position);
        self
    }

    const fn must(mut self) -> Self {
        self.mandatory = true;
        self
    }

    const fn within(mut self, sets: &'static [&'static str]) -> Self {
        self.sets = sets;
        self
    }

    const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn by_value(mut self) -> Self {
        self.by_value = true;
        self
    }

    const fn by_name(mut self) -> Self {
        self.by_name = true;
        self
    }

    /// Whether it is in a set.
    #[must_use]
    pub fn is_in(&self, set: &str) -> bool {
        self.sets.is_empty() || self.sets.contains(&set)
    }
}

/// Where the daemon is.
const REMOTE: &[Parameter] = &[
    p(
        "CimSession",
        Kind::Text,
        "The daemon to talk to, as -ComputerName has it: an address stands for a session here.",
    ),
    p(
        "ComputerName",
        Kind::Text,
        "The daemon to talk to: '.' or localhost for this host's, unix:///path, or tcp://host:port, which uses TLS \
         when DOCKER_TLS_VERIFY is set.",
    )
    .also(&["Cn"]),
    p(
        "Credential",
        Kind::Text,
        "Not supported: a daemon knows its clients by their TLS certificates, which DOCKER_CERT_PATH names.",
    ),
];

/// What every cmdlet that changes something takes.
const PROCESS: &[Parameter] = &[
    p("WhatIf", Kind::Switch, "Says what would happen, and does nothing.").also(&["wi"]),
    p("Confirm", Kind::Switch, "Asks before anything happens.").also(&["cf"]),
];

/// PowerShell's common parameters, as far as they mean something here.
pub const COMMON: &[Parameter] = &[
    p(
        "ErrorAction",
        Kind::Enum(&["Continue", "SilentlyContinue", "Stop", "Ignore", "Inquire"]),
        "What happens after an error of one object of several.",
    )
    .also(&["ea"]),
    p("ErrorVariable", Kind::Text, "A variable for the errors.").also(&["ev"]),
    p("OutVariable", Kind::Text, "A variable for the output.").also(&["ov"]),
    p("WarningAction", Kind::Enum(&["Continue", "SilentlyContinue", "Stop", "Ignore"]), "For warnings.")
        .also(&["wa"]),
    p("Verbose", Kind::Switch, "Says what is done.").also(&["vb"]),
    p("Debug", Kind::Switch, "Accepted.").also(&["db"]),
];

pub(crate) const AS_JOB: Parameter = p("AsJob", Kind::Switch, "Runs in the background, as a job.");
pub(crate) const PASSTHRU: Parameter = p("Passthru", Kind::Switch, "Gives the object that was changed.");

impl Cmdlet {
    /// Its parameters with those for the daemon and for `-WhatIf`.
    pub fn all_parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let remote = if self.remote { REMOTE } else { &[] };
        let process = if self.process.is_some() { PROCESS } else { &[] };
        self.parameters.iter().chain(remote).chain(process)
    }

    /// `Get` of `Get-Container`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        self.name.split_once('-').map_or(self.name, |(verb, _)| verb)
    }
}

/// All cmdlets, in the order of their names.
pub fn all() -> impl Iterator<Item = &'static Cmdlet> {
    static SORTED: std::sync::LazyLock<Vec<&'static Cmdlet>> = std::sync::LazyLock::new(|| {
        let tables: [&'static [Cmdlet]; 5] =
            [containers::CMDLETS, images::CMDLETS, networks::CMDLETS, storage::CMDLETS, compute::CMDLETS];
        let mut all: Vec<_> = tables.into_iter().flatten().collect();
        all.sort_by_key(|cmdlet| cmdlet.name);
        all
    });
    SORTED.iter().copied()
}

/// The cmdlet of that name, in any case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Cmdlet> {
    all().find(|cmdlet| cmdlet.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut names = Vec::new();
        for cmdlet in all() {
            names.push(cmdlet.name);
            assert!(!cmdlet.sets.is_empty() && cmdlet.synopsis.ends_with('.'), "{}", cmdlet.name);
            let mut seen = Vec::new();
            for parameter in cmdlet.all_parameters().chain(COMMON) {
                assert!(parameter.help.ends_with('.'), "{} -{}", cmdlet.name, parameter.name);
                for name in parameter.aliases.iter().chain([&parameter.name]) {
                    let name = name.to_ascii_lowercase();
                    assert!(!seen.contains(&name), "{} has -{name} twice", cmdlet.name);
                    seen.push(name);
                }
                assert!(
                    parameter.sets.iter().all(|set| cmdlet.sets.contains(set)),
                    "{} -{}",
                    cmdlet.name,
                    parameter.name
                );
            }
        }
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!(names, unique);
        assert!(names.len() >= 40, "{}", names.len());
    }
}
