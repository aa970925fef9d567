//! JSON made readable without touching it: fields stay in the daemon's order, numbers as they were written.

/// Indents JSON text by four blanks a level, as `docker inspect` does. `first` is the level to begin at.
#[must_use]
pub fn indent(json: &str, first: usize) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut level = first;
    let newline = |out: &mut String, level: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", level));
    };
    let mut characters = json.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' => {
                out.push('"');
                while let Some(c) = characters.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match characters.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        level += 1;
                        newline(&mut out, level);
                    }
                }
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                newline(&mut out, level);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, level);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_and_nothing_else() {
        let json = r#"{"b":[1.50,{}, []],"a":"x{\",:","n":null}"#;
        let want = "{\n    \"b\": [\n        1.50,\n        {},\n        []\n    ],\n    \"a\": \"x{\\\",:\",\n    \"n\": null\n}";
        assert_eq!(indent(json, 0), want);
        assert_eq!(indent(want, 0), want);
    }
}
