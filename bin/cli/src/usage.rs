//! Arguments as Docker's CLI takes them, and its words and exit codes for wrong ones.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _};

use crate::args::Cli;

/// Parses; `--help` and `--version` are refusals with an exit code of 0.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = Cli::command();
    if arguments.iter().any(sets_boolean) {
        command = with_boolean_values(command);
    }
    let matches = command.try_get_matches_from_mut(&arguments).map_err(|error| refuse(&error, &arguments))?;
    Cli::from_arg_matches(&matches).map_err(|error| refuse(&error, &arguments))
}

/// `--rm=false`, `-d=true`
fn sets_boolean(argument: &OsString) -> bool {
    let text = argument.to_string_lossy();
    text.starts_with('-') && text.split_once('=').is_some_and(|(_, value)| boolean(value).is_ok())
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid boolean {text:?}")),
    }
}

/// Docker's switches take `=true` and `=false`. Ours learn it only when somebody uses it: in help it is noise.
fn with_boolean_values(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        if !matches!(argument.get_action(), ArgAction::SetTrue) {
            return argument;
        }
        argument
            .action(ArgAction::Set)
            .value_parser(boolean)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
    });
    command.mut_subcommands(with_boolean_values)
}

/// Why nothing is run: what to print, and the exit code.
#[derive(Debug)]
pub struct Refusal {
    /// What to print: to standard output when the code is 0 (it was asked for), else to standard error.
    pub text: String,
    /// The exit code.
    pub code: i32,
}

fn refuse(error: &clap::Error, arguments: &[OsString]) -> Refusal {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let help = error.render();
            let styled = std::io::stdout().is_terminal();
            return Refusal {
                text: if styled { help.ansi().to_string() } else { help.to_string() },
                code: 0,
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Refusal { text: error.render().to_string(), code: 1 };
        }
        _ => {}
    }
    let (message, code) = say(error);
    let near = match error.get(ContextKind::SuggestedSubcommand).or(error.get(ContextKind::SuggestedArg)) {
        Some(ContextValue::String(near)) => near.clone(),
        Some(ContextValue::Strings(near)) => near.join(" or "),
        _ => String::new(),
    };
    let hint = if near.is_empty() { near } else { format!("hint: did you mean {near}?\n") };
    Refusal { text: format!("cofferdam: {message}\n{hint}See '{} --help'.\n", verb(arguments)), code }
}

/// The message and the exit code: 125 for flags, 1 for everything else, as Docker's.
fn say(error: &clap::Error) -> (String, i32) {
    let text = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = text(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            (format!("unknown flag: {argument}"), 125)
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            (format!("unknown shorthand flag: {argument}"), 125)
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            (format!("unexpected argument: {argument}"), 1)
        }
        ErrorKind::InvalidSubcommand => {
            (format!("unknown command: {}", text(ContextKind::InvalidSubcommand)), 1)
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(names)) => names.join(", "),
                _ => argument,
            };
            (format!("missing argument: {missing}"), 1)
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            (format!("flag needs an argument: {argument}"), 125)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue);
            let why = std::error::Error::source(error).map(|why| format!(": {why}")).unwrap_or_default();
            let valid = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(valid)) => format!(": must be one of {}", valid.join(", ")),
                _ => String::new(),
            };
            (format!("invalid argument {value:?} for {argument}{why}{valid}"), 125)
        }
        _ => {
            let full = error.render().to_string();
            let first = full.lines().next().unwrap_or_default();
            (first.trim_start_matches("error: ").to_owned(), 125)
        }
    }
}

/// `cofferdam container run`: the commands among the arguments.
fn verb(arguments: &[OsString]) -> String {
    let root = Cli::command();
    let mut command = &root;
    let mut path = "cofferdam".to_owned();
    for argument in arguments.iter().skip(1) {
        if let Some(found) = argument.to_str().and_then(|name| command.find_subcommand(name)) {
            path = format!("{path} {}", found.get_name());
            command = found;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, ContainerVerb};

    fn run(line: &str) -> crate::commands::run::Arguments {
        match parse(line.split(' ').map(OsString::from)).unwrap().command {
            Command::Container(ContainerVerb::Run(arguments)) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
        with_boolean_values(Cli::command()).debug_assert();
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        let arguments = run("cofferdam run -it --rm -e A=b image sh -c x --rm -- -it");
        assert!(arguments.options.interactive && arguments.options.tty && arguments.rm);
        assert_eq!(arguments.options.image_and_command, ["image", "sh", "-c", "x", "--rm", "--", "-it"]);
        assert_eq!(run("cofferdam run image -x").options.image_and_command, ["image", "-x"]);
        assert_eq!(run("cofferdam run -- image -- x").options.image_and_command, ["image", "--", "x"]);
    }

    #[test]
    fn switches_take_values_and_the_last_one_wins() {
        let arguments = run("cofferdam run --rm=false -it=true --name a --name b -h host image --rm=true");
        assert!(!arguments.rm && arguments.options.interactive && arguments.options.tty);
        assert_eq!(arguments.options.name.as_deref(), Some("b"));
        assert_eq!(arguments.options.hostname.as_deref(), Some("host"));
    }

    #[test]
    fn refusals_say_what_and_where_to_look() {
        let say = |line: &str| parse(line.split(' ').map(OsString::from)).unwrap_err().text;
        assert_eq!(
            say("cofferdam run --foo x"),
            "cofferdam: unknown flag: --foo\nSee 'cofferdam run --help'.\n"
        );
        let text = say("cofferdam run -m 5x image");
        assert!(
            text.starts_with("cofferdam: invalid argument \"5x\" for --memory <BYTES>: invalid size"),
            "{text}"
        );
        assert!(say("cofferdam container ls --filter x").ends_with("See 'cofferdam container ls --help'.\n"));
        assert!(say("cofferdam imagse").contains(" images "), "{}", say("cofferdam imagse"));
    }

    #[test]
    fn wrong_flags_end_with_125_and_wrong_arguments_with_1() {
        for (line, code) in [
            ("cofferdam run --foo image", 125),
            ("cofferdam run --isolation", 125),
            ("cofferdam ps -Z", 125),
            ("cofferdam foo", 1),
            ("cofferdam ps extra", 1),
            ("cofferdam rm", 1),
            ("cofferdam run", 1),
            ("cofferdam container", 1),
            ("cofferdam --version", 0),
            ("cofferdam run --help", 0),
        ] {
            let refusal = parse(line.split(' ').map(OsString::from)).unwrap_err();
            assert_eq!(refusal.code, code, "{line}: {}", refusal.text);
            assert!(!refusal.text.is_empty());
        }
    }
}
