//! Text into pieces: plain text, and the tokens of each action.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// A token, and whether space precedes it: `.a.b` is one operand, `.a .b` are two.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A keyword or function.
    Word(String),
    /// `.name`
    Field(String),
    /// `$name`, without the sign.
    Variable(String),
    Dot,
    Text(String),
    Integer(i64),
    Float(f64),
    Pipe,
    Open,
    Close,
    Comma,
    Declare,
    Assign,
}

fn error(text: impl Into<String>) -> TemplateError {
    TemplateError(text.into())
}

/// Splits a template. `{{-` and `-}}` trim the text beside them.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_start = false;
    loop {
        let (text, after) = match rest.split_once("{{") {
            Some((text, after)) => (text, Some(after)),
            None => (rest, None),
        };
        let text = if trim_start { text.trim_start() } else { text };
        let Some(after) = after else {
            pieces.push(Piece::Text(text.to_owned()));
            return Ok(pieces);
        };
        let (text, mut inside) =
            match after.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace)) {
                Some(inside) => (text.trim_end(), inside),
                None => (text, after),
            };
        pieces.push(Piece::Text(text.to_owned()));
        if let Some(comment) = inside.trim_start().strip_prefix("/*") {
            let (_, end) = comment.split_once("*/").ok_or_else(|| error("unclosed comment"))?;
            (trim_start, rest) = close(end).ok_or_else(|| error("comment ends before closing delimiter"))?;
            continue;
        }
        let mut tokens = Vec::new();
        loop {
            let start = inside.trim_start();
            let spaced = start.len() < inside.len();
            // ` -}}` is an end only after a space; without one it is a minus sign.
            if let Some((trim, after)) = close(inside) {
                (trim_start, rest) = (trim, after);
                break;
            }
            if start.is_empty() {
                return Err(error("unclosed action"));
            }
            let (kind, after) = token(start)?;
            tokens.push(Token { kind, spaced });
            inside = after;
        }
        pieces.push(Piece::Action(tokens));
    }
}

/// Whether an action ends here: whether it trims what follows, and what follows.
fn close(text: &str) -> Option<(bool, &str)> {
    let start = text.trim_start();
    if let Some(after) = start.strip_prefix("}}") {
        return Some((false, after));
    }
    let trims = start.len() < text.len();
    start.strip_prefix("-}}").filter(|_| trims).map(|after| (true, after))
}

fn token(text: &str) -> Result<(Kind, &str), TemplateError> {
    let first = text.chars().next().ok_or_else(|| error("unclosed action"))?;
    let after = &text[first.len_utf8()..];
    let simple = |kind| Ok((kind, after));
    match first {
        '|' => simple(Kind::Pipe),
        '(' => simple(Kind::Open),
        ')' => simple(Kind::Close),
        ',' => simple(Kind::Comma),
        '=' => simple(Kind::Assign),
        ':' => {
            after.strip_prefix('=').map(|after| (Kind::Declare, after)).ok_or_else(|| error("expected :="))
        }
        '"' => quoted(after, '"').map(|(text, after)| (Kind::Text(text), after)),
        '`' => {
            let (text, after) =
                after.split_once('`').ok_or_else(|| error("unterminated raw quoted string"))?;
            Ok((Kind::Text(text.to_owned()), after))
        }
        '\'' => {
            let (text, after) = quoted(after, '\'')?;
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(one), None) => Ok((Kind::Integer(i64::from(u32::from(one))), after)),
                _ => Err(error("malformed character constant")),
            }
        }
        '$' => {
            let (name, after) = word(after);
            Ok((Kind::Variable(name.to_owned()), after))
        }
        '.' => match word(after) {
            ("", _) if after.starts_with(|c: char| c.is_ascii_digit()) => number(text),
            ("", _) => simple(Kind::Dot),
            (name, after) => Ok((Kind::Field(name.to_owned()), after)),
        },
        '0'..='9' | '+' | '-' => number(text),
        c if c.is_alphabetic() || c == '_' => {
            let (name, after) = word(text);
            Ok((Kind::Word(name.to_owned()), after))
        }
        other => Err(error(format!("unexpected {other:?} in command"))),
    }
}

/// The name at the start, which may be empty.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    // A digit cannot begin a name.
    if text.starts_with(|c: char| c.is_ascii_digit()) { ("", text) } else { text.split_at(end) }
}

fn number(text: &str) -> Result<(Kind, &str), TemplateError> {
    let end = text
        .char_indices()
        .find(|(at, c)| {
            !(c.is_ascii_alphanumeric() || *c == '.' || *c == '_' || (*at == 0 && matches!(c, '+' | '-')))
        })
        .map_or(text.len(), |(at, _)| at);
    let (digits, after) = text.split_at(end);
    let plain = digits.trim_start_matches('+').replace('_', "");
    let (sign, magnitude) = plain.strip_prefix('-').map_or((1, plain.as_str()), |rest| (-1, rest));
    let integer = match magnitude.get(..2) {
        Some("0x" | "0X") => i64::from_str_radix(&magnitude[2..], 16),
        Some("0o" | "0O") => i64::from_str_radix(&magnitude[2..], 8),
        Some("0b" | "0B") => i64::from_str_radix(&magnitude[2..], 2),
        _ => magnitude.parse(),
    };
    match (integer, plain.parse::<f64>()) {
        (Ok(integer), _) => Ok((Kind::Integer(sign * integer), after)),
        (_, Ok(float)) if float.is_finite() => Ok((Kind::Float(float), after)),
        _ => Err(error(format!("bad number syntax: {digits:?}"))),
    }
}

/// The rest of a quoted string, with Go's escapes.
fn quoted(text: &str, quote: char) -> Result<(String, &str), TemplateError> {
    let unterminated = || error("unterminated quoted string");
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        if c == quote {
            return Ok((out, &text[at + c.len_utf8()..]));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let (_, escape) = characters.next().ok_or_else(unterminated)?;
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        out.push(match escape {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '"' | '\'' => escape,
            'x' | 'u' | 'U' => {
                let code: String = characters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                code.ok_or_else(|| error("invalid escape in quoted string"))?
            }
            _ => return Err(error("invalid escape in quoted string")),
        });
    }
    Err(unterminated())
}
