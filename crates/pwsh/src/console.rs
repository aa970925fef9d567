//! The console: variables, statements, what is shown.

use std::collections::HashMap;

use cofferdam_cmdlet::{Bound, Failure, Output, Value, format};
use tree_sitter::Node;

use crate::syntax::{Refused, Source, children, text};

/// What the console needs of the program around it: a screen, the cmdlets' engine, sessions.
pub trait Host {
    /// Output.
    fn write(&mut self, text: &str);
    /// Errors and warnings.
    fn write_error(&mut self, text: &str);
    /// The width of the screen.
    fn width(&self) -> usize;
    /// Runs a cmdlet. `only_says` is `$WhatIfPreference`.
    fn execute(&mut self, bound: &Bound, only_says: bool) -> Output;
    /// Runs it in the background; gives the job.
    fn start_job(&mut self, bound: &Bound) -> Value;
    /// The jobs.
    fn jobs(&mut self) -> Vec<Value>;
    /// Waits for a job, and gives what it gave.
    fn receive_job(&mut self, id: i64) -> Option<Output>;
    /// Forgets a job.
    fn remove_job(&mut self, id: i64) -> bool;
    /// Enters a container.
    fn enter(&mut self, container: &Container) -> Result<(), Failure>;
    /// Leaves it; everything that was started there ends.
    fn leave(&mut self);
    /// The container's name and the directory there, in a session.
    fn session(&self) -> Option<(String, String)>;
    /// Runs a line in the session's shell: its output is shown as it comes, unless it is to be kept. The exit code and
    /// what was kept.
    fn shell(&mut self, line: &str, keep: bool) -> Result<(i64, String), Failure>;
    /// The processes of the session's container.
    fn session_processes(&mut self) -> Result<Vec<Value>, Failure>;
    /// Waits.
    fn sleep(&mut self, seconds: f64);
}

/// A container to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its ID, the beginning of it, or its name.
    pub reference: String,
    /// Whether as root.
    pub administrator: bool,
}

/// Why evaluation does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A terminating error, and the command whose it is.
    Failed(String, Failure),
    /// `exit`
    Exit(i32),
    /// `break`, `continue`, `return`
    Leave(&'static str, Vec<Value>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(String::new(), failure)
    }
}

pub(crate) type Evaluated<T> = Result<T, Stop>;

/// How deep expressions and blocks go.
const MOST_DEPTH: usize = 600;

/// A console.
pub struct Console<H> {
    /// The program around it.
    pub host: H,
    pub(crate) variables: HashMap<String, Value>,
    pub(crate) success: bool,
    pub(crate) last_exit: i64,
    pub(crate) errors: Vec<Value>,
    pub(crate) depth: usize,
    /// How many more steps may be taken; nothing for no limit.
    pub(crate) steps: Option<u64>,
}

impl<H: Host> Console<H> {
    /// A console without variables.
    pub fn new(host: H) -> Self {
        Self {
            host,
            variables: HashMap::new(),
            success: true,
            last_exit: 0,
            errors: Vec::new(),
            depth: 0,
            steps: None,
        }
    }

    /// The same, which ends after so many steps: for scripts that nobody trusts.
    #[must_use]
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Whether the last statement succeeded (`$?`).
    pub fn succeeded(&self) -> bool {
        self.success
    }

    /// The names of the variables, for completion.
    pub fn variable_names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Whether a text needs more lines before it can be run.
    #[must_use]
    pub fn is_incomplete(&self, text: &str) -> bool {
        self.host.session().is_none() && matches!(Source::parse(text), Err(Refused::Incomplete))
    }

    /// Runs lines as they are typed: in a session they are the shell's, but for the console's own. `Some` is the code
    /// to exit with.
    pub fn run(&mut self, text: &str) -> Option<i32> {
        if text.trim().is_empty() {
            return None;
        }
        if self.host.session().is_some() && !is_consoles(text) {
            match self.host.shell(text, false) {
                Ok((code, _)) => {
                    self.last_exit = code;
                    self.success = code == 0;
                }
                Err(failure) => self.report("", &failure),
            }
            return None;
        }
        let source = match Source::parse(text) {
            Ok(source) => source,
            Err(refused) => {
                let failure = match refused {
                    Refused::Wrong(failure) => failure,
                    Refused::Incomplete => {
                        Failure::binding("IncompleteString", "Missing closing bracket or quote.")
                    }
                };
                self.report("ParserError", &failure);
                return None;
            }
        };
        for list in children(source.root()) {
            if list.kind() != "statement_list" {
                self.report("", &crate::not_supported("a param block"));
                return None;
            }
            for statement in children(list) {
                if statement.kind() == "empty_statement" {
                    continue;
                }
                if self.host.session().is_some() && !is_consoles(text_of(&source, statement)) {
                    // What follows Enter-PSSession on one line is for the session.
                    if let Some(code) = self.run(text_of(&source, statement)) {
                        return Some(code);
                    }
                    continue;
                }
                match self.top(&source, statement) {
                    Ok(()) => {}
                    Err(Stop::Exit(_)) if self.host.session().is_some() => self.host.leave(),
                    Err(Stop::Exit(code)) => return Some(code),
                    Err(Stop::Leave(..)) => return None,
                    Err(Stop::Failed(command, failure)) => {
                        self.report(&command, &failure);
                        if self.preference("ErrorActionPreference").eq_ignore_ascii_case("Stop") {
                            return Some(1);
                        }
                    }
                }
            }
        }
        None
    }

    /// A statement whose output is shown.
    fn top(&mut self, source: &Source, statement: Node<'_>) -> Evaluated<()> {
        let tested = !is_assignment(statement);
        if tested && !asks_success(&source.text, statement) {
            self.success = true;
        }
        let values = self.statement(&source.text, statement)?;
        self.show(&values);
        Ok(())
    }

    /// Shows values.
    pub(crate) fn show(&mut self, values: &[Value]) {
        let formatted = |value: &Value| value.object().is_some_and(|object| object.kind == crate::FORMATTED);
        let mut at = 0;
        while at < values.len() {
            if formatted(&values[at]) {
                let text = values[at].member("Text").to_string();
                self.host.write(&text);
                at += 1;
                continue;
            }
            let count = values[at..].iter().take_while(|value| !formatted(value)).count();
            let width = self.host.width();
            self.host.write(&format::default(&values[at..at + count], width));
            at += count;
        }
    }

    /// Shows an error as PowerShell 7 does, and keeps it in `$Error`.
    pub(crate) fn report(&mut self, command: &str, failure: &Failure) {
        self.success = false;
        self.keep(failure);
        let prefix = if command.is_empty() { String::new() } else { format!("{command}: ") };
        // What a daemon or an image says must not move the cursor.
        let plain = |letter: char| if letter.is_control() && letter != '\n' { ' ' } else { letter };
        let message: String = failure.message.chars().map(plain).collect();
        self.host.write_error(&format!("{prefix}{message}\n"));
    }

    pub(crate) fn keep(&mut self, failure: &Failure) {
        let record = cofferdam_cmdlet::Object::new("ErrorRecord")
            .with("Message", failure.message.as_str())
            .with("CategoryInfo", format!("{:?}", failure.category))
            .with("FullyQualifiedErrorId", failure.id)
            .with("TargetObject", failure.target.as_str());
        self.errors.insert(0, record.into());
        self.errors.truncate(256);
    }

    pub(crate) fn preference(&self, name: &str) -> String {
        self.variables.get(&name.to_lowercase()).map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Evaluated<T>) -> Evaluated<T> {
        if let Some(steps) = &mut self.steps {
            *steps = steps
                .checked_sub(1)
                .ok_or_else(|| Stop::from(Failure::binding("TooManySteps", "The script takes too long.")))?;
        }
        if self.depth >= MOST_DEPTH {
            return Err(Failure::binding("CallDepthOverflow", "The script is nested too deeply.").into());
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }
}

fn text_of<'a>(source: &'a Source, node: Node<'_>) -> &'a str {
    text(&source.text, node)
}

fn is_assignment(statement: Node<'_>) -> bool {
    statement.named_child(0).is_some_and(|child| child.kind() == "assignment_expression")
}

/// Whether a statement is about `$?` itself.
fn asks_success(source: &str, statement: Node<'_>) -> bool {
    text(source, statement).contains("$?")
}

/// Whether a line in a session is the console's: of its own cmdlets about sessions and processes, not the shell's.
fn is_consoles(line: &str) -> bool {
    let word =
        line.trim_start().split(|letter: char| letter.is_whitespace() || "|;({".contains(letter)).next();
    let word = word.unwrap_or_default();
    let own = ["Get-Process", "gps", "Exit-PSSession", "exit", "Get-Help"];
    own.iter().any(|name| name.eq_ignore_ascii_case(word)) && Source::parse(line).is_ok()
}
