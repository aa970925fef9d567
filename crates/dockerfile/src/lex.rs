//! Words, quotes and variables, as Dockerfile instructions have them.
//!
//! `$name`, `${name}`, and `${name…}` with `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`. Single quotes keep everything
//! as it is, double quotes keep white space, the escape character keeps the next character.

use std::iter::Peekable;
use std::str::Chars;

use crate::Glob;

/// The longest that a word may become: `ENV A=$A$A`, again and again, doubles it each time.
const MAX_WORD: usize = 1 << 20;
/// How deep `${a:-${b:-…}}` goes.
const MAX_DEPTH: usize = 32;
/// The longest pattern and value of `${name#pattern}`: each end of the value is tried.
const MAX_PATTERN: usize = 4096;

/// How to read words.
#[derive(Clone, Copy, Debug)]
pub struct Lex {
    escape: char,
    raw_quotes: bool,
    raw_escapes: bool,
    keep_unset: bool,
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Lex {
    /// With this escape character.
    #[must_use]
    pub fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, keep_unset: false }
    }

    /// Leaves quotes and escapes where they are.
    pub(crate) fn raw(self) -> Self {
        Self { raw_quotes: true, raw_escapes: true, ..self }
    }

    /// Leaves variables without a value as they are written.
    #[must_use]
    pub fn keep_unset(self) -> Self {
        Self { keep_unset: true, ..self }
    }

    /// Only variables are replaced; quotes are text. What a here-document is.
    #[must_use]
    pub fn document(self) -> Self {
        Self { raw_quotes: true, raw_escapes: false, ..self }
    }

    /// One word, with its variables' values and without its quotes.
    pub fn expand(&self, text: &str, env: Env<'_>) -> Result<String, String> {
        self.run(text, env, false).map(|(word, _)| word)
    }

    /// The words that the text falls into; a value's white space outside quotes separates words, too.
    pub fn expand_words(&self, text: &str, env: Env<'_>) -> Result<Vec<String>, String> {
        self.run(text, env, true).map(|(_, words)| words)
    }

    fn run(&self, text: &str, env: Env<'_>, split: bool) -> Result<(String, Vec<String>), String> {
        let mut reader = Reader {
            lex: *self,
            chars: text.chars().peekable(),
            env,
            depth: 0,
            words: split.then(Words::default),
        };
        let word = reader.until(None, self.raw_escapes).map_err(|error| {
            let shown: String = text.chars().take(200).collect();
            format!("failed to process {shown:?}: {error}")
        })?;
        Ok((word, reader.words.map(Words::finish).unwrap_or_default()))
    }
}

/// Words as they grow.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
    inside: bool,
}

impl Words {
    fn push(&mut self, text: &str, splits: bool) {
        for c in text.chars() {
            if splits && c.is_whitespace() {
                if self.inside {
                    self.done.push(std::mem::take(&mut self.word));
                }
                self.inside = false;
            } else {
                self.inside = true;
                self.word.push(c);
            }
        }
        // An empty word in quotes is a word.
        self.inside |= !splits;
    }

    fn finish(mut self) -> Vec<String> {
        if self.inside {
            self.done.push(self.word);
        }
        self.done
    }
}

struct Reader<'a> {
    lex: Lex,
    chars: Peekable<Chars<'a>>,
    env: Env<'a>,
    depth: usize,
    /// Only at the outermost level.
    words: Option<Words>,
}

impl Reader<'_> {
    /// Reads to `stop`, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<String, String> {
        let mut result = String::new();
        loop {
            if result.len() > MAX_WORD {
                return Err(format!("a value is longer than {MAX_WORD} bytes"));
            }
            let Some(&c) = self.chars.peek() else {
                return match stop {
                    None => Ok(result),
                    Some(stop) => Err(format!("syntax error: missing {stop:?}")),
                };
            };
            if Some(c) == stop {
                self.chars.next();
                return Ok(result);
            }
            let (piece, splits) = match c {
                '\'' => (self.single_quoted()?, false),
                '"' => (self.double_quoted()?, false),
                '$' => (self.dollar()?, true),
                c if c == self.lex.escape => {
                    self.chars.next();
                    let mut piece = String::new();
                    if raw_escapes {
                        piece.push(c);
                    }
                    match self.chars.next() {
                        Some(next) => piece.push(next),
                        // An escape character at the very end is one.
                        None if !raw_escapes && stop.is_none() => piece.push(c),
                        None => {}
                    }
                    (piece, false)
                }
                c => {
                    self.chars.next();
                    (c.to_string(), true)
                }
            };
            if let (Some(words), 0) = (&mut self.words, self.depth) {
                words.push(&piece, splits);
            }
            result.push_str(&piece);
        }
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.lex.raw_quotes && !self.lex.raw_escapes {
            // In a here-document it is just a character.
            return Ok("'".to_owned());
        }
        let mut result = String::new();
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(if self.lex.raw_quotes { format!("'{result}'") } else { result });
            }
            result.push(c);
        }
        Err("unexpected end of statement while looking for matching single-quote".to_owned())
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.lex.raw_quotes && !self.lex.raw_escapes {
            return Ok("\"".to_owned());
        }
        let mut result = String::new();
        loop {
            if result.len() > MAX_WORD {
                return Err(format!("a value is longer than {MAX_WORD} bytes"));
            }
            match self.chars.peek().copied() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote".to_owned()
                    );
                }
                Some('"') => {
                    self.chars.next();
                    return Ok(if self.lex.raw_quotes { format!("\"{result}\"") } else { result });
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(c) if c == self.lex.escape => {
                    self.chars.next();
                    match self.chars.peek().copied() {
                        Some(next) if next == '"' || next == '$' || next == self.lex.escape => {
                            if self.lex.raw_escapes {
                                result.push(c);
                            }
                            result.push(next);
                            self.chars.next();
                        }
                        _ => result.push(c),
                    }
                }
                Some(c) => {
                    self.chars.next();
                    result.push(c);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match (self.env)(&name) {
                Some(value) => value,
                None if self.lex.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.chars.next();
        match self.chars.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            _ => {}
        }
        let name = self.name();
        let Some(first) = self.chars.next() else { return Err("syntax error: missing '}'".to_owned()) };
        if first == '}' {
            return Ok(match (self.env)(&name) {
                Some(value) => value,
                None if self.lex.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            });
        }
        if first == '/' {
            return self.replacement(&name);
        }
        let null_is_unset = first == ':';
        let modifier = match null_is_unset {
            true => self.chars.next().ok_or("syntax error: missing '}'")?,
            false => first,
        };
        let shown = if null_is_unset { format!(":{modifier}") } else { modifier.to_string() };
        if !matches!(modifier, '-' | '+' | '?') && (null_is_unset || !matches!(modifier, '#' | '%')) {
            return Err(format!("unsupported modifier ({shown}) in substitution"));
        }
        let word = self.inner('}', matches!(modifier, '#' | '%'))?;
        let value = (self.env)(&name);
        if self.lex.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{shown}{word}}}"));
        }
        let usable = value.as_ref().is_some_and(|value| !(null_is_unset && value.is_empty()));
        let reached = value.clone().unwrap_or_default();
        match modifier {
            '-' => Ok(if usable { reached } else { word }),
            '+' => Ok(if usable { word } else { String::new() }),
            '?' if usable => Ok(reached),
            '?' => {
                let why = match (word.is_empty(), value.is_some()) {
                    (false, _) => word,
                    (true, true) => "is not allowed to be empty".to_owned(),
                    (true, false) => "is not allowed to be unset".to_owned(),
                };
                Err(format!("{name}: {why}"))
            }
            _ => {
                let greedy = word.starts_with(modifier);
                let pattern = if greedy { &word[modifier.len_utf8()..] } else { &word };
                trim(&reached, pattern, modifier == '#', greedy)
            }
        }
    }

    /// `${name/pattern/text}`, or with two slashes all of them.
    fn replacement(&mut self, name: &str) -> Result<String, String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.inner('/', true)?;
        let text = self.inner('}', true)?;
        let Some(value) = (self.env)(name) else {
            return Ok(match self.lex.keep_unset {
                true => format!("${{{name}/{}{pattern}/{text}}}", if all { "/" } else { "" }),
                false => String::new(),
            });
        };
        if value.len() > MAX_PATTERN || pattern.len() > MAX_PATTERN {
            return Err(format!("a pattern is for values of up to {MAX_PATTERN} bytes"));
        }
        let glob = Glob::shell(&pattern).map_err(|error| error.to_string())?;
        let (mut result, mut rest) = (String::new(), value.as_str());
        while !rest.is_empty() {
            let mut ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
            // The longest part that the pattern fits, as a shell has it.
            let found = ends.rfind(|end| glob.matches(&rest[..*end]));
            if let Some(end) = found {
                result.push_str(&text);
                rest = &rest[end..];
                if !all {
                    break;
                }
            } else {
                let c = rest.chars().next().map_or(1, char::len_utf8);
                result.push_str(&rest[..c]);
                rest = &rest[c..];
            }
            if result.len() > MAX_WORD {
                return Err(format!("a value is longer than {MAX_WORD} bytes"));
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn inner(&mut self, stop: char, raw_escapes: bool) -> Result<String, String> {
        if self.depth >= MAX_DEPTH {
            return Err("substitutions are nested too deep".to_owned());
        }
        self.depth += 1;
        let word = self.until(Some(stop), raw_escapes);
        self.depth -= 1;
        word
    }

    /// A variable's name; a parameter like `$1` or `$@` is one, too.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&c) = self.chars.peek() {
            let special = name.is_empty() && "@*#!?-$".contains(c);
            if special || (name.is_empty() && c.is_ascii_digit()) {
                self.chars.next();
                name.push(c);
                if c.is_ascii_digit() {
                    while let Some(digit) = self.chars.next_if(char::is_ascii_digit) {
                        name.push(digit);
                    }
                }
                return name;
            }
            if c != '_' && !c.is_alphanumeric() {
                break;
            }
            self.chars.next();
            name.push(c);
        }
        name
    }
}

/// Takes the part that `pattern` fits off the value's beginning or end.
fn trim(value: &str, pattern: &str, prefix: bool, greedy: bool) -> Result<String, String> {
    if value.len() > MAX_PATTERN || pattern.len() > MAX_PATTERN {
        return Err(format!("a pattern is for values of up to {MAX_PATTERN} bytes"));
    }
    let glob = Glob::shell(pattern).map_err(|error| error.to_string())?;
    let mut cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    // From the shortest part to the longest; the other way round when the longest is wanted.
    if prefix == greedy {
        cuts.reverse();
    }
    let fits = |at: &usize| glob.matches(if prefix { &value[..*at] } else { &value[*at..] });
    Ok(match cuts.into_iter().find(|at| fits(at)) {
        Some(at) if prefix => value[at..].to_owned(),
        Some(at) => value[..at].to_owned(),
        None => value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "foo" => Some("bar".to_owned()),
            "empty" => Some(String::new()),
            "words" => Some("one  two".to_owned()),
            "file" => Some("/a/b.tar.gz".to_owned()),
            "1" => Some("first".to_owned()),
            _ => None,
        }
    }

    fn expand(text: &str) -> String {
        Lex::new('\\').expand(text, &env).unwrap_or_else(|error| format!("!{error}"))
    }

    #[test]
    fn values_defaults_and_alternatives() {
        for (text, value) in [
            ("$foo", "bar"),
            ("${foo}", "bar"),
            ("a${foo}b", "abarb"),
            ("$foo/x", "bar/x"),
            (r"\$foo", "$foo"),
            (r"\${foo}", "${foo}"),
            ("$nothing", ""),
            ("${nothing:-default}", "default"),
            ("${empty:-default}", "default"),
            ("${empty-default}", ""),
            ("${foo:-default}", "bar"),
            ("${nothing-default}", "default"),
            ("${foo:+there}", "there"),
            ("${empty:+there}", ""),
            ("${empty+there}", "there"),
            ("${nothing+there}", ""),
            ("${nothing:-${foo}}", "bar"),
            ("${nothing:-${other:-deep}}", "deep"),
            ("${foo:?wrong}", "bar"),
            ("'$foo'", "$foo"),
            (r#""$foo""#, "bar"),
            (r#""\$foo""#, "$foo"),
            (r#""a\nb""#, r"a\nb"),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("$1x", "firstx"),
            ("", ""),
        ] {
            assert_eq!(expand(text), value, "{text}");
        }
    }

    #[test]
    fn parts_of_values() {
        for (text, value) in [
            ("${file#*/}", "a/b.tar.gz"),
            ("${file##*/}", "b.tar.gz"),
            ("${file%.*}", "/a/b.tar"),
            ("${file%%.*}", "/a/b"),
            ("${file#nothing}", "/a/b.tar.gz"),
            ("${foo/a/o}", "bor"),
            ("${file/\\//-}", "-a/b.tar.gz"),
            ("${file//\\//-}", "-a-b.tar.gz"),
            ("${foo//?/x}", "xxx"),
            ("${foo/[ab]/}", "ar"),
        ] {
            assert_eq!(expand(text), value, "{text}");
        }
    }

    #[test]
    fn words_split_outside_quotes() {
        let words = |text: &str| Lex::new('\\').expand_words(text, &env).unwrap();
        assert_eq!(words("a b  c"), ["a", "b", "c"]);
        assert_eq!(words("$words x"), ["one", "two", "x"]);
        assert_eq!(words(r#""$words" x"#), ["one  two", "x"]);
        assert_eq!(words(r"a\ b ''"), ["a b", ""]);
        assert_eq!(words("$nothing"), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("${foo", "missing '}'"),
            ("${}", "bad substitution"),
            ("${foo:x}", "unsupported modifier (:x)"),
            ("${nothing:?is needed}", "nothing: is needed"),
            ("${empty:?}", "is not allowed to be empty"),
            ("'a", "single-quote"),
            ("\"a", "double-quote"),
        ] {
            assert!(expand(text).contains(reason), "{text}: {}", expand(text));
        }
        let deep = "${a:-".repeat(100) + &"}".repeat(100);
        assert!(expand(&deep).contains("too deep"));
        let long = "x".repeat(MAX_WORD);
        let grown = Lex::new('\\').expand("$a$a", &|_| Some(long.clone()));
        assert!(grown.unwrap_err().contains("longer than"));
    }

    #[test]
    fn the_escape_character_can_be_another() {
        let lex = Lex::new('`');
        assert_eq!(lex.expand("`$foo c:\\x", &env).unwrap(), "$foo c:\\x");
        assert_eq!(
            Lex::new('\\').keep_unset().expand("$foo $no ${no:-x}", &env).unwrap(),
            "bar $no ${no:-x}"
        );
        assert_eq!(
            Lex::new('\\').document().expand("it's \"$foo\" \\$foo", &env).unwrap(),
            "it's \"bar\" $foo"
        );
    }
}
