//! Lines from a keyboard, with history and completion, or from a stream.

use cofferdam_cmdlet::table;
use cofferdam_pwsh::{ALIASES, Console, Host as _, LANGUAGE};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Context, Editor, Helper, Highlighter, Hinter, Validator};

use super::Here;
use crate::stdio::input_is_terminal;

/// Runs lines until their end, or `exit`. The exit code.
pub fn read_lines(console: &mut Console<Here>) -> anyhow::Result<i32> {
    if input_is_terminal() { typed(console) } else { streamed(console, std::io::stdin().lock()) }
}

/// Lines of a stream; those that are not complete are joined.
pub fn streamed(console: &mut Console<Here>, lines: impl std::io::BufRead) -> anyhow::Result<i32> {
    let mut text = String::new();
    for line in lines.lines() {
        text += &line?;
        text.push('\n');
        if console.is_incomplete(&text) {
            continue;
        }
        if let Some(code) = console.run(&std::mem::take(&mut text)) {
            return Ok(code);
        }
    }
    Ok(console.run(&text).unwrap_or(i32::from(!console.succeeded())))
}

fn typed(console: &mut Console<Here>) -> anyhow::Result<i32> {
    let config = Config::builder().max_history_size(1000)?.auto_add_history(true).build();
    let mut editor: Editor<Names, FileHistory> = Editor::with_config(config)?;
    let history =
        std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cofferdam_pwsh_history"));
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    let code = loop {
        let prompt = match console.host.session() {
            Some((name, directory)) => format!("[{name}]: {directory}> "),
            None => {
                let here = std::env::current_dir().unwrap_or_default();
                format!("PS {}> ", here.display())
            }
        };
        let mut names = console.host.names();
        names.extend(console.variable_names().map(|name| format!("${name}")));
        editor.set_helper(Some(Names { names }));
        let mut text = String::new();
        let mut prompt = prompt.as_str();
        let ended = loop {
            match editor.readline(prompt) {
                Ok(line) => {
                    text += &line;
                    text.push('\n');
                    if !console.is_incomplete(&text) {
                        break false;
                    }
                    prompt = ">> ";
                }
                Err(ReadlineError::Interrupted) => {
                    text.clear();
                    break false;
                }
                Err(ReadlineError::Eof) => break true,
                Err(error) => return Err(error.into()),
            }
        };
        if ended {
            if console.host.session().is_some() {
                console.host.leave();
                continue;
            }
            break 0;
        }
        if let Some(code) = console.run(&text) {
            break code;
        }
    };
    if let Some(path) = &history {
        // A home that cannot be written has no history.
        let _ = editor.save_history(path);
    }
    Ok(code)
}

/// What lines are completed with.
#[derive(Helper, Hinter, Highlighter, Validator)]
struct Names {
    names: Vec<String>,
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..at];
        let start = before.rfind([' ', '|', '(', '{', ';', ',']).map_or(0, |place| place + 1);
        Ok((start, candidates(&before[..start], &before[start..], &self.names)))
    }
}

fn candidates(before: &str, word: &str, names: &[String]) -> Vec<Pair> {
    let command = before.rsplit(['|', '(', '{', ';', '=']).next().unwrap_or_default().trim_start();
    let all: Vec<String> = if command.is_empty() && !word.starts_with('$') {
        table::all().map(|cmdlet| cmdlet.name).chain(LANGUAGE).map(str::to_owned).collect()
    } else if word.starts_with('-') {
        let name = command.split(' ').next().unwrap_or_default();
        let name =
            ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map_or(name, |(_, full)| full);
        let parameters =
            table::find(name).into_iter().flat_map(|cmdlet| cmdlet.all_parameters().chain(table::COMMON));
        parameters.map(|parameter| format!("-{}", parameter.name)).collect()
    } else {
        names.to_vec()
    };
    let fits = |name: &String| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    all.into_iter().filter(fits).map(|name| Pair { display: name.clone(), replacement: name }).collect()
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn words_are_completed_by_their_place() {
        let names = ["DEMO".to_owned(), "nanoserver:latest".to_owned(), "$con".to_owned()];
        let of = |before: &str, word: &str| -> Vec<String> {
            candidates(before, word, &names).into_iter().map(|pair| pair.replacement).collect()
        };
        assert_eq!(of("", "start-c"), ["Start-Container"]);
        assert_eq!(of("Get-Container | ", "Stop-Con"), ["Stop-Container"]);
        assert_eq!(of("New-Container ", "-Sw"), ["-SwitchName"]);
        assert_eq!(of("Start-Container ", "de"), ["DEMO"]);
        assert_eq!(of("Start-Container ", "$"), ["$con"]);
    }
}
