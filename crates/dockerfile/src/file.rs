//! The whole file: arguments before the first stage, and stages.

use crate::error::Error;
use crate::instruction::{ArgDefault, From, Instruction};
use crate::lines::{Line, directives, lines};

/// A Dockerfile that makes sense as far as that can be seen without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character.
    pub escape: char,
    /// Which other program is asked to read it (`# syntax=`).
    pub syntax: Option<String>,
    /// `ARG` before the first stage.
    pub args: Vec<(Step, Vec<ArgDefault>)>,
    /// At least one.
    pub stages: Vec<Stage>,
}

/// From one `FROM` to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The instruction that begins it.
    pub step: Step,
    /// What it says.
    pub from: From,
    /// The others.
    pub steps: Vec<Step>,
}

/// An instruction and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line where it begins, from 1.
    pub line: usize,
    /// Its text, in one line.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

/// Reads a Dockerfile.
pub fn parse(text: &str) -> Result<Dockerfile, Error> {
    if text.len() > crate::MAX_LENGTH {
        return Err(Error::Whole(format!("the Dockerfile is longer than {} bytes", crate::MAX_LENGTH)));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Error::Empty);
    }
    let directives = directives(text)?;
    let (mut args, mut stages) = (Vec::new(), Vec::<Stage>::new());
    for line in lines(text, directives.escape)? {
        let step = step(&line, directives.escape)?;
        match (step.instruction.clone(), stages.last_mut()) {
            (Instruction::From(from), _) => {
                if let Some(name) = &from.name
                    && stages.iter().any(|stage| stage.from.name.as_ref() == Some(name))
                {
                    return Err(Error::at(step.line)(format!("duplicate name {name}")));
                }
                stages.push(Stage { step, from, steps: Vec::new() });
            }
            (Instruction::Arg(defaults), None) => args.push((step, defaults)),
            (_, Some(stage)) => stage.steps.push(step),
            (_, None) => return Err(Error::at(step.line)("no build stage in current context".to_owned())),
        }
    }
    match (stages.is_empty(), args.is_empty()) {
        (false, _) => Ok(Dockerfile { escape: directives.escape, syntax: directives.syntax, args, stages }),
        (true, true) => Err(Error::Whole("file with no instructions".to_owned())),
        (true, false) => Err(Error::Whole("no build stage in current context".to_owned())),
    }
}

/// Reads a single instruction: a trigger of an image, or what `commit --change` says.
pub fn parse_instruction(text: &str) -> Result<Step, Error> {
    let mut found = lines(text, '\\')?.into_iter();
    match (found.next(), found.next()) {
        (Some(line), None) => step(&line, '\\'),
        (None, _) => Err(Error::Whole("file with no instructions".to_owned())),
        (Some(_), Some(second)) => {
            Err(Error::at(second.number)("only one instruction is expected".to_owned()))
        }
    }
}

fn step(line: &Line, escape: char) -> Result<Step, Error> {
    let instruction = Instruction::parse(line, escape).map_err(Error::at(line.number))?;
    Ok(Step { line: line.number, text: line.text.clone(), instruction })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Source};

    fn only(text: &str) -> Instruction {
        parse_instruction(text).unwrap().instruction
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn stages_and_global_arguments() {
        let file = parse(
            "ARG V=1\nARG W\nFROM --platform=linux/amd64 debian:$V AS Base\nRUN a\nFROM base\nCMD [\"x\"]\n",
        )
        .unwrap();
        assert_eq!(file.args.len(), 2);
        assert_eq!(file.stages[0].from.name.as_deref(), Some("base"));
        assert_eq!(file.stages[0].from.platform.as_deref(), Some("linux/amd64"));
        assert_eq!(file.stages[0].from.image, "debian:$V");
        assert_eq!(file.stages[1].steps[0].text, "CMD [\"x\"]");
        assert_eq!(file.stages[1].steps[0].line, 6);
    }

    #[test]
    fn forms_of_commands() {
        assert_eq!(
            only("CMD [\"a\", \"b c\"]"),
            Instruction::Cmd(Command::Exec(vec!["a".into(), "b c".into()]))
        );
        assert_eq!(only("cmd a  b"), Instruction::Cmd(Command::Shell("a  b".into())));
        // Not JSON, so a text for the shell.
        assert_eq!(only("CMD ['a']"), Instruction::Cmd(Command::Shell("['a']".into())));
        assert_eq!(only("ENTRYPOINT"), Instruction::Entrypoint(Command::Exec(Vec::new())));
        assert_eq!(
            only("SHELL [\"/bin/bash\", \"-c\"]"),
            Instruction::Shell(vec!["/bin/bash".into(), "-c".into()])
        );
    }

    #[test]
    fn names_and_values() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            only("ENV A=1 B=\"two words\" C=x\\ y"),
            Instruction::Env(vec![pair("A", "1"), pair("B", "\"two words\""), pair("C", "x\\ y"),])
        );
        assert_eq!(only("ENV A one two"), Instruction::Env(vec![pair("A", "one two")]));
        assert_eq!(only("LABEL \"a b\"=c"), Instruction::Label(vec![pair("\"a b\"", "c")]));
    }

    #[test]
    fn copies() {
        let Instruction::Copy(copy) = only("COPY --from=0 --chown=1:2 --chmod=755 --link a b /c/") else {
            panic!()
        };
        assert_eq!(copy.sources, [Source::Path("a".into()), Source::Path("b".into())]);
        assert_eq!((copy.destination.as_str(), copy.from.as_deref(), copy.link), ("/c/", Some("0"), true));
        let Instruction::Copy(copy) = only("COPY [\"a b\", \"/c d\"]") else { panic!() };
        assert_eq!(copy.sources, [Source::Path("a b".into())]);
        let Instruction::Copy(copy) = only("COPY <<a.txt <<\"b\" x /d/\nfirst\na.txt\nsecond\nb\n") else {
            panic!()
        };
        assert!(matches!(&copy.sources[0], Source::Text(text) if text.content == "first\n" && text.expand));
        assert!(matches!(&copy.sources[1], Source::Text(text) if text.content == "second\n" && !text.expand));
        assert_eq!(copy.sources[2], Source::Path("x".into()));
    }

    #[test]
    fn runs() {
        let Instruction::Run(run) = only("RUN <<EOF\necho a\nEOF") else { panic!() };
        assert!(run.script);
        let Instruction::Run(run) =
            only("RUN --network=none --mount=type=cache,target=/x sh <<EOF\necho a\nEOF")
        else {
            panic!()
        };
        assert!(!run.script);
        assert_eq!((run.network.as_deref(), run.mounts.len()), (Some("none"), 1));
        assert_eq!(run.command, Command::Shell("sh <<EOF".into()));
    }

    #[test]
    fn health_checks() {
        let Instruction::Healthcheck(check) =
            only("HEALTHCHECK --interval=5m --retries=2 CMD curl -f x || exit 1")
        else {
            panic!()
        };
        assert_eq!((check.interval, check.retries), (Some(300_000_000_000), Some(2)));
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x || exit 1"]);
        let Instruction::Healthcheck(check) = only("HEALTHCHECK NONE") else { panic!() };
        assert_eq!(check.test, ["NONE"]);
    }

    #[test]
    fn errors_name_their_line() {
        for (text, error) in [
            ("FROM a\n\nFOO bar", "dockerfile parse error on line 3: unknown instruction: FOO"),
            ("RUN a", "dockerfile parse error on line 1: no build stage in current context"),
            ("FROM a\nCOPY x", "line 2: COPY requires at least two arguments"),
            ("FROM", "line 1: FROM requires either one or three arguments"),
            ("FROM a b", "line 1: FROM requires either one or three arguments"),
            ("FROM a AS 1x", "line 1: invalid name for build stage"),
            ("FROM a AS b\nFROM c AS B", "line 2: duplicate name b"),
            ("FROM a\nCOPY --owner=x a b", "line 2: unknown flag: owner"),
            ("FROM a\nENV a=b c", "line 2: Syntax error - can't find = in \"c\""),
            ("FROM a\nENV =b", "line 2: ENV names can not be blank"),
            ("FROM a\nONBUILD FROM b", "line 2: FROM isn't allowed as an ONBUILD trigger"),
            ("FROM a\nONBUILD ONBUILD RUN x", "line 2: Chaining ONBUILD"),
            ("FROM a\nHEALTHCHECK FOO", "line 2: unknown type \"FOO\" in HEALTHCHECK"),
            ("FROM a\nHEALTHCHECK --interval=x CMD y", "line 2: time: invalid duration \"x\""),
            ("FROM a\nSHELL bash", "line 2: SHELL requires the arguments to be in JSON form"),
            ("FROM a\nCMD [1]", "line 2: only string type is allowed in JSON arrays"),
            ("FROM a\nWORKDIR", "line 2: WORKDIR requires exactly one argument"),
            ("# only a comment", "file with no instructions"),
            ("ARG a", "no build stage in current context"),
            (" \n", "cannot be empty"),
        ] {
            assert!(refusal(text).contains(error), "{text:?}: {}", refusal(text));
        }
    }
}
