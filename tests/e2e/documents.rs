//! The documents, line by line: `documents.txt` has their lines and what must come of them. The run is written down, and
//! is the one in docs/transcripts.md but for what differs from run to run: numbers and IDs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cofferdam_tests::{Background, Case, Daemon, Level, Pty, Test, check, check_eq, eventually};

// Both kinds of container are in the documents themselves.
pub const CASES: &[Test] =
    &[Test::only(&[Level::Hyperv], "documents::line_by_line", line_by_line).with_vms(2)];

const LINES: &str = include_str!("documents.txt");
const RECORDED: &str = include_str!("../../docs/transcripts.md");
/// The process that stands for the documents' csrss.
const PROCESS: &str = "tac";
/// Where a run is to be written: `cargo xtask docs --transcripts` sets it.
const WRITE_TO: &str = "COFFERDAM_TRANSCRIPT";
/// Whom compute processes of others belong to.
const FOREIGN: [&str; 6] = ["cofferdam", "containerd", "podman", "conmon", "docker", "libvirt"];
/// What a line prints ends with this.
const MARK: &str = "0-0-line-has-ended-0-0";

const HEAD: &str = "# The documents, run\n\n\
    Written by `cargo xtask docs --transcripts`, which runs the case `documents::line_by_line`; the case also fails when a run is \
    another one than this, apart from numbers and IDs.\n\n\
    Cofferdam is built after the two editions of \"Hyper-V containers\" (Windows Server Technical Preview 4, January 2016). \
    These are all their lines, in order, through `cofferdam pwsh` and the stock `docker`; `tests/e2e/documents.txt` says at \
    which line of which edition each is, and what it must print. Lines after `#+` are not the documents'. What differs is \
    that the process is `tac` where the documents have csrss, the shell `sh` where they have cmd, and that the image \
    windowsservercore is the small one under that name, for a run that needs no network.\n";

fn line_by_line(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "documents", &[])?;
    daemon.install_nanoserver()?;
    daemon.docker(&["tag", "nanoserver", "windowsservercore"]).ok()?;
    let mut run = Run::new(&daemon)?;
    let steps = steps(LINES)?;
    check!(steps.iter().filter(|step| step.kind == Kind::Line).count() == 20, "lines are missing");
    for step in &steps {
        run.take(step).with_context(|| format!("at {:?}", step.text))?;
    }
    let written = run.end()?;
    daemon.remove_everything()?;
    if let Some(path) = std::env::var_os(WRITE_TO) {
        return std::fs::write(path, written).context("cannot write the transcript");
    }
    for (seen, recorded) in comparable(&written).iter().zip(comparable(RECORDED)) {
        check!(
            *seen == recorded,
            "docs/transcripts.md is not current (cargo xtask docs --transcripts): {seen} {recorded}"
        );
    }
    check_eq!(comparable(&written).len(), comparable(RECORDED).len());
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Section,
    Note,
    Line,
    Added,
    Check,
}

/// A line of the file with what belongs to it.
struct Step {
    kind: Kind,
    text: String,
    wanted: Vec<String>,
    typed: Vec<String>,
}

fn steps(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').context(line.to_owned())?;
        let kind = match word {
            "==" => Kind::Section,
            "--" => Kind::Note,
            "+" => Kind::Added,
            "?" => Kind::Check,
            "|" | "<" => {
                let step = steps.last_mut().context("nothing to add to")?;
                if word == "|" { &mut step.wanted } else { &mut step.typed }.push(rest.to_owned());
                continue;
            }
            _ if word.starts_with("ja:") => Kind::Line,
            _ => bail!("what is {line:?}?"),
        };
        let rest = if kind == Kind::Line { rest.split_once(' ').context(line.to_owned())?.1 } else { rest };
        steps.push(Step { kind, text: rest.to_owned(), wanted: Vec::new(), typed: Vec::new() });
    }
    Ok(steps)
}

/// A process of the host's own that has the name.
struct Own {
    child: Child,
}

impl Drop for Own {
    fn drop(&mut self) {
        // It ends with its input; this is for a case that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Run<'a> {
    daemon: &'a Daemon,
    console: Background,
    /// Of the console's output, what has been read.
    seen: usize,
    own: Own,
    image: String,
    names: HashMap<String, String>,
    written: String,
    open: bool,
}

impl<'a> Run<'a> {
    fn new(daemon: &'a Daemon) -> Result<Self> {
        let console = daemon.cofferdam(&["pwsh", "-NonInteractive"]).spawn_with_stdin()?;
        let own = Command::new(PROCESS).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let image = daemon.docker(&["image", "inspect", "--format", "{{.Id}}", "nanoserver"]).ok()?;
        let image = image.trim_start_matches("sha256:").get(..12).context("an ID")?.to_owned();
        Ok(Self {
            daemon,
            console,
            seen: 0,
            own: Own { child: own },
            image,
            names: HashMap::new(),
            written: HEAD.to_owned(),
            open: false,
        })
    }

    fn take(&mut self, step: &Step) -> Result<()> {
        match step.kind {
            Kind::Section => {
                self.code(false);
                let _ = write!(self.written, "\n## {}\n", step.text);
                Ok(())
            }
            Kind::Note => {
                self.code(false);
                let _ = write!(self.written, "\n{}\n", step.text);
                Ok(())
            }
            Kind::Check => self.look(&step.text),
            Kind::Line | Kind::Added => {
                self.code(true);
                let line = self.instead(&step.text);
                let added = if step.kind == Kind::Added { "#+ " } else { "" };
                let _ = writeln!(self.written, "{added}{line}");
                let printed = self.execute(&line, step)?;
                self.written += &printed;
                self.compare(&printed, step).with_context(|| format!("it printed:\n{printed}"))
            }
        }
    }

    /// Opens or closes a block of code.
    fn code(&mut self, wanted: bool) {
        if self.open != wanted {
            self.written += if wanted { "\n```powershell\n" } else { "```\n" };
            self.open = wanted;
        }
    }

    /// The line with this host's words.
    fn instead(&self, line: &str) -> String {
        let line = line.replace("'csrss'", &format!("'{PROCESS}'")).replace("646d6317b02f", &self.image);
        if let Some(start) = line.strip_suffix(" cmd") { format!("{start} sh") } else { line }
    }

    fn execute(&mut self, line: &str, step: &Step) -> Result<String> {
        if let Some(arguments) = line.strip_prefix("docker ") {
            let words = words(arguments);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let docker = self.daemon.docker(&words).limit(Duration::from_secs(240));
            return if step.typed.is_empty() {
                docker.ok()
            } else {
                on_a_terminal(Pty::spawn(docker)?, step)
            };
        }
        let (_, command) = line.split_once("> ").context("a prompt")?;
        // Both the console and a container's shell know echo.
        self.console.send(&format!("{command}\necho {MARK}\n"))?;
        let begun = self.seen;
        let end = eventually(Duration::from_secs(180), || {
            Ok(self.console.printed()[begun..].find(MARK).map(|at| begun + at))
        })
        .with_context(|| format!("{:?} does not end: {:?}", command, &self.console.printed()[begun..]))?;
        let printed = self.console.printed();
        self.seen = end + MARK.len() + 1;
        // What other engines run here at the moment is listed, too, and is no part of the documents.
        let others =
            |line: &&str| line.split_whitespace().nth(2).is_some_and(|owner| FOREIGN.contains(&owner));
        let lines = printed[begun..end].split_inclusive('\n').filter(|line| !others(line));
        Ok(lines.collect())
    }

    /// Whether what was printed is what is wanted, and what it names.
    fn compare(&mut self, printed: &str, step: &Step) -> Result<()> {
        let rule =
            |line: &&str| !line.trim().is_empty() && line.chars().any(|letter| !"- \r".contains(letter));
        let mut lines: Vec<&str> = printed.lines().filter(rule).collect();
        for wanted in &step.wanted {
            let wanted: Vec<&str> = wanted.split_whitespace().collect();
            let at = lines.iter().position(|line| self.fits(line, &wanted));
            let at = at.with_context(|| format!("no line is {wanted:?} with {:?}", self.names))?;
            let line = lines.remove(at);
            for (wanted, word) in
                wanted.iter().zip(line.split_whitespace()).filter(|(wanted, _)| named(wanted))
            {
                self.names.insert((*wanted).to_owned(), word.to_lowercase());
            }
        }
        // A terminal also shows what is typed.
        check!(lines.is_empty() || !step.typed.is_empty(), "it printed more: {lines:?}");
        Ok(())
    }

    fn fits(&self, line: &str, wanted: &[&str]) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fits = |(wanted, word): (&&str, &&str)| match self.names.get(*wanted) {
            Some(known) => word.eq_ignore_ascii_case(known),
            None => *wanted == "*" || named(wanted) || wanted == word,
        };
        words.len() == wanted.len() && wanted.iter().zip(&words).all(fits)
    }

    fn name(&self, name: &str) -> Result<&str> {
        self.names.get(name).map(String::as_str).with_context(|| format!("{name} was not seen"))
    }

    /// Looks at the host itself.
    fn look(&mut self, check: &str) -> Result<()> {
        let words: Vec<&str> = check.split_whitespace().collect();
        match words.as_slice() {
            ["own", name] => {
                self.names.insert((*name).to_owned(), self.own.child.id().to_string());
            }
            ["worker", pid, uid, id] => {
                let (pid, uid, id) = (self.name(pid)?, self.name(uid)?, self.name(id)?);
                let seen = self.daemon.inspect(id)?;
                check_eq!(seen["State"]["Pid"].to_string(), pid);
                check_eq!(seen["Cofferdam"]["WorkerUid"].to_string(), uid);
                let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
                check_eq!(field(&status, "Uid").first().map(String::as_str), Some(uid));
                check!(uid != "0", "the worker is root's");
                let user = seen["Cofferdam"]["WorkerUser"].as_str().unwrap_or_default();
                check!(
                    user.contains(&id[..8]),
                    "the worker's user {user:?} does not tell its container {id}"
                );
            }
            ["shared", outside, inside] => {
                let status = std::fs::read_to_string(format!("/proc/{}/status", self.name(outside)?))?;
                check_eq!(field(&status, "Name"), [PROCESS]);
                check_eq!(field(&status, "NSpid").last().map(String::as_str), Some(self.name(inside)?));
            }
            ["nowhere", own] => {
                let mut found = Vec::new();
                for entry in std::fs::read_dir("/proc")?.flatten() {
                    let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                    if comm.trim() == PROCESS {
                        found.push(entry.file_name().to_string_lossy().into_owned());
                    }
                }
                check_eq!(found, [self.name(own)?]);
            }
            _ => bail!("what is ? {check}"),
        }
        Ok(())
    }

    /// Ends the console, which must have had no errors. The whole transcript.
    fn end(mut self) -> Result<String> {
        self.code(false);
        self.console.send("exit 7\n")?;
        let ended = self.console.finish(Duration::from_secs(60))?;
        check_eq!((ended.code, ended.stderr.as_str()), (7, ""));
        Ok(self.written)
    }
}

fn named(word: &str) -> bool {
    word.starts_with('<') && word.ends_with('>')
}

fn field(status: &str, name: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// A line's words; double quotes hold several together.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(index, part)| -> Vec<String> {
            if index % 2 == 1 {
                vec![part.to_owned()]
            } else {
                part.split_whitespace().map(str::to_owned).collect()
            }
        })
        .collect()
}

/// Types into a shell on a terminal; what the terminal has shown at its end.
fn on_a_terminal(mut terminal: Pty, step: &Step) -> Result<String> {
    for (index, line) in step.typed.iter().enumerate() {
        eventually(Duration::from_secs(240), || {
            Ok((terminal.screen().matches("# ").count() > index).then_some(()))
        })
        .with_context(|| format!("no prompt: {:?}", terminal.screen()))?;
        terminal.send(&format!("{line}\r"))?;
    }
    terminal.expect("exit")?;
    let text = terminal.screen();
    check_eq!(terminal.finish()?, 0);
    // Without what moves the cursor.
    let mut plain = String::new();
    let mut letters = text.chars().filter(|letter| *letter != '\r');
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            plain.push(letter);
        }
    }
    Ok(plain)
}

/// A transcript without what differs from run to run, and the shell's greeting; rows are in the order of what else they have.
fn comparable(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let id = word.len() >= 12 && word.chars().all(|letter| letter.is_ascii_hexdigit());
        let number = word.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
        if id {
            "ID".to_owned()
        } else if number {
            "#".to_owned()
        } else {
            word.to_owned()
        }
    };
    let paragraph = |paragraph: &str| {
        let mut lines: Vec<String> = paragraph
            .lines()
            .filter(|line| !line.starts_with("BusyBox "))
            .map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines.join("\n")
    };
    text.split("\n\n").map(paragraph).collect()
}
