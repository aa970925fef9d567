//! Values as Go's `fmt` writes them.

use std::fmt::Write as _;

use serde_json::Value;

/// `%v`
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let visible = map.iter().filter(|(key, _)| !key.starts_with('\0'));
            let entries: Vec<String> =
                visible.map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// `json`: without the hidden keys.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Object(map) if map.keys().any(|key| key.starts_with('\0')) => {
            let visible: serde_json::Map<String, Value> = map
                .iter()
                .filter(|(key, _)| !key.starts_with('\0'))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            Value::Object(visible).to_string()
        }
        other => other.to_string(),
    }
}

/// `fmt.Sprint`: a space between two values of which neither is a text.
pub(super) fn sprint(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&plain(value));
    }
    out
}

/// `fmt.Sprintf` with the verbs that make sense here: `v s d q t f g x X c %`, with flags, width and precision.
pub(super) fn sprintf(format: &str, values: &[Value]) -> String {
    /// Nobody prints a column this wide; a bound for memory.
    const WIDEST: usize = 10_000;
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zero, mut plus) = (false, false, false);
        while let Some(flag) = rest.next_if(|c| matches!(c, '-' | '0' | '+' | '#' | ' ')) {
            left |= flag == '-';
            zero |= flag == '0';
            plus |= flag == '+';
        }
        let digits = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut number = None;
            while let Some(digit) = rest.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
                let digit = usize::try_from(digit).unwrap_or(0);
                number =
                    Some((number.unwrap_or(0usize).saturating_mul(10).saturating_add(digit)).min(WIDEST));
            }
            number
        };
        let width = digits(&mut rest).unwrap_or(0);
        let precision = rest.next_if_eq(&'.').map(|_| digits(&mut rest).unwrap_or(0));
        let Some(verb) = rest.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            let _ = write!(out, "%!{verb}(MISSING)");
            continue;
        };
        let mut text = match (verb, value) {
            ('v', value) => plain(value),
            ('s', value) => plain(value).chars().take(precision.unwrap_or(usize::MAX)).collect(),
            ('q', value) => quote(&plain(value)),
            ('d', Value::Number(number)) => number.to_string(),
            ('t', Value::Bool(on)) => on.to_string(),
            ('x', Value::Number(number)) => format!("{:x}", number.as_i64().unwrap_or(0)),
            ('X', Value::Number(number)) => format!("{:X}", number.as_i64().unwrap_or(0)),
            ('x', Value::String(text)) => {
                text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
            }
            ('f', Value::Number(number)) => {
                format!("{:.*}", precision.unwrap_or(6).min(100), number.as_f64().unwrap_or(0.0))
            }
            ('g', Value::Number(number)) => number.to_string(),
            ('c', Value::Number(number)) => {
                let code = number.as_u64().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32);
                code.unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
            }
            (verb, value) => format!("%!{verb}({})", plain(value)),
        };
        if plus && value.is_number() && !text.starts_with('-') {
            text.insert(0, '+');
        }
        let blanks = width.saturating_sub(text.chars().count());
        match (left, zero && value.is_number()) {
            (true, _) => text.push_str(&" ".repeat(blanks)),
            (false, true) => text.insert_str(usize::from(text.starts_with(['-', '+'])), &"0".repeat(blanks)),
            (false, false) => text.insert_str(0, &" ".repeat(blanks)),
        }
        out.push_str(&text);
    }
    out
}

/// Go's `strconv.Quote`, as the COMMAND column uses it.
pub fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn html(text: &str) -> String {
    let escape = |c| match c {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => String::from(c),
    };
    text.chars().map(escape).collect()
}

pub(super) fn urlquery(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
