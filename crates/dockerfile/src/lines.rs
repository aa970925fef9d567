//! From text to whole instructions: directives, comments, continuations, here-documents.

use crate::error::Error;
use crate::heredoc::{self, Heredoc};

/// The most instructions.
const MAX_INSTRUCTIONS: usize = 10_000;

/// An instruction's text before it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it begins, from 1.
    pub number: usize,
    /// Without comments and line breaks.
    pub text: String,
    pub heredocs: Vec<Heredoc>,
}

/// What the comments at the very beginning say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directives {
    pub escape: char,
    pub syntax: Option<String>,
}

/// `# name=value` at the beginning, before anything else.
pub(crate) fn directives(text: &str) -> Result<Directives, Error> {
    let (mut escape, mut syntax, mut check) = (None, None, None);
    for (n, line) in text.lines().enumerate() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|line| line.split_once('=')) else {
            break;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let place = match name.as_str() {
            "escape" => &mut escape,
            "syntax" => &mut syntax,
            "check" => &mut check,
            _ => break,
        };
        let wrong = Error::at(n + 1);
        if place.is_some() {
            return Err(wrong(format!("only one {name} parser directive can be used")));
        }
        if name == "escape" && !matches!(value, "\\" | "`") {
            return Err(wrong(format!("invalid escape token '{value}' does not match ` or \\")));
        }
        *place = Some(value.to_owned());
    }
    Ok(Directives { escape: if escape.as_deref() == Some("`") { '`' } else { '\\' }, syntax })
}

/// The instructions in order.
pub(crate) fn lines(text: &str, escape: char) -> Result<Vec<Line>, Error> {
    let mut found = Vec::new();
    let mut physical = text.split_inclusive('\n').enumerate();
    while let Some((n, first)) = physical.next() {
        let number = n + 1;
        let first = first.trim_start();
        if first.starts_with('#') {
            continue;
        }
        let (mut text, mut ended) = continued(first, escape);
        let mut text_owned = String::new();
        if ended && text.trim().is_empty() {
            continue;
        }
        text_owned.push_str(text);
        while !ended {
            let Some((_, next)) = physical.next() else { break };
            // Comments and empty lines between the parts do not end it.
            if next.trim_start().starts_with('#') || next.trim().is_empty() {
                continue;
            }
            (text, ended) = continued(next, escape);
            text_owned.push_str(text);
        }
        let text = text_owned;
        let wrong = Error::at(number);
        let mut heredocs = heredoc::announced(&text, escape).map_err(&wrong)?;
        for heredoc in &mut heredocs {
            let mut ended = false;
            for (_, line) in physical.by_ref() {
                let bare = line.trim_end_matches(['\r', '\n']);
                let bare = if heredoc.chomp { bare.trim_start_matches('\t') } else { bare };
                if bare == heredoc.name {
                    ended = true;
                    break;
                }
                heredoc.content.push_str(if heredoc.chomp { line.trim_start_matches('\t') } else { line });
            }
            if !ended {
                return Err(wrong("unterminated heredoc".to_owned()));
            }
        }
        if found.len() == MAX_INSTRUCTIONS {
            return Err(wrong(format!("more than {MAX_INSTRUCTIONS} instructions")));
        }
        found.push(Line { number, text: text.trim().to_owned(), heredocs });
    }
    Ok(found)
}

/// A line without its continuation mark, and whether the instruction ends with it.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let bare = line.trim_end_matches(['\r', '\n']);
    match bare.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, false),
        _ => (bare, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        lines(text, '\\').unwrap().into_iter().map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn continuations_and_comments() {
        let text = "# comment\n\n  RUN a \\\n    b \\\n# between\n\n  c\nRUN d\\\\\nRUN e \\  \n f";
        let expected = [(3, "RUN a     b   c"), (8, "RUN d\\\\"), (9, "RUN e  f")];
        assert_eq!(texts(text), expected.map(|(n, text)| (n, text.to_owned())));
        assert_eq!(texts("RUN a \\\r\n b\r\n"), [(1, "RUN a  b".to_owned())]);
        assert_eq!(texts("RUN a \\"), [(1, "RUN a".to_owned())]);
    }

    #[test]
    fn directives_come_first() {
        let read = |text| directives(text);
        assert_eq!(read("# escape=`\n").unwrap().escape, '`');
        assert_eq!(read("#syntax = docker/dockerfile:1\n# escape=`\nFROM x").unwrap().escape, '`');
        assert_eq!(read("# comment\n# escape=`\n").unwrap().escape, '\\');
        assert_eq!(read("FROM x\n# escape=`\n").unwrap().escape, '\\');
        assert!(read("# escape=x\n").unwrap_err().to_string().contains("line 1: invalid escape token 'x'"));
        assert!(read("# escape=`\n# escape=`\n").unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn here_documents() {
        let found =
            lines("RUN <<A cat <<-'B' 3<<C\none\nA\n\ttwo $x\n\tB\nthree\nC\nRUN after", '\\').unwrap();
        let documents: Vec<_> = found[0].heredocs.iter().map(|h| (h.content.as_str(), h.expand)).collect();
        assert_eq!(documents, [("one\n", true), ("two $x\n", false), ("three\n", true)]);
        assert_eq!((found[1].number, found[1].text.as_str()), (8, "RUN after"));
        assert!(lines("RUN <<EOF\nx", '\\').unwrap_err().to_string().contains("unterminated heredoc"));
        // Not one: an exec form, another instruction, a here-string, a comparison in quotes.
        for text in ["RUN [\"sh\", \"<<EOF\"]", "CMD cat <<EOF", "RUN cat <<<word", "RUN echo '1 <<EOF'"] {
            assert_eq!(lines(text, '\\').unwrap()[0].heredocs, [], "{text}");
        }
    }
}
