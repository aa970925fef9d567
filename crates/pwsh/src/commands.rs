//! Pipelines and commands: the table's cmdlets, and the few of the language itself.

use cofferdam_cmdlet::{Argument, Failure, Output, Value, bind, choose_processes, table};
use tree_sitter::Node;

use crate::console::{Console, Container, Evaluated, Host, Stop};
use crate::syntax::{children, text};
use crate::{not_supported, operators};

/// Short names.
pub const ALIASES: [(&str, &str); 26] = [
    ("?", "Where-Object"),
    ("%", "ForEach-Object"),
    ("where", "Where-Object"),
    ("foreach", "ForEach-Object"),
    ("select", "Select-Object"),
    ("sort", "Sort-Object"),
    ("measure", "Measure-Object"),
    ("ft", "Format-Table"),
    ("fl", "Format-List"),
    ("echo", "Write-Output"),
    ("write", "Write-Output"),
    ("gps", "Get-Process"),
    ("ps", "Get-Process"),
    ("gcm", "Get-Command"),
    ("help", "Get-Help"),
    ("man", "Get-Help"),
    ("icm", "Invoke-Command"),
    ("etsn", "Enter-PSSession"),
    ("exsn", "Exit-PSSession"),
    ("gjb", "Get-Job"),
    ("rcjb", "Receive-Job"),
    ("wjb", "Wait-Job"),
    ("rjb", "Remove-Job"),
    ("sleep", "Start-Sleep"),
    ("group", "Group-Object"),
    ("gu", "Get-Unique"),
];

/// The language's own cmdlets.
pub const LANGUAGE: [&str; 18] = [
    "ConvertTo-Json",
    "ForEach-Object",
    "Format-List",
    "Format-Table",
    "Get-Command",
    "Get-Help",
    "Get-Job",
    "Import-Module",
    "Measure-Object",
    "Out-Null",
    "Receive-Job",
    "Remove-Job",
    "Select-Object",
    "Sort-Object",
    "Start-Sleep",
    "Wait-Job",
    "Where-Object",
    "Write-Output",
];

impl<H: Host> Console<H> {
    /// A pipeline's output.
    pub(crate) fn pipeline(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        let parts = children(node);
        if let [assignment] = parts.as_slice()
            && assignment.kind() == "assignment_expression"
        {
            return self.assignment(source, *assignment);
        }
        let mut output = Vec::new();
        let mut go = true;
        for part in parts {
            match part.kind() {
                "pipeline_chain" if go => output.extend(self.chain(source, part)?),
                "pipeline_chain" => {}
                "pipeline_chain_tail" => go = (text(source, part) == "&&") == self.success,
                kind => return Err(not_supported(kind).into()),
            }
        }
        Ok(output)
    }

    fn chain(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        let mut values: Option<Vec<Value>> = None;
        for part in children(node) {
            values = Some(match part.kind() {
                "command" => self.command(source, part, values)?,
                "redirections" => return Err(not_supported("a redirection").into()),
                "verbatim_command_argument" => return Err(not_supported("--%").into()),
                _ => {
                    let asks = text(source, part).contains("$?");
                    let value = self.expression(source, part)?;
                    if !asks {
                        self.success = true;
                    }
                    // What a variable holds is a pipeline's items; an increment or an assignment in brackets is not.
                    value.items()
                }
            });
        }
        Ok(values.unwrap_or_default())
    }

    fn command(&mut self, source: &str, node: Node<'_>, input: Option<Vec<Value>>) -> Evaluated<Vec<Value>> {
        let Some(name) = node.child_by_field_name("command_name") else { return Ok(Vec::new()) };
        if name.kind() != "command_name" {
            return self.invoke_block(source, node, name, input);
        }
        let written = text(source, name);
        let arguments = match node.child_by_field_name("command_elements") {
            Some(elements) => self.arguments(source, elements)?,
            None => Vec::new(),
        };
        // The grammar takes `256MB` and `1..4` for names of commands.
        if arguments.is_empty() && input.is_none() {
            if let Some(number) = cofferdam_cmdlet::size(written) {
                return Ok(vec![Value::Int(number)]);
            }
            let ends =
                written.split_once("..").map(|(a, b)| (cofferdam_cmdlet::size(a), cofferdam_cmdlet::size(b)));
            if let Some((Some(from), Some(to))) = ends {
                return Ok(operators::range(&Value::Int(from), &Value::Int(to))?.items());
            }
        }
        let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(written));
        let wanted = alias.map_or(written, |(_, name)| *name);
        let named = |stop: Stop| match stop {
            Stop::Failed(command, failure) if command.is_empty() => {
                Stop::Failed(canonical(wanted).to_owned(), failure)
            }
            other => other,
        };
        self.deeper(|this| {
            if let Some(own) = LANGUAGE.iter().find(|own| own.eq_ignore_ascii_case(wanted)) {
                return this.language(own, &arguments, input.unwrap_or_default()).map_err(named);
            }
            match table::find(wanted) {
                Some(cmdlet) => this.cmdlet(cmdlet, &arguments, input).map_err(named),
                None => Err(unknown(written)),
            }
        })
    }

    /// `& { … }`
    fn invoke_block(
        &mut self,
        source: &str,
        node: Node<'_>,
        name: Node<'_>,
        input: Option<Vec<Value>>,
    ) -> Evaluated<Vec<Value>> {
        if input.is_some() || node.child_by_field_name("command_elements").is_some() {
            return Err(not_supported("a block with arguments").into());
        }
        let Some(inner) = name.named_child(0) else { return Err(not_supported("this command").into()) };
        match inner.kind() {
            "command_name" | "path_command_name" => Err(unknown(text(source, inner))),
            _ => match self.expression(source, inner)? {
                Value::Script(script) => self.block(&script, None),
                other => Err(unknown(&other.to_string())),
            },
        }
    }

    /// The pieces of a command line.
    fn arguments(&mut self, source: &str, elements: Node<'_>) -> Evaluated<Vec<Argument>> {
        let mut arguments: Vec<Argument> = Vec::new();
        // Items of a list that a comma goes on with; what a colon gives to the parameter before it.
        let (mut comma, mut colon) = (false, false);
        let mut cursor = elements.walk();
        let parts: Vec<_> = elements.children(&mut cursor).collect();
        for part in parts {
            let raw = text(source, part);
            let value = match part.kind() {
                "command_argument_sep" => {
                    colon = raw == ":";
                    continue;
                }
                "," => {
                    comma = true;
                    continue;
                }
                "comment" => continue,
                "command_parameter" => {
                    arguments.push(Argument::Named(raw.trim_start_matches('-').to_owned(), None));
                    continue;
                }
                "generic_token" => {
                    // The documents' dash is a dash.
                    if !comma && let Some(name) = raw.strip_prefix(['\u{2013}', '\u{2014}', '\u{2015}']) {
                        arguments.push(Argument::Named(name.to_owned(), None));
                        continue;
                    }
                    word(raw)
                }
                "redirection" | "redirections" => return Err(not_supported("a redirection").into()),
                "stop_parsing" => return Err(not_supported("--%").into()),
                "argument_list" => return Err(not_supported("calling a method").into()),
                _ => self.expression(source, part)?,
            };
            match arguments.last_mut() {
                Some(Argument::Named(_, attached)) if colon => *attached = Some(value),
                Some(Argument::Value(before) | Argument::Named(_, Some(before))) if comma => {
                    let mut items =
                        if let Value::List(items) = &*before { items.to_vec() } else { vec![before.clone()] };
                    items.push(value);
                    *before = Value::list(items);
                }
                _ => arguments.push(Argument::Value(value)),
            }
            (comma, colon) = (false, false);
        }
        Ok(arguments)
    }

    /// A cmdlet of the table, for each object of the pipeline.
    fn cmdlet(
        &mut self,
        cmdlet: &'static table::Cmdlet,
        arguments: &[Argument],
        input: Option<Vec<Value>>,
    ) -> Evaluated<Vec<Value>> {
        let bound = bind(cmdlet, arguments)?;
        let action = bound.text("ErrorAction").unwrap_or_else(|| self.preference("ErrorActionPreference"));
        let mut all = Output::default();
        let each: Vec<_> = match input {
            None => {
                bound.complete()?;
                vec![Ok(bound.clone())]
            }
            Some(items) => items.iter().map(|item| bound.with_input(item)).collect(),
        };
        self.success = true;
        for one in each {
            let output = match one {
                Ok(bound) => self.cmdlet_once(&bound)?,
                Err(failure) if failure.terminating => return Err(failure.into()),
                Err(failure) => Output { errors: vec![failure], ..Output::default() },
            };
            all.warnings.extend(output.warnings);
            all.objects.extend(output.objects);
            for failure in output.errors {
                let stops = failure.terminating || action.eq_ignore_ascii_case("Stop");
                if !stops {
                    if let Some(name) = bound.text("ErrorVariable") {
                        self.variables.insert(name.to_lowercase(), failure.message.as_str().into());
                    }
                    if action.eq_ignore_ascii_case("SilentlyContinue")
                        || action.eq_ignore_ascii_case("Ignore")
                    {
                        self.success = false;
                        self.keep(&failure);
                    } else {
                        self.report(cmdlet.name, &failure);
                    }
                    continue;
                }
                // What was given before is not lost.
                self.show(&all.objects);
                return Err(Stop::Failed(cmdlet.name.to_owned(), failure));
            }
        }
        let silent = bound.text("WarningAction").is_some_and(|action| action == "SilentlyContinue");
        for warning in all.warnings.iter().filter(|_| !silent) {
            self.host.write_error(&format!("WARNING: {warning}\n"));
        }
        if let Some(name) = bound.text("OutVariable") {
            self.variables.insert(name.to_lowercase(), Value::list(all.objects.clone()));
        }
        Ok(all.objects)
    }

    fn cmdlet_once(&mut self, bound: &cofferdam_cmdlet::Bound) -> Evaluated<Output> {
        let given = |objects: Vec<Value>| Output { objects, ..Output::default() };
        match bound.cmdlet.name {
            "Enter-PSSession" => {
                if self.host.session().is_some() {
                    return Err(Failure::binding(
                        "NestedSession",
                        "A session is open: leave it with exit first.",
                    )
                    .into());
                }
                self.host.enter(&container(bound))?;
                Ok(Output::default())
            }
            "Exit-PSSession" => {
                self.host.leave();
                Ok(Output::default())
            }
            "Invoke-Command" => {
                if self.host.session().is_some() {
                    return Err(Failure::binding(
                        "NestedSession",
                        "A session is open: leave it with exit first.",
                    )
                    .into());
                }
                self.host.enter(&container(bound))?;
                let result = self.invoke_in_session(&bound.text("ScriptBlock").unwrap_or_default());
                self.host.leave();
                Ok(given(result?))
            }
            "Get-Process" if self.host.session().is_some() => {
                let (objects, errors) = choose_processes(bound, self.host.session_processes()?);
                Ok(Output { objects, errors, ..Output::default() })
            }
            _ if bound.flag("AsJob") => Ok(given(vec![self.host.start_job(bound)])),
            _ => {
                let only_says = self.variables.get("whatifpreference").is_some_and(Value::truth);
                Ok(self.host.execute(bound, only_says))
            }
        }
    }

    /// A block of `Invoke-Command`: the console's when it begins with `Get-Process`, else the shell's.
    fn invoke_in_session(&mut self, script: &str) -> Evaluated<Vec<Value>> {
        let first = script
            .split(|letter: char| letter.is_whitespace() || letter == '|')
            .find(|word| !word.is_empty());
        if first.is_some_and(|word| ["get-process", "gps"].contains(&word.to_lowercase().as_str())) {
            return self.block(script, None);
        }
        let (code, printed) = self.host.shell(script.trim(), true)?;
        self.last_exit = code;
        self.success = code == 0;
        Ok(printed.lines().map(Value::text).collect())
    }
}

fn container(bound: &cofferdam_cmdlet::Bound) -> Container {
    let reference = bound.text("ContainerId").or_else(|| bound.text("ContainerName")).unwrap_or_default();
    Container { reference, administrator: bound.flag("RunAsAdministrator") }
}

fn canonical(name: &str) -> &str {
    let own = LANGUAGE.iter().find(|own| own.eq_ignore_ascii_case(name)).copied();
    own.or_else(|| table::find(name).map(|cmdlet| cmdlet.name)).unwrap_or(name)
}

/// PowerShell's words.
fn unknown(name: &str) -> Stop {
    let failure = Failure {
        terminating: true,
        ..Failure::of(
            cofferdam_cmdlet::Category::ObjectNotFound,
            "CommandNotFoundException",
            name,
            format!(
                "The term '{name}' is not recognized as a name of a cmdlet, function, script file, or executable program.\n\
                 This console has the cmdlets of the Containers module: Get-Command lists them."
            ),
        )
    };
    Stop::Failed(name.to_owned(), failure)
}

/// A word without quotes: a number when it is one.
fn word(text: &str) -> Value {
    let text = crate::eval::unescape(text, false);
    match cofferdam_cmdlet::size(&text) {
        Some(number) if text.starts_with(|letter: char| letter.is_ascii_digit()) => Value::Int(number),
        _ => Value::from(text),
    }
}
