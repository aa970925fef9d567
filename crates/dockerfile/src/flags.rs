//! `--name=value` before an instruction's arguments.

/// A flag's name and what it is set to.
pub(crate) type Flag = (String, Option<String>);

/// Takes the flags off; what is left are the arguments.
pub(crate) fn split(text: &str, escape: char) -> Result<(Vec<Flag>, &str), String> {
    let (mut flags, mut rest) = (Vec::new(), text.trim_start());
    while let Some(after) = rest.strip_prefix("--") {
        let (mut word, mut quote, mut end) = (String::new(), None, after.len());
        let mut chars = after.char_indices();
        while let Some((at, c)) = chars.next() {
            match (c, quote) {
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                (c, quote) if c == escape && quote != Some('\'') => word.extend(chars.next().map(|(_, c)| c)),
                (c, None) if c.is_whitespace() => {
                    end = at;
                    break;
                }
                (c, _) => word.push(c),
            }
        }
        rest = after[end..].trim_start();
        if word.is_empty() {
            // A bare `--` ends them.
            break;
        }
        flags.push(match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        });
    }
    Ok((flags, rest))
}

/// The flags of an instruction, taken one after the other.
pub(crate) struct Flags {
    left: Vec<Flag>,
}

impl Flags {
    pub(crate) fn new(left: Vec<Flag>) -> Self {
        Self { left }
    }

    fn take(&mut self, name: &str) -> Result<Option<Option<String>>, String> {
        let mut found = None;
        let mut again = false;
        self.left.retain(|(own, value)| {
            if own == name {
                again |= found.replace(value.clone()).is_some();
            }
            own != name
        });
        if again {
            return Err(format!("duplicate flag specified: {name}"));
        }
        Ok(found)
    }

    /// `--name=value`.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name)? {
            Some(None) => Err(format!("missing a value on flag: {name}")),
            Some(value) => Ok(value),
            None => Ok(None),
        }
    }

    /// `--name=value`, any number of times.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let mut bare = false;
        self.left.retain(|(own, value)| {
            if own == name {
                match value {
                    Some(value) => found.push(value.clone()),
                    None => bare = true,
                }
            }
            own != name
        });
        if bare { Err(format!("missing a value on flag: {name}")) } else { Ok(found) }
    }

    /// `--name` or `--name=true`.
    pub(crate) fn switch(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name)? {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(value)) => match value.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(format!("expecting boolean value for flag {name}, not: {value}")),
            },
        }
    }

    /// What is left is not known.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.left.first() {
            Some((name, _)) => Err(format!("unknown flag: {name}")),
            None => Ok(()),
        }
    }
}
