//! Here-documents of RUN, COPY and ADD.

use crate::lex::Lex;

/// Text in the Dockerfile itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, and its file's name.
    pub name: String,
    /// Whether variables in it are replaced: not when its word is quoted.
    pub expand: bool,
    /// Whether tabs at the beginnings of its lines are taken away (`<<-`).
    pub chomp: bool,
    /// What it says.
    pub content: String,
}

/// The documents that an instruction announces, still empty.
pub(crate) fn announced(text: &str, escape: char) -> Result<Vec<Heredoc>, String> {
    let mut rest = text;
    loop {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        match word.to_ascii_uppercase().as_str() {
            "ONBUILD" => {}
            "RUN" | "COPY" | "ADD" => break,
            _ => return Ok(Vec::new()),
        }
    }
    if !rest.contains("<<") || rest.starts_with('[') {
        return Ok(Vec::new());
    }
    // Words of a shell that are not ours to understand are no here-documents.
    let Ok(words) = Lex::new(escape).raw().keep_unset().expand_words(rest, &|_| None) else {
        return Ok(Vec::new());
    };
    Ok(words.iter().filter_map(|word| of_word(word)).collect())
}

/// The document that a raw word announces.
pub(crate) fn of_word(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let words = Lex::new('\\').keep_unset().expand_words(rest, &|_| None).ok()?;
    let [name] = words.as_slice() else { return None };
    // What a client can make of the name is a file: it is a single name.
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return None;
    }
    Some(Heredoc { name: name.clone(), expand: name == rest, chomp, content: String::new() })
}
